//! The reader against a writer at every stage of its work, step by step. This process writes, so no writer is
//! visible: a frame is whole when the next one begins, or when nothing has changed for the settle time.

#[path = "../../../tests/src/random.rs"]
#[allow(dead_code, reason = "the tests use a part of it")]
mod random;

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::time::Duration;

use framelane::{ErrorKind, Layout, PixelFormat};
use framelane_legacy::memory::{Address, Header, Made, OpenCv, Poll, Reader, Writer};
use framelane_test_kit::{Limit, skip};
use random::Random;

const AREA: usize = 12 + 64 * 48 * 3;
const NEVER: Duration = Duration::from_secs(3600);

/// A separate mapping for each test, removed at the end.
struct Mapping(Address, #[expect(dead_code, reason = "it acts when it is dropped")] Limit);

impl Mapping {
    fn new(test: &str) -> Self {
        let name = format!("framelane-legacy-{}-{test}", std::process::id());
        Mapping(format!("legacy-memory:{name}?size=64x48").parse().unwrap(), Limit::new())
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
    Header::of(&layout(), OpenCv::V4).unwrap().to_bytes()
}

/// Writes the part of a frame between two bytes.
fn write(file: &File, value: u8, part: std::ops::Range<usize>) {
    file.write_all_at(&header(), 0).unwrap();
    file.write_all_at(&vec![value; part.len()], 12 + part.start as u64).unwrap();
}

fn frame() -> Poll {
    Poll::Frame(layout())
}

#[test]
fn frame_is_whole_when_the_next_one_begins_at_the_top() {
    let mapping = Mapping::new("begun");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, NEVER);
    let bytes = layout().size_bytes();
    let mut found = Vec::new();
    for value in 1..=20 {
        write(&file, value, 0..bytes);
        // Copied now, or the copy of the frame before is given up.
        while reader.poll().unwrap() == frame() {
            found.push(reader.pixels().to_vec());
        }
        for _ in 0..20 {
            assert_eq!(reader.poll().unwrap(), Poll::Changed);
        }
        // The next frame reaches the upper half.
        write(&file, value + 1, 0..bytes / 4);
        if reader.poll().unwrap() == frame() {
            found.push(reader.pixels().to_vec());
        }
    }
    assert!(found.len() > 10, "{}", found.len());
    for pixels in &found {
        assert!(pixels.iter().all(|&byte| byte == pixels[0]), "a torn frame");
    }
    assert!(found.is_sorted_by(|a, b| a[0] < b[0]));
}

#[test]
fn torn_frame_of_a_preempted_writer_is_never_returned() {
    let mapping = Mapping::new("torn");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, NEVER);
    let bytes = layout().size_bytes();
    // Whole frames first, so that the reader knows where frames differ.
    let mut value = 0;
    for _ in 0..8 {
        value += 1;
        write(&file, value, 0..bytes / 4);
        reader.poll().unwrap();
        write(&file, value, bytes / 4..bytes);
        reader.poll().unwrap();
    }
    // The writer stops at any byte, for long; continues; ends; and restarts, with a poll at each step.
    for stop in (1..bytes).step_by(331).chain([bytes - 1]) {
        value = value % 250 + 1;
        write(&file, value, 0..stop);
        for _ in 0..20 {
            check(&mut reader, stop);
        }
        let middle = stop + (bytes - stop) / 2;
        write(&file, value, stop..middle);
        check(&mut reader, stop);
        write(&file, value, middle..bytes);
        if stop % 2 == 0 {
            check(&mut reader, stop);
        }
        write(&file, value % 250 + 1, 0..100 + stop % 3000);
        check(&mut reader, stop);
    }
    fn check(reader: &mut Reader, stop: usize) {
        if reader.poll().unwrap() == frame() {
            let pixels = reader.pixels();
            assert!(pixels.iter().all(|&byte| byte == pixels[0]), "torn at byte {stop}");
        }
    }
}

