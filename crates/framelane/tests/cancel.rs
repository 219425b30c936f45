//! A cancel token ends every wait of the handles that were opened with it.

use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Limit, Place};

const LONG: Duration = Duration::from_secs(60);

fn gray() -> Layout {
    Layout::packed(PixelFormat::Gray8, 4, 4).unwrap()
}

fn cancelled() -> CancelToken {
    let token = CancelToken::new();
    token.cancel();
    token
}

/// A token, and a message for each poll of a wait.
fn watched() -> (CancelToken, Receiver<()>) {
    let (asked, asks) = channel();
    let token = CancelToken::with_check(move || {
        let _ = asked.send(());
        false
    });
    (token, asks)
}

fn kind<T>(result: Result<T, impl Into<Error>>) -> ErrorKind {
    result.err().expect("a wait that was cancelled").into().kind()
}

/// Cancels when the thread waits, and returns its error.
fn cancel_waiting(cancel: &CancelToken, asks: &Receiver<()>, thread: JoinHandle<ErrorKind>) -> ErrorKind {
    asks.recv().unwrap();
    cancel.cancel();
    thread.join().unwrap()
}

struct Scene {
    place: Place,
    _limit: Limit,
}

impl Scene {
    fn new() -> Self {
        Scene { place: Place::new(), _limit: Limit::new() }
    }

    fn publisher(&self) -> PublisherOptions {
        PublisherOptions::new().directory(self.place.path()).slots(2).backpressure(Backpressure::Block)
    }

    fn subscriber(&self) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.place.path()).delivery(Delivery::Every)
    }

    /// A publisher that blocks, and the subscriber that blocks it.
    fn blocked(&self, cancel: CancelToken) -> (Publisher, Subscriber) {
        let mut publisher = self.publisher().cancel(cancel).create("c").unwrap();
        let subscriber = self.subscriber().open("c").unwrap();
        for _ in 0..2 {
            publisher.send(&gray(), &FrameInfo::default(), &[1; 16]).unwrap();
        }
        (publisher, subscriber)
    }
}

#[test]
fn wait_with_a_cancelled_token_returns_at_once() {
    let scene = Scene::new();
    assert_eq!(kind(scene.subscriber().cancel(cancelled()).open("none")), ErrorKind::Interrupted);
    let (mut publisher, _blocking) = scene.blocked(cancelled());
    assert_eq!(kind(publisher.loan(&gray()).map(drop)), ErrorKind::Interrupted);
    assert_eq!(kind(publisher.loan_owned(&gray())), ErrorKind::Interrupted);
    assert_eq!(kind(publisher.send(&gray(), &FrameInfo::default(), &[1; 16])), ErrorKind::Interrupted);
    assert_eq!(kind(publisher.drain(None)), ErrorKind::Interrupted);
    let mut idle = scene.subscriber().cancel(cancelled()).open("c").unwrap();
    // Begins with the newest frame.
    drop(idle.recv_timeout(Duration::ZERO).unwrap());
    assert_eq!(kind(idle.recv()), ErrorKind::Interrupted);
    let mut detections = DetectionSubscriber::new(idle);
    assert_eq!(kind(detections.recv()), ErrorKind::Interrupted);
    assert_eq!(kind(detections.for_frame((1, 1), LONG)), ErrorKind::Interrupted);
    assert_eq!(kind(detections.answer((1, 1), LONG)), ErrorKind::Interrupted);
}

#[test]
fn call_that_need_not_wait_ignores_a_cancelled_token() {
    let scene = Scene::new();
    let mut publisher = scene.publisher().cancel(cancelled()).create("c").unwrap();
    let mut subscriber = scene.subscriber().cancel(cancelled()).open("c").unwrap();
    publisher.send(&gray(), &FrameInfo::default(), &[7; 16]).unwrap();
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 7);
    publisher.drain(None).unwrap();
}

#[test]
fn cancel_ends_a_waiting_receive_and_a_new_token_continues() {
    let scene = Scene::new();
    let (token, asks) = watched();
    let cancel = CancelToken::any([token]);
    let mut publisher = scene.publisher().create("c").unwrap();
    let mut subscriber = scene.subscriber().cancel(cancel.clone()).open("c").unwrap();
    let (back, handed_back) = channel();
    let thread = std::thread::spawn(move || {
        let ended = kind(subscriber.recv());
        back.send(subscriber).unwrap();
        ended
    });
    assert_eq!(cancel_waiting(&cancel, &asks, thread), ErrorKind::Interrupted);
    let mut subscriber = handed_back.recv().unwrap();
    publisher.send(&gray(), &FrameInfo::default(), &[7; 16]).unwrap();
    subscriber.set_cancel_token(CancelToken::new());
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 7);
}

#[test]
fn cancel_ends_a_waiting_open() {
    let scene = Scene::new();
    let (token, asks) = watched();
    let options = scene.subscriber().cancel(token.clone());
    let thread = std::thread::spawn(move || kind(options.open("none")));
    assert_eq!(cancel_waiting(&token, &asks, thread), ErrorKind::Interrupted);
}

#[test]
fn cancel_ends_a_wait_for_a_channel_that_closed() {
    let scene = Scene::new();
    let (token, asks) = watched();
    let publisher = scene.publisher().create("c").unwrap();
    let mut subscriber = scene.subscriber().reconnect(true).cancel(token.clone()).open("c").unwrap();
    drop(publisher);
    let thread = std::thread::spawn(move || kind(subscriber.recv()));
    assert_eq!(cancel_waiting(&token, &asks, thread), ErrorKind::Interrupted);
}

#[test]
fn cancel_ends_a_waiting_loan_and_a_waiting_drain() {
    for drains in [false, true] {
        let scene = Scene::new();
        let (token, asks) = watched();
        let (mut publisher, _blocking) = scene.blocked(token.clone());
        let thread = std::thread::spawn(move || {
            if drains { kind(publisher.drain(None)) } else { kind(publisher.loan(&gray()).map(drop)) }
        });
        assert_eq!(cancel_waiting(&token, &asks, thread), ErrorKind::Interrupted);
    }
}

#[test]
fn cancel_of_the_publisher_ends_send_and_wait() {
    let scene = Scene::new();
    let (token, asks) = watched();
    let mut publisher = scene.publisher().cancel(token.clone()).create("c").unwrap();
    let options = scene.publisher();
    let _detector = DetectionPublisher::with_options(options, "c/detections", &[], "").unwrap();
    let mut detections = DetectionSubscriber::with_options(scene.subscriber(), "c/detections").unwrap();
    let thread = std::thread::spawn(move || {
        kind(publisher.send_and_wait(&gray(), &FrameInfo::default(), &[1; 16], &mut detections, LONG))
    });
    assert_eq!(cancel_waiting(&token, &asks, thread), ErrorKind::Interrupted);
}

#[test]
fn timeout_of_a_wait_with_a_token_is_a_timeout() {
    let scene = Scene::new();
    let (mut publisher, _blocking) = scene.blocked(CancelToken::new());
    assert_eq!(kind(publisher.drain(Some(Duration::from_millis(1)))), ErrorKind::Timeout);
}
