//! What is written on the command line: `framelane publish SOURCE` and its options. Nothing is opened.
#![no_main]

#[allow(dead_code, reason = "the command uses all of it")]
#[path = "../../crates/framelane-cli/src/parse.rs"]
mod parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse::check(text);
    }
});
