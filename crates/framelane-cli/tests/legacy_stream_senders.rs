//! `receive` from senders that break the format, stand still or vanish: each is reported, and the next one is
//! served.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use framelane::PixelFormat;
use support::stream::{ANSWER, Scene, jpeg, message, number_of, send_frame};
use support::{Place, json_error};

impl Scene {
    /// Connects, and waits until the receiver serves the connection.
    fn connected(&mut self) -> TcpStream {
        let connection = self.connect();
        self.receive.wait_for("connected");
        connection
    }

    /// A frame arrives over this connection, and is answered.
    fn arrives(&mut self, connection: &mut TcpStream, number: usize) {
        send_frame(connection, &jpeg(number, 64, 48));
        let frame = self.frame();
        assert_eq!((frame.width(), frame.height(), frame.format()), (64, 48, PixelFormat::Bgr8));
        assert_eq!(number_of(frame.bytes()), number);
    }

    /// The cause of the disconnection. Empty if the sender closed the connection.
    fn reason(&mut self) -> String {
        let gone = self.receive.wait_for("disconnected");
        gone["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Open files of the receiver.
    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.receive.child.id())).unwrap().count()
    }

    /// Its memory, without what is shared.
    fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.receive.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A sender in good order is served, and nothing of those before is left.
    fn is_well(&mut self, files: usize) {
        let mut connection = self.connected();
        self.arrives(&mut connection, 11);
        drop(connection);
        assert_eq!(self.reason(), "");
        assert_eq!(self.files(), files);
    }
}

/// Gone without a word, as after a crash: the receiver sees a reset where there were unread bytes or none.
fn vanish(connection: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&connection, Some(std::time::Duration::ZERO)).unwrap();
}

#[test]
fn sender_with_a_bad_length_is_disconnected_next_is_served() {
    let mut scene = Scene::new("--max-bytes 100000");
    let files = scene.files();
    for (line, found) in [
        ("-5              ", "found text"),
        ("x5              ", "found text"),
        ("0               ", "found length 0"),
        ("100001          ", "at most 100000 bytes, found the length 100001"),
        ("9999999999999999", "found the length 9999999999999999"),
        ("GET / HTTP/1.1\r\n", "found HTTP"),
    ] {
        let mut connection = scene.connected();
        connection.write_all(line.as_bytes()).unwrap();
        let reason = scene.reason();
        assert!(reason.contains(found) && reason.contains("expected"), "{line}: {reason}");
        // The connection ends before the sender has sent all of its picture in vain.
        assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)));
        scene.is_well(files);
    }
    assert_eq!(scene.end()["frames"], 6);
}

#[test]
fn sender_lost_after_any_byte_leaves_the_port_to_the_next() {
    let mut scene = Scene::new("");
    let files = scene.files();
    let message = message(&jpeg(0, 16, 16));
    for count in 0..message.len() {
        let mut connection = scene.connected();
        connection.write_all(&message[..count]).unwrap();
        if count % 2 == 0 {
            connection.shutdown(Shutdown::Write).unwrap();
        } else {
            vanish(connection);
        }
        let reason = scene.reason();
        // A reset may throw away what had come before it: that counts as less, or as nothing.
        let is_reported = reason.contains("was lost after") && reason.contains("closed the connection");
        assert!(is_reported || (count == 0 && reason.is_empty()), "after {count} bytes: {reason}");
    }
    // After the frame, instead of reading the answer.
    let mut connection = scene.connected();
    connection.write_all(&message).unwrap();
    assert_eq!(scene.subscriber.recv().unwrap().width(), 16);
    vanish(connection);
    scene.reason();
    scene.is_well(files);
    let summary = scene.end();
    assert_eq!(summary["connections"], message.len() + 2);
    assert_eq!((&summary["frames"], &summary["broken"]), (&2.into(), &0.into()));
}

#[test]
fn invalid_jpeg_is_answered_reported_and_skipped() {
    let mut scene = Scene::new("--max-size 640x480");
    let mut connection = scene.connected();
    scene.arrives(&mut connection, 7);
    let good = jpeg(0, 64, 48);
    // The frame's size stands behind the marker of its header.
    let at = good.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5;
    let sized = |height: u16, width: u16| {
        let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
        [&good[..at], &size, &good[at + 4..]].concat()
    };
    for (broken, expected) in [
        (b"x".to_vec(), "expected a whole JPEG"),
        (b"GIF89a and more".to_vec(), "expected a whole JPEG"),
        (good[..at].to_vec(), "expected a whole JPEG"),
        (good[..good.len() / 2].to_vec(), "expected a whole JPEG"),
        (sized(65_000, 65_000), "at most 640x480 pixels, found 65000x65000"),
        (sized(0, 64), "JPEG"),
        (sized(300, 400), "expected a whole JPEG"),
    ] {
        let is_cut = broken.len();
        send_frame(&mut connection, &broken);
        let event = scene.receive.wait_for("broken");
        assert!(event["reason"].as_str().unwrap().contains(expected), "{is_cut} bytes: {event}");
        // The same connection continues, and no frame of it was published.
        scene.arrives(&mut connection, is_cut % 30);
    }
    drop(connection);
    assert_eq!(scene.reason(), "");
    let summary = scene.end();
    assert_eq!((&summary["frames"], &summary["broken"]), (&8.into(), &7.into()));
    assert_eq!((&summary["connections"], &summary["dropped"]), (&1.into(), &0.into()));
}

