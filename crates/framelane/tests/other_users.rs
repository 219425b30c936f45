//! Directories and files that other users of the machine control. Needs root, which can act for other users.
//!
//! Not on Windows. Needs files of other users, which no test can create on Windows.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Place, skip};

const MALLORY: u32 = 65534;
const ALICE: u32 = 65533;

/// The smallest file of a channel's name whose generation no publisher reaches.
const BEYOND: &str = "c.data.281474976710656";

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("root", "only root can act for other users");
    }
    root
}

fn directory() -> Place {
    let shm = Path::new("/dev/shm");
    let directory = Place::under(if shm.is_dir() { shm } else { Path::new("/tmp") });
    set_mode(directory.path(), 0o755);
    directory
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
}

/// Changes the owner of the symbolic link itself.
fn give_link(link: &Path, user: u32) {
    let user = rustix::process::Uid::from_raw(user);
    rustix::fs::chownat(rustix::fs::CWD, link, Some(user), None, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .unwrap();
}

/// Makes a directory of a user.
fn made(path: PathBuf, user: u32) -> PathBuf {
    fs::create_dir(&path).unwrap();
    give(&path, user);
    path
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn publish(directory: &Path, channel: &str) -> Publisher {
    let mut publisher = PublisherOptions::new().directory(directory).slots(2).create(channel).unwrap();
    send(&mut publisher, 64);
    publisher
}

fn send(publisher: &mut Publisher, bytes: u32) {
    let layout = Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &vec![7; bytes as usize]).unwrap();
}

/// Runs on a thread that acts for an ordinary user.
fn act_for<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let acting = scope.spawn(move || {
            let (user, group) = (rustix::process::Uid::from_raw(user), rustix::process::Gid::from_raw(user));
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        acting.join().unwrap()
    })
}

/// A directory that everyone may write to, as /tmp is.
fn sticky() -> Place {
    let directory = directory();
    set_mode(directory.path(), 0o1777);
    directory
}

#[test]
fn doctor_with_a_flipped_link_spares_the_other_directory() {
    if !is_root() {
        return;
    }
    let root = directory();
    let parent = made(root.path().join("mallory"), MALLORY);
    let (bait, victim) = (made(parent.join("bait"), MALLORY), made(root.path().join("alice"), ALICE));
    let channels: Vec<_> = (0..40).map(|number| format!("c{number}")).collect();
    let alive: Vec<_> = channels.iter().map(|channel| publish(&victim, channel)).collect();
    let before = names(&victim);
    let (link, done) = (parent.join("link"), AtomicBool::new(false));
    symlink(&bait, &link).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for target in [&victim, &bait] {
                    let new = parent.join("new");
                    symlink(target, &new).unwrap();
                    rustix::fs::chownat(
                        rustix::fs::CWD,
                        &new,
                        Some(rustix::process::Uid::from_raw(MALLORY)),
                        None,
                        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                    )
                    .unwrap();
                    fs::rename(&new, &link).unwrap();
                }
            }
        });
        for _ in 0..50 {
            for channel in &channels {
                fs::write(bait.join(format!("{channel}.control")), b"dead").unwrap();
            }
            let _ = doctor(Some(&link), framelane::Leftovers::Remove);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&victim), before);
    drop(alive);
}

#[test]
fn doctor_as_root_refuses_to_remove_in_a_directory_of_others() {
    if !is_root() {
        return;
    }
    let root = directory();
    let foreign = made(root.path().join("foreign"), MALLORY);
    fs::write(foreign.join("c.control"), b"dead").unwrap();
    let error = doctor(Some(&foreign), framelane::Leftovers::Remove).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains(&format!("user {MALLORY} owns the directory")), "{error}");
    assert_eq!(names(&foreign), ["c.control"]);
    // A look is not refused, and the owner may remove.
    assert_eq!(doctor(Some(&foreign), framelane::Leftovers::Report).unwrap().leftovers.len(), 1);
    give(&foreign.join("c.control"), MALLORY);
    let left = act_for(MALLORY, || doctor(Some(&foreign), framelane::Leftovers::Remove)).unwrap().leftovers;
    assert!(left[0].removed && names(&foreign).is_empty(), "{left:?}");
}