#[test]
fn frame_of_an_invisible_writer_is_whole_after_settle_time() {
    let mapping = Mapping::new("settle");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, Duration::ZERO);
    assert!(matches!(reader.poll().unwrap(), Poll::NoFrame(_)));
    write(&file, 7, 0..layout().size_bytes());
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    assert_eq!(reader.poll().unwrap(), frame());
    assert!(reader.pixels().iter().all(|&byte| byte == 7));
    for _ in 0..40 {
        assert_eq!(reader.poll().unwrap(), Poll::Same);
    }
    // The same frame once more is no new one.
    write(&file, 8, 0..100);
    while reader.poll().unwrap() == Poll::Same {}
    write(&file, 7, 0..100);
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    assert_eq!(reader.poll().unwrap(), Poll::Same);
}

#[test]
fn any_changed_byte_is_found_within_sixteen_polls() {
    let mapping = Mapping::new("change");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, Duration::ZERO);
    let bytes = layout().size_bytes();
    write(&file, 0, 0..bytes);
    while reader.poll().unwrap() != frame() {}
    for at in (0..bytes).step_by(191) {
        file.write_all_at(&[at as u8 | 1], 12 + at as u64).unwrap();
        let polls = (1..=16).find(|_| reader.poll().unwrap() != Poll::Same);
        assert!(polls.is_some(), "a change at byte {at} was not found");
        assert_eq!(reader.poll().unwrap(), frame());
        assert_eq!(reader.pixels()[at], at as u8 | 1);
    }
}

#[test]
fn header_that_changes_begins_another_frame() {
    let mapping = Mapping::new("header");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, Duration::ZERO);
    write(&file, 1, 0..layout().size_bytes());
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    file.write_all_at(&Header { width: 32, height: 48, kind: 16 }.to_bytes(), 0).unwrap();
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    assert_eq!(reader.poll().unwrap(), Poll::Frame(Layout::packed(PixelFormat::Bgr8, 32, 48).unwrap()));
    assert_eq!(reader.pixels().len(), 32 * 48 * 3);
    // OpenCV 5's code of the same type.
    file.write_all_at(&Header { width: 64, height: 48, kind: 64 }.to_bytes(), 0).unwrap();
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    assert_eq!(reader.poll().unwrap(), frame());
    file.set_len(20).unwrap();
    assert_eq!(reader.poll().unwrap(), Poll::Missing);
}

/// Damages a mapping as a broken program may do.
fn damage(random: &mut Random, file: &File) {
    let word = |random: &mut Random| match random.below(4) {
        0 => random.number() as i32,
        1 => [0, -1, 1, 48, 64, 16, i32::MAX, i32::MIN][random.below(8) as usize],
        2 => random.below(5000) as i32,
        _ => random.below(70) as i32,
    };
    match random.below(5) {
        0 => file.set_len(random.below(AREA as u64)).unwrap(),
        1 => file.write_all_at(b"a text where a frame was expected\0", 0).unwrap(),
        2 => {
            let at = random.below(AREA as u64 - 8);
            file.write_all_at(&random.number().to_ne_bytes(), at).unwrap();
        }
        _ => {
            let header = Header { width: word(random), height: word(random), kind: word(random) };
            file.write_all_at(&header.to_bytes(), 0).unwrap();
        }
    }
}

