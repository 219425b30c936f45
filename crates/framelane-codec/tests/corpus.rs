//! Findings of the fuzzer, and some thousand changes of them, through the same check as the fuzz target.
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
        framelane_codec::testing::codec(input);
        // Each byte of what stands in front, and some of the rest.
        for at in (0..input.len()).filter(|at| *at < 64 || at % 31 == 0) {
            framelane_codec::testing::codec(&input[..at]);
            for byte in [0, 1, 0x80, 0xFF] {
                let mut changed = input.clone();
                changed[at] = byte;
                framelane_codec::testing::codec(&changed);
            }
        }
    }
    println!("fuzz: codec: {} inputs replayed", inputs.len());
}

#[test]
fn frames_of_every_stride_and_offset_are_encoded_alike() {
    let mut tried = 0;
    for codec in 0x80..0x84_u8 {
        for format in 0..13 {
            for (power, plane) in (0..34).flat_map(|power| (0..3_u8).map(move |plane| (power, plane))) {
                // Offset and stride in turn; sizes that are scaled and that are not.
                for number in [2 * plane, 2 * plane + 1] {
                    let mut input = vec![codec, format, 16, 2, (power % 3) * 8, (power % 3) * 4];
                    let mut numbers = [0_u8; 14];
                    numbers[2 * usize::from(number)] = power;
                    numbers[2 * usize::from(number) + 1] = 1;
                    // H.264 takes milliseconds to open.
                    if codec == 0x83 && power % 8 != 7 && power != 31 && power != 32 {
                        continue;
                    }
                    input.extend(numbers);
                    input.extend(1..=40);
                    framelane_codec::testing::codec(&input);
                    tried += 1;
                }
            }
        }
    }
    println!("fuzz: codec: {tried} layouts encoded");
}
