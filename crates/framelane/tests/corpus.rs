//! Findings of the fuzzer, and some thousand changes of them, through the same checks as the fuzz targets.
//!
//! Not on Windows. The bytes of a channel are not in its files there.
#![cfg(all(framelane_testing, unix))]

use std::path::Path;

use framelane::testing;

/// Every file of a target's corpus and of what it has found; the targets are in `fuzz/`.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target));
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus of {target}");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Checks each input as it is, and with some bytes changed, removed or doubled.
fn replay(target: &str, changes: usize, check: fn(&[u8])) {
    let inputs = inputs(target);
    let seed = std::env::var("FRAMELANE_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut number: u64 = seed.unwrap_or(1);
    println!("fuzz: {target}: FRAMELANE_SEED={number}");
    let mut random = |below: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) as usize % below.max(1)
    };
    for input in &inputs {
        check(input);
        for _ in 0..changes {
            let mut changed = input.clone();
            for _ in 0..1 + random(3) {
                let place = random(changed.len());
                match random(3) {
                    0 => changed.truncate(place),
                    1 => changed.extend_from_within(place..),
                    _ => {
                        if let Some(byte) = changed.get_mut(place) {
                            *byte = [0, 0xFF, 0x80, random(256) as u8][random(4)];
                        }
                    }
                }
            }
            check(&changed);
        }
    }
    println!("fuzz: {target}: {} inputs replayed with {changes} changes each", inputs.len());
}

#[test]
fn batches_that_fuzzing_has_found() {
    replay("batch", 500, testing::batch);
}

#[test]
fn names_that_fuzzing_has_found() {
    replay("name", 500, testing::name);
}

#[test]
fn descriptors_that_fuzzing_has_found() {
    replay("descriptor", 500, testing::descriptor);
}

#[test]
fn channels_that_fuzzing_has_found() {
    replay("channel", 10, testing::channel);
}
