//! Live sources that are lost and restored, as `publish` and its readers see them.

#[path = "../../framelane-video/tests/support/cameras.rs"]
mod cameras;
mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use framelane::SubscriberOptions;
use rustix::process::Signal;

use cameras::{Counter, Mjpeg, jpegs, request, serve, serve_on};
use framelane_test_kit::wait_until;
use support::{Place, Running, json_error};

const SECRET: &str = "hunter22";

/// A camera whose first connection ends after some frames, or stalls. From the second on, frames are larger;
/// that one waits until `returns` is set.
fn camera(returns: Counter, stalls: bool) -> String {
    let (small, large) = (jpegs(64, 48, 25), jpegs(96, 48, 25));
    let address = serve(move |stream, number| {
        let mut camera = Mjpeg::accept(stream);
        if number > 1 {
            wait_until("the camera may return", || returns.get() == 1);
        }
        let jpegs = if number == 1 { &small } else { &large };
        for jpeg in jpegs.iter().cycle().take(if number == 1 { 25 } else { 2000 }) {
            if !camera.send(jpeg) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        if number > 1 || stalls {
            camera.stall();
        }
    });
    format!("http://me:{SECRET}@{address}/mjpeg")
}

/// The state of a lost source is seen everywhere, and a reader of the channel stays.
fn comes_back(stalls: bool, reason: &str) {
    let place = Place::new();
    let returns = Counter::default();
    let url = camera(returns.clone(), stalls);
    let mut publisher = place.start(&format!("publish {url} cam0 --json --read-timeout 5"));
    publisher.wait_for("started");
    let mut subscriber = SubscriberOptions::new().directory(place.path()).open("cam0").unwrap();
    assert_eq!(subscriber.recv().unwrap().layout().width(), 64);
    let lost = publisher.wait_for("source_lost");
    assert!(lost["reason"].as_str().unwrap().contains(reason), "{lost}");
    assert!(lost["retry_seconds"].as_f64().unwrap() > 0.0, "{lost}");
    let source = place.json("info cam0 --json")["source"].clone();
    assert_eq!((&source["state"], &source["connections"]), (&"reconnecting".into(), &1.into()));
    assert!(source["reason"].as_str().unwrap().contains(reason), "{source}");
    for (line, expected) in [
        ("info cam0", "reconnecting for"),
        ("list", "(reconnecting: "),
        ("list --json", "\"reconnecting\""),
        ("top --count 1 --interval 0.1", "lost"),
        ("top --count 1 --interval 0.1 --json", "\"reconnecting\""),
    ] {
        let output = place.run(line);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected) && !text.contains(SECRET), "{line}: {text}");
    }
    returns.set(1);
    let restored = publisher.wait_for("source_restored");
    assert_eq!(restored["connections"], 2);
    while subscriber.recv().unwrap().layout().width() != 96 {}
    let source = place.json("info cam0 --json")["source"].clone();
    assert_eq!((&source["state"], &source["connections"]), (&"receiving".into(), &2.into()));
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code(), Some(130));
    assert!(place.files().is_empty());
}

#[test]
fn camera_that_hangs_up_comes_back_to_the_same_readers() {
    comes_back(false, "the server closed the connection");
}

#[test]
fn camera_that_stalls_comes_back_to_the_same_readers() {
    comes_back(true, "no data for 5 s");
}

#[test]
fn loss_and_return_of_a_camera_are_lines_on_standard_error() {
    let place = Place::new();
    let returns = Counter::default();
    returns.set(1);
    let url = camera(returns, false);
    let mut child = place.command(&format!("publish {url} cam0")).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let lost = lines.find(|line| line.starts_with("no frames from http://me:***@")).unwrap();
    assert!(lost.ends_with("the server closed the connection; reconnecting in 0.5 s"), "{lost}");
    let restored = lines.find(|line| !line.starts_with("still")).unwrap();
    assert!(restored.starts_with("frames again from http://me:***@"), "{restored}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn lost_camera_without_reconnecting_is_an_error_with_the_reason() {
    let place = Place::new();
    let url = camera(Counter::default(), false);
    let output = place.run(&format!("publish {url} cam0 --reconnect off"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: lost http://me:***@"), "{text}");
    assert!(text.contains("the server closed the connection") && text.contains("--reconnect off"), "{text}");
    let output =
        place.run(&format!("publish {} cam0 --reconnect off --json", camera(Counter::default(), false)));
    assert_eq!((output.status.code(), &json_error(&output)["kind"]), (Some(1), &"channel_closed".into()));
    let events = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = events.lines().last().unwrap();
    assert!(summary.contains("\"end\":\"lost\"") && summary.contains("closed the connection"), "{summary}");
    assert!(place.files().is_empty());
}

#[test]
fn first_connection_that_fails_is_an_error_at_once() {
    let place = Place::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = serve(|mut stream, _| while !request(&mut stream).is_empty() {});
    for (source, expected) in [
        (format!("http://{unused}/x"), "Connection refused"),
        (format!("rtsp://{unused}/x"), "Connection refused"),
        (format!("http://{silent}/x"), "no data for 0.5 s"),
        (format!("rtsp://{silent}/x"), "no data for 0.5 s"),
    ] {
        let output = place.run(&format!("publish {source} cam0 --read-timeout 0.5"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{source}: {text}");
    }
    assert!(place.files().is_empty());
}

#[test]
fn source_that_is_not_there_yet_is_waited_for_on_request() {
    let place = Place::new();
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let mut publisher =
        place.start(&format!("publish http://{address}/x cam0 --json --reconnect on --count 5"));
    assert!(publisher.wait_for("source_lost")["reason"].as_str().unwrap().contains("refused"));
    let pictures = jpegs(64, 48, 25);
    serve_on(TcpListener::bind(address).unwrap(), move |stream, _| {
        let mut camera = Mjpeg::accept(stream);
        while pictures.iter().all(|jpeg| camera.send(jpeg)) {}
    });
    publisher.wait_for("started");
    assert_eq!(publisher.wait_for("summary")["end"], "finished");
    assert!(publisher.end().success());
}

#[test]
fn stopping_while_a_camera_is_away_ends_the_publisher() {
    let place = Place::new();
    let url = camera(Counter::default(), false);
    let mut publisher: Running = place.start(&format!("publish {url} cam0 --json"));
    publisher.wait_for("source_lost");
    publisher.signal(Signal::TERM);
    assert_eq!(publisher.wait_for("summary")["end"], "stopped");
    assert_eq!(publisher.end().code(), Some(143));
    assert!(place.files().is_empty());
}