#[test]
fn next_whole_frame_is_read_after_any_damage() {
    let rounds = if std::env::var_os("FRAMELANE_DEPTH").is_some() { 100_000 } else { 2000 };
    let mut random = Random::printed("legacy memory damage");
    let mapping = Mapping::new("damage");
    let file = mapping.file();
    let mut reader = Reader::new(&mapping.0, Duration::ZERO);
    let bytes = layout().size_bytes();
    for round in 0..rounds {
        for _ in 0..=random.below(3) {
            damage(&mut random, &file);
            for _ in 0..random.below(4) {
                // A frame, or none, depending on the content.
                reader.poll().unwrap();
            }
        }
        file.set_len(AREA as u64).unwrap();
        let value = (round % 250) as u8;
        write(&file, value, 0..bytes);
        let is_there = |reader: &Reader| {
            reader.pixels().len() == bytes && reader.pixels().iter().all(|&byte| byte == value)
        };
        // Found within 16 polls, and evident in those after.
        let found = (0..40).find(|_| {
            let poll = reader.poll().unwrap();
            (poll == frame() || poll == Poll::Same) && is_there(&reader)
        });
        assert!(found.is_some(), "round {round}: the frame was not read");
    }
}

#[test]
fn written_frame_is_read_back_with_padded_rows() {
    for opencv in [OpenCv::V4, OpenCv::V5] {
        let mapping =
            Mapping(Mapping::new(&format!("round-{opencv}")).0.clone().with_opencv(opencv), Limit::new());
        let mut writer = Writer::open(&mapping.0).unwrap();
        assert_eq!(writer.made(), Made::New);
        let padded = Layout::with_planes(
            PixelFormat::Bgr8,
            1,
            2,
            &[framelane::Plane { offset_bytes: 1, stride_bytes: 5 }],
            20,
        )
        .unwrap();
        let bytes: Vec<u8> = (0..20).collect();
        writer.write(&padded, &bytes).unwrap();
        let mut reader = Reader::new(&mapping.0, Duration::ZERO);
        assert_eq!(reader.poll().unwrap(), Poll::Changed);
        assert_eq!(reader.poll().unwrap(), Poll::Frame(Layout::packed(PixelFormat::Bgr8, 1, 2).unwrap()));
        assert_eq!(reader.pixels(), [1, 2, 3, 6, 7, 8]);
        assert_eq!(Writer::open(&mapping.0).unwrap().made(), Made::Found);
        // Another program's now: not ours to remove.
        Writer::open(&mapping.0).unwrap().remove_if_made();
        assert!(mapping.0.path().exists());
        writer.remove_if_made();
        assert!(!mapping.0.path().exists());
    }
}

