//! `framelane receive` over a link.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Backpressure, Delivery, Error, ErrorKind};
use framelane_net::{LinkEvent, LinkUrl, ReceiveStatistics, WhenClosed};
use serde::Serialize;

use super::Receive;
use crate::commands::send::lost;
use crate::drain::drain;
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::latency::{Latencies, Percentiles, human_us};
use crate::notes::Notes;
use crate::signals::Stop;
use crate::table::{counted, human_bytes, human_rate, rate};

/// By then the other side has said whether the channel is there.
const ANNOUNCED: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
/// Reports of a channel that comes and goes, in a second. A server decides how often that happens.
const MOST_CHANGES: u32 = 10;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started {
        channel: &'e str,
        source: String,
    },
    Connected,
    /// Whether somebody publishes the channel there.
    Channel {
        live: bool,
    },
    Lost {
        reason: String,
        next_try_s: f64,
    },
    Summary {
        frames: u64,
        missed: u64,
        dropped: u64,
        damaged: u64,
        bytes: u64,
        connections: u32,
        clock_offset_ns: i64,
        round_trip_ns: u64,
        frames_per_second: Option<f64>,
        /// From capture to publication here.
        latency: Option<Percentiles>,
    },
}

/// Receives until it is ended, or as many frames as were asked for.
pub fn run(receive: &Receive, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let link =
        receive.link.link(&receive.source, receive.size, receive.stream.idle_timeout, receive.insecure)?;
    let local = receive.channel.clone().unwrap_or_else(|| link.channel.clone());
    // Nothing is lost here either when every frame is wanted.
    let backpressure =
        if link.options.delivery == Delivery::Every { Backpressure::Block } else { Backpressure::Drop };
    let mut publisher = receive.create(global, &local, backpressure)?;
    let mut report = Report::new(&link.channel, global.json, receive.count);
    report.started(&local, &link)?;
    let keep = || !stop.is_set();
    let count = receive.count;
    let ending = Cell::new(false);
    let awaited = Awaited::new(receive.open_timeout);
    let keep_all = || keep() && !ending.get() && !awaited.is_late();
    let result = framelane_net::receive(
        &link,
        &mut publisher,
        if receive.once { WhenClosed::Return } else { WhenClosed::Wait },
        &mut |event| {
            report.tell(&event);
            awaited.note(&event);
            if count.is_some_and(|count| report.frames >= count) {
                ending.set(true);
            }
        },
        &keep_all,
    );
    report.notes.end_progress();
    let received = result?;
    if awaited.is_late() && !stop.is_set() {
        return Err(awaited.error(&link, &report.trouble).into());
    }
    report.finish(&received)?;
    drain(&mut publisher, stop)?;
    Ok(ExitCode::SUCCESS)
}

/// How long to wait for a channel that is live.
struct Awaited {
    limit: Option<Duration>,
    began: Instant,
    was_live: Cell<bool>,
    /// When the other side had a first chance to say that it is. A try that has begun may end, however short
    /// the time is.
    tried: Cell<Option<Instant>>,
}

impl Awaited {
    fn new(limit: Option<Duration>) -> Self {
        Awaited { limit, began: Instant::now(), was_live: Cell::new(false), tried: Cell::new(None) }
    }

    fn note(&self, event: &LinkEvent<'_, ReceiveStatistics>) {
        let now = Instant::now();
        match event {
            LinkEvent::Connected => self.tried.set(Some(now + ANNOUNCED)),
            LinkEvent::Lost { .. } => self.tried.set(Some(now)),
            LinkEvent::Progress(received) if received.live => self.was_live.set(true),
            _ => {}
        }
    }

    fn is_late(&self) -> bool {
        let tried = self.tried.get().is_some_and(|tried| Instant::now() >= tried);
        !self.was_live.get() && tried && self.limit.is_some_and(|limit| self.began.elapsed() >= limit)
    }

    fn error(&self, link: &LinkUrl, trouble: &str) -> Error {
        let limit = self.limit.unwrap_or_default().as_secs_f64();
        let why = if trouble.is_empty() { "no publisher there" } else { trouble };
        Error::new(ErrorKind::Timeout, format!("expected {link} to be live within {limit} s: {why}")).with_hint(
            "check the channel's name (`framelane list` there), start its publisher, or allow more time (--open-timeout)",
        )
    }
}

