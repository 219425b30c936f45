//! Payloads of every codec for frames of every kind, as a link brings them, and frames of every layout to
//! encode.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_codec::testing::codec(bytes));
