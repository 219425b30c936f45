use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use framelane::{Delivery, Layout, PublisherOptions, SubscriberOptions};
use framelane_codec::Encoder;

use super::detections::{HEADER_BYTES, MAGIC, TIMESTAMP};
use super::*;
use crate::budget::{Budget, Quantity};
use crate::messages::opening;
use crate::proto::Sink;
use crate::transport::Transport;
use crate::turns::Turns;

const HOUR_NS: u64 = 3_600_000_000_000;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that has sent a message and reads nothing, or as much as there is.
struct Peer {
    said: Mutex<VecDeque<u8>>,
    takes: bool,
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Peer {
    fn new(said: Vec<u8>, takes: bool) -> Self {
        Peer { said: Mutex::new(said.into()), takes, shut: Mutex::new(false), changed: Condvar::new() }
    }
}

impl Transport for Peer {
    fn read(&self, bytes: &mut [u8], _timeout: Duration) -> io::Result<usize> {
        let mut said = self.said.lock().unwrap();
        let len = bytes.len().min(said.len());
        for (to, from) in bytes.iter_mut().zip(said.drain(..len)) {
            *to = from;
        }
        Ok(len)
    }

    fn write(&self, bytes: &[u8], _more: bool, timeout: Duration) -> io::Result<usize> {
        if self.takes {
            return Ok(bytes.len());
        }
        let shut = self.shut.lock().unwrap();
        let shut = self.changed.wait_timeout_while(shut, timeout, |shut| !*shut).unwrap().0;
        Err(if *shut { io::ErrorKind::BrokenPipe } else { io::ErrorKind::WouldBlock }.into())
    }

