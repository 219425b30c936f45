use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions};
use framelane_codec::Codec;

use super::*;
use crate::budget::{Budget, Quantity};
use crate::coder::{Budgets, Coders, Life, Wanted};
use crate::messages::opening;
use crate::proto::{ChannelState, MAGIC, Parser, Piece, Refusal};

/// A receiver that reads so many bytes, and more only when the sender was asked to end. When it has read data
/// that ends with `last`, it sends `answer` and disconnects.
struct Peer<'a> {
    says: Mutex<VecDeque<u8>>,
    taken: Mutex<Vec<u8>>,
    most: usize,
    last: &'a [u8],
    answer: &'a [u8],
    told: &'a AtomicBool,
    shut: AtomicBool,
    hears_end: AtomicBool,
}

impl<'a> Peer<'a> {
    fn new(most: usize, last: &'a [u8], answer: &'a [u8], told: &'a AtomicBool) -> Self {
        Peer {
            says: Mutex::new(opening(&Message::Credit(1000)).into()),
            taken: Mutex::default(),
            most,
            last,
            answer,
            told,
            shut: AtomicBool::new(false),
            hears_end: AtomicBool::new(false),
        }
    }
}

impl Transport for Peer<'_> {
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut says = self.says.lock().unwrap();
        if says.is_empty() && !self.shut.load(Ordering::Relaxed) {
            std::thread::sleep(timeout.min(Duration::from_millis(5)));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = bytes.len().min(says.len());
        for (to, from) in bytes.iter_mut().zip(says.drain(..len)) {
            *to = from;
        }
        self.hears_end.fetch_or(says.is_empty() && self.shut.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(len)
    }

    fn write(&self, bytes: &[u8], _more: bool, timeout: Duration) -> io::Result<usize> {
        if self.shut.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut taken = self.taken.lock().unwrap();
        let room = if self.told.load(Ordering::Relaxed) { usize::MAX } else { self.most - taken.len() };
        let len = bytes.len().min(room);
        taken.extend_from_slice(&bytes[..len]);
        let has_all = !self.last.is_empty() && taken.ends_with(self.last);
        drop(taken);
        if has_all {
            self.says.lock().unwrap().extend(self.answer);
            self.shut();
            // The thread that detects the end is ahead of the thread that writes.
            while !self.hears_end.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if len > 0 {
            return Ok(len);
        }
        std::thread::sleep(timeout.min(Duration::from_millis(5)));
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }
}

fn terms(directory: &std::path::Path, ends_with_channel: bool) -> Terms {
    Terms {
        channel: "cam0".to_owned(),
        subscriber: SubscriberOptions::new().directory(directory),
        max_milli_fps: 0,
        max_payload: 1 << 20,
        last: None,
        idle_timeout: Duration::from_secs(3600),
        ends_with_channel,
        count: None,
    }
}

fn means() -> Means<'static> {
    Means { coder: coder::Member::alone(Codec::Raw, None).unwrap(), copies: None }
}

/// Sends the channel of `terms` to the peer, with a separate subscriber and encoder.
fn send_to(
    peer: &Peer<'_>,
    terms: &Terms,
    watch: Watch<'_>,
) -> Result<SendStatistics, (Fault, SendStatistics)> {
    run(peer, &mut MessageReader::new(), "the peer", terms, &mut None, &mut means(), watch)
}

#[test]
fn messages_are_never_sent_within_the_payload_of_a_frame() {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 1000, 100).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &vec![7; 100_000]).unwrap();
    let told = AtomicBool::new(false);
    let peer = Peer::new(50_000, &[], &[], &told);
    let terms = terms(directory.path(), false);
    let watch = |_: &SendStatistics| {
        if peer.taken.lock().unwrap().len() < peer.most {
            return Ok(());
        }
        told.store(true, Ordering::Relaxed);
        Err(Fault::lasting(Error::new(ErrorKind::PermissionDenied, "revoked")))
    };
    let (fault, _) = send_to(&peer, &terms, &watch).unwrap_err();
    assert_eq!(fault.error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(peer.taken.lock().unwrap().len(), peer.most, "nothing after the part of the frame");
}

/// Sends a channel that is closed when its frame has gone, to a receiver that then says `answer` and hangs
/// up.
fn send_and_close(answer: &[u8]) -> Result<SendStatistics, (Fault, SendStatistics)> {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 10, 10).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[7; 100]).unwrap();
    let publisher = Mutex::new(Some(publisher));
    let (mut closed, told) = (Vec::new(), AtomicBool::new(false));
    Message::State(ChannelState::Closed).encode(&mut closed);
    let peer = Peer::new(1 << 20, &closed, answer, &told);
    let watch = |sent: &SendStatistics| {
        if sent.frames == 1
            && let Some(publisher) = lock(&publisher).take()
        {
            publisher.close();
        }
        Ok(())
    };
    send_to(&peer, &terms(directory.path(), true), &watch)
}

