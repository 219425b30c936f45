//! What the other side of a link sends: messages of both directions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_net::testing::link(bytes));
