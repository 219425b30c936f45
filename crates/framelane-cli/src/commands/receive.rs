//! `framelane receive`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Error, FrameInfo, Layout, LoanError, Publisher};
use framelane_legacy::memory::{Address, Confirmed, Header, Look, Reader, SCHEME};
use serde::Serialize;

use super::send::unknown_scheme;
use crate::Global;
use crate::failure::{Failure, print_json};
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

/// How often a frame that changes while it is read is read again at one look.
const READS: usize = 8;
/// How often to look for a mapping that is not there.
const LOOK_FOR_MAPPING: Duration = Duration::from_millis(100);

/// Publish the frames of a program that does not speak framelane.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane receive legacy-memory:ShareMedia cam0
      publishes each frame that an old program puts into the named mapping
  framelane receive 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2' cam2
      the third of four areas, each for frames of 1280x720

The format has no counter and no lock. Changes are found by comparing: a sixteenth of the rows at
each look, all of them within 16 looks. A frame is read until two reads, --settle-ms apart, agree:
one that is being written is not published. One whose writer pauses half-way for longer looks
complete, and is published torn: the format cannot tell. A writer that changes a few rows only, and
that faster than 16 looks, loses frames: --looks makes that rarer. Two equal frames in a row are one
frame here. Waits for the mapping, and again when it goes away.")]
pub struct Receive {
    /// Where from: legacy-memory:NAME[?size=1920x1080&streams=1&index=0]
    #[arg(value_name = "URL")]
    source: String,
    /// The channel's name
    channel: String,
    /// Looks a second
    #[arg(long, default_value = "120", value_name = "N", value_parser = parse::fps)]
    looks: f64,
    /// Time between the two reads of a frame that must agree: the longer, the longer may a writer pause half-way
    #[arg(long, default_value = "2", value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    settle_ms: u64,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Slots of the ring, 2 to 128
    #[arg(long, default_value = "6", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: u8,
    /// Permissions of the channel's files: 600 only this user, 660 the group too
    #[arg(long, default_value = "600", value_parser = parse::permissions)]
    mode: u32,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, source: String },
    Waiting { reason: String },
    Summary { frames: u64, dropped: u64, torn_reads: u64, frames_per_second: Option<f64> },
}

impl Receive {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        if !self.source.starts_with(SCHEME) {
            return Err(unknown_scheme(&self.source).into());
        }
        let address: Address = self.source.parse()?;
        let options = global.publisher().slots(self.slots.into()).mode(self.mode);
        let publisher = options.create(&self.channel)?;
        let mut notes = Notes::new(global.json);
        if global.json {
            print_json(&Event::Started { channel: &self.channel, source: address.to_string() })?;
        }
        notes.say(&format!("the mapping {} to channel {}", address.name(), self.channel));
        notes.start_progress(self.count);
        let settle = Duration::from_millis(self.settle_ms);
        let mut relay = Relay::new(&address, publisher, settle);
        let result = self.relay(&mut relay, &notes, global.json, stop);
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
    fn relay(&self, relay: &mut Relay, notes: &Notes, json: bool, stop: &Stop) -> Result<Duration, Failure> {
        let period = Duration::from_secs_f64(1.0 / self.looks);
        let (mut first, mut elapsed) = (None, Duration::ZERO);
        let mut told = String::new();
        while !stop.is_set() && self.count.is_none_or(|count| relay.frames < count) {
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
