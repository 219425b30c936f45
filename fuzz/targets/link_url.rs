//! URLs of links: of commands, and of programs that use one instead of a channel name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_net::testing::url(bytes));
