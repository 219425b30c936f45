//! A publisher that closes its channel and comes again: subscribers with `reconnect` wait for it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use framelane::{
    Backpressure, CancelToken, Delivery, Detection, DetectionPublisher, DetectionSubscriber, ErrorKind,
    FrameInfo, Layout, Origin, PixelFormat, Publisher, PublisherOptions, RecvError, Subscriber,
    SubscriberOptions,
};
use framelane_test_kit::{Place, wait_until};

const LONG: Duration = Duration::from_secs(60);
const BRIEF: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Scene(Place);

impl Scene {
    fn publishing(&self) -> PublisherOptions {
        PublisherOptions::new().directory(self.0.path()).slots(4)
    }

    fn publisher(&self) -> Publisher {
        self.publishing().create("cam0").unwrap()
    }

    fn reading(&self, delivery: Delivery) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.0.path()).delivery(delivery).reconnect(true)
    }

    fn subscriber(&self, delivery: Delivery) -> Subscriber {
        self.reading(delivery).open("cam0").unwrap()
    }
}

fn send(publisher: &mut Publisher, pixel: u8) {
    let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[pixel]).unwrap();
}

/// Sequence, pixel and drops of the next frame.
fn next(subscriber: &mut Subscriber) -> (u64, u8, u64) {
    let frame = subscriber.recv_timeout(LONG).unwrap();
    (frame.sequence(), frame.bytes()[0], frame.dropped())
}

