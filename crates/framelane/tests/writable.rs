//! Frames that are copied to be drawn into, and what a write to the others says.
//!
//! Not on Windows. The system, not framelane, reports a write to a read-only map on Windows.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::Place;

const BYTES: u32 = 20_000;

fn gray() -> Layout {
    Layout::packed(PixelFormat::Gray8, BYTES, 1).unwrap()
}

fn channel(slots: usize) -> (Place, Publisher) {
    let directory = Place::new();
    let publisher = PublisherOptions::new().directory(directory.path()).slots(slots).create("cam0").unwrap();
    (directory, publisher)
}

fn send(publisher: &mut Publisher, value: u8) {
    publisher.send(&gray(), &FrameInfo::default(), &[value; BYTES as usize]).unwrap().unwrap();
}

#[test]
fn writable_frame_keeps_changes_from_all_others() {
    let (directory, mut publisher) = channel(4);
    let options = SubscriberOptions::new().directory(directory.path());
    let mut writer = options.clone().writable(true).open("cam0").unwrap();
    let mut reader = options.open("cam0").unwrap();
    // Each slot is drawn into and reused several times.
    for value in 1..=40 {
        send(&mut publisher, value);
        let mut drawn = writer.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!(drawn.bytes(), [value; BYTES as usize], "nothing is left of what was drawn before");
        drawn.bytes_mut().unwrap()[..9_000].fill(255);
        let plain = reader.recv_timeout(Duration::ZERO).unwrap();
        assert_eq!(plain.bytes(), [value; BYTES as usize]);
        assert!(drawn.bytes()[..9_000].iter().all(|&byte| byte == 255));
        assert!(drawn.bytes()[9_000..].iter().all(|&byte| byte == value));
        assert!(drawn.is_intact() && plain.is_intact());
    }
}

#[test]
fn writable_frame_outlives_its_subscriber_and_channel() {
    let (directory, mut publisher) = channel(4);
    let options = SubscriberOptions::new().directory(directory.path()).writable(true);
    let mut subscriber = options.open("cam0").unwrap();
    send(&mut publisher, 7);
    let mut frame = subscriber.recv_timeout(Duration::ZERO).unwrap();
    drop((subscriber, publisher));
    frame.bytes_mut().unwrap()[0] = 1;
    assert_eq!(frame.bytes()[..3], [1, 7, 7]);
}

#[test]
fn frame_without_the_option_is_not_writable() {
    let (directory, mut publisher) = channel(4);
    let mut subscriber = SubscriberOptions::new().directory(directory.path()).open("cam0").unwrap();
    send(&mut publisher, 7);
    let mut frame = subscriber.recv_timeout(Duration::ZERO).unwrap();
    assert!(!frame.is_writable() && frame.bytes_mut().is_none());
}

#[test]
fn writable_frame_survives_truncation_of_its_file() {
    let (directory, mut publisher) = channel(4);
    let options = SubscriberOptions::new().directory(directory.path()).writable(true);
    let mut subscriber = options.open("cam0").unwrap();
    send(&mut publisher, 7);
    let frame = subscriber.recv_timeout(Duration::ZERO).unwrap();
    let file = std::fs::File::options().write(true).open(directory.path().join("cam0.data.1")).unwrap();
    file.set_len(0).unwrap();
    assert!(frame.is_intact() && frame.bytes() == [7; BYTES as usize]);
}

#[test]
fn writable_frames_hold_no_slots() {
    let (directory, mut publisher) = channel(2);
    let options = SubscriberOptions::new().directory(directory.path()).writable(true);
    let mut subscriber = options.open("cam0").unwrap();
    let mut kept = Vec::new();
    for value in 1..=30 {
        send(&mut publisher, value);
        kept.push(subscriber.recv_timeout(Duration::ZERO).unwrap());
    }
    for (frame, value) in kept.iter().zip(1..) {
        assert_eq!(frame.bytes(), [value; BYTES as usize]);
    }
}

/// The channel directory, in the half of this program that ends by a signal.
const HALF: &str = "FRAMELANE_TEST_WRITES";

#[test]
fn write_to_read_only_frame_is_reported_before_the_end() {
    if let Some(directory) = std::env::var_os(HALF) {
        let mut publisher = PublisherOptions::new().directory(&directory).create("cam0").unwrap();
        let mut subscriber = SubscriberOptions::new().directory(&directory).open("cam0").unwrap();
        send(&mut publisher, 7);
        let frame = subscriber.recv_timeout(Duration::ZERO).unwrap();
        // SAFETY: only that the process ends, which is what is tested.
        unsafe { frame.bytes().as_ptr().cast_mut().write_volatile(1) };
        unreachable!();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "write_to_read_only_frame_is_reported_before_the_end", "--nocapture"]);
    let directory = Place::new();
    // The address sanitizer handles SIGSEGV by default, and the process then exits without a signal.
    command.env("ASAN_OPTIONS", "handle_segv=0");
    let output = command.env(HALF, directory.path()).stdout(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(11), "{text}");
    let line = "framelane: write to a received frame of channel cam0, which is read-only; work on a copy";
    assert_eq!(text.matches(line).count(), 1, "{text}");
}
