//! `framelane receive legacy-memory:NAME CHANNEL`: the frames in a named mapping.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Error, FrameInfo, Layout, LoanError, Policy, Publisher};
use framelane_legacy::memory::{Address, Confirmed, Header, Look, Reader};
use serde::Serialize;

use super::receive::Receive;
use crate::Global;
use crate::failure::{Failure, print_json};
use crate::notes::Notes;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

/// How often a frame that changes while it is read is read again at one look.
const READS: usize = 8;
/// How often to look for a mapping that is not there.
const LOOK_FOR_MAPPING: Duration = Duration::from_millis(100);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, source: String },
    Waiting { reason: String },
    Summary { frames: u64, dropped: u64, torn_reads: u64, frames_per_second: Option<f64> },
}

/// Relays the mapping until the end.
pub fn run(receive: &Receive, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let address: Address = receive.source.parse()?;
    let channel = receive.channel()?;
    let publisher = receive.create(global, channel, Policy::Drop)?;
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
    let Relay { frames, torn_reads, publisher, .. } = relay;
    let (dropped, frames_per_second) = (publisher.dropped(), rate(frames, elapsed));
    drop(publisher);
    if global.json {
        print_json(&Event::Summary { frames, dropped, torn_reads, frames_per_second })?;
    }
    notes.say(&format!(
        "{} received, {} a second, {dropped} dropped; {torn_reads} reads met a writer",
        counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame"),
        human_rate(frames_per_second)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Until the end; gives the time from the first frame to the last.
fn relay_all(
    receive: &Receive,
    relay: &mut Relay,
    notes: &Notes,
    json: bool,
    stop: &Stop,
) -> Result<Duration, Failure> {
    let period = Duration::from_secs_f64(1.0 / receive.looks);
    let (mut first, mut elapsed) = (None, Duration::ZERO);
    let mut told = String::new();
    while !stop.is_set() && receive.count.is_none_or(|count| relay.frames < count) {
        let began = Instant::now();
        let (nap, reason) = match relay.look()? {
            Seen::Published => {
                elapsed = first.get_or_insert(began).elapsed();
                notes.progress(relay.frames, "frames".to_owned());
                told.clear();
                (period, None)
            }
            Seen::Nothing => (period, None),
            Seen::Missing => (LOOK_FOR_MAPPING.max(period), Some(relay.missing())),
            Seen::NoFrame(header) => (period, Some(relay.no_frame(header))),
            Seen::Busy => (period, Some(relay.busy())),
        };
        if let Some(reason) = reason.filter(|reason| *reason != told) {
            notes.say(&reason);
            told = reason.clone();
            if json {
                print_json(&Event::Waiting { reason })?;
            }
        }
        stop.sleep(nap.saturating_sub(began.elapsed()));
    }
    Ok(elapsed)
}

/// What a look has led to.
enum Seen {
    Published,
    Nothing,
    Missing,
    NoFrame(Header),
    /// All reads differed: its writer never stands still.
    Busy,
}

struct Relay {
    address: Address,
    reader: Reader,
    publisher: Publisher,
    settle: Duration,
    frames: u64,
    torn_reads: u64,
}

impl Relay {
    fn new(address: &Address, publisher: Publisher, settle: Duration) -> Self {
        let reader = Reader::new(address);
        Relay { address: address.clone(), reader, publisher, settle, frames: 0, torn_reads: 0 }
    }

    fn look(&mut self) -> Result<Seen, Error> {
        let layout = match self.reader.look()? {
            Look::Missing => return Ok(Seen::Missing),
            Look::NoFrame(header) => return Ok(Seen::NoFrame(header)),
            Look::Same => return Ok(Seen::Nothing),
            Look::Changed(layout) => layout,
        };
        self.publish(&layout)
    }

    /// Reads the frame again, straight into a slot, until two reads agree.
    fn publish(&mut self, layout: &Layout) -> Result<Seen, Error> {
        let mut loan = match self.publisher.loan(layout) {
            Ok(loan) => loan,
            Err(LoanError::NoFreeSlot) => {
                // Dropped, and counted: not again at the next look.
                self.reader.accept();
                return Ok(Seen::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        for _ in 0..READS {
            std::thread::sleep(self.settle);
            match self.reader.confirm(loan.bytes_mut())? {
                Confirmed::Frame => {
                    loan.publish(&FrameInfo::default());
                    self.frames += 1;
                    return Ok(Seen::Published);
                }
                Confirmed::Torn => self.torn_reads += 1,
                Confirmed::Same | Confirmed::LookAgain => return Ok(Seen::Nothing),
            }
        }
        Ok(Seen::Busy)
    }

    fn missing(&self) -> String {
        let (name, bytes) = (self.address.name(), self.address.total_bytes());
        format!("waiting for a mapping {name} of {bytes} bytes ({})", self.address.path().display())
    }

    fn busy(&self) -> String {
        format!(
            "waiting: the frame in the mapping {} has changed at each of {READS} reads, {} ms apart; its writer leaves no \
             time to read it (a shorter --settle-ms asks for less)",
            self.address.name(),
            self.settle.as_millis()
        )
    }

    fn no_frame(&self, header: Header) -> String {
        if header == (Header { width: 0, height: 0, kind: 0 }) {
            return format!("waiting for the first frame in the mapping {}", self.address.name());
        }
        let (Header { width, height, kind }, (w, h)) = (header, self.address.size());
        format!(
            "waiting: expected the header of a frame that fits {w}x{h} BGR pixels, found width {width}, height {height}, \
             type {kind} (a text, a larger ?size=, or another program's mapping)"
        )
    }
}
