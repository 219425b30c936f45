//! `send` to receivers that answer nonsense, stand still, vanish or are slow.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use framelane::{FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions};
use rustix::process::Signal;
use support::stream::{ANSWER, accept, decoded, number_of, publish, read_frame};
use support::{Place, Running, json_error};

const SIZE: (usize, usize) = (64, 48);

/// A channel with frame 0, a receiver of ours, and `send` between them.
struct Scene {
    _place: Place,
    publisher: Publisher,
    listener: TcpListener,
    send: Running,
}

impl Scene {
    fn new(options: &str) -> Self {
        Self::with(PublisherOptions::new(), options)
    }

    fn with(publisher: PublisherOptions, options: &str) -> Self {
        let place = Place::new();
        let mut publisher = publisher.directory(place.path()).create("cam0").unwrap();
        publish(&mut publisher, 0, SIZE);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let send = place.start(&format!("send cam0 legacy://127.0.0.1:{port} --json {options}"));
        Scene { _place: place, publisher, listener, send }
    }

    fn connection(&mut self) -> TcpStream {
        let connection = accept(&self.listener);
        self.send.wait_for("connected");
        connection
    }

    fn reason(&mut self) -> String {
        self.send.wait_for("disconnected")["reason"].as_str().unwrap().to_owned()
    }
}

/// The number of the next frame, which is not answered yet.
fn number(connection: &mut TcpStream) -> usize {
    let (width, height, pixels) = decoded(&read_frame(connection));
    assert_eq!((width, height), SIZE);
    number_of(&pixels)
}

#[test]
fn an_answer_may_come_in_pieces() {
    let mut scene = Scene::new("--count 2");
    let mut connection = scene.connection();
    assert_eq!(number(&mut connection), 0);
    connection.set_nodelay(true).unwrap();
    for byte in ANSWER {
        connection.write_all(&[*byte]).unwrap();
    }
    publish(&mut scene.publisher, 1, SIZE);
    assert_eq!(number(&mut connection), 1);
    connection.write_all(&ANSWER[..9]).unwrap();
    connection.write_all(&ANSWER[9..]).unwrap();
    assert_eq!(scene.send.wait_for("summary")["frames"], 2);
    assert!(scene.send.end().success());
}

#[test]
fn receiver_lost_in_any_byte_of_its_answer_is_reconnected() {
    let mut scene = Scene::new("");
    for count in 0..ANSWER.len() {
        let mut connection = scene.connection();
        // The frame that was not answered comes again.
        assert_eq!(number(&mut connection), count);
        connection.write_all(&ANSWER[..count]).unwrap();
        drop(connection);
        let reason = scene.reason();
        assert!(reason.contains(&format!("given {count} of the 18 bytes")), "{reason}");
        let mut connection = scene.connection();
        assert_eq!(number(&mut connection), count);
        connection.write_all(ANSWER).unwrap();
        publish(&mut scene.publisher, count + 1, SIZE);
        assert_eq!(number(&mut connection), count + 1);
        // Gone without a word, in the middle of the next frame.
        drop(connection);
        scene.reason();
    }
    let mut connection = scene.connection();
    assert_eq!(number(&mut connection), ANSWER.len());
    connection.write_all(ANSWER).unwrap();
    let Scene { publisher, mut send, .. } = scene;
    drop(publisher);
    let summary = send.wait_for("summary");
    assert_eq!((&summary["frames"], &summary["skipped"]), (&19.into(), &0.into()));
    assert_eq!(summary["connections"], 2 * 18 + 1);
    assert!(send.end().success());
}

#[test]
fn sender_with_a_wrong_answer_reconnects_and_does_not_show_it() {
    let mut scene = Scene::new("");
    for (answer, found) in [
        (&b"received messages!"[..], "found 18 bytes, of which 3 match"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "found 28 bytes of HTTP"),
        (b"recieved messages!recieved messages!", "expected one answer to a frame, found more"),
    ] {
        let mut connection = scene.connection();
        number(&mut connection);
        connection.write_all(answer).unwrap();
        let reason = scene.reason();
        assert!(reason.contains(found) && reason.contains("127.0.0.1:"), "{reason}");
        assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)));
    }
    let mut connection = scene.connection();
    number(&mut connection);
    connection.write_all(ANSWER).unwrap();
    scene.send.signal(Signal::INT);
    scene.send.wait_for("summary");
    assert_eq!(scene.send.end().code(), Some(130));
}

#[test]
fn receiver_without_progress_is_reconnected() {
    let mut scene = Scene::new("--idle-timeout 0.2 --count 1");
    let mut silent = scene.connection();
    number(&mut silent);
    assert!(scene.reason().contains("no byte for 0.2 s"));
    let mut stuck = scene.connection();
    number(&mut stuck);
    stuck.write_all(&ANSWER[..17]).unwrap();
    assert!(scene.reason().contains("given 17 of the 18 bytes of an answer: no byte for 0.2 s"));
    // On a busy machine an answer may come too late: then once more.
    loop {
        let event = scene.send.next().unwrap();
        if event["event"] == "connected" {
            let mut connection = accept(&scene.listener);
            assert_eq!(number(&mut connection), 0);
            let _ = connection.write_all(ANSWER);
        } else if event["event"] == "summary" {
            assert_eq!(event["frames"], 1);
            break;
        }
    }
    assert!(scene.send.end().success());
}

