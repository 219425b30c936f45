//! File systems that are as small as a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use framelane_test_kit::{Place, skip};

/// Set in the process that runs one test on a small file system: its mount point.
const MOUNT: &str = "FRAMELANE_TEST_TMPFS";

/// Runs `body` on a new tmpfs of `mebibytes`, in a separate process that runs only the test named `test`.
///
/// The test is skipped where no user namespaces are allowed.
///
/// # Panics
/// If `body` panics.
pub fn on_small_tmpfs(test: &str, mebibytes: u32, body: fn(&Path)) {
    if let Some(directory) = std::env::var_os(MOUNT) {
        return body(&PathBuf::from(directory));
    }
    let place = Place::new();
    let mount =
        format!("mount -t tmpfs -o size={mebibytes}m none '{}' && exec \"$@\"", place.path().display());
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
    command.arg(std::env::current_exe().expect("this program")).args([test, "--exact", "--nocapture"]);
    let output = command.env(MOUNT, place.path()).output().expect("a process");
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "on {mebibytes} MiB: {}", output.status);
}
