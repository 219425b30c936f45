//! Findings of the fuzzer, and some thousand changes of them, through the same checks as the fuzz targets.
#![cfg(framelane_testing)]

use std::path::Path;

use framelane_net::testing;

/// Every file of a target's corpus and of what it has found, as it is, cut short at each byte, and with each
/// byte changed.
fn replay(target: &str, check: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "no corpus of {target}");
    for input in &inputs {
        check(input);
        for at in 0..input.len() {
            check(&input[..at]);
            for byte in [0, 1, b'/', 0x7F, 0x80, 0xFF] {
                let mut changed = input.clone();
                changed[at] = byte;
                check(&changed);
            }
        }
    }
    println!("fuzz: {target}: {} inputs replayed, each byte changed", inputs.len());
}

#[test]
fn links_that_fuzzing_has_found() {
    replay("link", testing::link);
}

#[test]
fn urls_that_fuzzing_has_found() {
    replay("link_url", testing::url);
}

#[test]
fn clients_files_that_fuzzing_has_found() {
    replay("security", testing::security);
}
