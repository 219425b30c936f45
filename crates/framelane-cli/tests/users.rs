//! Unix sockets between users: each side checks the user of the peer.

mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use framelane_test_kit::skip;
use support::{Place, Running, json_error};

const NOBODY: u32 = 65534;

/// A directory that all users can reach, with one directory of channels for root and one for uid 65534.
/// `None` without root, or when uid 65534 cannot run the program.
fn places() -> Option<(tempfile::TempDir, Place, Place)> {
    let (root, nobody) = (Place::new(), Place::new());
    let is_root = rustix::process::geteuid().is_root();
    let can_run = is_root && {
        chown(nobody.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        nobody.command("--version").uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).status().is_ok()
    };
    if !can_run {
        skip("root", "only root, with a program that other users can run, can be several users");
        return None;
    }
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    Some((shared, root, nobody))
}

/// A server of this user at a socket that every user may open.
fn serve(place: &Place, socket: &std::path::Path, uid: u32) -> Running {
    let mut command = place.command(&format!("serve --listen unix:{} --json", socket.display()));
    let mut server = Running::spawn(command.uid(uid).gid(uid).stdin(Stdio::null()));
    server.wait_for("listening");
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    server
}

fn socket(shared: &tempfile::TempDir) -> PathBuf {
    shared.path().join("x.sock")
}

#[test]
fn client_of_another_user_is_refused_at_a_unix_socket() {
    let Some((shared, root, nobody)) = places() else { return };
    let socket = socket(&shared);
    let mut server = serve(&root, &socket, 0);
    let line = format!("receive unix:{}/cam0 --open-timeout 60 --json", socket.display());
    let output = nobody.command(&line).uid(NOBODY).gid(NOBODY).output().unwrap();
    // Servers of root are trusted, and accept all clients.
    let error = json_error(&output);
    assert_eq!(error["kind"], "permission_denied", "{error}");
    assert!(error["message"].as_str().unwrap().contains("found user 65534"), "{error}");
    let refused = server.wait_for("refused");
    assert!(refused["reason"].as_str().unwrap().contains("found user 65534"), "{refused}");
}

#[test]
fn server_of_another_user_is_refused_unless_it_is_named() {
    let Some((shared, root, nobody)) = places() else { return };
    let socket = socket(&shared);
    let _server = serve(&nobody, &socket, NOBODY);
    let url = format!("unix:{}/cam0", socket.display());
    for more in ["", " --server-uid 1"] {
        let error = json_error(&root.run(&format!("receive {url} --open-timeout 60 --json{more}")));
        assert_eq!(error["kind"], "permission_denied", "{error}");
        assert!(error["message"].as_str().unwrap().contains("found user 65534"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("--server-uid 65534"), "{error}");
    }
    let mut receive = root.start(&format!("receive {url} --server-uid 65534 --json"));
    receive.wait_for("connected");
    drop(receive);
    let mut receive = root.start(&format!("receive {url}?server-uid=65534 --json"));
    receive.wait_for("connected");
}
