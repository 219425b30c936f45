//! Faults outside framelane: each one returns an error of the right kind with a hint.
//!
//! Not on Windows. Limits of a process are of Unix, and so are links.
#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Place, skip};

/// Set in a copy of this program that runs one test's other half, under separate conditions.
const HALF: &str = "FRAMELANE_TEST_HALF";

fn publisher(directory: &Path) -> PublisherOptions {
    PublisherOptions::new().directory(directory)
}

fn subscriber(directory: &Path) -> SubscriberOptions {
    SubscriberOptions::new().directory(directory).open_timeout(Some(Duration::ZERO))
}

fn gray(bytes: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap()
}

/// Checks the kind, that there is a hint, and that the message has these words.
fn assert_error(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "no hint: {error}");
    for word in words {
        assert!(error.to_string().contains(word), "expected {word:?} in: {error}");
    }
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// A channel `c` with one frame whose publisher is gone without having closed it.
fn abandoned(directory: &Path) {
    let mut publisher = publisher(directory).create("c").unwrap();
    publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    let names = ["c.control", "c.readers", "c.data.1"].map(|name| directory.join(name));
    let kept: Vec<_> = names.iter().map(|path| std::fs::read(path).unwrap()).collect();
    drop(publisher);
    for (path, bytes) in names.iter().zip(kept) {
        std::fs::write(path, bytes).unwrap();
    }
}

/// Runs the test `name` in another process, made by `command`, with [`HALF`] set to `half`.
fn run_half(mut command: Command, name: &str, half: &Path) -> bool {
    let output = command
        .args([name, "--exact", "--nocapture"])
        .env(HALF, half)
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

fn half() -> Option<PathBuf> {
    std::env::var_os(HALF).map(PathBuf::from)
}

// ---- names and sizes ---------------------------------------------------------------------------------

#[test]
fn invalid_name_is_refused_by_every_call() {
    let directory = Place::new();
    let path = directory.path();
    let names = ["", "a//b", "/a", "a/", "..", "a/../b", "../c", "a b", "a@b", "a\n", "ä", &"x".repeat(201)];
    for name in names {
        let errors = [
            publisher(path).create(name).err(),
            subscriber(path).open(name).err(),
            status(Some(path), name).err(),
        ];
        for error in errors {
            assert_error(&error.unwrap(), ErrorKind::InvalidName, &["channel name", "letters"]);
        }
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn every_valid_name_is_listed_and_looked_after() {
    let directory = Place::new();
    let path = directory.path();
    for name in ["cam0", "a/b/c", "A.b_c-9", "x.control", ".hidden", "-", "_", &"x".repeat(200)] {
        let publisher = publisher(path).create(name).unwrap();
        let listed: Vec<_> = list(Some(path)).unwrap().into_iter().map(|status| status.name).collect();
        assert_eq!(listed, [name]);
        drop(publisher);
    }
}

#[test]
fn a_frame_that_is_too_large_is_refused_before_anything_is_made() {
    let directory = Place::new();
    let error = Layout::packed(PixelFormat::Bgr8, u32::MAX, u32::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FrameTooLarge, "{error}");
    let error = Layout::packed(PixelFormat::Gray8, 1 << 17, 1 << 17).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FrameTooLarge, "{error}");
    let mut publisher = publisher(directory.path()).create("c").unwrap();
    let owned = publisher.try_loan_owned(&gray(64)).unwrap();
    let error = Error::from(publisher.publish_owned(&owned, &gray(5000), &FrameInfo::default()).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::FrameTooLarge);
    assert!(error.message().contains("4096") && error.message().contains("5000"), "{error}");
}

// ---- room and permissions ----------------------------------------------------------------------------

#[test]
fn no_space_error_names_need_and_free_and_channel_continues() {
    let name = "no_space_error_names_need_and_free_and_channel_continues";
    if let Some(directory) = half() {
        return too_little_room(&directory);
    }
    // Not in /dev/shm, for which the hint is another one.
    let directory = Place::under(std::env::temp_dir());
    let mount = format!("mount -t tmpfs -o size=4m none '{}' && exec \"$@\"", directory.path().display());
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"]);
        command
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        skip("user-namespaces", "a small tmpfs cannot be mounted");
        return;
    }
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap());
    assert!(run_half(command, name, directory.path()));
}

