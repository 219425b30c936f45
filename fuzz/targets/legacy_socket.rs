//! Input from either peer of a legacy stream: length lines with JPEGs, and answers, in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_legacy::testing::socket(bytes));