#[test]
fn doctor_follows_only_links_of_root_and_its_user() {
    if !is_root() {
        return;
    }
    let root = directory();
    let channels = made(root.path().join("channels"), 0);
    let link = root.path().join("link");
    for (target, inside) in
        [(channels.clone(), ""), (root.path().to_owned(), "channels"), ("channels".into(), "")]
    {
        symlink(&target, &link).unwrap();
        let path = if inside.is_empty() { link.clone() } else { link.join(inside) };
        fs::write(channels.join("c.control"), b"dead").unwrap();
        assert!(doctor(Some(&path), framelane::Leftovers::Remove).unwrap().leftovers[0].removed);
        fs::write(channels.join("c.control"), b"dead").unwrap();
        give_link(&link, MALLORY);
        let error = doctor(Some(&path), framelane::Leftovers::Remove).unwrap_err();
        assert!(error.message().contains("is a symbolic link of another user"), "{error}");
        assert_eq!(names(&channels), ["c.control"]);
        fs::remove_file(&link).unwrap();
    }
    // Links in a circle end.
    symlink("link", &link).unwrap();
    assert_eq!(
        doctor(Some(&link), framelane::Leftovers::Remove).unwrap_err().kind(),
        ErrorKind::SystemFailure
    );
}

#[test]
fn publisher_of_root_refuses_links_of_other_users() {
    if !is_root() {
        return;
    }
    let root = directory();
    let target = made(root.path().join("target"), 0);
    set_mode(&target, 0o1777);
    let link = root.path().join("link");
    symlink(&target, &link).unwrap();
    drop(publish(&link.join("of_root"), "c"));
    give_link(&link, MALLORY);
    for path in [link.clone(), link.join("of_root"), link.join("new/channels")] {
        let error = PublisherOptions::new().directory(&path).create("c").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains("is a symbolic link of another user"), "{error}");
    }
    // Other users can use what is there.
    act_for(ALICE, || {
        drop(publish(&link, "c"));
        assert!(PublisherOptions::new().directory(link.join("new")).create("c").is_err());
    });
    assert_eq!(names(&target), ["of_root"]);
}

