//! Take-overs and lossless channels, in cases that random kills seldom reach.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use framelane::{
    Backpressure, CancelToken, Delivery, DetectionPublisher, DetectionSubscriber, FrameId, FrameInfo, Layout,
    LoanError, PixelFormat, Publisher, doctor,
};
use framelane_tests::{Channels, Memory, Place, Running, remove_file, wait_until};

const PUBLISHER: &str = env!("CARGO_BIN_EXE_publisher");
const SUBSCRIBER: &str = env!("CARGO_BIN_EXE_subscriber");

fn gray(bytes: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap()
}

/// Ends a wait at its tenth poll.
fn tenth_poll() -> CancelToken {
    let polls = AtomicU32::new(0);
    CancelToken::with_check(move || polls.fetch_add(1, Relaxed) >= 9)
}

/// Publishes a frame. With backpressure block, returns instead of a wait.
fn send(publisher: &mut Publisher) -> Result<u64, LoanError> {
    publisher.set_cancel_token(tenth_poll());
    let loan = publisher.loan(&gray(64))?;
    Ok(loan.publish(&FrameInfo::default()))
}

fn start(place: &Place, backpressure: &str) -> Running {
    let mut publisher = place.start_program(PUBLISHER, &["c", backpressure, "steady", "1"]);
    publisher.numbers("ready");
    publisher
}

#[test]
fn a_lossless_channel_goes_on_after_a_take_over() {
    let place = Place::new();
    let publisher = start(&place, "block");
    let mut reader = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
    drop(reader.recv().unwrap());
    publisher.kill();
    while let Ok(frame) = reader.recv_timeout(Duration::ZERO) {
        assert_eq!(frame.dropped(), 0);
    }
    let mut publisher = place.publisher().backpressure(Backpressure::Block).create("c").unwrap();
    let sequence = send(&mut publisher).unwrap();
    let frame = reader.recv().unwrap();
    assert_eq!((frame.sequence(), frame.epoch()), (sequence, publisher.epoch()));
    assert!(frame.dropped() <= 1, "at most the frame that was being written is lost");
    publisher.drain(Some(Duration::ZERO)).expect("the reader has everything");
}

#[test]
fn skipped_number_does_not_block_a_lossless_channel() {
    let place = Place::new();
    let mut publisher = place.publisher().backpressure(Backpressure::Block).create("c").unwrap();
    let mut reader = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
    send(&mut publisher).unwrap();
    drop(reader.recv().unwrap());
    assert_eq!(publisher.skip(), 2);
    publisher.drain(Some(Duration::ZERO)).expect("there is nothing that the reader could receive");
    publisher.set_cancel_token(tenth_poll());
    publisher.loan(&gray(10_000)).unwrap().publish(&FrameInfo::default());
    assert_eq!(reader.recv().unwrap().dropped(), 1);
}

#[test]
fn delivery_newest_counts_skips_on_a_lossless_channel() {
    let place = Place::new();
    let mut publisher = place.publisher().backpressure(Backpressure::Block).create("c").unwrap();
    let mut reader = place.subscriber().open("c").unwrap();
    for _ in 0..4 {
        send(&mut publisher).unwrap();
    }
    let dropped = reader.recv().unwrap().dropped();
    assert_eq!((dropped, reader.received() + reader.dropped()), (3, 4));
}

#[test]
fn lease_of_a_closed_subscriber_does_not_block() {
    let place = Place::new();
    let mut publisher = place.publisher().backpressure(Backpressure::Block).create("c").unwrap();
    let mut reader = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
    send(&mut publisher).unwrap();
    let frame = reader.recv().unwrap();
    drop(reader);
    for _ in 0..20 {
        send(&mut publisher).unwrap();
    }
    assert_eq!(frame.sequence(), 1);
}

#[test]
fn frame_before_the_close_is_still_received() {
    let place = Place::new();
    for delivery in [Delivery::Newest, Delivery::Every] {
        let mut publisher = place.publisher().create("c").unwrap();
        send(&mut publisher).unwrap();
        let mut reader = place.subscriber().delivery(delivery).open("c").unwrap();
        send(&mut publisher).unwrap();
        publisher.close();
        let mut last = 0;
        while let Ok(frame) = reader.recv() {
            last = frame.sequence();
        }
        assert_eq!(last, 2, "{delivery:?}: subscribers get what they have not received yet");
    }
}

