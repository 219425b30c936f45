//! What fuzzing has found, and some thousand changes of it, through the same check as the fuzz target.
#![cfg(framelane_testing)]

use std::path::Path;

/// Every file of the corpus and of what was found; the target is in `fuzz/`.
fn inputs() -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus/codec", "regressions/codec"].map(|folder| fuzz.join(folder));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn payloads_that_fuzzing_has_found() {
    let inputs = inputs();
    assert!(!inputs.is_empty());
    for input in &inputs {
        framelane_codec::testing::decode(input);
        // Each byte of what stands in front, and some of the rest.
        for at in (0..input.len()).filter(|at| *at < 64 || at % 31 == 0) {
            framelane_codec::testing::decode(&input[..at]);
            for byte in [0, 1, 0x80, 0xFF] {
                let mut changed = input.clone();
                changed[at] = byte;
                framelane_codec::testing::decode(&changed);
            }
        }
    }
    println!("fuzz: codec: {} inputs replayed", inputs.len());
}
