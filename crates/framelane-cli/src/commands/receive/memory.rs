//! `framelane receive legacy-memory:NAME CHANNEL`: the frames in a named mapping.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Backpressure, Error, FrameInfo, Layout, LoanError, Publisher};
use framelane_legacy::memory::{Address, Header, Owner, Poll, Reader};
use serde::Serialize;

use super::Receive;
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::notes::Notes;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

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

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, source: String },
    Waiting { reason: String },
    Warning { reason: String },
    Summary { frames: u64, dropped: u64, torn_reads: u64, frames_per_second: Option<f64> },
}

/// Relays the mapping until the end.
pub fn run(receive: &Receive, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let address: Address = receive.source.parse()?;
    let address = match receive.opencv {
        Some(opencv) => address.with_opencv(opencv),
        None => address,
    };
    let channel = receive.channel()?;
    let publisher = receive.create(global, channel, Backpressure::Drop)?;
    let notes = Notes::new(global.json);
    if global.json {
        print_json(&Event::Started { channel, source: address.to_string() })?;
    }
    notes.say(&format!("the mapping {} to channel {}", address.name(), channel));
    notes.start_progress(receive.count);
    let settle = Duration::from_millis(receive.settle_ms);
    let mut relay = Relay::new(&address, publisher, settle);
    let result = relay_all(receive, &mut relay, &notes, global.json, stop);
    notes.end_progress();
    let elapsed = result?;
    let Relay { frames, reader, publisher, .. } = relay;
    let torn_reads = reader.discarded();
    let (dropped, frames_per_second) = (publisher.dropped(), rate(frames, elapsed));
    drop(publisher);
    if global.json {
        print_json(&Event::Summary { frames, dropped, torn_reads, frames_per_second })?;
    }
    notes.say(&format!(
        "{} received, {} a second, {dropped} dropped; {torn_reads} torn reads discarded",
        counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame"),
        human_rate(frames_per_second)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Relays until the end. Returns the time from the first frame to the last.
fn relay_all(
    receive: &Receive,
    relay: &mut Relay,
    notes: &Notes,
    json: bool,
    stop: &Stop,
) -> Result<Duration, Failure> {
    let period = Duration::from_secs_f64(1.0 / receive.poll_rate);
    let (mut first, mut elapsed) = (None, Duration::ZERO);
    let mut reports = Reports { notes, json, reported: String::new(), busy: None, warned: None };
    while !stop.is_set() && receive.count.is_none_or(|count| relay.frames < count) {
        let began = Instant::now();
        let (nap, reason) = match relay.poll()? {
            Seen::Published => {
                elapsed = first.get_or_insert(began).elapsed();
                notes.progress(relay.frames, "frames".to_owned());
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
        stop.sleep(nap.saturating_sub(began.elapsed()));
    }
    Ok(elapsed)
}

/// What is reported of the mapping, each once.
struct Reports<'n> {
    notes: &'n Notes,
    json: bool,
    reported: String,
    busy: Option<Instant>,
    warned: Option<Owner>,
}

impl Reports<'_> {
    fn waiting(&mut self, reason: String) -> Result<(), Failure> {
        if reason == self.reported {
            return Ok(());
        }
        self.notes.say(&reason);
        self.reported.clone_from(&reason);
        if self.json {
            print_json(&Event::Waiting { reason })?;
        }
        Ok(())
    }

    /// Also when frames come in between: a writer may leave time for one now and then.
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
        if let Some(reason) = owner.and_then(|owner| owner.warning(&relay.address)) {
            self.notes.say(&format!("warning: {reason}"));
            if self.json {
                print_json(&Event::Warning { reason })?;
            }
        }
        Ok(())
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
    frames: u64,
}

impl Relay {
    fn new(address: &Address, publisher: Publisher, settle: Duration) -> Self {
        let reader = Reader::new(address, settle);
        Relay { address: address.clone(), reader, publisher, changed: None, frames: 0 }
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
        self.frames += 1;
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
                 let it go on"
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
            if opencv == framelane_legacy::memory::OpenCv::Auto {
                "4 or 5".to_owned()
            } else {
                opencv.to_string()
            }
        )
    }
}