#[test]
fn number_is_not_reused_after_a_kill_before_head() {
    let place = Place::new();
    let publisher = start(&place, "drop");
    let mut reader = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
    let old_epoch = reader.recv().unwrap().epoch();
    while reader.recv().unwrap().sequence() < 20 {}
    publisher.kill();
    while reader.recv_timeout(Duration::ZERO).is_ok() {}
    let status = framelane::status(Some(place.path()), "c").unwrap();
    // Killed after two dropped frames, with the version of a third in its slot and not yet in the head.
    let head = status.sequence;
    let data = place.path().join(format!("c.data.{}", status.generation));
    let data = Memory::open(&data).unwrap();
    let control = Memory::open(&place.path().join("c.control")).unwrap();
    // Another slot than the newest gets the descriptor of the newest: in a new ring it may have none.
    let (mut newest, mut entry) = ([0; 8], [0; 256]);
    control.read(&mut newest, 128);
    let newest = u64::from_le_bytes(newest) & 0xFF;
    let other = (newest + 1) % 6;
    data.read(&mut entry, 4096 + 256 * newest);
    entry[..8].copy_from_slice(&(head + 3).to_le_bytes());
    data.write(&entry, 4096 + 256 * other);
    control.write(&(head + 3).to_le_bytes(), 264);

    let mut publisher = place.publisher().create("c").unwrap();
    let published: Vec<_> = (0..3).map(|_| send(&mut publisher).unwrap()).collect();
    let mut received = Vec::new();
    while let Ok(frame) = reader.recv_timeout(Duration::ZERO) {
        received.push((frame.sequence(), frame.epoch()));
    }
    received.retain(|&(_, epoch)| epoch != old_epoch);
    let expected: Vec<_> = published.into_iter().map(|sequence| (sequence, publisher.epoch())).collect();
    assert_eq!(received, expected, "a slow reader gets all frames of the new publisher");
}

#[test]
fn a_subscriber_killed_while_it_waits_is_soon_forgotten() {
    let place = Place::new();
    let mut publisher = place.publisher().create("c").unwrap();
    let mut reader = place.start_program(SUBSCRIBER, &["c", "newest", "0", "end"]);
    reader.numbers("ready");
    let word = |file: &str, offset| {
        let mut bytes = [0; 4];
        Memory::open(&place.path().join(file)).unwrap().read(&mut bytes, offset);
        u32::from_le_bytes(bytes)
    };
    let waiting = || word("c.readers", 4096 + 64);
    wait_until!(waiting() != 0);
    reader.kill();
    for _ in 0..1000 {
        send(&mut publisher).unwrap();
        assert_ne!(waiting(), word("c.control", 136) + 1, "no system call without a waiting subscriber");
    }
}

#[test]
fn a_doctor_at_work_does_not_harm_a_publisher_that_begins() {
    let place = Place::new();
    let path = place.path();
    let barrier = std::sync::Barrier::new(2);
    for round in 0..40 {
        // What a killed publisher left.
        let mut publisher = place.publisher().create("z").unwrap();
        send(&mut publisher).unwrap();
        let mut kept: Vec<_> =
            place.files().into_iter().map(|name| (std::fs::read(path.join(&name)).unwrap(), name)).collect();
        publisher.close();
        // In either order: a directory is read in the order of making, or against it.
        if round % 2 == 0 {
            kept.reverse();
        }
        for (bytes, name) in &kept {
            // At times only the strays of one that was killed later.
            if round % 3 != 0 || !name.ends_with(".control") {
                std::fs::write(path.join(name), bytes).unwrap();
            }
        }
        // Other channels that keep the doctor busy between its check of the directory and of this channel.
        for other in 0..40 {
            std::fs::write(path.join(format!("a{other}.readers")), b"").unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                doctor(Some(path), framelane::Leftovers::Remove).unwrap();
            });
            barrier.wait();
            let mut publisher = loop {
                match place.publisher().create("z") {
                    Ok(publisher) => break publisher,
                    // The doctor holds the dead publisher's lock for a moment.
                    Err(error) => assert_eq!(error.kind(), framelane::ErrorKind::ChannelBusy, "{error}"),
                }
            };
            for _ in 0..20 {
                send(&mut publisher).unwrap();
                let reader = place.subscriber().open_timeout(Some(Duration::ZERO)).open("z");
                let mut reader =
                    reader.unwrap_or_else(|error| panic!("round {round}: {error}; {:?}", place.files()));
                let frame = reader.recv_timeout(Duration::ZERO);
                assert!(frame.is_ok(), "round {round}: {frame:?}; {:?}", place.files());
            }
            publisher.close();
        });
        doctor(Some(path), framelane::Leftovers::Remove).unwrap();
        assert_eq!(place.files(), [""; 0]);
    }
}

