//! `framelane receive legacy://HOST:PORT CHANNEL`: JPEGs over TCP, each of which is answered.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Backpressure, Error, ErrorKind, FrameInfo, Layout, LoanError, PixelFormat, Publisher};
use framelane_codec::jpeg::{self, Decompressor};
use framelane_legacy::socket::{Address, Incoming, Listener};
use serde::Serialize;

use super::link_options::PATIENCE;
use super::receive::Receive;
use super::urls::{check_exposure, headings};
use crate::Global;
use crate::failure::{Failure, print_json};
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

/// Before the next try when the system gives no connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `legacy:`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = headings::LEGACY)]
pub struct StreamOptions {
    /// The largest JPEG: a sender that announces more is disconnected
    #[arg(long, default_value = "67108864", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    max_bytes: u64,
    /// The most pixels of a picture, as width times height of this size: larger ones are left out
    #[arg(long, default_value = "4096x4096", value_name = "WxH", value_parser = parse::size)]
    max_size: (u32, u32),
    /// Take a sender for gone that gives no byte for so long; one of legacy between frames only if another one waits [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, help_heading = headings::LINKS_AND_LEGACY)]
    pub patience: Option<Duration>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started {
        channel: &'e str,
        source: String,
    },
    Connected {
        peer: &'e str,
    },
    /// A frame that was answered, but is no picture.
    Broken {
        peer: &'e str,
        reason: String,
    },
    Disconnected {
        peer: &'e str,
        frames: u64,
        reason: Option<String>,
    },
    Waiting {
        reason: String,
    },
    Summary {
        frames: u64,
        dropped: u64,
        broken: u64,
        connections: u64,
        frames_per_second: Option<f64>,
    },
}

/// Serves one sender after the other, until the end.
pub fn run(receive: &Receive, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let address: Address = receive.source.parse()?;
    if address.quality().is_some() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            "expected an address without ?quality=: the sender decides it",
        )
        .with_hint("leave it out here, and set it where the frames are sent")
        .into());
    }
    let addresses = address.resolve()?;
    check_exposure(&addresses, receive.insecure)?;
    let listener = Listener::bind(&addresses)?;
    let channel = receive.channel()?;
    let publisher = receive.create(global, channel, Backpressure::Drop)?;
    let notes = Notes::new(global.json);
    // The port that the system has chosen, if it was to.
    let address = address.with_port(listener.address()?.port());
    if global.json {
        print_json(&Event::Started { channel, source: address.to_string() })?;
    }
    notes.say(&format!("{address} to channel {channel}"));
    notes.start_progress(receive.count);
    let (decompressor, tally) = (Decompressor::new()?, Tally::default());
    let mut relay = Relay { receive, publisher, decompressor, notes: &notes, json: global.json, stop, tally };
    let result = relay.run(&listener);
    notes.end_progress();
    let Relay { publisher, tally, .. } = relay;
    result?;
    let Tally { frames, broken, connections, elapsed, .. } = tally;
    let (dropped, frames_per_second) = (publisher.dropped(), rate(frames, elapsed));
    drop(publisher);
    if global.json {
        print_json(&Event::Summary { frames, dropped, broken, connections, frames_per_second })?;
    }
    notes.say(&format!(
        "{} received, {} a second, {dropped} dropped, {broken} broken",
        counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame"),
        human_rate(frames_per_second)
    ));
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Tally {
    frames: u64,
    broken: u64,
    connections: u64,
    first: Option<Instant>,
    /// From the first frame to the last.
    elapsed: Duration,
}

struct Relay<'r> {
    receive: &'r Receive,
    publisher: Publisher,
    decompressor: Decompressor,
    notes: &'r Notes,
    json: bool,
    stop: &'r Stop,
    tally: Tally,
}

