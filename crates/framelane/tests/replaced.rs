//! Foreign objects with the name of a channel's file: framelane does not wait for them, follow them, or write
//! to their targets.
//!
//! Not on Windows. Links, sockets and FIFOs in the directory are of Unix.
#![cfg(unix)]

use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Place, skip};

const TREASURE: &[u8] = &[7; 8192];

/// Makes a foreign object at a path; it may lead to the file `treasure`.
type Make = fn(path: &Path, treasure: &Path) -> std::io::Result<()>;

fn node(path: &Path, kind: libc::mode_t, device: libc::dev_t) -> std::io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: a path that ends in 0, and numbers.
    let made = unsafe { libc::mknod(path.as_ptr(), kind | 0o666, device) };
    if made == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The word that an error must have for the object, if it can be distinguished from a channel's file.
const STRANGERS: [(&str, &str, Make); 10] = [
    ("a directory", "a directory", |path, _| std::fs::create_dir(path)),
    ("a full directory", "a directory", |path, _| {
        std::fs::create_dir(path)?;
        std::fs::write(path.join("x"), b"x")
    }),
    ("a link to a file", "a symbolic link", |path, treasure| symlink(treasure, path)),
    ("a link to nowhere", "a symbolic link", |path, _| symlink("nowhere", path)),
    ("a link to itself", "a symbolic link", |path, _| symlink(path, path)),
    ("a FIFO", "a FIFO", |path, _| node(path, libc::S_IFIFO, 0)),
    ("a socket", "a socket", |path, _| UnixListener::bind(path).map(drop)),
    // /dev/zero, which returns bytes endlessly.
    ("a device", "a device", |path, _| node(path, libc::S_IFCHR, libc::makedev(1, 5))),
    ("another name of a file", "", |path, treasure| std::fs::hard_link(treasure, path)),
    ("a file of another user", "", |path, _| {
        std::fs::write(path, TREASURE)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        chown(path, Some(65534), Some(65534))
    }),
];

fn gray(bytes: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap()
}

fn send(publisher: &mut Publisher, bytes: u32) -> Result<Option<u64>, Error> {
    publisher.send(&gray(bytes), &FrameInfo::default(), &vec![3; bytes as usize]).map_err(Error::from)
}

