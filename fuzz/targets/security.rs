//! Access control: clients files, patterns, fingerprints, tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framelane_net::testing::security(bytes));