struct Report {
    /// The channel's name there.
    channel: String,
    notes: Notes,
    json: bool,
    live: bool,
    /// Changes of `live` that were reported since `second`.
    changes: u32,
    second: Instant,
    /// Since when there is a connection, and nothing was said of a channel that is not there.
    waiting: Option<Instant>,
    frames: u64,
    first: Option<Instant>,
    elapsed: Duration,
    latencies: Latencies,
    trouble: String,
}

impl Report {
    fn new(channel: &str, json: bool, count: Option<u64>) -> Self {
        let notes = Notes::new(json);
        notes.start_progress(count);
        Report {
            channel: channel.to_owned(),
            notes,
            json,
            live: false,
            changes: 0,
            second: Instant::now(),
            waiting: None,
            frames: 0,
            first: None,
            elapsed: Duration::ZERO,
            latencies: Latencies::new(),
            trouble: String::new(),
        }
    }

    fn started(&self, local: &str, link: &LinkUrl) -> Result<(), Failure> {
        if self.json {
            print_json(&Event::Started { channel: local, source: link.to_string() })?;
        }
        self.notes.say(&format!("{link} to channel {local} ({})", link.options.codec));
        Ok(())
    }

    fn event(&self, event: &Event<'_>) {
        if self.json {
            // Whoever reads our output may be gone: the link does not end for that.
            let _ = print_json(event);
        }
    }

    fn tell(&mut self, event: &LinkEvent<'_, ReceiveStatistics>) {
        match event {
            LinkEvent::Connected => {
                self.trouble.clear();
                self.waiting = Some(Instant::now());
                self.event(&Event::Connected);
                self.notes.say("connected");
            }
            LinkEvent::Lost { error, wait } => {
                let reason = lost(error);
                self.event(&Event::Lost { reason: reason.clone(), next_try_s: wait.as_secs_f64() });
                if self.trouble != reason {
                    self.notes.say(&format!("{reason}; trying again"));
                    self.trouble = reason;
                }
            }
            LinkEvent::Progress(received) => self.progress(received),
            _ => {}
        }
    }

    fn progress(&mut self, received: &ReceiveStatistics) {
        if self.second.elapsed() >= SECOND {
            (self.second, self.changes) = (Instant::now(), 0);
        }
        // Later progress shows a state that is not reported now.
        if received.live != self.live && self.changes < MOST_CHANGES {
            self.changes += 1;
            self.live = received.live;
            self.waiting = None;
            self.event(&Event::Channel { live: self.live });
            if self.live {
                self.notes.say("the channel is live");
            } else {
                self.say_waiting();
            }
        }
        if self.waiting.is_some_and(|since| since.elapsed() >= ANNOUNCED) {
            self.waiting = None;
            self.say_waiting();
        }
        if received.frames > self.frames {
            self.frames = received.frames;
            self.elapsed = self.first.get_or_insert_with(Instant::now).elapsed();
            self.latencies.record(received.link.latency_ns);
            let latency = human_us(received.link.latency_ns as f64 / 1000.0);
            self.notes.progress(
                received.frames,
                format!("frames, {} skipped, {latency} from capture", received.missed),
            );
        }
    }

    fn say_waiting(&self) {
        self.notes.say(&format!("waiting for a publisher of {} there", self.channel));
    }

    fn finish(&self, received: &ReceiveStatistics) -> Result<(), Failure> {
        let frames_per_second = rate(received.frames, self.elapsed);
        let latency = self.latencies.percentiles();
        if self.json {
            return print_json(&Event::Summary {
                frames: received.frames,
                missed: received.missed,
                dropped: received.dropped,
                damaged: received.damaged,
                bytes: received.bytes,
                connections: received.link.connections,
                clock_offset_ns: received.link.clock_offset_ns,
                round_trip_ns: received.link.round_trip_ns,
                frames_per_second,
                latency,
            });
        }
        let frames = counted(usize::try_from(received.frames).unwrap_or(usize::MAX), "frame");
        let age = latency
            .map_or_else(String::new, |latency| format!(", {} from capture", human_us(latency.p50_us)));
        self.notes.say(&format!(
            "{frames} received ({}), {} a second{age}, {} skipped by the link, {} found no free slot, {} damaged",
            human_bytes(received.bytes),
            human_rate(frames_per_second),
            received.missed,
            received.dropped,
            received.damaged
        ));
        Ok(())
    }
}