/// Replaces the files of a channel with copies, as if its publisher were dead.
fn abandon(place: &Place, channel: &str) {
    let names = place.files().into_iter().filter(|name| name.starts_with(&format!("{channel}.")));
    let kept: Vec<_> =
        names.map(|name| place.path().join(name)).map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    for (_, path) in &kept {
        remove_file(path);
    }
    for (bytes, path) in kept {
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn subscriber_opened_after_a_takeover_begins_with_its_epoch() {
    for (delivery, backpressure) in [
        (Delivery::Newest, Backpressure::Drop),
        (Delivery::Every, Backpressure::Drop),
        (Delivery::Newest, Backpressure::Block),
        (Delivery::Every, Backpressure::Block),
    ] {
        for waits in [false, true] {
            let place = Place::new();
            start(&place, "drop").kill();
            let options = place.subscriber().delivery(delivery);
            let opened = std::thread::spawn(move || options.open("c").unwrap());
            let (mut publisher, mut reader) = if waits {
                // It finds the publisher dead, and waits for the next one.
                let publisher = place.publisher().backpressure(backpressure).create("c").unwrap();
                (publisher, opened.join().unwrap())
            } else {
                let publisher = place.publisher().backpressure(backpressure).create("c").unwrap();
                drop(opened.join().unwrap());
                (publisher, place.subscriber().delivery(delivery).open("c").unwrap())
            };
            assert!(
                reader.recv_timeout(Duration::ZERO).is_err(),
                "{delivery:?} {backpressure:?}: an old frame"
            );
            let sequence = send(&mut publisher).unwrap();
            let frame = reader.recv().unwrap();
            assert_eq!((frame.epoch(), frame.sequence()), (publisher.epoch(), sequence));
            assert_eq!(frame.dropped(), 0);
        }
    }
}

#[test]
fn detections_after_a_takeover_begin_with_its_epoch() {
    let place = Place::new();
    let frame = FrameId::new("c", (1, 1)).with_times_ns(1, 1).with_size(64, 1);
    let open = |model| DetectionPublisher::with_options(place.publisher(), "d", &[], model).unwrap();
    let mut first = open("dead");
    first.send(&frame, &[]).unwrap();
    abandon(&place, "d");
    let mut second = open("live");
    let mut reader = DetectionSubscriber::with_options(place.subscriber(), "d").unwrap();
    second.send(&frame, &[]).unwrap();
    assert_eq!(reader.recv().unwrap().model, "live");
    drop(first);
    assert!(place.files().iter().any(|name| name == "d.control"), "the successor's files stay");
}

#[test]
fn silence_of_a_dead_publisher_is_explained() {
    let place = Place::new();
    let publisher = start(&place, "drop");
    let id = publisher.id();
    let mut reader = place.subscriber().open("c").unwrap();
    let held = reader.recv().unwrap();
    publisher.kill();
    while reader.recv_timeout(Duration::ZERO).is_ok() {}
    let timeout = Duration::from_millis(1);
    let error = reader.recv_timeout(timeout).unwrap_err();
    let error = reader.explain(error, Some(timeout));
    assert_eq!(error.kind(), framelane::ErrorKind::Timeout);
    assert!(error.message().contains(&format!("(process {id}) ended without closing")), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("start the publisher again")), "{error}");
    drop(held);
}
