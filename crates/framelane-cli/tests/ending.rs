//! Ends of commands: by signals, closed pipes, and the death of the peer.

mod support;

use std::io::Read;
use std::process::Stdio;

use framelane_test_kit::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use support::{Place, Running};

#[test]
fn ctrl_c_and_sigterm_end_a_publisher_and_leave_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        if signal == Signal::HUP && hangups_are_ignored() {
            skip("sighup", "SIGHUP is ignored here, as under nohup, and so by publishers");
            continue;
        }
        let place = Place::new();
        let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
        publisher.wait_for("started");
        assert!(place.run("subscribe cam0 --count 1").status.success());
        publisher.signal(signal);
        assert_eq!(publisher.end().code(), Some(code));
        assert_eq!(publisher.wait_for("summary")["end"], "stopped");
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}

/// True if the parent of this test ignored SIGHUP. Its children ignore it too.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn nohup_keeps_a_publisher_when_its_terminal_is_closed() {
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_framelane");
    command.args(["-c", &format!("trap '' HUP; exec {program} publish testsrc=64x48@100 cam0 --json")]);
    let mut publisher = Running::spawn(command.env("FRAMELANE_DIR", place.path()));
    publisher.wait_for("started");
    publisher.signal(Signal::HUP);
    publisher.wait_for("progress");
    assert!(place.run("subscribe cam0 --count 3").status.success());
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code(), Some(130));
}

#[test]
fn a_publisher_that_waits_ends_at_a_signal_too() {
    let place = Place::new();
    // For subscribers, for a slot, for its input.
    let mut publisher = place.start("publish testsrc=64x48 cam0 --json --wait-subscribers 1");
    publisher.wait_for("started");
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code(), Some(130));
    assert!(place.files().is_empty());

    let mut publisher =
        place.start("publish testsrc=64x48 cam0 --json --rate max --backpressure block --wait-subscribers 1");
    publisher.wait_for("started");
    // No one reads its output, as `Running` would: the pipe fills, then the ring.
    let mut stuck = place.command("subscribe cam0 --delivery every --stdout raw");
    let mut stuck = stuck.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut frames = None;
    loop {
        let now = publisher.wait_for("progress")["frames"].as_u64();
        if now == frames && now > Some(0) {
            break;
        }
        frames = now;
    }
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.end().code(), Some(143));
    assert!(place.files().is_empty());
    kill_process(Pid::from_child(&stuck), Signal::INT).unwrap();
    assert_eq!(stuck.wait().unwrap().code(), Some(130));

    let line = "publish - cam0 --json --raw gray8:8x8";
    let mut publisher = Running::spawn(place.command(line).stdin(Stdio::piped()));
    publisher.wait_for("started");
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code(), Some(130));
    assert!(place.files().is_empty());
}

#[test]
fn ctrl_c_and_sigterm_end_a_subscriber_that_receives_or_waits() {
    let place = Place::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut waiting = place.start("subscribe nothing --json");
        waiting.wait_for("waiting");
        waiting.signal(signal);
        assert_eq!(waiting.end().code(), Some(code));
        assert!(place.files().is_empty());

        let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
        publisher.wait_for("started");
        let mut subscriber = place.start("subscribe cam0 --json --per-frame");
        subscriber.wait_for("frame");
        subscriber.signal(signal);
        assert_eq!(subscriber.rest().last().unwrap()["event"], "summary");
        assert_eq!(subscriber.end().code(), Some(code));
        publisher.signal(Signal::INT);
        publisher.end();
        assert!(place.files().is_empty());
    }
}

#[test]
fn a_subscriber_ends_when_the_channel_closes() {
    let place = Place::new();
    let mut subscriber = place.start("subscribe cam0 --json");
    subscriber.wait_for("waiting");
    let output = place.run("publish testsrc=64x48@100 cam0 --count 3 --rate max --wait-subscribers 1");
    assert!(output.status.success());
    assert_eq!(subscriber.rest().last().unwrap()["event"], "summary");
    assert!(subscriber.end().success());
}

#[test]
fn a_subscriber_outlives_its_publisher_and_says_so() {
    let place = Place::new();
    let mut first = place.start("publish testsrc=64x48@100 cam0 --json");
    let first_epoch = first.wait_for("started")["epoch"].clone();
    let mut subscriber = place.start("subscribe cam0 --json --per-frame");
    assert_eq!(subscriber.wait_for("frame")["epoch"], first_epoch);
    first.signal(Signal::KILL);
    first.end();
    subscriber.wait_for("publisher_died");
    let mut second = place.start("publish testsrc=32x24@100 cam0 --json");
    let second_epoch = second.wait_for("started")["epoch"].clone();
    assert_eq!(subscriber.wait_for("publisher_returned")["epoch"], second_epoch);
    assert_eq!(subscriber.wait_for("format")["width"], 32);
    second.signal(Signal::INT);
    second.end();
    subscriber.wait_for("summary");
    assert!(subscriber.end().success());
    assert!(place.files().is_empty());
}

#[test]
fn a_closed_pipe_is_a_clean_end() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
    publisher.wait_for("started");
    for line in ["subscribe cam0 --json --per-frame", "subscribe cam0"] {
        let subscriber = Running::spawn(place.command(line).stderr(Stdio::null()));
        assert!(subscriber.end_without_reader().success(), "{line}");
    }
    let mut subscriber = place
        .command("subscribe cam0 --stdout raw")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut frame = vec![0; 64 * 48 * 3];
    subscriber.stdout.take().unwrap().read_exact(&mut frame).unwrap();
    let output = subscriber.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("error"), "{stderr}");
    assert!(publisher.end_without_reader().success());
    assert!(place.files().is_empty());
}

#[test]
fn a_benchmark_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let mut bench = place.command("bench --duration 600 --size 64x48").stdout(Stdio::null()).spawn().unwrap();
    wait_until!(place.json("list --json")["channels"][0]["sequence"].as_u64().unwrap_or(0) >= 5);
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(130));
    assert!(place.files().is_empty());
}
