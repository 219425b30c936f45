//! Where a link leads: the URLs of commands, and of programs that give one in place of a channel.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_net::testing::url(bytes));