fn too_little_room(directory: &Path) {
    let hint = ["free or add room", "fewer slots", "doctor"];
    let mut first = publisher(directory).slots(4).create("c").unwrap();
    let mut reader = subscriber(directory).open("c").unwrap();
    first.send(&gray(1000), &FrameInfo::default(), &[1; 1000]).unwrap();
    // 4 slots of 2 MiB do not fit in 4 MiB.
    let error = Error::from(first.loan(&gray(2 << 20)).err().unwrap());
    assert_error(&error, ErrorKind::NoSpace, &hint);
    assert_error(&error, ErrorKind::NoSpace, &["needs 8396800 bytes", "4 slots of 2097152", "of 4194304"]);
    // What is there is whole, and the next frame that fits is published.
    assert_eq!(reader.recv().unwrap().bytes(), [1; 1000]);
    assert_eq!(first.send(&gray(900), &FrameInfo::default(), &[2; 900]).unwrap(), Some(2));
    assert_eq!(reader.recv().unwrap().bytes(), [2; 900]);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 3, "no half-made file is left");
    // A file system without a free page: a second channel cannot even begin.
    let filler = directory.join("filler");
    let (mut bytes, file) = (4 << 20, File::create(&filler).unwrap());
    while bytes > 0 {
        let written = file.write_at(&vec![0; bytes], file.metadata().unwrap().len());
        bytes = if written.is_ok_and(|count| count > 0) { bytes } else { bytes / 2 };
    }
    let error = publisher(directory).create("d").err().unwrap();
    assert_error(&error, ErrorKind::NoSpace, &["4096 bytes", "free room"]);
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 4);
    assert_eq!(first.send(&gray(800), &FrameInfo::default(), &[3; 800]).unwrap(), Some(3));
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    drop(publisher(directory).create("d").unwrap());
}

#[test]
fn another_user_is_told_what_to_do_and_a_group_may_be_let_in() {
    let name = "another_user_is_told_what_to_do_and_a_group_may_be_let_in";
    if let Some(directory) = half() {
        return as_another_user(&directory);
    }
    let directory = Place::new();
    // A copy that another user may run: the target directory may be closed to it.
    let program = directory.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let channels = directory.path().join("channels");
    std::fs::create_dir(&channels).unwrap();
    std::fs::set_permissions(&channels, PermissionsExt::from_mode(0o777)).unwrap();
    let mut closed = publisher(&channels).create("closed").unwrap();
    let mut readable = publisher(&channels).permissions(0o644).create("readable").unwrap();
    let mut open = publisher(&channels).permissions(0o666).create("open").unwrap();
    for publisher in [&mut closed, &mut readable, &mut open] {
        publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    if !command.arg("true").output().is_ok_and(|output| output.status.success()) {
        skip("root", "this user cannot become another");
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    assert!(run_half(command, name, &channels));
    // The other user's channel is refused to no user who may read it, and no other publisher took ours.
    assert_eq!(open.send(&gray(64), &FrameInfo::default(), &[2; 64]).unwrap(), Some(2));
}

fn as_another_user(directory: &Path) {
    let hint = ["same user", "--permissions 660", "FRAMELANE_DIR"];
    for name in ["closed", "readable"] {
        // Reading frames is not enough to subscribe: a record in the readers file has to be written.
        let error = subscriber(directory).open(name).err().unwrap();
        assert_error(&error, ErrorKind::PermissionDenied, &hint);
        let error = publisher(directory).create(name).err().unwrap();
        assert_error(&error, ErrorKind::PermissionDenied, &hint);
    }
    let mut reader = subscriber(directory).open("open").unwrap();
    assert_eq!(reader.recv().unwrap().bytes(), [1; 64]);
    for file in ["open.control", "open.data.1"] {
        let opened = File::options().write(true).open(directory.join(file));
        assert!(opened.is_err(), "only the owner may write to {file}, with any mode");
    }
    let error = publisher(directory).create("open").err().unwrap();
    assert_error(&error, ErrorKind::PermissionDenied, &[]);
    // A directory in which nothing may be made.
    let error = publisher(directory.parent().unwrap()).create("c").err().unwrap();
    assert_error(&error, ErrorKind::PermissionDenied, &["set FRAMELANE_DIR"]);
}

#[test]
fn a_directory_that_cannot_be_is_an_error() {
    let directory = Place::new();
    let file = directory.path().join("file");
    File::create(&file).unwrap();
    for path in [&file, &file.join("below")] {
        assert!(publisher(path).create("c").is_err());
        assert!(subscriber(path).open("c").is_err());
        assert!(list(Some(path)).is_err() && doctor(Some(path), framelane::Leftovers::Remove).is_err());
    }
    assert!(file.exists());
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let directory = Place::new();
    let path = directory.path();
    let target = path.join("target");
    std::fs::write(&target, [7; 4096]).unwrap();
    for name in ["c.control", "c.readers", "c.data.1"] {
        std::os::unix::fs::symlink(&target, path.join(name)).unwrap();
        let created = publisher(path).create("c");
        if let Ok(mut publisher) = created {
            publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
        }
        assert_eq!(std::fs::read(&target).unwrap(), [7; 4096], "{name}");
        let _ = std::fs::remove_file(path.join(name));
    }
}

// ---- files of another version, and files that are damaged ----------------------------------------------

#[test]
fn other_layout_major_is_refused_and_doctor_removes_it() {
    let directory = Place::new();
    let path = directory.path();
    let _live = publisher(path).create("live").unwrap();
    write_at(&path.join("live.control"), 8, &7_u32.to_le_bytes());
    let words = ["layout version 7.2", "speaks 1.2", "live.control"];
    let error = subscriber(path).open("live").err().unwrap();
    assert_error(&error, ErrorKind::IncompatibleVersion, &words);
    let error = status(Some(path), "live").err().unwrap();
    assert_error(&error, ErrorKind::IncompatibleVersion, &words);
    abandoned(path);
    write_at(&path.join("c.control"), 8, &7_u32.to_le_bytes());
    let error = publisher(path).create("c").err().unwrap();
    assert_error(&error, ErrorKind::IncompatibleVersion, &["7.2", "1.2", "doctor --fix"]);
    doctor(Some(path), framelane::Leftovers::Remove).unwrap();
    drop(publisher(path).create("c").unwrap());
}

#[test]
fn a_newer_minor_layout_version_is_accepted() {
    let directory = Place::new();
    let path = directory.path();
    let mut publisher = publisher(path).create("c").unwrap();
    publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    for name in ["c.control", "c.readers", "c.data.1"] {
        write_at(&path.join(name), 12, &9_u32.to_le_bytes());
    }
    assert_eq!(subscriber(path).open("c").unwrap().recv().unwrap().bytes(), [1; 64]);
}

/// Damage to a file, and the words of the error for it.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 6] = [
    ("empty", |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap(), "found 0"),
    ("cut", |path| File::options().write(true).open(path).unwrap().set_len(100).unwrap(), "found 100"),
    (
        "longer",
        |path| File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap(),
        "found 1048576",
    ),
    ("zeroed", |path| write_at(path, 0, &[0; 4096]), "does not begin with \"FRML"),
    ("magic", |path| write_at(path, 3, b"X"), "does not begin with \"FRML"),
    (
        "channel id",
        |path| write_at(path, if path.ends_with("c.control") { 24 } else { 16 }, &[1; 8]),
        "belongs to another",
    ),
];

#[test]
fn damaged_control_file_is_an_error_until_doctor_removes_it() {
    for (what, damage, words) in &DAMAGES[..5] {
        let directory = Place::new();
        let path = directory.path();
        abandoned(path);
        damage(&path.join("c.control"));
        let errors = [
            publisher(path).create("c").err(),
            subscriber(path).open("c").err(),
            status(Some(path), "c").err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("no error: {what}"));
            assert_error(&error, ErrorKind::Damaged, &["c.control", "doctor --fix", words]);
        }
        let listed = list(Some(path)).unwrap();
        assert!(matches!(&listed[..], [ChannelStatus { state: ChannelState::Damaged(_), .. }]), "{what}");
        let found = doctor(Some(path), framelane::Leftovers::Remove).unwrap();
        assert!(found.leftovers.len() == 1 && found.leftovers[0].removed && found.live_channels == 0);
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "{what}");
        drop(publisher(path).create("c").unwrap());
    }
}

