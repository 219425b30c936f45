//! Findings of the fuzzer, and some thousand changes of them, through the same checks as the fuzz target.
#![cfg(framelane_testing)]

use std::path::Path;

/// Every file of the corpus and of what was found; the target is in `fuzz/`.
fn inputs() -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus/legacy_socket", "regressions/legacy_socket"].map(|folder| fuzz.join(folder));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn legacy_streams_that_fuzzing_has_found() {
    let inputs = inputs();
    assert!(!inputs.is_empty());
    for input in &inputs {
        framelane_legacy::testing::socket(input);
        for at in 0..input.len() {
            // Cut short, doubled from here on, and with another byte here.
            framelane_legacy::testing::socket(&input[..at]);
            framelane_legacy::testing::socket(&[input, &input[at..]].concat());
            for byte in [0, b' ', b'0', b'9', b'-', b'r', 0xFF] {
                let mut changed = input.clone();
                changed[at] = byte;
                framelane_legacy::testing::socket(&changed);
            }
        }
    }
    println!("fuzz: legacy_socket: {} inputs replayed", inputs.len());
}
