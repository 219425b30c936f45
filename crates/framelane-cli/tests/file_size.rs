//! Every command that makes files, under a limit on their size (`ulimit -f`).

mod support;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use framelane_test_kit::files_in;
use support::Place;

/// The command with files of at most so many bytes.
fn limited(place: &Place, line: &str, bytes: u64) -> Command {
    let mut command = Command::new("sh");
    // POSIX: in blocks of 512 bytes.
    let script = format!("ulimit -f {} && exec \"$0\" \"$@\"", bytes / 512);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_framelane")]).args(line.split_whitespace());
    command.env("FRAMELANE_DIR", place.path()).stdin(Stdio::null());
    command
}

/// An error that names the limit, and no death by SIGXFSZ.
fn assert_refused(output: &Output, line: &str, bytes: u64) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{line}, {bytes} bytes: {text}");
    assert_eq!(output.status.code(), Some(1), "{line}, {bytes} bytes: {text}");
    assert!(text.contains("ulimit -f"), "{line}, {bytes} bytes: {text}");
}

/// Too little for a control file, and for a ring.
const LIMITS: [u64; 2] = [512, 64 << 10];

#[test]
fn file_size_limit_ends_commands_that_make_channels() {
    let place = Place::new();
    for bytes in LIMITS {
        for line in ["publish testsrc=640x480 cam0", "bench --duration 0.1 --size 640x480"] {
            let output = limited(&place, line, bytes).output().unwrap();
            assert_refused(&output, line, bytes);
            assert!(place.files().is_empty(), "{line}, {bytes} bytes: {:?}", place.files());
        }
    }
}

#[test]
fn file_size_limit_ends_receivers() {
    let (source, sink) = (Place::new(), Place::new());
    let mut publisher = source.start("publish testsrc=640x480@50 cam0 --json");
    publisher.wait_for("started");
    let socket = format!("unix:{}/s.sock", source.path().display());
    let mut server = source.start(&format!("serve --listen {socket} --json"));
    server.wait_for("listening");
    for bytes in LIMITS {
        for line in [format!("receive {socket}/cam0"), format!("subscribe {socket}/cam0 --count 1")] {
            let output = limited(&sink, &line, bytes).output().unwrap();
            assert_refused(&output, &line, bytes);
            assert!(sink.files().is_empty(), "{line}, {bytes} bytes: {:?}", sink.files());
        }
    }
    let received = sink.run(&format!("subscribe {socket}/cam0 --count 1"));
    assert!(received.status.success(), "the server goes on: {received:?}");
}

#[test]
fn file_size_limit_of_a_server_is_logged_and_it_goes_on() {
    let (place, server_place) = (Place::new(), Place::new());
    let mut publisher = place.start("publish testsrc=640x480@50 cam0 --json");
    publisher.wait_for("started");
    let socket = format!("unix:{}/s.sock", server_place.path().display());
    for bytes in LIMITS {
        let serve = format!("serve --listen {socket} --write ** --json");
        let mut server = support::Running::spawn(&mut limited(&server_place, &serve, bytes));
        server.wait_for("listening");
        for _ in 0..2 {
            // The client retries until it is killed. The server continues.
            let _sender = place.start(&format!("send cam0 {socket}/cam0 --json"));
            let reason = loop {
                let event = server.next().unwrap();
                if matches!(event["event"].as_str(), Some("ended" | "refused")) {
                    break event["reason"].as_str().unwrap().to_owned();
                }
            };
            assert!(reason.contains("ulimit -f"), "{bytes} bytes: {reason}");
        }
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(server.end().code(), Some(143));
        let files = server_place.files();
        assert!(files.is_empty(), "{bytes} bytes: {files:?}");
    }
}

#[test]
fn file_size_limit_ends_a_recording_with_whole_frames() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=640x480@50 cam0 --json");
    publisher.wait_for("started");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.raw");
    for line in ["subscribe cam0 --stdout raw --count 3", "subscribe cam0 --stdout y4m --count 3"] {
        let output = limited(&place, line, 1 << 20).stdout(File::create(&path).unwrap()).output().unwrap();
        assert_refused(&output, line, 1 << 20);
    }
}

#[test]
fn file_size_limit_ends_writers_of_legacy_memory() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=640x480@50 cam0 --json");
    publisher.wait_for("started");
    let name = format!("framelane-file-size-{}", std::process::id());
    let line = format!("send cam0 legacy-memory:{name}?size=640x480 --count 1");
    let output = limited(&place, &line, 64 << 10).output().unwrap();
    assert_refused(&output, &line, 64 << 10);
    assert!(files_in("/dev/shm".as_ref()).iter().all(|file| !file.contains(&name)));
}

#[test]
fn file_size_limit_ends_the_making_of_an_identity() {
    let place = Place::new();
    for line in
        ["identity server", "identity client laptop", "identity ca", "identity token kiosk --read cam*"]
    {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let output = limited(&place, line, 0).env("FRAMELANE_CONFIG", &config).output().unwrap();
        assert_refused(&output, line, 0);
        let files = files_in(&config);
        assert!(files.iter().all(|file| file == "lock"), "{line}: {files:?}");
    }
}