#[test]
fn damaged_readers_file_is_refused_and_replaced_when_dead() {
    for (what, damage, words) in DAMAGES {
        let directory = Place::new();
        let path = directory.path();
        abandoned(path);
        damage(&path.join("c.readers"));
        let mut publisher = publisher(path).create("c").unwrap_or_else(|error| panic!("{what}: {error}"));
        publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
        assert_eq!(subscriber(path).open("c").unwrap().recv().unwrap().bytes(), [1; 64]);
        // Not through the publisher's own file: a cut would be a SIGBUS for it.
        let bytes = std::fs::read(path.join("c.readers")).unwrap();
        std::fs::remove_file(path.join("c.readers")).unwrap();
        std::fs::write(path.join("c.readers"), bytes).unwrap();
        damage(&path.join("c.readers"));
        let error = subscriber(path).open("c").err().unwrap_or_else(|| panic!("no error: {what}"));
        assert_error(&error, ErrorKind::Damaged, &["c.readers", "doctor", words]);
        assert!(publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap().is_some());
    }
}

#[test]
fn damaged_data_file_is_an_error_and_the_next_ring_is_whole() {
    for (what, damage, words) in DAMAGES.into_iter().filter(|(what, ..)| *what != "longer") {
        let directory = Place::new();
        let path = directory.path();
        let mut publisher = publisher(path).create("c").unwrap();
        publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
        let data = path.join("c.data.1");
        let bytes = std::fs::read(&data).unwrap();
        std::fs::remove_file(&data).unwrap();
        std::fs::write(&data, bytes).unwrap();
        damage(&data);
        let mut reader = subscriber(path).open("c").unwrap();
        for _ in 0..3 {
            let error = Error::from(reader.recv_timeout(Duration::ZERO).unwrap_err());
            assert_error(&error, ErrorKind::Damaged, &["c.data.1", words]);
        }
        assert_eq!(status(Some(path), "c").unwrap().layout, None, "{what}");
        publisher.send(&gray(10_000), &FrameInfo::default(), &[2; 10_000]).unwrap();
        assert_eq!(reader.recv().unwrap().bytes(), [2; 10_000], "{what}");
    }
}

