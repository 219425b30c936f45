//! Links that fail or lag, and wakes without end.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use framelane_test_kit::{Limit, Place};

use super::*;
use crate::urls::Link;
use crate::{Delivery, PixelFormat, Subscriber, SubscriberOptions};

/// A link that reports its fault when it was asked `after` times.
struct Failing {
    kind: ErrorKind,
    after: u32,
    asked: Arc<AtomicU32>,
}

impl Link for Failing {
    fn fault(&self) -> Option<Error> {
        let asked = self.asked.fetch_add(1, Relaxed);
        (asked >= self.after).then(|| Error::new(self.kind, "the peer refuses"))
    }

    fn grace(&self) -> Duration {
        Duration::ZERO
    }
}

fn publisher(place: &Place) -> Publisher {
    PublisherOptions::new().directory(place.path()).create("c").unwrap()
}

fn subscriber(place: &Place) -> Subscriber {
    SubscriberOptions::new().directory(place.path()).delivery(Delivery::Newest).open("c").unwrap()
}

fn send(publisher: &mut Publisher) {
    let layout = Layout::packed(PixelFormat::Gray8, 4, 4).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[1; 16]).unwrap();
}

#[test]
fn drain_of_a_link_that_has_left_returns_its_fault() {
    let _limit = Limit::new();
    // Any kind may come from the peer, also those that end a wait.
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Timeout, ErrorKind::Interrupted] {
        // The fault comes later than the subscriber of the link goes.
        for after in [0, 5] {
            for sent in [false, true] {
                let place = Place::new();
                let mut publisher = publisher(&place);
                if sent {
                    send(&mut publisher);
                }
                let mut publisher =
                    publisher.with_link(Box::new(Failing { kind, after, asked: Arc::default() }));
                let error = publisher.drain(None).unwrap_err();
                assert_eq!((error.kind(), error.message()), (kind, "the peer refuses"));
            }
        }
    }
}

#[test]
fn drain_of_a_failed_link_with_another_reader_returns_the_fault() {
    let _limit = Limit::new();
    let place = Place::new();
    let mut publisher = publisher(&place);
    let mut reader = subscriber(&place);
    send(&mut publisher);
    let _frame = reader.recv().unwrap();
    let kind = ErrorKind::PermissionDenied;
    let mut publisher = publisher.with_link(Box::new(Failing { kind, after: 0, asked: Arc::default() }));
    assert_eq!(publisher.drain(Some(Duration::ZERO)).unwrap_err().kind(), kind);
}

#[test]
fn drain_of_a_removed_channel_with_a_link_ends() {
    let _limit = Limit::new();
    let place = Place::new();
    let mut publisher = publisher(&place).with_link(Box::new(Failing {
        kind: ErrorKind::PermissionDenied,
        after: u32::MAX,
        asked: Arc::default(),
    }));
    for file in ["c.control", "c.readers"] {
        framelane_test_kit::remove_file(&place.path().join(file));
    }
    assert_eq!(publisher.drain(None).unwrap_err().kind(), ErrorKind::ChannelRemoved);
}

#[test]
fn drain_waits_for_a_link_and_asks_every_100_ms() {
    let _limit = Limit::new();
    let place = Place::new();
    let mut publisher = publisher(&place);
    let _behind = subscriber(&place);
    send(&mut publisher);
    let looks = Arc::new(AtomicU32::new(0));
    let link = Failing { kind: ErrorKind::PermissionDenied, after: 200, asked: looks.clone() };
    let mut publisher = publisher.with_link(Box::new(link));
    publisher.set_cancel_token(CancelToken::with_check(|| true));
    assert_eq!(publisher.drain(None).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(publisher.drain(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::Timeout);
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    publisher.set_cancel_token(CancelToken::with_check(move || {
        count.fetch_add(1, Relaxed);
        false
    }));
    let began = Instant::now();
    let ended = publisher.drain(None);
    let most = began.elapsed().as_millis() / 100 + 1;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(looks.load(Relaxed) > 200);
    let asked = u128::from(asked.load(Relaxed));
    assert!(asked <= most, "asked {asked} times, at most {most} expected");
}

#[test]
fn wait_past_its_deadline_ends_though_readers_wake_it() {
    let place = Place::new();
    let mut publisher = publisher(&place);
    publisher.set_cancel_token(CancelToken::with_check(|| panic!("asked after the deadline")));
    let mut tries = 0;
    let waited = publisher.wait_until(Some(Instant::now()), |publisher| {
        tries += 1;
        // A reader frees a slot between the look and the sleep, each time.
        publisher.readers.words().freed.fetch_add(1, Relaxed);
        if tries < 100 { Err(LoanError::NoFreeSlot) } else { Ok(()) }
    });
    assert!(matches!(waited, Ok(None)), "{waited:?} after {tries} tries");
    assert_eq!(tries, 1);
}
