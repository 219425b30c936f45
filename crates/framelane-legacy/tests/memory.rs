//! The reader against a writer at every stage of its work, step by step.

use std::fs::File;
use std::os::unix::fs::FileExt;

use framelane::{Layout, PixelFormat};
use framelane_legacy::memory::{Address, Confirmed, Header, Look, Made, Reader, Writer};

const AREA: usize = 12 + 64 * 48 * 3;

/// A mapping of its own for each test, removed at the end.
struct Mapping(Address);

impl Mapping {
    fn new(test: &str) -> Self {
        let name = format!("framelane-legacy-{}-{test}", std::process::id());
        Mapping(format!("legacy-memory:{name}?size=64x48").parse().unwrap())
    }

    /// The file, as an old program has it, made with room for one area.
    fn file(&self) -> File {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(self.0.path());
        let file = file.unwrap();
        file.set_len(AREA as u64).unwrap();
        file
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.path());
    }
}

fn layout() -> Layout {
    Layout::packed(PixelFormat::Bgr8, 64, 48).unwrap()
}

fn header() -> [u8; 12] {
    Header::of(&layout()).unwrap().to_bytes()
}

#[test]
fn a_frame_is_confirmed_only_when_the_writer_has_stood_still_for_two_reads() {
    let mapping = Mapping::new("torn");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0);
    let mut pixels = vec![0; layout().size_bytes()];
    assert!(matches!(reader.look().unwrap(), Look::NoFrame(_)));
    file.write_all_at(&header(), 0).unwrap();
    assert_eq!(reader.look().unwrap(), Look::Changed(layout()));
    // Each time a little more of the frame is there than at the read before.
    for written in [1, 1000, 5000, 9000] {
        file.write_all_at(&vec![7; written], 12).unwrap();
        assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Torn);
    }
    file.write_all_at(&vec![7; pixels.len()], 12).unwrap();
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Torn);
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Frame);
    assert!(pixels.iter().all(|&byte| byte == 7));
    for _ in 0..40 {
        assert_eq!(reader.look().unwrap(), Look::Same);
    }
}

#[test]
fn every_byte_that_changes_is_seen_within_sixteen_looks() {
    let mapping = Mapping::new("change");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0);
    let mut pixels = vec![0; layout().size_bytes()];
    file.write_all_at(&header(), 0).unwrap();
    reader.look().unwrap();
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Frame);
    for at in (0..pixels.len()).step_by(191) {
        file.write_all_at(&[at as u8 | 1], 12 + at as u64).unwrap();
        let looks = (1..=16).find(|_| reader.look().unwrap() != Look::Same);
        assert!(looks.is_some(), "a change at byte {at} was not seen");
        assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Frame);
        assert_eq!(pixels[at], at as u8 | 1);
    }
    // There and back again between two reads: the frame that was seen last.
    file.write_all_at(&[99], 12).unwrap();
    while reader.look().unwrap() == Look::Same {}
    file.write_all_at(&[1], 12).unwrap();
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Torn);
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Same);
}

#[test]
fn a_header_that_changes_between_two_reads_means_looking_again() {
    let mapping = Mapping::new("header");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0);
    let mut pixels = vec![0; layout().size_bytes()];
    file.write_all_at(&header(), 0).unwrap();
    reader.look().unwrap();
    file.write_all_at(&Header { width: 32, height: 48, kind: 16 }.to_bytes(), 0).unwrap();
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::LookAgain);
    let smaller = Layout::packed(PixelFormat::Bgr8, 32, 48).unwrap();
    assert_eq!(reader.look().unwrap(), Look::Changed(smaller));
    // The slot of the frame before is of the wrong size now.
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::LookAgain);
    file.set_len(20).unwrap();
    assert_eq!(reader.look().unwrap(), Look::Missing);
}

#[test]
fn what_a_writer_writes_a_reader_sees_padded_rows_too() {
    let mapping = Mapping::new("round");
    let mut writer = Writer::open(&mapping.0).unwrap();
    assert_eq!(writer.made(), Made::New);
    let padded = Layout::with_planes(
        PixelFormat::Gray8,
        3,
        2,
        &[framelane::Plane { offset_bytes: 1, stride_bytes: 5 }],
        20,
    )
    .unwrap();
    let bytes: Vec<u8> = (0..20).collect();
    writer.write(&padded, &bytes).unwrap();
    let mut reader = Reader::new(&mapping.0);
    let seen = Layout::packed(PixelFormat::Gray8, 3, 2).unwrap();
    assert_eq!(reader.look().unwrap(), Look::Changed(seen));
    let mut pixels = [0; 6];
    assert_eq!(reader.confirm(&mut pixels).unwrap(), Confirmed::Frame);
    assert_eq!(pixels, [1, 2, 3, 6, 7, 8]);
    assert_eq!(Writer::open(&mapping.0).unwrap().made(), Made::Found);
    // Another program's now: not ours to remove.
    Writer::open(&mapping.0).unwrap().remove_if_made();
    assert!(mapping.0.path().exists());
    writer.remove_if_made();
    assert!(!mapping.0.path().exists());
}