impl Relay<'_> {
    fn run(&mut self, listener: &Listener) -> Result<(), Failure> {
        let options = &self.receive.stream;
        let max_bytes = usize::try_from(options.max_bytes).unwrap_or(usize::MAX);
        let mut told = String::new();
        while !self.is_over() {
            let accepted =
                listener.accept(options.patience.unwrap_or(PATIENCE), max_bytes, &mut || !self.stop.is_set());
            let mut sender = match accepted {
                Ok(Some(sender)) => sender,
                Ok(None) => break,
                Err(error) => {
                    // Of files, perhaps, which others give back: no reason to leave the channel.
                    let reason = error.to_string();
                    if told != reason {
                        self.notes.say(&reason);
                        if self.json {
                            print_json(&Event::Waiting { reason: reason.clone() })?;
                        }
                        told = reason;
                    }
                    self.stop.sleep(PAUSE);
                    continue;
                }
            };
            told.clear();
            self.tally.connections += 1;
            let (peer, before) = (sender.peer().to_owned(), self.tally.frames);
            self.notes.say(&format!("{peer} has connected"));
            if self.json {
                print_json(&Event::Connected { peer: &peer })?;
            }
            let lost = self.serve(&mut sender, listener)?;
            drop(sender);
            let frames = self.tally.frames - before;
            let reason = lost.map(|error| error.to_string());
            let why = reason.clone().unwrap_or_else(|| format!("{peer} has closed the connection"));
            self.notes.say(&format!(
                "{why}, after {}",
                counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame")
            ));
            if self.json {
                print_json(&Event::Disconnected { peer: &peer, frames, reason })?;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.receive.count.is_some_and(|count| self.tally.frames >= count)
    }

    /// Until the sender goes, or is given up: then with the reason.
    fn serve(&mut self, sender: &mut Incoming, listener: &Listener) -> Result<Option<Error>, Failure> {
        let stop = self.stop;
        let mut told = String::new();
        while !self.is_over() {
            let jpeg = match sender.next(listener, &mut || !stop.is_set()) {
                Ok(Some(jpeg)) => jpeg,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(lost(error)),
            };
            if let Err(broken) = self.publish(jpeg)? {
                self.tally.broken += 1;
                let reason = broken.to_string();
                if self.json {
                    print_json(&Event::Broken { peer: sender.peer(), reason: reason.clone() })?;
                }
                // Once for each fault in a row: a camera gives the same one again and again.
                if told != reason {
                    self.notes.say(&format!("{}: a frame is left out: {reason}", sender.peer()));
                    told = reason;
                }
            }
            // Also to a broken one: the format has no other answer, and without one the sender waits for ever.
            if let Err(error) = sender.answer(&mut || !stop.is_set()) {
                return Ok(lost(error));
            }
        }
        Ok(None)
    }

    /// Decodes a JPEG straight into a slot. The inner error is what is wrong with the picture.
    fn publish(&mut self, jpeg: &[u8]) -> Result<Result<(), Error>, Failure> {
        let layout = match jpeg::header(jpeg).and_then(|header| self.layout(header)) {
            Ok(layout) => layout,
            Err(error) => return Ok(Err(error)),
        };
        let mut loan = match self.publisher.loan(&layout) {
            Ok(loan) => loan,
            // Dropped, and counted by the publisher.
            Err(LoanError::NoFreeSlot) => return Ok(Ok(())),
            Err(error) => {
                let error = Error::from(error);
                let is_too_large = matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::FrameTooLarge);
                return if is_too_large { Ok(Err(error)) } else { Err(error.into()) };
            }
        };
        if let Err(error) = self.decompressor.decode(jpeg, &layout, loan.bytes_mut()) {
            return Ok(Err(error));
        }
        loan.publish(&FrameInfo::default());
        self.tally.frames += 1;
        self.tally.elapsed = self.tally.first.get_or_insert_with(Instant::now).elapsed();
        self.notes.progress(self.tally.frames, "frames".to_owned());
        Ok(Ok(()))
    }

    /// The frame that a JPEG becomes, if it is not too large: a few bytes may claim gigabytes.
    fn layout(&self, (width, height, is_gray): (u32, u32, bool)) -> Result<Layout, Error> {
        let most = self.receive.stream.max_size;
        let pixels = |(width, height)| u64::from(width) * u64::from(height);
        if pixels((width, height)) > pixels(most) {
            let message =
                format!("expected a picture of at most {}x{} pixels, found {width}x{height}", most.0, most.1);
            return Err(Error::new(ErrorKind::FrameTooLarge, message)
                .with_hint("if the sender is right, allow more (--max-size)"));
        }
        Layout::packed(if is_gray { PixelFormat::Gray8 } else { PixelFormat::Bgr8 }, width, height)
    }
}

/// The end that was asked for is no fault of the sender.
fn lost(error: Error) -> Option<Error> {
    Some(error).filter(|error| error.kind() != ErrorKind::Interrupted)
}
