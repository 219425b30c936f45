//! Permissions of a channel's files when publishers replace each other: no user gets frames of another's.
//!
//! Not on Windows. Modes are of Unix. `os/windows` tests the rights there.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use framelane::*;
use framelane_test_kit::Place;

const BEFORE: u8 = 0xA5;
const AFTER: u8 = 0x5A;
const BYTES: u32 = 20_000;

fn options(directory: &Path, mode: u32) -> PublisherOptions {
    PublisherOptions::new().directory(directory).slots(4).permissions(mode)
}

fn send(publisher: &mut Publisher, bytes: u32, value: u8) {
    let layout = Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &vec![value; bytes as usize]).unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Returns true if a file has a part of a frame of this value.
fn holds(file: &mut File, value: u8) -> bool {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes.windows(64).any(|part| part.iter().all(|&byte| byte == value))
}

/// A channel of this mode whose publisher has died. Every slot holds a frame. Returns its data file, open.
fn abandoned(directory: &Path, mode: u32) -> File {
    let mut publisher = options(directory, mode).create("c").unwrap();
    for _ in 0..4 {
        send(&mut publisher, BYTES, BEFORE);
    }
    let kept: Vec<_> =
        files(directory).into_iter().map(|path| (fs::read(&path).unwrap(), mode_of(&path), path)).collect();
    drop(publisher);
    for (bytes, mode, path) in kept {
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    File::open(directory.join("c.data.1")).unwrap()
}

#[test]
fn takeover_for_more_users_shows_no_earlier_frame() {
    for mode in [0o640, 0o660, 0o644, 0o604] {
        let directory = Place::new();
        let _dead = abandoned(directory.path(), 0o600);
        let mut publisher = options(directory.path(), mode).create("c").unwrap();
        let check = |when: &str| {
            for path in files(directory.path()) {
                let open_to_others = mode_of(&path) & 0o077 != 0;
                let found = holds(&mut File::open(&path).unwrap(), BEFORE);
                assert!(!(open_to_others && found), "{when}, mode {mode:o}: {}", path.display());
            }
        };
        check("before its first frame");
        send(&mut publisher, BYTES, AFTER);
        check("after its first frame");
        assert_eq!(publisher.sequence(), 5);
        send(&mut publisher, 3 * BYTES, AFTER);
        check("after it has grown");
        // The other users can subscribe, which takes all three files.
        let expected = [("c.control", mode & !0o022), ("c.readers", mode), ("c.data.3", mode & !0o022)];
        for (name, mode) in expected {
            assert_eq!(mode_of(&directory.path().join(name)), mode, "{name}");
        }
    }
}

#[test]
fn takeover_for_fewer_users_writes_to_no_file_they_have() {
    let directory = Place::new();
    let mut theirs = abandoned(directory.path(), 0o666);
    let mut publisher = options(directory.path(), 0o600).create("c").unwrap();
    for _ in 0..8 {
        send(&mut publisher, BYTES, AFTER);
    }
    assert!(!holds(&mut theirs, AFTER), "a user who may not read the channel any more has its new frames");
    assert!(files(directory.path()).iter().all(|path| mode_of(path) == 0o600));
}

#[test]
fn takeover_for_the_same_users_keeps_the_ring() {
    let directory = Place::new();
    let dead = abandoned(directory.path(), 0o644);
    let mut publisher = options(directory.path(), 0o644).create("c").unwrap();
    send(&mut publisher, BYTES, AFTER);
    let kept = fs::metadata(directory.path().join("c.data.1")).unwrap();
    assert_eq!(kept.ino(), dead.metadata().unwrap().ino());
}

#[test]
fn new_channel_of_a_closed_name_has_no_earlier_frame() {
    let directory = Place::new();
    let mut publisher = options(directory.path(), 0o600).create("c").unwrap();
    send(&mut publisher, BYTES, BEFORE);
    publisher.close();
    let mut publisher = options(directory.path(), 0o644).create("c").unwrap();
    send(&mut publisher, BYTES, AFTER);
    let path = directory.path().join("c.data.1");
    assert!(holds(&mut File::open(&path).unwrap(), AFTER) && !holds(&mut File::open(&path).unwrap(), BEFORE));
}