#[test]
fn data_header_beyond_the_end_of_the_file_is_refused() {
    let words: [(u64, &[u8]); 8] = [
        (40, &0_u32.to_le_bytes()),
        (40, &129_u32.to_le_bytes()),
        (40, &u32::MAX.to_le_bytes()),
        (44, &64_u32.to_le_bytes()),
        (48, &8192_u64.to_le_bytes()),
        (56, &0_u64.to_le_bytes()),
        (56, &u64::MAX.to_le_bytes()),
        (64, &(u64::MAX / 2).to_le_bytes()),
    ];
    for (offset, bytes) in words {
        let directory = Place::new();
        let path = directory.path();
        let mut publisher = publisher(path).create("c").unwrap();
        publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
        write_at(&path.join("c.data.1"), offset, bytes);
        let mut reader = subscriber(path).open("c").unwrap();
        let error = Error::from(reader.recv_timeout(Duration::ZERO).unwrap_err());
        assert_error(&error, ErrorKind::Damaged, &["c.data.1", "slots of"]);
    }
}

#[test]
fn removed_files_of_a_live_channel_end_it_for_subscribers() {
    let directory = Place::new();
    let path = directory.path();
    let mut first = publisher(path).create("c").unwrap();
    let mut reader = subscriber(path).open("c").unwrap();
    first.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    assert_eq!(reader.recv().unwrap().sequence(), 1);
    for entry in std::fs::read_dir(path).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    first.send(&gray(64), &FrameInfo::default(), &[2; 64]).unwrap();
    assert_eq!(reader.recv().unwrap().bytes(), [2; 64]);
    assert_eq!(subscriber(path).open("c").err().unwrap().kind(), ErrorKind::NotFound);
    let second = publisher(path).create("c").unwrap();
    drop(first);
    assert!(matches!(reader.recv(), Err(RecvError::Closed)));
    assert_eq!(second.subscribers(), 0);
}

#[test]
fn garbage_in_the_directory_disturbs_neither_list_nor_doctor() {
    let directory = Place::new();
    let path = directory.path();
    let strange =
        ["x", ".x", "a b.control", "c.data.x", "c.data.", ".c.zz.new", "c.control.bak", "@.control"];
    for name in strange {
        std::fs::write(path.join(name), b"not ours").unwrap();
    }
    std::fs::create_dir(path.join("d.control")).unwrap();
    std::fs::create_dir(path.join("folder")).unwrap();
    let _publisher = publisher(path).create("c").unwrap();
    let listed = list(Some(path)).unwrap();
    assert!(listed.iter().any(|status| status.name == "c" && status.state == ChannelState::Live));
    doctor(Some(path), framelane::Leftovers::Remove).unwrap();
    for name in strange {
        assert!(path.join(name).exists(), "{name} is not framelane's to remove");
    }
    assert!(publisher(path).create("d").is_err());
}

#[test]
fn source_of_a_call_error_is_the_system_error() {
    let lost = || Error::from_io("reading", std::io::Error::other("lost"));
    let errors: [Box<dyn std::error::Error>; 3] = [
        Box::new(LoanError::Other(lost())),
        Box::new(RecvError::Other(lost())),
        Box::new(MatchError::Recv(RecvError::Other(lost()))),
    ];
    for error in errors {
        assert_eq!(error.source().unwrap().to_string(), "lost");
        assert_eq!(error.to_string(), lost().to_string());
    }
}

#[test]
fn displayed_name_of_a_kind_or_depth_parses_back() {
    for &kind in ErrorKind::ALL {
        assert_eq!(kind.to_string().parse::<ErrorKind>().unwrap(), kind);
    }
    for &depth in Depth::ALL {
        assert_eq!(depth.to_string().parse::<Depth>().unwrap(), depth);
    }
    assert_eq!("other".parse::<ErrorKind>().unwrap_err().kind(), ErrorKind::InvalidOption);
    assert_eq!("u9".parse::<Depth>().unwrap_err().kind(), ErrorKind::InvalidOption);
}
