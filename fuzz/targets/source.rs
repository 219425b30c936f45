//! Command lines of `framelane publish SOURCE`, with options. No source is opened.
#![no_main]

#[allow(dead_code, reason = "the command uses all of it")]
#[path = "../../crates/framelane-cli/src/parse.rs"]
mod parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse::check(text);
    }
});