    fn flush(&self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut(&self) {
        *self.shut.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

fn receive(
    peer: &Peer,
    publisher: &mut Publisher,
    sink: Sink,
    codec: Codec,
    idle_timeout: Duration,
    watch: &mut dyn FnMut(&ReceiveStatistics) -> Result<(), Fault>,
) -> (Fault, ReceiveStatistics) {
    receive_in_turns(peer, publisher, sink, codec, Turns::new().of("the peer"), idle_timeout, watch)
}

fn receive_in_turns(
    peer: &Peer,
    publisher: &mut Publisher,
    sink: Sink,
    codec: Codec,
    turns: ClientTurns,
    idle_timeout: Duration,
    watch: &mut dyn FnMut(&ReceiveStatistics) -> Result<(), Fault>,
) -> (Fault, ReceiveStatistics) {
    let mut received = ReceiveStatistics::default();
    let memory = Budget::of_one_peer(Quantity::Memory, 1 << 20, "max-memory");
    let mut ring = memory.share_of("the peer");
    let receiving = Receiving {
        line: Line { stream: peer, peer: "the peer", sink, idle_timeout, received: &mut received, watch },
        messages: &mut MessageReader::new(),
        publisher,
        origins: None,
        codec,
        limits: Limits {
            max_bytes: 1 << 20,
            max_pixels: 1 << 20,
            ring: &mut ring,
            buffers: memory.share_of("the peer"),
            turns,
        },
        ends_with_channel: false,
    };
    let fault = receiving.run().unwrap_err();
    (fault, received)
}

#[test]
fn detection_times_are_converted_to_the_local_clock() {
    for codec in [Codec::Raw, Codec::Lz4] {
        let mut batch = vec![0; HEADER_BYTES];
        batch[..4].copy_from_slice(MAGIC);
        batch[TIMESTAMP..][..8].copy_from_slice(&(5 * HOUR_NS).to_le_bytes());
        let layout = Layout::packed(PixelFormat::Detections, HEADER_BYTES as u32, 1).unwrap();
        let mut payload = batch.clone();
        if codec == Codec::Lz4 {
            let mut encoder = Encoder::new(codec, None).unwrap();
            encoder.encode(&layout, &FrameInfo::default(), &batch, &mut payload).unwrap();
        }
        let head = FrameHead {
            origin: Origin { epoch: 1, sequence: 1 },
            layout,
            info: FrameInfo::default(),
            standalone: true,
            coded: codec == Codec::Lz4,
            sent_ns: 6 * HOUR_NS,
            sent_monotonic_ns: HOUR_NS,
        };
        let mut said = opening(&Message::Frame(Box::new(head), payload.len() as u64));
        said.extend(payload);

        let directory = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("boxes").unwrap();
        let mut subscriber = SubscriberOptions::new().directory(directory.path()).open("boxes").unwrap();
        let now = Instant::now();
        let mut sink = Sink::new(now, Delivery::Newest, None, IDLE_TIMEOUT);
        // The peer's clock is an hour ahead.
        sink.clock.add(now, [0, HOUR_NS, HOUR_NS, 0]);
        receive(&Peer::new(said, true), &mut publisher, sink, codec, IDLE_TIMEOUT, &mut |_| Ok(()));
        let frame = subscriber.recv().unwrap();
        let time = &frame.bytes()[TIMESTAMP..][..8];
        assert_eq!(time, (4 * HOUR_NS).to_le_bytes(), "{codec}");
    }
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_us_from_ending() {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    // Longer than this test would ever wait.
    let idle_timeout = Duration::from_secs(3600);
    let sink = Sink::new(Instant::now(), Delivery::Newest, None, idle_timeout);
    let mut asked = 0;
    let (fault, _) =
        receive(&Peer::new(Vec::new(), false), &mut publisher, sink, Codec::Raw, idle_timeout, &mut |_| {
            asked += 1;
            if asked < 3 { Ok(()) } else { Err(Fault::stopped()) }
        });
    assert_eq!(fault.error.kind(), ErrorKind::Interrupted, "{fault:?}");
}

#[test]
fn frame_dropped_for_lack_of_a_slot_is_sent_after_reconnect() {
    for codec in [Codec::Raw, Codec::Lz4] {
        let layout = Layout::packed(PixelFormat::Gray8, 8, 8).unwrap();
        let mut payload = vec![7; 64];
        if codec == Codec::Lz4 {
            let mut encoder = Encoder::new(codec, None).unwrap();
            encoder.encode(&layout, &FrameInfo::default(), &[7; 64], &mut payload).unwrap();
        }
        let mut said = opening(&Message::State(ChannelState::Live));
        for sequence in 1..=4 {
            // The last one is larger than those before it, which is another way for frames that are not
            // coded.
            let layout = if sequence == 4 && codec == Codec::Raw {
                payload.resize(128, 7);
                Layout::packed(PixelFormat::Gray8, 8, 16).unwrap()
            } else {
                layout.clone()
            };
            let head = FrameHead {
                origin: Origin { epoch: 1, sequence },
                layout,
                info: FrameInfo::default(),
                standalone: true,
                coded: codec == Codec::Lz4,
                sent_ns: 0,
                sent_monotonic_ns: 0,
            };
            Message::Frame(Box::new(head), payload.len() as u64).encode(&mut said);
            said.extend(&payload);
        }
        let directory = tempfile::tempdir().unwrap();
        let options = PublisherOptions::new().directory(directory.path()).slots(3);
        let mut publisher = options.backpressure(framelane::Backpressure::Block).create("cam0").unwrap();
        let reader = SubscriberOptions::new().directory(directory.path()).delivery(Delivery::Every);
        let _reader = reader.open("cam0").unwrap();
        let sink = Sink::new(Instant::now(), Delivery::Every, None, IDLE_TIMEOUT);
        let (mut before, mut same) = (0, 0);
        let mut watch = |received: &ReceiveStatistics| {
            same = if received.frames == before { same + 1 } else { 0 };
            before = received.frames;
            // Nothing has gone on for as long as it is asked between two frames, and longer.
            if same < 20 { Ok(()) } else { Err(Fault::lost("the peer")) }
        };
        let (fault, received) =
            receive(&Peer::new(said, true), &mut publisher, sink, codec, IDLE_TIMEOUT, &mut watch);
        assert!(fault.try_again, "{fault:?}");
        assert!(received.frames < 4, "the reader takes nothing");
        assert_eq!(received.last.map(|last| last.sequence), Some(received.frames), "{codec}");
    }
}

/// Returns what a peer says that sends coded frames: their sequences begin at 1.
fn coded_frames(count: u64) -> Vec<u8> {
    let layout = Layout::packed(PixelFormat::Gray8, 8, 8).unwrap();
    let mut said = opening(&Message::State(ChannelState::Live));
    for sequence in 1..=count {
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(Codec::Lz4, None).unwrap();
        encoder.encode(&layout, &FrameInfo::default(), &[7; 64], &mut payload).unwrap();
        let head = FrameHead {
            origin: Origin { epoch: 1, sequence },
            layout: layout.clone(),
            info: FrameInfo::default(),
            standalone: true,
            coded: true,
            sent_ns: 0,
            sent_monotonic_ns: 0,
        };
        Message::Frame(Box::new(head), payload.len() as u64).encode(&mut said);
        said.extend(&payload);
    }
    said
}

#[test]
fn coded_frame_waits_until_its_client_has_a_turn() {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let sink = Sink::new(Instant::now(), Delivery::Newest, None, IDLE_TIMEOUT);
    let turns = Turns::with_limit(1);
    let (ours, theirs) = (turns.of("the peer"), turns.of("the peer"));
    // Another connection of the client decodes. Frames that were published at the end of its turns.
    let (mut turn, mut asked, mut published) = (None, 0, Vec::new());
    let mut watch = |received: &ReceiveStatistics| {
        if turn.is_none() && received.frames == published.len() as u64 && published.len() < 2 {
            turn = Some(theirs.take(&mut || Ok(()))?);
        }
        if turn.is_none() {
            return if received.frames < 2 { Ok(()) } else { Err(Fault::stopped()) };
        }
        asked += 1;
        if asked % 8 == 0 {
            turn = None;
            published.push(received.frames);
        }
        Ok(())
    };
    let peer = Peer::new(coded_frames(2), true);
    let (_, received) =
        receive_in_turns(&peer, &mut publisher, sink, Codec::Lz4, ours, IDLE_TIMEOUT, &mut watch);
    assert_eq!((received.frames, published), (2, vec![0, 1]));
}

#[test]
fn coded_frame_that_got_no_turn_comes_again() {
    // The first frame is decoded outside of the ring, and the second one in its slot.
    for published in 0..=1 {
        let directory = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
        let sink = Sink::new(Instant::now(), Delivery::Newest, None, IDLE_TIMEOUT);
        let turns = Turns::with_limit(1);
        let (ours, theirs) = (turns.of("the peer"), turns.of("the peer"));
        let (mut turn, mut asked) = (None, 0);
        let mut watch = |received: &ReceiveStatistics| {
            if turn.is_none() && received.frames == published {
                turn = Some(theirs.take(&mut || Ok(()))?);
            }
            asked += u32::from(turn.is_some());
            if asked < 20 { Ok(()) } else { Err(Fault::lost("the peer")) }
        };
        let peer = Peer::new(coded_frames(2), true);
        let (fault, received) =
            receive_in_turns(&peer, &mut publisher, sink, Codec::Lz4, ours, IDLE_TIMEOUT, &mut watch);
        assert!(fault.try_again, "{fault:?}");
        assert_eq!(received.frames, published);
        assert_eq!(received.last.map(|last| last.sequence), Some(published));
    }
}

#[test]
fn frame_that_came_as_its_link_was_lost_comes_again() {
    for codec in [Codec::Raw, Codec::Lz4] {
        let said = match codec {
            Codec::Lz4 => coded_frames(1),
            _ => {
                let layout = Layout::packed(PixelFormat::Gray8, 8, 8).unwrap();
                let head = FrameHead {
                    origin: Origin { epoch: 1, sequence: 1 },
                    layout,
                    info: FrameInfo::default(),
                    standalone: true,
                    coded: false,
                    sent_ns: 0,
                    sent_monotonic_ns: 0,
                };
                let mut said = opening(&Message::State(ChannelState::Live));
                Message::Frame(Box::new(head), 64).encode(&mut said);
                said.extend([7; 64]);
                said
            }
        };
        let directory = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
        let sink = Sink::new(Instant::now(), Delivery::Newest, None, IDLE_TIMEOUT);
        let peer = Peer::new(said, true);
        let mut watch = |_: &ReceiveStatistics| {
            let has_come = peer.said.lock().unwrap().is_empty();
            if has_come { Err(Fault::lost("the peer")) } else { Ok(()) }
        };
        let (_, received) = receive(&peer, &mut publisher, sink, codec, IDLE_TIMEOUT, &mut watch);
        assert_eq!(received.frames, 0);
        assert_eq!(received.last.map(|last| last.sequence), Some(0), "{codec}");
    }
}

#[test]
fn coded_frame_without_a_slot_waits_for_no_turn() {
    let directory = tempfile::tempdir().unwrap();
    let options = PublisherOptions::new().directory(directory.path()).slots(3);
    let mut publisher = options.create("cam0").unwrap();
    let sink = Sink::new(Instant::now(), Delivery::Newest, None, IDLE_TIMEOUT);
    let turns = Turns::with_limit(1);
    let (ours, theirs) = (turns.of("the peer"), turns.of("the peer"));
    let (mut held, mut turn, mut asked) = (Vec::new(), None, 0);
    let mut watch = |received: &ReceiveStatistics| {
        if held.len() < 3 && received.frames > held.len() as u64 {
            let mut subscriber = SubscriberOptions::new().directory(directory.path()).open("cam0").unwrap();
            held.push((subscriber.recv().unwrap(), subscriber));
        }
        if held.len() == 3 && turn.is_none() {
            turn = Some(theirs.take(&mut || Ok(()))?);
        }
        asked += u32::from(turn.is_some());
        if asked < 20 { Ok(()) } else { Err(Fault::stopped()) }
    };
    let peer = Peer::new(coded_frames(4), true);
    let (_, received) =
        receive_in_turns(&peer, &mut publisher, sink, Codec::Lz4, ours, IDLE_TIMEOUT, &mut watch);
    assert_eq!((received.frames, received.dropped), (3, 1));
}