/// Errors say what is there, and what to do.
fn assert_told<T>(result: Result<T, Error>, what: &str, word: &str) {
    if let Err(error) = result {
        assert!(error.message().contains(word), "{what}: {error}");
        assert!(error.hint().is_some(), "{what}: {error}");
        let kinds = [ErrorKind::Damaged, ErrorKind::PermissionDenied, ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
    }
}

/// Replaces `file` by each foreign object, and runs the publisher or subscriber that may open it.
fn in_place_of(file: &str, meet: impl Fn(&Path, &str, &str)) {
    let shm = Path::new("/dev/shm");
    for (what, word, make) in STRANGERS {
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let directory = Place::under(parent);
        let treasure = directory.path().join("treasure");
        std::fs::write(&treasure, TREASURE).unwrap();
        let path = directory.path().join("channels").join(file);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let set = |path: &Path| {
            let made = make(path, &treasure);
            if made.is_err() {
                skip("root", format_args!("{what} cannot be made"));
            }
            made.is_ok()
        };
        if !set(&path) {
            continue;
        }
        std::fs::rename(&path, directory.path().join("stranger")).unwrap();
        meet(directory.path(), &format!("{what} instead of {file}"), word);
        assert_eq!(std::fs::read(&treasure).unwrap(), TREASURE, "{what} instead of {file}");
    }
}

/// Moves the foreign object to its place and removes the previous file.
fn put(root: &Path, file: &str) {
    let path = root.join("channels").join(file);
    let _ = std::fs::remove_file(&path);
    std::fs::rename(root.join("stranger"), path).unwrap();
}

/// All that looks from outside.
fn look(root: &Path) {
    let channels = root.join("channels");
    for leftovers in
        [framelane::Leftovers::Report, framelane::Leftovers::Remove, framelane::Leftovers::Report]
    {
        let fix = leftovers == framelane::Leftovers::Remove;
        let _ = list(Some(&channels)).unwrap();
        let _ = status(Some(&channels), "c");
        for leftover in doctor(Some(&channels), leftovers).unwrap().leftovers {
            assert_eq!(leftover.removed, fix && leftover.removable, "{leftover:?}");
            assert!(leftover.removable || leftover.reason.contains("remove it yourself"), "{leftover:?}");
        }
    }
}

fn options(root: &Path) -> (PublisherOptions, SubscriberOptions) {
    let channels = root.join("channels");
    let subscriber = SubscriberOptions::new().directory(&channels).open_timeout(Some(Duration::ZERO));
    (PublisherOptions::new().directory(&channels), subscriber)
}

#[test]
fn publisher_survives_foreign_objects_named_like_its_files() {
    for file in ["c.control", "c.readers", "c.data.1"] {
        in_place_of(file, |root, what, word| {
            let (publisher, subscriber) = options(root);
            put(root, file);
            // Either it is refused, or it has created another file there.
            match publisher.create("c") {
                Ok(mut publisher) => match send(&mut publisher, 64) {
                    Ok(sent) => {
                        assert_eq!(sent, Some(1), "{what}");
                        let mut subscriber = subscriber.open("c").unwrap();
                        assert_eq!(subscriber.recv_timeout(Duration::ZERO).unwrap().bytes(), [3; 64]);
                    }
                    Err(error) => assert_told::<()>(Err(error), what, word),
                },
                Err(error) => assert_told::<()>(Err(error), what, word),
            }
            look(root);
        });
    }
}

#[test]
fn subscriber_survives_foreign_objects_named_like_its_files() {
    for file in ["c.control", "c.readers", "c.data.1"] {
        in_place_of(file, |root, what, word| {
            let (publisher, subscriber) = options(root);
            let mut publisher = publisher.create("c").unwrap();
            send(&mut publisher, 64).unwrap();
            let mut early = subscriber.open("c").unwrap();
            put(root, file);
            let opened = subscriber.open("c");
            if let Ok(mut late) = opened {
                // The control and readers files are whole: the frame cannot be had, unless from the true
                // file.
                let received = late.recv_timeout(Duration::ZERO).map(drop).map_err(Error::from);
                assert_eq!(file, "c.data.1", "{what}");
                assert_told(
                    received.map_err(|error| {
                        if error.kind() == ErrorKind::Timeout {
                            Error::new(ErrorKind::NotFound, word).with_hint("")
                        } else {
                            error
                        }
                    }),
                    what,
                    word,
                );
            } else {
                assert_told(opened.map(drop), what, word);
            }
            // A process that was attached before has the true files.
            assert_eq!(early.recv_timeout(Duration::ZERO).unwrap().bytes(), [3; 64], "{what}");
            send(&mut publisher, 64).unwrap();
            assert_eq!(early.recv_timeout(Duration::ZERO).unwrap().bytes(), [3; 64], "{what}");
            look(root);
        });
    }
}

#[test]
fn growing_ring_survives_a_foreign_object_named_like_a_file() {
    in_place_of("c.data.2", |root, what, word| {
        let (publisher, subscriber) = options(root);
        let mut publisher = publisher.create("c").unwrap();
        send(&mut publisher, 64).unwrap();
        let mut subscriber = subscriber.open("c").unwrap();
        drop(subscriber.recv_timeout(Duration::ZERO).unwrap());
        put(root, "c.data.2");
        match send(&mut publisher, 10_000) {
            Ok(sent) => {
                assert_eq!(sent, Some(2), "{what}");
                assert_eq!(subscriber.recv_timeout(Duration::ZERO).unwrap().bytes(), [3; 10_000]);
            }
            Err(error) => {
                assert_told::<()>(Err(error), what, word);
                // Frames of the present size pass as before.
                assert_eq!(send(&mut publisher, 64).unwrap(), Some(2), "{what}");
                assert_eq!(subscriber.recv_timeout(Duration::ZERO).unwrap().bytes(), [3; 64]);
            }
        }
        look(root);
    });
}

#[test]
fn files_without_permissions_are_refused_with_a_hint() {
    // Root may open everything: then there is nothing to refuse.
    let directory = Place::new();
    let options = PublisherOptions::new().directory(directory.path());
    let _publisher = options.create("c").unwrap();
    for file in ["c.control", "c.readers"] {
        std::fs::set_permissions(directory.path().join(file), PermissionsExt::from_mode(0o000)).unwrap();
        if File::open(directory.path().join(file)).is_ok() {
            skip("ordinary-user", "permissions do not stop this user");
            return;
        }
        let subscriber =
            SubscriberOptions::new().directory(directory.path()).open_timeout(Some(Duration::ZERO));
        assert_told(subscriber.open("c").map(drop), file, "ermission");
    }
}