#[test]
fn publisher_with_a_flipped_link_changes_no_mode() {
    if !is_root() {
        return;
    }
    let root = directory();
    let parent = made(root.path().join("mallory"), MALLORY);
    let (bait, victim) = (made(parent.join("bait"), MALLORY), made(root.path().join("victim"), 0));
    let treasure = made(victim.join("channels"), 0);
    set_mode(&treasure, 0o755);
    let (link, done) = (parent.join("link"), AtomicBool::new(false));
    act_for(MALLORY, || symlink(&bait, &link)).unwrap();
    std::thread::scope(|scope| {
        let flip = || {
            act_for(MALLORY, || {
                while !done.load(Ordering::Relaxed) {
                    for target in [&victim, &bait] {
                        let new = parent.join("new");
                        symlink(target, &new).unwrap();
                        fs::rename(&new, &link).unwrap();
                    }
                }
            })
        };
        scope.spawn(flip);
        for _ in 0..2000 {
            let _ = PublisherOptions::new().directory(link.join("channels")).create("c");
            let _ = fs::remove_dir_all(bait.join("channels"));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::metadata(&treasure).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(names(&treasure).is_empty());
}

#[test]
fn publisher_follows_links_of_proc_to_their_targets() {
    let root = directory();
    let open = fs::File::open(root.path()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&open);
    let publisher = publish(Path::new(&format!("/proc/self/fd/{number}/made")), "c");
    assert!(root.path().join("made/c.control").exists());
    drop(publisher);
}

#[test]
fn publisher_skips_files_of_other_users_in_a_shared_directory() {
    if !is_root() {
        return;
    }
    let root = sticky();
    for name in [BEYOND, "c.data.1", "c.data.3", "c.data.4"] {
        fs::write(root.path().join(name), b"foreign").unwrap();
        give(&root.path().join(name), MALLORY);
    }
    act_for(ALICE, || {
        let mut publisher = publish(root.path(), "c");
        let options = SubscriberOptions::new().directory(root.path()).open_timeout(Some(Duration::ZERO));
        let mut subscriber = options.open("c").unwrap();
        for bytes in [64, 10_000, 100_000] {
            send(&mut publisher, bytes);
            assert_eq!(subscriber.recv_timeout(Duration::ZERO).unwrap().bytes().len(), bytes as usize);
        }
    });
    let mut foreign = [BEYOND, "c.data.1", "c.data.3", "c.data.4"];
    foreign.sort_unstable();
    assert_eq!(names(root.path()), foreign);
}

#[test]
fn publisher_skips_a_foreign_name_at_a_take_over() {
    if !is_root() {
        return;
    }
    let root = sticky();
    let _first = act_for(ALICE, || publish(root.path(), "c"));
    // The first publisher holds its lock until the end. The copy of its file has none, as if its process had
    // died.
    let control = root.path().join("c.control");
    fs::rename(&control, root.path().join("old")).unwrap();
    fs::copy(root.path().join("old"), &control).unwrap();
    give(&control, ALICE);
    for name in [BEYOND, "c.data.2"] {
        fs::write(root.path().join(name), b"foreign").unwrap();
        give(&root.path().join(name), MALLORY);
    }
    act_for(ALICE, || {
        let mut publisher = publish(root.path(), "c");
        send(&mut publisher, 10_000);
    });
    assert!(root.path().join("c.data.2").exists());
}

#[test]
fn publisher_removes_its_own_files_of_an_impossible_generation() {
    let root = directory();
    fs::write(root.path().join(BEYOND), b"mine").unwrap();
    let publisher = publish(root.path(), "c");
    assert!(!root.path().join(BEYOND).exists());
    drop(publisher);
    assert!(names(root.path()).is_empty());
}

#[test]
fn publisher_names_the_owner_of_a_squatted_readers_file() {
    if !is_root() {
        return;
    }
    let root = sticky();
    fs::write(root.path().join("c.readers"), b"foreign").unwrap();
    give(&root.path().join("c.readers"), MALLORY);
    let error =
        act_for(ALICE, || PublisherOptions::new().directory(root.path()).create("c").map(drop).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains(&format!("user {MALLORY} owns it")), "{error}");
    assert_eq!(names(root.path()), ["c.readers"]);
}

#[test]
fn doctor_in_a_shared_directory_removes_its_users_files_only() {
    if !is_root() {
        return;
    }
    let root = sticky();
    let file = |name: &str, user| {
        fs::write(root.path().join(name), b"dead").unwrap();
        give(&root.path().join(name), user);
        set_mode(&root.path().join(name), 0o644);
    };
    file("mine.control", ALICE);
    file("mine.data.7", MALLORY);
    file("foreign.control", MALLORY);
    file("stray.data.1", MALLORY);
    let found = act_for(ALICE, || doctor(Some(root.path()), framelane::Leftovers::Remove)).unwrap();
    assert_eq!(names(root.path()), ["foreign.control", "mine.data.7", "stray.data.1"]);
    let removed: Vec<_> = found.leftovers.iter().map(|left| (&*left.channel, left.removed)).collect();
    assert_eq!(removed, [("foreign", false), ("mine", true), ("mine", false), ("stray", false)]);
    for left in found.leftovers.iter().filter(|left| !left.removed) {
        assert!(!left.removable && left.reason.contains(&format!("only user {MALLORY} or root")), "{left:?}");
    }
    // Root may remove all of it.
    doctor(Some(root.path()), framelane::Leftovers::Remove).unwrap();
    assert!(names(root.path()).is_empty());
}