#[test]
fn receiver_disconnect_after_its_last_answer_is_complete() {
    let mut done = Vec::new();
    Message::State(ChannelState::Closed).encode(&mut done);
    let sent = send_and_close(&done).unwrap();
    assert_eq!((sent.frames, sent.live), (1, false));
}

#[test]
fn receiver_failure_at_the_end_of_the_channel_is_final() {
    let (fault, _) = send_and_close(&[]).unwrap_err();
    assert!(!fault.try_again && fault.error.to_string().contains("closed the connection"), "{fault:?}");
    let mut refused = Vec::new();
    let error = Error::new(ErrorKind::Interrupted, "the server is shutting down");
    Message::Refused(Refusal::of(&error, true)).encode(&mut refused);
    let (fault, sent) = send_and_close(&refused).unwrap_err();
    assert!(!fault.try_again && sent.frames == 1, "{fault:?}");
    let text = fault.error.to_string();
    assert!(text.contains("channel cam0 closed before") && text.contains("interrupted"), "{text}");
}

#[test]
fn sender_that_never_waits_checks_for_cancel_at_each_frame() {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 10, 10).unwrap();
    let (told, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let peer = Peer::new(usize::MAX, &[], &[], &told);
    let watch = |sent: &SendStatistics| if sent.frames < 3 { Ok(()) } else { Err(Fault::stopped()) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                publisher.send(&layout, &FrameInfo::default(), &[7; 100]).unwrap();
            }
        });
        let ended = send_to(&peer, &terms(directory.path(), false), &watch);
        done.store(true, Ordering::Relaxed);
        assert_eq!(ended.unwrap_err().1.frames, 3);
    });
}

#[test]
fn connection_lost_before_first_frame_returns_the_subscriber() {
    let directory = tempfile::tempdir().unwrap();
    let publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let terms = terms(directory.path(), true);
    let mut kept = Some(Kept::new(terms.subscriber.open("cam0").unwrap()));
    // No subscriber could attach again.
    publisher.close();
    let (mut waiting, told) = (Vec::new(), AtomicBool::new(false));
    Message::State(ChannelState::Waiting).encode(&mut waiting);
    let peer = Peer::new(1 << 20, &waiting, &[], &told);
    let (fault, _) = run(
        &peer,
        &mut MessageReader::new(),
        "the peer",
        &terms,
        &mut kept,
        &mut means(),
        &|_: &SendStatistics| Ok(()),
    )
    .unwrap_err();
    assert!(fault.try_again && kept.is_some(), "{fault:?}");
}

fn encoded(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes
}

const STATES: [Message; 2] = [Message::State(ChannelState::Waiting), Message::State(ChannelState::Live)];

/// Returns whether the condition became true within a minute.
fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// The names of the messages, and the payloads.
fn parse(taken: &[u8]) -> (Vec<&'static str>, Vec<Vec<u8>>) {
    let bytes = [&MAGIC, taken].concat();
    let (mut parser, mut rest) = (Parser::new(), bytes.as_slice());
    let (mut names, mut payloads) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(parser.wanted());
        rest = later;
        if let Piece::Message(message) = parser.feed(now).unwrap() {
            names.push(message.name());
            if let Message::Frame(_, payload_bytes) = message {
                let (payload, later) = rest.split_at(payload_bytes as usize);
                payloads.push(payload.to_vec());
                rest = later;
            }
        }
    }
    (names, payloads)
}

