//! Files that other users, or links, have put in the way of keys and clients files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use framelane::{Error, ErrorKind};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::security::{Client, ClientsFile, IdentityOptions, Role, Token};

const NOBODY: u32 = 65534;

fn add(directory: &Path) -> Result<(), Error> {
    let client = Client::with_token("lab", &Token::generate()?, "**".parse()?, "".parse()?);
    ClientsFile::in_directory(directory).add(&client)
}

fn create(directory: &Path) -> Result<(), Error> {
    IdentityOptions::new(Role::Client, "lab").create(directory).map(drop)
}

type Write = fn(&Path) -> Result<(), Error>;

const WRITERS: [Write; 2] = [add, create];

/// Makes `path` a file of another user. False without root.
fn give_away(path: &Path) -> bool {
    let given = lchown(path, Some(NOBODY), None).is_ok();
    if !given {
        framelane_test_kit::skip("root", "only root can give files away");
    }
    given
}

#[test]
fn lock_that_is_a_link_or_a_fifo_is_refused() {
    for write in WRITERS {
        let place = tempfile::tempdir().unwrap();
        let (lock, target) = (place.path().join("lock"), place.path().join("target"));
        symlink(&target, &lock).unwrap();
        write(place.path()).unwrap_err();
        assert!(!target.exists());
        fs::remove_file(&lock).unwrap();
        // Without a reader, opening it for writing would block.
        mknodat(CWD, &lock, FileType::Fifo, Mode::RWXU, 0).unwrap();
        write(place.path()).unwrap_err();
    }
}

#[test]
fn lock_and_unfinished_files_of_another_user_stay() {
    for (write, names) in WRITERS.into_iter().zip([["lock", "clients.part"], ["lock", "client.part"]]) {
        for name in names {
            let place = tempfile::tempdir().unwrap();
            // As /tmp.
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
            let path = place.path().join(name);
            fs::write(&path, "theirs").unwrap();
            if !give_away(&path) {
                return;
            }
            let error = write(place.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"theirs", "{name}");
        }
    }
}

#[test]
fn directory_behind_a_link_of_another_user_is_refused() {
    for write in WRITERS {
        let place = tempfile::tempdir().unwrap();
        let (target, link) = (place.path().join("target"), place.path().join("link"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        write(&link.join("own")).unwrap();
        if !give_away(&link) {
            return;
        }
        for directory in [link.clone(), link.join("new")] {
            let error = write(&directory).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        }
        assert!(!target.join("new").exists() && !target.join("lock").exists());
    }
}