#[test]
fn mapping_of_another_user_is_refused_by_the_writer() {
    let mapping = Mapping::new("owner");
    let file = mapping.file();
    std::fs::set_permissions(mapping.0.path(), PermissionsExt::from_mode(0o600)).unwrap();
    if chown(mapping.0.path(), Some(65534), Some(65534)).is_err() {
        skip("root", "only root can give a file away");
        return;
    }
    let error = Writer::open(&mapping.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains("found user 65534"), "{error}");
    assert!(error.hint().unwrap().contains("owner=65534"), "{error:?}");
    let mut bytes = vec![0; AREA];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    // A larger one than is wanted, and an empty one, are not touched either.
    file.set_len(0).unwrap();
    assert_eq!(Writer::open(&mapping.0).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(file.metadata().unwrap().len(), 0);
    file.set_len(AREA as u64).unwrap();
    // The address may name the user.
    let trusted: Address = format!("{}&owner=65534", mapping.0).parse().unwrap();
    Writer::open(&trusted).unwrap().write(&layout(), &vec![1; layout().size_bytes()]).unwrap();
    let mut reader = Reader::new(&trusted, Duration::ZERO);
    assert_eq!(reader.poll().unwrap(), Poll::Changed);
    let wrong: Address = format!("{}&owner=1", mapping.0).parse().unwrap();
    assert_eq!(Writer::open(&wrong).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(Reader::new(&wrong, NEVER).poll().unwrap_err().kind(), ErrorKind::PermissionDenied);
    // Read without a word in the address, with a warning.
    let mut reader = Reader::new(&mapping.0, NEVER);
    reader.poll().unwrap();
    assert!(reader.owner().unwrap().warning(&mapping.0).unwrap().contains("user 65534"));
    assert!(reader.owner().unwrap().warning(&trusted).is_none());
}

#[test]
fn mapping_replaced_by_another_user_while_writing_is_refused() {
    let mapping = Mapping::new("replaced");
    let mut writer = Writer::open(&mapping.0).unwrap();
    let pixels = vec![1; layout().size_bytes()];
    writer.write(&layout(), &pixels).unwrap();
    std::fs::remove_file(mapping.0.path()).unwrap();
    let file = mapping.file();
    if chown(mapping.0.path(), Some(65534), Some(65534)).is_err() {
        skip("root", "only root can give a file away");
        return;
    }
    assert_eq!(writer.write(&layout(), &pixels).unwrap_err().kind(), ErrorKind::PermissionDenied);
    let mut bytes = vec![0; AREA];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    writer.remove_if_made();
    assert!(mapping.0.path().exists(), "it is another user's");
}

#[test]
fn mapping_made_by_another_program_is_not_removed() {
    let mapping = Mapping::new("successor");
    // Removed, and made again by another program.
    let writer = Writer::open(&mapping.0).unwrap();
    std::fs::remove_file(mapping.0.path()).unwrap();
    let file = mapping.file();
    writer.remove_if_made();
    assert!(mapping.0.path().exists(), "another file");
    drop(file);
    std::fs::remove_file(mapping.0.path()).unwrap();
    // Renamed: the name is another file's, and the file keeps its new name.
    let writer = Writer::open(&mapping.0).unwrap();
    let other = mapping.0.path().with_extension("other");
    std::fs::rename(mapping.0.path(), &other).unwrap();
    mapping.file();
    writer.remove_if_made();
    assert!(mapping.0.path().exists() && other.exists());
    std::fs::remove_file(&other).unwrap();
    // A link to the file is not the file.
    std::fs::remove_file(mapping.0.path()).unwrap();
    let writer = Writer::open(&mapping.0).unwrap();
    std::fs::rename(mapping.0.path(), &other).unwrap();
    symlink(&other, mapping.0.path()).unwrap();
    writer.remove_if_made();
    assert!(mapping.0.path().symlink_metadata().is_ok() && other.exists());
    std::fs::remove_file(other).unwrap();
}

#[test]
fn link_in_place_of_a_mapping_is_refused() {
    let mapping = Mapping::new("link");
    let target = std::env::temp_dir().join(mapping.0.name());
    std::fs::write(&target, vec![0; AREA]).unwrap();
    symlink(&target, mapping.0.path()).unwrap();
    assert!(Writer::open(&mapping.0).is_err());
    assert!(Reader::new(&mapping.0, NEVER).poll().is_err());
    std::fs::remove_file(mapping.0.path()).unwrap();
    // A hard link to another file of ours, which anyone may have made.
    let other = mapping.0.path().with_extension("other");
    std::fs::write(&other, vec![0; AREA]).unwrap();
    std::fs::hard_link(&other, mapping.0.path()).unwrap();
    let error = Writer::open(&mapping.0).unwrap_err();
    assert!(error.message().contains("1 name, found 2"), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), vec![0; AREA]);
    std::fs::remove_file(other).unwrap();
    std::fs::remove_file(target).unwrap();
}

#[test]
fn mapping_that_others_can_use_is_warned_about() {
    let mapping = Mapping::new("mode");
    let writer = Writer::open(&mapping.0).unwrap();
    assert_eq!(writer.owner().unwrap().warning(&mapping.0), None);
    for (mode, verb) in [(0o644, "read"), (0o640, "read"), (0o660, "write to"), (0o602, "write to")] {
        std::fs::set_permissions(mapping.0.path(), PermissionsExt::from_mode(mode)).unwrap();
        let warning = Writer::open(&mapping.0).unwrap().owner().unwrap().warning(&mapping.0).unwrap();
        assert!(warning.contains(&format!("can {verb} the mapping")), "{warning}");
    }
}