/// Sends a frame of 100 bytes to a receiver that takes `most` bytes and stays. Waits until the frame was
/// leased and its slot released, lets the receiver take the rest, and returns what it was sent. `begin` runs
/// at first, and publishes the frame.
fn send_to_a_receiver_that_stops(
    most: usize,
    begin: impl FnOnce(&Peer<'_>, &mut dyn FnMut()) -> bool,
) -> (Vec<&'static str>, Vec<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 10, 10).unwrap();
    let mut publish = || {
        publisher.send(&layout, &FrameInfo::default(), &[7; 100]).unwrap();
    };
    let (told, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let peer = Peer::new(most, &[], &[], &told);
    let terms = terms(directory.path(), false);
    let watch =
        |_: &SendStatistics| if stop.load(Ordering::Relaxed) { Err(Fault::stopped()) } else { Ok(()) };
    std::thread::scope(|scope| {
        let link = scope.spawn(|| send_to(&peer, &terms, &watch).unwrap_err());
        let began = begin(&peer, &mut publish);
        let has_released = || {
            let status = framelane::status(Some(directory.path()), "cam0").unwrap();
            let subscriber = status.subscribers.first();
            subscriber.is_some_and(|subscriber| subscriber.received == 1 && subscriber.leases == 0)
        };
        let released = began && comes_true(has_released);
        let was_full = peer.taken.lock().unwrap().len() == most;
        told.store(true, Ordering::Relaxed);
        let sent = comes_true(|| peer.taken.lock().unwrap().ends_with(&[7; 100]));
        let taken = peer.taken.lock().unwrap().clone();
        stop.store(true, Ordering::Relaxed);
        let (fault, _) = link.join().unwrap();
        assert!(released && was_full && sent, "{began} {released} {was_full} {sent} at {most}: {fault:?}");
        parse(&taken)
    })
}

#[test]
fn frame_whose_head_is_not_taken_leaves_its_slot() {
    // At the LIFE message, within it, at the head, within the head, and within the payload.
    for room in [0, 10, 32, 60, 240] {
        let most = encoded(&STATES).len() + room;
        let (names, payloads) = send_to_a_receiver_that_stops(most, |_, publish| {
            publish();
            true
        });
        assert_eq!(names, ["STATE", "STATE", "LIFE", "FRAME"], "at {room}");
        assert_eq!(payloads, [[7; 100]]);
    }
}

#[test]
fn half_an_answer_to_a_ping_holds_no_slot() {
    let before = encoded(&STATES).len() + encoded(&[Message::Life(Origin::default())]).len();
    let most = before + 10;
    let (names, payloads) = send_to_a_receiver_that_stops(most, |peer, publish| {
        let has = |bytes| comes_true(|| peer.taken.lock().unwrap().len() == bytes);
        let idle = has(before);
        peer.says.lock().unwrap().extend(encoded(&[Message::Ping { sent_ns: 5 }]));
        let began = idle && has(most);
        publish();
        began
    });
    assert_eq!(names, ["STATE", "STATE", "LIFE", "PONG", "FRAME"]);
    assert_eq!(payloads, [[7; 100]]);
}

#[test]
fn link_goes_on_after_a_frame_of_another_life() {
    let budget = |quantity| Budget::new(quantity, 1 << 30, "a limit");
    let coders = Coders::new(Budgets {
        memory: budget(Quantity::Memory),
        encoders: budget(Quantity::Encoders),
        pixels: budget(Quantity::Pixels),
    });
    let codec = Codec::H264 { bits_per_second: 1_000_000 };
    let wanted = Wanted { channel: "cam0".to_owned(), codec, size: None, max_milli_fps: 0 };
    let other = coders.join(wanted.clone(), "a").unwrap();
    let mut means = Means { coder: coders.join(wanted, "b").unwrap(), copies: None };

    let directory = tempfile::tempdir().unwrap();
    let publish = |channel| PublisherOptions::new().directory(directory.path()).create(channel).unwrap();
    let subscribe = |channel| SubscriberOptions::new().directory(directory.path()).open(channel).unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 64, 48).unwrap();
    let send = |publisher: &mut framelane::Publisher| {
        publisher.send(&layout, &FrameInfo::default(), &[7; 64 * 48]).unwrap();
    };
    let mut publisher = publish("cam0");
    send(&mut publisher);
    // Stands for the channel before it was closed.
    let mut old = publish("old");
    (0..100).for_each(|_| send(&mut old));
    let told = AtomicBool::new(false);
    let peer = Peer::new(usize::MAX, &[], &[], &told);
    let until = Instant::now() + Duration::from_secs(60);
    let state = Mutex::new((other, publisher, false));
    let watch = |sent: &SendStatistics| {
        let (other, publisher, has_sent) = &mut *lock(&state);
        if sent.frames == 1 && !std::mem::replace(has_sent, true) {
            // The other link takes the first payload, and adds one of the old channel.
            for (channel, epoch) in [("cam0", publisher.epoch()), ("old", old.epoch())] {
                let frame = subscribe(channel).recv().unwrap();
                let life = Life { epoch, is_over: false };
                other.code(frame, life, false, &mut || Ok(())).unwrap().unwrap();
            }
            send(publisher);
        }
        if sent.frames < 3 && Instant::now() < until { Ok(()) } else { Err(Fault::stopped()) }
    };
    let terms = terms(directory.path(), false);
    let (_, sent) =
        run(&peer, &mut MessageReader::new(), "the peer", &terms, &mut None, &mut means, &watch).unwrap_err();
    assert_eq!(sent.frames, 3, "both frames of the channel, and that of the old one");
}
