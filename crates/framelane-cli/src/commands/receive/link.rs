//! `framelane receive` over a link.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Backpressure, CancelToken, Delivery, Error, ErrorKind};
use framelane_net::{LinkEvent, LinkUrl, ReceiveOptions, ReceiveStatistics, WhenClosed};
use serde::Serialize;

use super::options::Options;
use crate::drain::drain;
use crate::failure::Failure;
use crate::global::Global;
use crate::latency::{Latencies, Percentiles, human_us};
use crate::link_report::Connection;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::human_bytes;
use crate::tally::Tally;

/// The server has announced by then whether the channel is live.
const ANNOUNCED: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
/// Most reports per second of a channel that opens and closes. A server decides how often that happens.
const MOST_CHANGES: u32 = 10;

/// Options of links that only `receive` has.
#[derive(Debug, clap::Args)]
#[group(id = "receive-link")]
#[command(next_help_heading = "Options of links (tls://, tcp://, unix:)")]
pub struct ReceiveLinkOptions {
    /// Scale to this size at the sender
    #[arg(long, value_name = "WxH", value_parser = parse::size)]
    pub size: Option<(u32, u32)>,
    /// Wait at most this long for the remote channel; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    open_timeout: Option<Duration>,
    /// End when the remote channel closes, instead of waiting for it
    #[arg(long)]
    once: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started {
        channel: &'e str,
        source: String,
    },
    /// The remote channel has a publisher, or lost it.
    Channel {
        live: bool,
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

/// Receives until the user ends it, or until `--count` frames were received.
pub fn run(
    options: &Options,
    of_link: &ReceiveLinkOptions,
    link: &LinkUrl,
    global: &Global,
    stop: &Stop,
) -> Result<(), Failure> {
    let local = options.channel.as_deref().unwrap_or(&link.channel);
    // With delivery every, no frame is lost here either.
    let backpressure =
        if link.options.delivery == Delivery::Every { Backpressure::Block } else { Backpressure::Drop };
    let mut publisher = options.create(global, local, backpressure)?;
    let reporter = Reporter::new(global.json);
    reporter.start_progress(options.count);
    reporter.event(
        &Event::Started { channel: local, source: link.to_string() },
        &format!("{link} to channel {local} ({})", link.options.codec),
    )?;
    let mut report = Report::new(&link.channel, reporter);
    let complete = CancelToken::new();
    let awaited = Arc::new(Awaited::new(of_link.open_timeout));
    let watched = awaited.clone();
    let late = CancelToken::with_check(move || watched.is_late());
    let receiving = ReceiveOptions::new()
        .when_closed(if of_link.once { WhenClosed::Return } else { WhenClosed::Wait })
        .cancel(CancelToken::any([stop.token(), complete.clone(), late]));
    let result = framelane_net::receive(link, &mut publisher, &receiving, &mut |event| {
        report.report(&event);
        awaited.note(&event);
        if report.tally.has_reached(options.count) {
            complete.cancel();
        }
    });
    report.reporter.end_progress();
    let received = result?;
    if awaited.is_late() && !stop.is_set() {
        return Err(awaited.error(link, report.connection.trouble()).into());
    }
    report.summary(&received)?;
    drain(&mut publisher, stop)?;
    Ok(())
}

/// The wait for a live channel.
struct Awaited {
    limit: Option<Duration>,
    began: Instant,
    state: Mutex<AwaitedState>,
}

#[derive(Default)]
struct AwaitedState {
    was_live: bool,
    /// The end of the first attempt, which may end however short the limit is.
    tried: Option<Instant>,
}

impl Awaited {
    fn new(limit: Option<Duration>) -> Self {
        Awaited { limit, began: Instant::now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, AwaitedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: &LinkEvent<'_, ReceiveStatistics>) {
        let (now, mut state) = (Instant::now(), self.state());
        match event {
            LinkEvent::Connected => state.tried = Some(now + ANNOUNCED),
            LinkEvent::Lost { .. } => state.tried = Some(now),
            LinkEvent::Progress(received) if received.live => state.was_live = true,
            _ => {}
        }
    }

    fn is_late(&self) -> bool {
        let state = self.state();
        let tried = state.tried.is_some_and(|tried| Instant::now() >= tried);
        !state.was_live && tried && self.limit.is_some_and(|limit| self.began.elapsed() >= limit)
    }

    fn error(&self, link: &LinkUrl, trouble: &str) -> Error {
        let limit = self.limit.unwrap_or_default().as_secs_f64();
        let why = if trouble.is_empty() { "no publisher there" } else { trouble };
        let message = format!("expected {link} to be live within {limit} s: {why}");
        Error::new(ErrorKind::Timeout, message).with_hint(
            "check the channel's name (`framelane list` there), start its publisher, or allow more time \
             (--open-timeout)",
        )
    }
}

struct Report {
    /// The remote name of the channel.
    channel: String,
    reporter: Reporter,
    connection: Connection,
    live: bool,
    /// Changes of `live` that were reported since `second`.
    changes: u32,
    second: Instant,
    /// Time of the connection, until the state of the channel is reported.
    waiting: Option<Instant>,
    tally: Tally,
    latencies: Latencies,
}

impl Report {
    fn new(channel: &str, reporter: Reporter) -> Self {
        Report {
            channel: channel.to_owned(),
            connection: Connection::new(reporter.clone()),
            reporter,
            live: false,
            changes: 0,
            second: Instant::now(),
            waiting: None,
            tally: Tally::default(),
            latencies: Latencies::new(),
        }
    }

    fn report(&mut self, event: &LinkEvent<'_, ReceiveStatistics>) {
        match event {
            LinkEvent::Connected => {
                self.waiting = Some(Instant::now());
                self.connection.connected();
            }
            LinkEvent::Lost { error, wait, .. } => self.connection.lost(error, *wait),
            LinkEvent::Progress(received) => self.progress(received),
            _ => {}
        }
    }

    fn progress(&mut self, received: &ReceiveStatistics) {
        if self.second.elapsed() >= SECOND {
            (self.second, self.changes) = (Instant::now(), 0);
        }
        // Later progress shows a state that is not reported now.
        let has_changed = received.live != self.live && self.changes < MOST_CHANGES;
        if has_changed {
            self.changes += 1;
            self.live = received.live;
            // A closed output does not end the link.
            let _ = self.reporter.json(&Event::Channel { live: self.live });
        }
        if has_changed || self.waiting.is_some_and(|since| since.elapsed() >= ANNOUNCED) {
            self.waiting = None;
            match self.live {
                true => self.reporter.note("the channel is live"),
                false => self.reporter.note(&format!("waiting for a publisher of {} there", self.channel)),
            }
        }
        if self.tally.update(received.frames) {
            self.latencies.record(received.link.latency_ns);
            let latency = human_us(received.link.latency_ns as f64 / 1000.0);
            let text = format!("frames, {} skipped, {latency} from capture", received.missed);
            self.reporter.progress(received.frames, text);
        }
    }

    fn summary(&self, received: &ReceiveStatistics) -> Result<(), Failure> {
        let latency = self.latencies.percentiles();
        let age = latency
            .map_or_else(String::new, |latency| format!("{} from capture, ", human_us(latency.p50_us)));
        let text = format!(
            "{}, {} in all, {age}{} skipped by the link, {} found no free slot, {} damaged",
            self.tally.text("received"),
            human_bytes(received.bytes),
            received.missed,
            received.dropped,
            received.damaged
        );
        let summary = Event::Summary {
            frames: received.frames,
            missed: received.missed,
            dropped: received.dropped,
            damaged: received.damaged,
            bytes: received.bytes,
            connections: received.link.connections,
            clock_offset_ns: received.link.clock_offset_ns,
            round_trip_ns: received.link.round_trip_ns,
            frames_per_second: self.tally.frames_per_second(),
            latency,
        };
        self.reporter.event(&summary, &text)
    }
}
