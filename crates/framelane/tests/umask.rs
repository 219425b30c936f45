//! The permissions of a channel directory that framelane makes. One test, because a process has one umask.
//!
//! Not on Windows. The umask is of Unix.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use framelane::PublisherOptions;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn publish(directory: &Path) {
    drop(PublisherOptions::new().directory(directory).create("c").unwrap());
}

#[test]
fn directory_that_is_made_is_private_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let shared = directory.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o770)).unwrap();
    for umask in [0, 0o022, 0o077, 0o377, 0o777] {
        // SAFETY: sets a number of this process, whose only test this is.
        unsafe { libc::umask(umask) };
        let parent = directory.path().join(umask.to_string());
        let made = parent.join("channels");
        publish(&made);
        for path in [&parent, &made] {
            assert_eq!(mode(path), 0o700, "{} with umask {umask:o}", path.display());
        }
        // One that exists stays as its owner made it.
        publish(&shared);
        assert_eq!(mode(&shared), 0o770);
    }
    // Where another user can exchange directories, no mode is changed.
    let foreign = directory.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::set_permissions(&foreign, std::fs::Permissions::from_mode(0o700)).unwrap();
    if std::os::unix::fs::chown(&foreign, Some(65534), None).is_ok() {
        publish(&foreign.join("channels"));
        assert_eq!(mode(&foreign.join("channels")), 0);
    } else {
        framelane_test_kit::skip("root", "only root can give a directory away");
    }
}
