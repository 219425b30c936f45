//! `receive legacy://` and hostile senders: memory, connections and time are bounded, and the next sender is
//! served.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;

use framelane::{Delivery, SubscriberOptions};
use rustix::process::{Pid, Signal, kill_process};
use support::Place;
use support::stream::{ANSWER, jpeg, message, number_of, receive};

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

/// A JPEG that claims another size: its picture is too short for it.
fn claiming(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg(0, 64, 48);
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5;
    jpeg[at..at + 2].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    jpeg
}

fn is_answered(sender: &mut TcpStream) {
    let mut answer = [0; 18];
    sender.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, ANSWER);
}

#[test]
fn silent_connections_do_not_delay_a_sender_with_a_frame() {
    let place = Place::new();
    let (mut receive, port) = receive(&place, "--idle-timeout 3");
    let mut subscriber = SubscriberOptions::new().directory(place.path()).open("cam0").unwrap();
    let _silent: Vec<_> = (0..100).map(|_| connect(port)).collect();
    let mut dripping: Vec<_> = (0..20).map(|_| connect(port)).collect();
    for sender in &mut dripping {
        // The end of a length that never comes.
        sender.write_all(b"99").unwrap();
    }
    let mut sender = connect(port);
    sender.write_all(&message(&jpeg(7, 64, 48))).unwrap();
    is_answered(&mut sender);
    assert_eq!(number_of(subscriber.recv().unwrap().bytes()), 7);
    drop(sender);
    // At most two were served before it: the one that was there, and one whose bytes were there first.
    let mut before = 0;
    loop {
        let gone = receive.wait_for("disconnected");
        if gone["frames"] == 1 {
            break;
        }
        before += 1;
    }
    assert!(before <= 3, "{before} others were waited for");
    let files = std::fs::read_dir(format!("/proc/{}/fd", receive.child.id())).unwrap().count();
    assert!(files < 100, "{files} descriptors");
    receive.signal(Signal::TERM);
    let summary = receive.wait_for("summary");
    assert!(summary["unserved"].as_u64().unwrap() >= 50, "{summary}");
    receive.end();
}

#[test]
fn sender_of_broken_pictures_gives_way_to_one_that_waits() {
    let place = Place::new();
    let (mut receive, port) = receive(&place, "--idle-timeout 0.2");
    let mut subscriber = SubscriberOptions::new().directory(place.path()).open("cam0").unwrap();
    let mut hostile = connect(port);
    receive.wait_for("connected");
    let flood = std::thread::spawn(move || {
        // Each is answered, and none is a picture.
        while hostile.write_all(&message(b"x")).is_ok() && hostile.read(&mut [0; 32]).is_ok_and(|n| n > 0) {}
    });
    let mut sender = connect(port);
    sender.write_all(&message(&jpeg(5, 64, 48))).unwrap();
    let gone = receive.wait_for("disconnected");
    let reason = gone["reason"].as_str().unwrap();
    assert!(reason.contains("has sent no picture") && reason.contains("another sender waits"), "{reason}");
    is_answered(&mut sender);
    assert_eq!(number_of(subscriber.recv().unwrap().bytes()), 5);
    flood.join().unwrap();
    receive.signal(Signal::TERM);
    receive.end();
}

#[test]
fn picture_that_cannot_be_decoded_takes_no_shared_memory() {
    let place = Place::new();
    let (mut receive, port) = receive(&place, "");
    let mut sender = connect(port);
    let used = || -> u64 {
        let sizes =
            place.files().into_iter().filter_map(|name| std::fs::metadata(place.path().join(name)).ok());
        sizes.map(|file| file.len()).sum()
    };
    sender.write_all(&message(&jpeg(0, 64, 48))).unwrap();
    is_answered(&mut sender);
    let before = used();
    for (width, height) in [(4096, 4096), (65_500, 256), (1, 65_500), (64, 49)] {
        sender.write_all(&message(&claiming(width, height))).unwrap();
        is_answered(&mut sender);
        receive.wait_for("broken");
        assert_eq!(used(), before, "{width}x{height}");
    }
    receive.signal(Signal::TERM);
    receive.end();
}

#[test]
fn flood_of_connections_is_logged_in_few_lines() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut command = place.command(&format!("receive legacy://127.0.0.1:{port} cam0"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut subscriber = options.open_timeout(Some(std::time::Duration::from_secs(60))).open("cam0").unwrap();
    for _ in 0..500 {
        connect(port).shutdown(Shutdown::Both).unwrap();
    }
    let mut sender = connect(port);
    sender.write_all(&message(&jpeg(3, 64, 48))).unwrap();
    is_answered(&mut sender);
    assert_eq!(number_of(subscriber.recv().unwrap().bytes()), 3);
    // As long as the flood lasted: a second more is 20 lines more.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.lines().count() < 400, "{text}");
    assert!(text.contains("more lines about 127.0.0.1 were skipped"), "{text}");
}

#[test]
fn peer_that_never_reads_its_answers_is_disconnected() {
    let place = Place::new();
    let (mut receive, port) = receive(&place, "--idle-timeout 2");
    let mut hostile = connect(port);
    rustix::net::sockopt::set_socket_recv_buffer_size(&hostile, 1).unwrap();
    receive.wait_for("connected");
    // Answers fill the buffers of both sides, as none is read.
    let flood = std::thread::spawn(move || {
        let frames = message(b"x").repeat(4096);
        while hostile.write_all(&frames).is_ok() {}
    });
    // Not the events of its frames.
    let gone = receive.wait_for("disconnected");
    let reason = gone["reason"].as_str().unwrap();
    assert!(reason.contains("while it was answered: no byte for 2 s"), "{reason}");
    flood.join().unwrap();
    let mut sender = connect(port);
    sender.write_all(&message(&jpeg(1, 64, 48))).unwrap();
    is_answered(&mut sender);
    receive.signal(Signal::TERM);
    receive.end();
}