#[test]
fn reconnect_after_a_close_receives_from_the_next_publisher() {
    for delivery in [Delivery::Newest, Delivery::Every] {
        let scene = Scene::default();
        let mut publisher = scene.publisher();
        let mut subscriber = scene.subscriber(delivery);
        send(&mut publisher, 10);
        let held = subscriber.recv().unwrap();
        send(&mut publisher, 11);
        drop(publisher);
        // What is left comes first.
        assert_eq!(next(&mut subscriber), (2, 11, 0));
        assert!(matches!(subscriber.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
        assert!(matches!(subscriber.recv_timeout(BRIEF), Err(RecvError::Timeout)));
        assert!(!subscriber.publisher_alive());
        let mut publisher = scene.publisher();
        send(&mut publisher, 20);
        assert_eq!(next(&mut subscriber), (1, 20, 0));
        assert!(subscriber.publisher_alive());
        assert_eq!(subscriber.epoch(), publisher.epoch());
        // A frame that was held all the time is what it was.
        assert_eq!((held.bytes(), held.is_intact()), (&[10][..], true));
        assert_ne!(held.epoch(), subscriber.epoch());
        assert_eq!((subscriber.received(), subscriber.dropped()), (3, 0));
    }
}

#[test]
fn reconnect_while_waiting_receives_the_first_frame() {
    let scene = Scene::default();
    let mut subscriber = {
        let _publisher = scene.publisher();
        scene.subscriber(Delivery::Every)
    };
    let (asked, asks) = std::sync::mpsc::channel();
    subscriber.set_cancel_token(CancelToken::with_check(move || asked.send(()).is_err()));
    let waiting = std::thread::spawn(move || subscriber.recv_timeout(LONG).map(|frame| frame.bytes()[0]));
    // It waits for the channel.
    asks.recv().unwrap();
    let mut publisher = scene.publisher();
    send(&mut publisher, 7);
    assert_eq!(waiting.join().unwrap().unwrap(), 7);
}

#[test]
fn reconnect_counts_frames_that_were_missed_meanwhile() {
    let scene = Scene::default();
    let mut publisher = scene.publisher();
    let mut every = scene.subscriber(Delivery::Every);
    let mut newest = scene.subscriber(Delivery::Newest);
    send(&mut publisher, 1);
    assert_eq!(next(&mut every), (1, 1, 0));
    assert_eq!(next(&mut newest), (1, 1, 0));
    // The ring of larger frames is removed before either subscriber has mapped it.
    let layout = Layout::packed(PixelFormat::Gray8, 100, 100).unwrap();
    for _ in 0..3 {
        publisher.send(&layout, &FrameInfo::default(), &[2; 10_000]).unwrap();
    }
    drop(publisher);
    let mut publisher = scene.publisher();
    for pixel in 1..=6 {
        send(&mut publisher, pixel);
    }
    // Frames 2 to 4 of the old publisher, and what the new one's ring of 4 no longer holds.
    let (sequence, pixel, dropped) = next(&mut every);
    assert_eq!((u64::from(pixel), dropped), (sequence, 3 + sequence - 1));
    while next(&mut every).0 < 6 {}
    assert_eq!(every.received() + every.dropped(), 4 + 6);
    assert_eq!(next(&mut newest), (6, 6, 3 + 5));
    assert_eq!(newest.received() + newest.dropped(), 4 + 6);
}

#[test]
fn reconnect_in_a_lossless_channel_misses_nothing() {
    let scene = Scene::default();
    let mut subscriber = {
        let _publisher = scene.publishing().backpressure(Backpressure::Block).create("cam0").unwrap();
        scene.subscriber(Delivery::Every)
    };
    for life in 0..5 {
        let mut publisher = scene.publishing().backpressure(Backpressure::Block).create("cam0").unwrap();
        // More than the ring holds, once the subscriber is there.
        send(&mut publisher, 0);
        let sending = std::thread::spawn(move || {
            for pixel in 1..20 {
                let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
                publisher.send(&layout, &FrameInfo::default(), &[pixel]).unwrap();
                if pixel == 2 {
                    wait_until!(publisher.subscribers() > 0);
                }
            }
        });
        for pixel in 0..20 {
            assert_eq!(next(&mut subscriber), (u64::from(pixel) + 1, pixel, 0), "life {life}");
        }
        sending.join().unwrap();
    }
    assert_eq!((subscriber.received(), subscriber.dropped()), (100, 0));
}

#[test]
fn reconnect_wait_ends_when_the_caller_says_so() {
    let scene = Scene::default();
    let mut publisher = scene.publisher();
    let mut subscriber = scene.subscriber(Delivery::Newest);
    send(&mut publisher, 1);
    assert_eq!(next(&mut subscriber).1, 1);
    drop(publisher);
    let asked = AtomicU32::new(0);
    subscriber.set_cancel_token(CancelToken::with_check(move || asked.fetch_add(1, Relaxed) == 1));
    let ended = subscriber.recv();
    assert!(matches!(ended, Err(RecvError::Interrupted)), "{ended:?}");
    // It continues afterwards.
    let mut publisher = scene.publisher();
    send(&mut publisher, 2);
    assert_eq!(next(&mut subscriber).1, 2);
}

#[test]
fn reconnect_is_off_by_default() {
    let scene = Scene::default();
    let publisher = scene.publisher();
    let mut subscriber = scene.reading(Delivery::Newest).reconnect(false).open("cam0").unwrap();
    drop(publisher);
    assert!(matches!(subscriber.recv_timeout(LONG), Err(RecvError::Closed)));
    let mut publisher = scene.publisher();
    send(&mut publisher, 1);
    assert!(matches!(subscriber.recv_timeout(LONG), Err(RecvError::Closed)));
}

#[test]
fn reconnect_with_an_iterator_goes_on_over_restarts() {
    let scene = Scene::default();
    let mut publisher = scene.publisher();
    let mut subscriber = scene.subscriber(Delivery::Every);
    let mut frames = subscriber.frames();
    for pixel in 0..4 {
        send(&mut publisher, pixel);
        assert_eq!(frames.next().unwrap().unwrap().bytes(), [pixel]);
        drop(publisher);
        publisher = scene.publisher();
    }
}

#[test]
fn reconnect_with_detections_finds_frames_over_restarts() {
    let scene = Scene::default();
    let finder = || DetectionPublisher::with_options(scene.publishing(), "cam0/detections", &[], "").unwrap();
    let mut publisher = scene.publisher();
    let mut frames = scene.subscriber(Delivery::Newest);
    send(&mut publisher, 1);
    let frame = frames.recv().unwrap();
    let mut first = finder();
    let mut detections =
        DetectionSubscriber::with_options(scene.reading(Delivery::Every), "cam0/detections").unwrap();
    first.send(&frame.id(), &[Detection::default()]).unwrap();
    assert_eq!(detections.recv_timeout(LONG).unwrap().boxes.len(), 1);
    drop(first);
    assert!(matches!(detections.recv_timeout(BRIEF), Err(RecvError::Timeout)));
    let mut second = finder();
    second.send(&frame.id(), &[]).unwrap();
    send(&mut publisher, 2);
    let frame = frames.recv().unwrap();
    second.send(&frame.id(), &[Detection::default(); 2]).unwrap();
    let found = detections.for_frame(frame.id(), LONG).unwrap();
    assert_eq!(found.boxes.len(), 2);
    drop(second);
    let error = detections.answer(Origin { epoch: frame.epoch(), sequence: 77 }, BRIEF).unwrap_err();
    let error = framelane::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("channel cam0/detections in "), "{error}");
}
