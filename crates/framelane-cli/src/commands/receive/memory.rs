//! `framelane receive legacy-memory:NAME CHANNEL`: the frames in a named mapping.

use std::time::{Duration, Instant};

use framelane::{Backpressure, Error, FrameInfo, Layout, LoanError, Publisher};
use framelane_legacy::memory::{Address, Header, OpenCv, Owner, Poll, Reader};
use serde::Serialize;

use super::options::Options;
use crate::failure::Failure;
use crate::global::Global;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::tally::Tally;

/// Time between two polls for a mapping that is not there.
const MAPPING_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The least time between two polls while a change is not known to be a whole frame.
const SOON: Duration = Duration::from_micros(200);
/// The most time between those two polls, for a change that has been there for some time.
const LATER: Duration = Duration::from_millis(1);
/// A change that is not known to be a whole frame for so long is reported.
const NO_FRAME: Duration = Duration::from_secs(2);
/// The least time between two reports of the same kind.
const REPORT_AGAIN: Duration = Duration::from_secs(10);

/// Options of `legacy-memory:`.
#[derive(Debug, clap::Args)]
#[group(id = "legacy-memory")]
#[command(next_help_heading = "Options of legacy-memory")]
pub struct MemoryOptions {
    /// Polls of the mapping per second
    #[arg(long, default_value = "120", value_name = "N", value_parser = parse::fps)]
    poll_rate: f64,
    /// Publish after this time without a change, if no writer is visible
    #[arg(long, default_value = "200", value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    settle_ms: u64,
    /// OpenCV version of the type codes: 4, 5 or auto [default: the URL's ?opencv=, else auto]
    #[arg(long, value_name = "VERSION")]
    opencv: Option<OpenCv>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, source: String },
    Waiting { reason: &'e str },
    Warning { reason: &'e str },
    Summary { frames: u64, dropped: u64, torn_reads: u64, frames_per_second: Option<f64> },
}

/// Relays the mapping until the end.
pub fn run(options: &Options, memory: &MemoryOptions, global: &Global, stop: &Stop) -> Result<(), Failure> {
    let address: Address = options.source.parse()?;
    let address = match memory.opencv {
        Some(opencv) => address.with_opencv(opencv),
        None => address,
    };
    let channel = options.channel()?;
    let publisher = options.create(global, channel, Backpressure::Drop)?;
    let reporter = Reporter::new(global.json);
    reporter.event(
        &Event::Started { channel, source: address.to_string() },
        &format!("the mapping {} to channel {channel}", address.name()),
    )?;
    reporter.start_progress(options.count);
    let mut relay = Relay::new(&address, publisher, Duration::from_millis(memory.settle_ms));
    let result = relay_all(options, memory, &mut relay, &reporter, stop);
    reporter.end_progress();
    result?;
    let Relay { tally, reader, publisher, .. } = relay;
    let (frames, frames_per_second) = (tally.frames(), tally.frames_per_second());
    let (dropped, torn_reads) = (publisher.dropped(), reader.discarded());
    drop(publisher);
    reporter.event(
        &Event::Summary { frames, dropped, torn_reads, frames_per_second },
        &format!("{}, {dropped} dropped, {torn_reads} torn reads discarded", tally.text("received")),
    )
}

fn relay_all(
    options: &Options,
    memory: &MemoryOptions,
    relay: &mut Relay,
    reporter: &Reporter,
    stop: &Stop,
) -> Result<(), Failure> {
    let period = Duration::from_secs_f64(1.0 / memory.poll_rate);
    let mut reports = Reports { reporter, reported: String::new(), busy: None, warned: None };
    while !stop.is_set() && !relay.tally.has_reached(options.count) {
        let began = Instant::now();
        let (pause, reason) = match relay.poll()? {
            Seen::Published => {
                reporter.progress(relay.tally.frames(), "frames".to_owned());
                reports.reported.clear();
                (period, None)
            }
            Seen::Nothing => (period, None),
            Seen::Missing => (MAPPING_POLL_INTERVAL.max(period), Some(relay.missing())),
            Seen::NoFrame(header) => (period, Some(relay.no_frame(header))),
            Seen::Changed(since) => {
                if since.elapsed() >= NO_FRAME {
                    reports.busy(relay)?;
                }
                // Half of a processor at most, and less when it takes long.
                let age = since.elapsed() / 1024;
                stop.sleep(age.clamp(SOON, LATER).max(began.elapsed().min(LATER)));
                continue;
            }
        };
        reports.owner(relay)?;
        if let Some(reason) = reason {
            reports.waiting(reason)?;
        }
        stop.sleep(pause.saturating_sub(began.elapsed()));
    }
    Ok(())
}

/// Reports of the mapping, each once.
struct Reports<'r> {
    reporter: &'r Reporter,
    reported: String,
    busy: Option<Instant>,
    warned: Option<Owner>,
}

