//! Input from the peer of a link: messages of both directions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_net::testing::link(bytes));
