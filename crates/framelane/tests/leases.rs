//! Number of frames that a subscriber may hold, and the report when nothing is received.

use std::path::Path;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::Place;

fn publisher(directory: &Path, slots: usize) -> Publisher {
    PublisherOptions::new().directory(directory).slots(slots).create("c").unwrap()
}

fn subscribe(directory: &Path) -> Subscriber {
    SubscriberOptions::new().directory(directory).open_timeout(Some(Duration::ZERO)).open("c").unwrap()
}

/// Publishes a frame; `None` when no slot is free.
fn send(publisher: &mut Publisher) -> Option<u64> {
    let layout = Layout::packed(PixelFormat::Gray8, 64, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[7; 64]).unwrap()
}

/// Receives and holds until that is an error.
fn hold_all(publisher: &mut Publisher, subscriber: &mut Subscriber) -> (Vec<Frame>, RecvError) {
    let mut held = Vec::new();
    loop {
        send(publisher);
        match subscriber.recv_timeout(Duration::ZERO) {
            Ok(frame) => held.push(frame),
            Err(error) => return (held, error),
        }
    }
}

fn silence(subscriber: &mut Subscriber) -> Error {
    let timeout = Duration::from_millis(1);
    let error = subscriber.recv_timeout(timeout).unwrap_err();
    let error = subscriber.explain(error, Some(timeout));
    assert!(error.message().starts_with("no new frame on channel c within 0.001 s: "), "{error}");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.hint().is_some(), "{error}");
    error
}

#[track_caller]
fn assert_words(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "expected {word:?} in: {error}");
    }
}

#[test]
fn subscriber_at_its_limit_leaves_slots_to_others() {
    for slots in [4, 5, 6, 7, 10, 16] {
        let directory = Place::new();
        let mut publisher = publisher(directory.path(), slots);
        let mut greedy = subscribe(directory.path());
        let mut other = subscribe(directory.path());
        let (held, error) = hold_all(&mut publisher, &mut greedy);
        assert_eq!(held.len(), (slots - 2).min(8));
        assert_eq!(held.len(), greedy.max_leases());
        let error = greedy.explain(error, None);
        assert_eq!(error.kind(), ErrorKind::TooManyLeases, "{error}");
        assert_words(&error, &[&format!("holds {} frames", held.len()), "frame.copy()", "array.copy()"]);
        if held.len() < 8 {
            assert_words(&error, &[&format!("--slots {}", slots + 1), &format!("slots={}", slots + 1)]);
        }
        for _ in 0..3 * slots {
            let sequence = send(&mut publisher).expect("a free slot");
            assert_eq!(other.recv_timeout(Duration::ZERO).unwrap().sequence(), sequence);
        }
        assert_eq!(publisher.dropped(), 0);
        assert!(held.iter().all(Frame::is_intact));
        // A subscriber that releases a frame receives again.
        drop(held);
        assert!(greedy.recv_timeout(Duration::ZERO).is_ok());
    }
}

#[test]
fn loop_that_holds_the_last_frame_works_in_the_smallest_rings() {
    for slots in [2, 3] {
        let directory = Place::new();
        let mut publisher = publisher(directory.path(), slots);
        let mut subscriber = subscribe(directory.path());
        let mut last = None;
        for _ in 0..20 {
            send(&mut publisher).expect("a free slot");
            last = Some(subscriber.recv_timeout(Duration::ZERO).unwrap());
        }
        drop(last);
        // More than two is an error at once, not a wait for frames that cannot come.
        let (held, error) = hold_all(&mut publisher, &mut subscriber);
        assert_eq!(held.len(), 2);
        let error = subscriber.explain(error, None);
        assert!(matches!(error.kind(), ErrorKind::TooManyLeases | ErrorKind::Timeout), "{error}");
        assert_words(&error, &["slots", "copy"]);
    }
}

/// The name of this process, as the system shows it.
fn own_name() -> String {
    #[cfg(unix)]
    return std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
    #[cfg(windows)]
    return std::env::current_exe().unwrap().file_stem().unwrap().to_string_lossy().into_owned();
}

#[test]
fn processes_that_use_up_the_slots_are_named() {
    let directory = Place::new();
    let mut publisher = publisher(directory.path(), 6);
    let mut greedy = [0; 2].map(|_| subscribe(directory.path()));
    let mut starved = subscribe(directory.path());
    let mut held = Vec::new();
    for greedy in &mut greedy {
        held.extend(hold_all(&mut publisher, greedy).0);
    }
    while send(&mut publisher).is_some() {}
    while starved.recv_timeout(Duration::ZERO).is_ok() {}
    let name = own_name();
    let holder = format!("process {} ({name}) holds {} slots", std::process::id(), held.len());
    assert!(held.len() >= 5);
    let error = publisher.explain(LoanError::NoFreeSlot);
    assert_eq!(error.kind(), ErrorKind::NoFreeSlot);
    assert_words(&error, &[&holder, "no free slot of 6", "--slots"]);
    assert_words(&silence(&mut starved), &[&holder, "no free slot of 6", "--slots"]);
    let found = status(Some(directory.path()), "c").unwrap();
    assert_eq!((found.held_slots, found.holders.len()), (5, 1));
    assert_words(&found.starvation().unwrap(), &[&holder]);
    let diagnosis = doctor(Some(directory.path()), framelane::Leftovers::Report).unwrap();
    assert_eq!(diagnosis.starved.len(), 1, "{diagnosis:?}");
    drop(held);
    send(&mut publisher).expect("a free slot");
    assert!(status(Some(directory.path()), "c").unwrap().starvation().is_none());
    assert_eq!(doctor(Some(directory.path()), framelane::Leftovers::Report).unwrap().starved.len(), 0);
    assert_eq!(publisher.slot_holders(), []);
}

#[test]
fn silence_of_a_live_publisher_is_explained() {
    let directory = Place::new();
    let mut publisher = publisher(directory.path(), 6);
    let mut subscriber = subscribe(directory.path());
    let pid = std::process::id();
    assert_words(&silence(&mut subscriber), &[&format!("(process {pid}) has published no frame yet")]);
    send(&mut publisher);
    let frame = subscriber.recv().unwrap();
    // One frame that is held does no harm, and no advice says so.
    let error = silence(&mut subscriber);
    assert_words(&error, &[&format!("(process {pid}) published its last frame "), "s ago"]);
    assert!(!error.to_string().contains("release"), "{error}");
    drop(frame);
}
