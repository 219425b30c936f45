//! Errors say what was expected and found, and what to do.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use framelane_test_kit::skip;
use support::{Place, command_in, json_error};

/// Runs the line as it is and with `--json`; returns the kind and message of the error.
fn error_of(directory: &Path, line: &str) -> (String, String) {
    let run = |line: &str| -> Output { command_in(directory, line).output().unwrap() };
    let plain = run(line);
    assert_eq!(plain.status.code(), Some(1), "{line}");
    let text = String::from_utf8(plain.stderr).unwrap();
    let error_at = text.find("error: ").unwrap_or_else(|| panic!("{line}: no error in {text:?}"));
    let hint_at = text.find("\n  hint: ").unwrap_or_else(|| panic!("{line}: no hint in {text:?}"));
    assert!(error_at < hint_at && text.trim_end().len() > hint_at + 12, "{text}");
    let as_json = run(&format!("{line} --json"));
    assert_eq!(as_json.status.code(), Some(1), "{line}");
    let error = json_error(&as_json);
    assert!(error["code"].as_u64().unwrap() > 0, "{error}");
    assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
    (error["kind"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[test]
fn a_busy_channel_names_the_process_that_holds_it() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48 cam0 --json");
    publisher.wait_for("started");
    let (kind, message) = error_of(place.path(), "publish testsrc=64x48 cam0");
    assert_eq!(kind, "channel_busy");
    assert!(message.contains(&publisher.child.id().to_string()), "{message}");
}

#[test]
fn names_that_are_not_valid_are_refused_by_every_command() {
    let place = Place::new();
    for command in ["publish testsrc", "subscribe", "info"] {
        let (kind, message) = error_of(place.path(), &format!("{command} cam:0"));
        assert_eq!(kind, "invalid_name");
        assert!(message.contains("cam:0") && message.contains("':'"), "{message}");
    }
}

#[test]
fn a_channel_or_file_that_is_not_there_is_not_found() {
    let place = Place::new();
    for line in ["subscribe cam0 --open-timeout 0", "subscribe cam0 --open-timeout 0.01", "info cam0"] {
        let (kind, message) = error_of(place.path(), line);
        assert_eq!(kind, "not_found", "{line}");
        assert!(message.contains("cam0"), "{message}");
    }
    let (kind, message) = error_of(place.path(), "publish /no/such/film.mp4 cam0");
    assert_eq!(kind, "not_found");
    assert!(message.contains("film.mp4"), "{message}");
    assert!(place.files().is_empty());
}

#[test]
fn error_states_the_wait_in_milliseconds_if_any() {
    let place = Place::new();
    let (_, message) = error_of(place.path(), "subscribe cam0 --open-timeout 0.1");
    assert!(message.ends_with("(waited 100ms)"), "{message}");
    let (_, message) = error_of(place.path(), "subscribe cam0 --open-timeout 0");
    assert!(!message.contains("waited"), "{message}");
}

#[test]
fn sources_that_cannot_be_opened_get_a_hint_that_fits() {
    let place = Place::new();
    let folder = place.path().display().to_string();
    for (source, kind, hint) in [
        ("/dev/video99", "not_found", "ls /dev/video*"),
        (folder.as_str(), "invalid_option", "give a file"),
        ("/no/such/film.mp4", "not_found", "current directory"),
        ("rtsp://127.0.0.1:9/live", "system_failure", "check the address"),
    ] {
        let error = json_error(&place.run(&format!("publish {source} cam0 --json")));
        assert_eq!(error["kind"], kind, "{error}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
}

#[test]
fn what_answers_but_speaks_no_rtsp_is_no_damaged_file() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
            let _ = std::io::Write::write_all(&mut stream, b"220 mail at your service\r\n\r\n");
        }
    });
    let (kind, message) = error_of(place.path(), &format!("publish rtsp://{address}/live cam0"));
    assert_eq!(kind, "system_failure", "{message}");
    assert!(message.contains("cannot reach") && !message.contains("Invalid data"), "{message}");
}

