#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane::testing::name(bytes));
