//! What a link brings: payloads of every codec, for frames of every kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_codec::testing::decode(bytes));