#[test]
fn options_that_contradict_the_source_are_refused() {
    let place = Place::new();
    for (line, found) in [
        ("testsrc cam0 --hwaccel nonsense", "testsrc or --hwaccel"),
        ("- cam0 --raw gray8:8x8 --hwaccel nonsense", "--raw or --hwaccel"),
        ("testsrc=8x8 cam0 --size 9x9", "testsrc or --size"),
        ("a.mp4 cam0 --ffmpeg-option a=1 --ffmpeg-option a=2", "a twice"),
        ("udp://127.0.0.1:9?timeout=1 cam0 --ffmpeg-option timeout=2", "timeout twice"),
        ("rtsp://127.0.0.1:9/live cam0 --no-live --reconnect on", "--no-live or --reconnect on"),
    ] {
        let (kind, message) = error_of(place.path(), &format!("publish {line}"));
        assert_eq!(kind, "invalid_option");
        assert!(message.contains(found), "{message}");
    }
    assert!(place.files().is_empty());
}

#[test]
fn a_file_without_video_is_damaged() {
    let place = Place::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no film").unwrap();
    let (kind, _) = error_of(place.path(), &format!("publish {} cam0", file.path().display()));
    assert_eq!(kind, "damaged");
    assert!(place.files().is_empty());
}

#[test]
fn too_little_room_is_an_error_and_no_crash() {
    // Not in /dev/shm, for which the hint is another one.
    let place = Place::under(std::env::temp_dir());
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "framelane-test"])
        .arg(place.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        skip("user-namespaces", "a small tmpfs cannot be mounted");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let (kind, message) = error_of(place.path(), "publish testsrc=640x480 cam0");
        assert_eq!(kind, "no_space");
        let hint = json_error(&place.run("publish testsrc=640x480 cam0 --json"))["hint"].to_string();
        let here = place.path().display().to_string();
        assert!(hint.contains(&here) && (!hint.contains("docker") || here.starts_with("/dev/shm")), "{hint}");
        assert!(message.contains("bytes") || message.contains("MiB") || message.contains("MB"), "{message}");
        assert!(place.files().is_empty(), "{:?}", place.files());
        let doctor = place.run("doctor --json");
        assert_eq!(doctor.status.code(), Some(1));
        let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let room = findings.iter().find(|finding| finding["kind"] == "room").unwrap();
        assert!(room["hint"].as_str().unwrap().contains("--shm-size"), "{room}");
    });
    assert!(Command::new("umount").arg(place.path()).status().unwrap().success());
    result.unwrap();
}

#[test]
fn wrong_usage_has_exit_code_2() {
    let place = Place::new();
    for line in [
        "",
        "publish",
        "publish testsrc cam0 --slots 1",
        "publish testsrc cam0 --slots 129",
        "publish testsrc cam0 --format bgr",
        "publish testsrc cam0 --size 0x5",
        "publish testsrc cam0 --rate never",
        "publish testsrc cam0 --rate -1",
        "publish testsrc cam0 --permissions 999",
        "publish testsrc cam0 --backpressure wait",
        "publish testsrc cam0 --loop=0",
        "publish - cam0 --raw bgr8",
        "publish testsrc cam0 --wait-subscribers 65",
        "publish testsrc cam0 --ffmpeg-option tcp",
        "publish testsrc cam0 --live --no-live",
        "--dir a list --dir b",
        "subscribe cam0 --delivery oldest",
        "subscribe cam0 --delivery newest --every",
        "subscribe cam0 --open-timeout -1",
        "subscribe cam0 --stdout mp4",
        "subscribe cam0 --per-frame",
        "bench --readers 0",
        "bench --free --fps 5",
        "explode",
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(!output.stderr.is_empty(), "{line}");
    }
    let output = place.run("publish testsrc cam0 --slots 1 --json");
    assert_eq!(output.status.code(), Some(2));
    let error = json_error(&output);
    assert_eq!(error["kind"], "invalid_option");
    assert!(error["message"].as_str().unwrap().contains("2..=128"), "{error}");
    let missing = json_error(&place.run("info --json"));
    assert!(missing["message"].as_str().unwrap().contains("<CHANNEL>"), "{missing}");
}

#[test]
fn options_that_the_source_refuses_leave_no_channel_behind() {
    let place = Place::new();
    let (kind, _) = error_of(place.path(), "publish testsrc=nonsense cam0");
    assert_eq!(kind, "invalid_option");
    let (kind, _) = error_of(place.path(), "publish - cam0 --raw gray8:8x8 --loop");
    assert_eq!(kind, "invalid_option");
    assert!(place.files().is_empty());
}
