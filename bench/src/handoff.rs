//! Rust to Rust, publisher and readers in separate processes, peers in turn within one run.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peer::{Peer, Sender, Setup, Wait};
use crate::peers;
use crate::reader::{Reader, Seen};
use crate::report::{Times, compare_rates, compare_times};
use crate::scenario::Scenarios;
use crate::stamp::{Kind, Stamp, now_ns, sleep_until};

/// Publishes stamped frames and counts them.
struct Source {
    sender: Box<dyn Sender>,
    /// Every frame is a copy of it. Empty: only the stamp is written.
    picture: Vec<u8>,
    number: u64,
}

/// Kind of the frames of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    /// Stamped, one after the other without pause.
    Free,
    /// Stamped, paced.
    Stamped,
    /// Written whole, paced.
    Written,
}

/// Cost of one call.
struct Call {
    loan_ns: u64,
    publish_ns: u64,
}

impl Source {
    fn publish(&mut self, kind: Kind) -> Call {
        self.number += 1;
        let (number, picture) = (self.number, &self.picture);
        let began_ns = now_ns();
        let (mut loaned_ns, mut sent_ns) = (0, 0);
        self.sender.publish(&mut |frame| {
            loaned_ns = now_ns();
            frame[..picture.len()].copy_from_slice(picture);
            sent_ns = now_ns();
            Stamp { number, sent_ns, kind: kind as u64 }.write(frame, true);
        });
        Call { loan_ns: loaned_ns - began_ns, publish_ns: now_ns() - sent_ns }
    }

    /// The same as `publish`, without the clock and without the payload.
    fn publish_bare(&mut self) {
        self.number += 1;
        let number = self.number;
        self.sender.publish(&mut |frame| {
            Stamp { number, sent_ns: 0, kind: Kind::Measured as u64 }.write(frame, false);
        });
    }

    /// Reports the end of the run to the readers, until all have acknowledged it.
    fn end(&mut self, mut readers: Vec<Reader>) -> Vec<Seen> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !readers.iter_mut().all(Reader::ended) && Instant::now() < deadline {
            self.publish(Kind::End);
            std::thread::sleep(Duration::from_millis(20));
        }
        readers.into_iter().map(Reader::seen).collect()
    }
}

fn start(peer: &dyn Peer, readers: usize, wait: Wait, frames: Frames) -> (Source, Vec<Reader>) {
    let paced = frames != Frames::Free;
    let scenarios = Scenarios::load();
    let channel = format!("bench-{}-{}", std::process::id(), now_ns());
    let setup = Setup { channel, readers, wait, paced, scenarios };
    let mut picture = Vec::new();
    if frames == Frames::Written {
        picture.extend((0..setup.scenarios.frame.bytes).map(|at| (at * 7 / 3) as u8));
    }
    let source = Source { sender: peer.sender(&setup), picture, number: 0 };
    let readers = (0..readers).map(|_| Reader::start(peer, &setup)).collect();
    (source, readers)
}

/// Results of one peer.
#[derive(Default)]
struct Paced {
    loan: Times,
    publish: Times,
    both: Times,
    wake: Times,
}

impl Paced {
    fn round(&mut self, peer: &dyn Peer, readers: usize, frames: Frames, scenarios: &Scenarios) {
        let handoff = &scenarios.handoff;
        let (mut source, running) = start(peer, readers, Wait::Sleep, frames);
        let period_ns = 1_000_000_000 / u64::from(handoff.fps);
        let mut due_ns = now_ns() + period_ns;
        let measured = handoff.fps * handoff.seconds_per_round;
        let mut calls = Vec::new();
        for frame in 0..handoff.warmup_frames + measured {
            sleep_until(due_ns);
            // A publisher that was kept from its core does not make up for it with a burst.
            due_ns = now_ns().max(due_ns) + period_ns;
            if frame < handoff.warmup_frames {
                source.publish(Kind::WarmUp);
            } else {
                calls.push(source.publish(Kind::Measured));
            }
        }
        sleep_until(due_ns);
        let seen = source.end(running);
        for seen in &seen {
            assert_eq!(seen.wrong, 0, "{}: torn or repeated frames", peer.name());
            assert!(
                seen.frames * 100 >= u64::from(measured) * 75,
                "{}: {} of {measured} frames arrived",
                peer.name(),
                seen.frames
            );
        }
        self.loan.add(calls.iter().map(|call| call.loan_ns));
        self.publish.add(calls.iter().map(|call| call.publish_ns));
        self.both.add(calls.iter().map(|call| call.loan_ns + call.publish_ns));
        self.wake.add(seen.into_iter().flat_map(|seen| seen.latencies_ns));
    }
}