#[test]
fn a_sender_that_stands_still_is_given_up() {
    let mut scene = Scene::new("--idle-timeout 0.2");
    let files = scene.files();
    let message = message(&jpeg(0, 64, 48));
    for count in [1, 15, 16, 17, message.len() - 1] {
        let mut connection = scene.connected();
        connection.write_all(&message[..count]).unwrap();
        let reason = scene.reason();
        assert!(
            reason.contains("no byte for 0.2 s") && reason.contains("was lost after"),
            "{count}: {reason}"
        );
        scene.is_well(files);
    }
    // Between frames it may, until another sender waits.
    let mut first = scene.connected();
    scene.arrives(&mut first, 7);
    let mut second = scene.connect();
    let reason = scene.reason();
    assert!(reason.contains("another sender waits"), "{reason}");
    scene.receive.wait_for("connected");
    scene.arrives(&mut second, 7);
    scene.end();
}

#[test]
fn sender_of_single_bytes_gives_way_to_one_that_waits() {
    let mut scene = Scene::new("--idle-timeout 0.2");
    let mut slow = scene.connected();
    let mut second = scene.connect();
    // Spaces, or a picture that never ends: never silent for long.
    slow.write_all(format!("{:<16}", 1 << 20).as_bytes()).unwrap();
    while slow.write_all(&[0]).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let reason = scene.reason();
    assert!(reason.contains("of the 1048576 bytes") && reason.contains("another sender waits"), "{reason}");
    scene.receive.wait_for("connected");
    scene.arrives(&mut second, 7);
    scene.end();
}

#[test]
fn others_wait_until_a_sender_goes() {
    let mut scene = Scene::new("");
    let mut first = scene.connected();
    let mut second = scene.connect();
    second.write_all(&message(&jpeg(29, 64, 48))).unwrap();
    for number in 0..5 {
        scene.arrives(&mut first, number);
    }
    drop(first);
    assert_eq!(scene.reason(), "");
    let mut answer = [0; 18];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, ANSWER);
    assert_eq!(number_of(scene.subscriber.recv().unwrap().bytes()), 29);
    assert_eq!(scene.end()["connections"], 2);
}

#[test]
fn memory_follows_what_arrives_not_what_is_claimed() {
    let mut scene = Scene::new("");
    let files = scene.files();
    scene.is_well(files);
    let before = scene.memory_kib();
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut connection = scene.connected();
        connection.write_all(format!("{:<16}", 64 << 20).as_bytes()).unwrap();
        // A byte after the line: it was read before the end of the connection is reported.
        connection.write_all(&[0; 1000]).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        assert!(scene.reason().contains("1000 of the 67108864 bytes"));
        connections.push(connection);
    }
    let grown = scene.memory_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");
    scene.is_well(files);
    scene.end();
}

#[test]
fn frames_sent_without_waiting_for_answers_arrive_too() {
    let mut scene = Scene::new("");
    let mut connection = scene.connected();
    let messages: Vec<_> = (0..4).flat_map(|number| message(&jpeg(number, 64, 48))).collect();
    connection.write_all(&messages).unwrap();
    for number in 0..4 {
        assert_eq!(number_of(scene.subscriber.recv().unwrap().bytes()), number);
    }
    let mut answers = [0; 4 * ANSWER.len()];
    connection.read_exact(&mut answers).unwrap();
    assert_eq!(&answers[..], ANSWER.repeat(4));
    assert_eq!(scene.end()["frames"], 4);
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (line, expected) in [
        ("receive legacy://0.0.0.0:0 cam0".to_owned(), "neither encrypted nor authenticated"),
        ("receive legacy://[::]:0 cam0".to_owned(), "neither encrypted nor authenticated"),
        ("receive legacy://127.0.0.1:0?quality=9 cam0".to_owned(), "quality"),
        ("receive legacy://127.0.0.1:x cam0".to_owned(), "port"),
        (format!("receive legacy://127.0.0.1:{port} cam0"), "in use"),
        ("receive legacy:cam0 cam0".to_owned(), "legacy://"),
    ] {
        let output = place.run(&format!("{line} --json"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains(expected), "{line}: {error}");
        assert!(error["hint"].is_string(), "{line}: {error}");
    }
    assert!(place.files().is_empty());
}