impl Reports<'_> {
    fn waiting(&mut self, reason: String) -> Result<(), Failure> {
        if reason != self.reported {
            self.reported = reason;
            self.reporter.event(&Event::Waiting { reason: &self.reported }, &self.reported)?;
        }
        Ok(())
    }

    /// Also between two frames: a writer may leave time for one now and then.
    fn busy(&mut self, relay: &Relay) -> Result<(), Failure> {
        if self.busy.is_some_and(|at| at.elapsed() < REPORT_AGAIN) {
            return Ok(());
        }
        self.busy = Some(Instant::now());
        self.reported.clear();
        self.waiting(relay.busy())
    }

    fn owner(&mut self, relay: &Relay) -> Result<(), Failure> {
        let owner = relay.reader.owner();
        if owner == self.warned {
            return Ok(());
        }
        self.warned = owner;
        match owner.and_then(|owner| owner.warning(&relay.address)) {
            Some(reason) => {
                self.reporter.event(&Event::Warning { reason: &reason }, &format!("warning: {reason}"))
            }
            None => Ok(()),
        }
    }
}

/// The result of a poll.
enum Seen {
    Published,
    Nothing,
    Missing,
    NoFrame(Header),
    /// There are changes since this time, but no whole frame among them.
    Changed(Instant),
}

struct Relay {
    address: Address,
    reader: Reader,
    publisher: Publisher,
    /// The first change after the last frame.
    changed: Option<Instant>,
    tally: Tally,
}

impl Relay {
    fn new(address: &Address, publisher: Publisher, settle: Duration) -> Self {
        let reader = Reader::new(address, settle);
        Relay { address: address.clone(), reader, publisher, changed: None, tally: Tally::default() }
    }

    fn poll(&mut self) -> Result<Seen, Error> {
        let seen = match self.reader.poll()? {
            Poll::Missing => Seen::Missing,
            Poll::NoFrame(header) => Seen::NoFrame(header),
            Poll::Same => Seen::Nothing,
            Poll::Changed => return Ok(Seen::Changed(*self.changed.get_or_insert_with(Instant::now))),
            Poll::Frame(layout) => self.publish(&layout)?,
        };
        self.changed = None;
        Ok(seen)
    }

    fn publish(&mut self, layout: &Layout) -> Result<Seen, Error> {
        let mut loan = match self.publisher.loan(layout) {
            Ok(loan) => loan,
            // Dropped, and counted by the publisher.
            Err(LoanError::NoFreeSlot) => return Ok(Seen::Nothing),
            Err(error) => return Err(error.into()),
        };
        loan.bytes_mut().copy_from_slice(self.reader.pixels());
        loan.publish(&FrameInfo::default());
        self.tally.add();
        Ok(Seen::Published)
    }

    fn missing(&self) -> String {
        let (name, bytes) = (self.address.name(), self.address.total_bytes());
        format!("waiting for a mapping {name} of {bytes} bytes ({})", self.address.path().display())
    }

    fn busy(&self) -> String {
        let name = self.address.name();
        let writer =
            self.reader.writer_process().map_or("its writer".to_owned(), |id| format!("process {id}"));
        if self.reader.is_still() {
            return format!(
                "waiting: the mapping {name} has changed, and {writer} is stopped or busy, perhaps in the middle of a frame; \
                 continue it"
            );
        }
        format!(
            "waiting: the mapping {name} changes all the time, and {writer} leaves no time in which a frame is known to be \
             whole; let it sleep for 30 ms after each frame, or publish to a channel from it"
        )
    }

    fn no_frame(&self, header: Header) -> String {
        if header == (Header { width: 0, height: 0, kind: 0 }) {
            return format!("waiting for the first frame in the mapping {}", self.address.name());
        }
        let (Header { width, height, kind }, (w, h)) = (header, self.address.size());
        let opencv = self.address.opencv();
        if let Some(depth) = header.unsupported_depth(self.address.area_bytes(), opencv) {
            return format!(
                "waiting: expected a depth that framelane has, found type {kind}, {depth} of OpenCV 5: convert the matrix in its \
                 program (Mat::convertTo), or add --opencv 4 if that program has OpenCV 4"
            );
        }
        format!(
            "waiting: expected the header of a frame that fits {w}x{h} BGR pixels, found width {width}, height {height}, \
             type {kind} of OpenCV {} (a text, a larger ?size=, another --opencv, or another program's mapping)",
            if opencv == OpenCv::Auto { "4 or 5".to_owned() } else { opencv.to_string() }
        )
    }
}