#[test]
fn a_receiver_that_takes_no_bytes_is_given_up() {
    // Few slots, because each has 48 MB.
    let mut scene = Scene::with(PublisherOptions::new().slots(3), "--idle-timeout 0.2");
    let mut connection = scene.connection();
    read_frame(&mut connection);
    connection.write_all(ANSWER).unwrap();
    // More than the system keeps for a connection: noise, which JPEG cannot shorten.
    let layout = Layout::packed(PixelFormat::Bgr8, 4000, 4000).unwrap();
    let noise = support::noise(layout.size_bytes(), 7);
    scene.publisher.send(&layout, &FrameInfo::default(), &noise).unwrap();
    let reason = scene.reason();
    assert!(reason.contains("when it had taken") && reason.contains("no byte for 0.2 s"), "{reason}");
}

#[test]
fn a_receiver_that_is_not_there_yet_is_waited_for() {
    let place = Place::new();
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    publish(&mut publisher, 3, SIZE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut send = place.start(&format!("send cam0 legacy://{address} --count 2 --json"));
    assert!(send.wait_for("waiting")["reason"].as_str().unwrap().contains(&address.to_string()));
    let listener = TcpListener::bind(address).unwrap();
    let mut connection = accept(&listener);
    // The newest frame, though it was published before.
    assert_eq!(number(&mut connection), 3);
    connection.write_all(ANSWER).unwrap();
    // Away between frames, and back again: noticed without a frame to send.
    drop(connection);
    assert!(send.wait_for("disconnected")["reason"].as_str().unwrap().contains("closed the connection"));
    let mut connection = accept(&listener);
    publish(&mut publisher, 4, SIZE);
    assert_eq!(number(&mut connection), 4);
    connection.write_all(ANSWER).unwrap();
    assert!(send.end().success());
}

#[test]
fn slow_receiver_gets_the_newest_frame_others_are_counted() {
    let mut scene = Scene::new("");
    let mut connection = scene.connection();
    assert_eq!(number(&mut connection), 0);
    for number in 1..=20 {
        publish(&mut scene.publisher, number, SIZE);
    }
    let (mut seen, mut last) = (1_u64, 0);
    while last < 20 {
        connection.write_all(ANSWER).unwrap();
        let number = number(&mut connection);
        assert!(number > last, "{number} after {last}");
        (seen, last) = (seen + 1, number);
    }
    connection.write_all(ANSWER).unwrap();
    let Scene { publisher, mut send, .. } = scene;
    drop(publisher);
    let summary = send.wait_for("summary");
    assert_eq!(summary["frames"], seen);
    assert_eq!(summary["skipped"], 21 - seen, "{summary}");
    assert!(send.end().success());
}

#[test]
fn frame_that_is_no_picture_is_skipped_and_reported_once() {
    let mut scene = Scene::new("--count 2");
    let mut connection = scene.connection();
    number(&mut connection);
    connection.write_all(ANSWER).unwrap();
    let layout = Layout::packed("matrix:f64:1".parse().unwrap(), 8, 4).unwrap();
    for _ in 0..2 {
        scene.publisher.send(&layout, &FrameInfo::default(), &[0; 8 * 4 * 8]).unwrap();
    }
    let skipped = scene.send.wait_for("skipped");
    assert!(skipped["reason"].as_str().unwrap().contains("matrix:f64:1"), "{skipped}");
    publish(&mut scene.publisher, 9, SIZE);
    assert_eq!(number(&mut connection), 9);
    connection.write_all(ANSWER).unwrap();
    let summary = scene.send.wait_for("summary");
    let others = summary["left_out"].as_u64().unwrap() + summary["skipped"].as_u64().unwrap();
    assert_eq!((summary["frames"].as_u64(), others), (Some(2), 2), "{summary}");
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let place = Place::new();
    let _publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (line, expected) in [
        ("send cam0 legacy://192.0.2.1:8081".to_owned(), "neither encrypted nor authenticated"),
        (format!("send cam0 legacy://0.0.0.0:{port}"), "neither encrypted nor authenticated"),
        ("send cam0 legacy://127.0.0.1?quality=0".to_owned(), "quality"),
        ("send cam0 legacy://127.0.0.1?quality=9&quality=9".to_owned(), "quality= once"),
        ("send cam0 legacy://no.such.host.invalid".to_owned(), "no.such.host.invalid"),
        ("send cam9 legacy://127.0.0.1 --open-timeout 0".to_owned(), "cam9"),
        ("send cam0 legacy:127.0.0.1".to_owned(), "legacy://"),
    ] {
        let output = place.run(&format!("{line} --json"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains(expected), "{line}: {error}");
        assert!(error["hint"].is_string(), "{line}: {error}");
    }
    // Without a receiver, and without a wait.
    drop(listener);
    let output = place.run(&format!("send cam0 legacy://127.0.0.1:{port} --open-timeout 0 --json"));
    assert_eq!(json_error(&output)["kind"], "timeout");
}

#[test]
fn a_word_opens_the_way_beyond_this_machine() {
    let place = Place::new();
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    publish(&mut publisher, 0, SIZE);
    // Any address of this machine, which ends at the loopback one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut send = place.start(&format!("send cam0 legacy://0.0.0.0:{port} --insecure --count 1 --json"));
    let mut connection = accept(&listener);
    assert_eq!(number(&mut connection), 0);
    connection.write_all(ANSWER).unwrap();
    assert!(send.end().success());
}