/// 60 frames a second to sleeping readers.
pub fn paced(scenarios: &Scenarios) -> Vec<Value> {
    let handoff = &scenarios.handoff;
    let mut rows = Vec::new();
    let cases = [Frames::Stamped, Frames::Written].into_iter();
    for (frames, &readers) in
        cases.flat_map(|frames| handoff.readers.iter().map(move |readers| (frames, readers)))
    {
        let mut sides: Vec<Paced> = peers::ALL.iter().map(|_| Paced::default()).collect();
        for round in 0..handoff.rounds {
            for index in in_turn(round, sides.len()) {
                sides[index].round(peers::ALL[index], readers, frames, scenarios);
            }
        }
        let many = readers > 1;
        let call_target = if many { handoff.target_eight_readers } else { handoff.target_one_reader };
        let wake_target = (!many).then_some(handoff.target_one_reader);
        let plural = if many { "s" } else { "" };
        let after = if frames == Frames::Written { ", frame written before" } else { "" };
        let work = format!("hand-off, {} frames/s, {readers} reader{plural}{after}", handoff.fps);
        let ours = &sides[0];
        for (peer, side) in peers::ALL.iter().zip(&sides).skip(1) {
            let name = peer.name();
            let mut row = |what, ours, side, target| {
                rows.push(compare_times(&format!("{work}: {what}"), ours, (name, side), target));
            };
            row("publish call", &ours.publish, &side.publish, Some(call_target));
            row("loan and publish calls", &ours.both, &side.both, None);
            row("loan call", &ours.loan, &side.loan, None);
            row("publish → reader awake", &ours.wake, &side.wake, wake_target);
        }
    }
    rows
}

/// Publishes as many frames as possible to one reader of the newest. Returns (published, received) a second.
fn free_round(peer: &dyn Peer, wait: Wait, seconds: f64) -> (f64, f64) {
    let (mut source, running) = start(peer, 1, wait, Frames::Free);
    let began = Instant::now();
    let length = Duration::from_secs_f64(seconds);
    while began.elapsed() < length {
        for _ in 0..256 {
            source.publish_bare();
        }
    }
    let elapsed = began.elapsed().as_secs_f64();
    let published = source.number as f64 / elapsed;
    let seen = source.end(running);
    assert_eq!(seen[0].wrong, 0, "{}: torn or repeated frames", peer.name());
    let received = seen[0].frames as f64 / elapsed;
    eprintln!("  {} {wait:?}: {published:.0} published/s, {received:.0} received/s", peer.name());
    (published, received)
}

/// Publishes a frame and receives it, again and again, in one thread: what both cost together.
fn one_core_round(peer: &dyn Peer, seconds: f64) -> f64 {
    let channel = format!("bench-{}-{}", std::process::id(), now_ns());
    let scenarios = Scenarios::load();
    let setup = Setup { channel, readers: 1, wait: Wait::Poll, paced: false, scenarios };
    let mut source = Source { sender: peer.sender(&setup), picture: Vec::new(), number: 0 };
    let mut receiver = peer.receiver(&setup);
    let began = Instant::now();
    let length = Duration::from_secs_f64(seconds);
    while began.elapsed() < length {
        for _ in 0..256 {
            source.publish_bare();
            receiver.receive(&mut |frame| {
                let stamp = Stamp::read(frame, false).expect("a whole stamp");
                assert_eq!(stamp.number, source.number, "{}: the newest frame", peer.name());
            });
        }
    }
    source.number as f64 / began.elapsed().as_secs_f64()
}

/// The throughput on one core.
pub fn one_core(scenarios: &Scenarios) -> Vec<Value> {
    let free = &scenarios.free_running;
    let mut sides = vec![Vec::new(); peers::ALL.len()];
    for round in 0..free.rounds {
        for index in in_turn(round, sides.len()) {
            sides[index].push(one_core_round(peers::ALL[index], free.seconds_per_round / 2.0));
        }
    }
    let work = "hand-off, free-running, publish and receive in turn on one core";
    let row = |(peer, side): (&&dyn Peer, &Vec<f64>)| {
        let (ours, theirs) = (("framelane", &sides[0][..]), (peer.name(), &side[..]));
        compare_rates(work, "frames/s", ours, theirs, None)
    };
    peers::ALL.iter().zip(&sides).skip(1).map(row).collect()
}

/// Publisher and one reader as fast as they can.
pub fn free_running(scenarios: &Scenarios) -> Vec<Value> {
    let free = &scenarios.free_running;
    let mut rows = Vec::new();
    for (wait, waiting) in [(Wait::Sleep, "reader may sleep"), (Wait::Poll, "reader polls, no wake-ups")] {
        let mut sides = vec![(Vec::new(), Vec::new()); peers::ALL.len()];
        for round in 0..free.rounds {
            for index in in_turn(round, sides.len()) {
                let (published, received) = free_round(peers::ALL[index], wait, free.seconds_per_round);
                sides[index].0.push(published);
                sides[index].1.push(received);
            }
        }
        for (peer, side) in peers::ALL.iter().zip(&sides).skip(1) {
            for (what, ours, theirs) in
                [("published", &sides[0].0, &side.0), ("received", &sides[0].1, &side.1)]
            {
                let work = format!("hand-off, free-running, {waiting}: {what}");
                let (ours, theirs) = (("framelane", &ours[..]), (peer.name(), &theirs[..]));
                // A frame is handed off when it has arrived, at a reader that need not burn a core for it.
                let target = (wait == Wait::Sleep && what == "received").then_some(free.target);
                rows.push(compare_rates(&work, "frames/s", ours, theirs, target));
            }
        }
    }
    rows
}

/// The order of a round: reversed from one to the next, so that a drift of the machine favours no peer.
fn in_turn(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| if round.is_multiple_of(2) { index } else { count - 1 - index })
}
