//! `framelane receive legacy://HOST:PORT CHANNEL`: JPEGs over TCP, each of which is answered.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Backpressure, Error, ErrorKind, Publisher};
use framelane_legacy::socket::{Address, Incoming, Listener};
use serde::Serialize;

use super::Receive;
use super::pictures::{Picture, Pictures};
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::line_limit::{LineLimit, More, Party, REFUSALS};
use crate::link_options::IDLE_TIMEOUT;
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};
use crate::transport::{check_exposure, headings};

/// Before the next try when the system gives no connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `legacy:`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = headings::LEGACY)]
pub struct StreamOptions {
    /// Limit the bytes of a JPEG; a sender that announces more is disconnected
    #[arg(long, default_value = "67108864", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    max_bytes: u64,
    /// Limit the pixels of a picture to those of this size; larger ones are skipped
    #[arg(long, default_value = "4096x4096", value_name = "WxH", value_parser = parse::size)]
    max_size: (u32, u32),
    /// Disconnect a peer that sends nothing for this time; a legacy sender between two frames only if another
    /// sender waits [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, help_heading = headings::LINKS_AND_LEGACY)]
    pub idle_timeout: Option<Duration>,
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
        /// Silent connections that were closed because too many waited.
        unserved: u64,
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
        .with_hint("remove it here, and set the quality at the sender")
        .into());
    }
    let addresses = address.resolve()?;
    check_exposure(&addresses, receive.insecure)?;
    let mut listener = Listener::bind(&addresses)?;
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
    let (pictures, tally) = (Pictures::new(receive.stream.max_size)?, Tally::default());
    let reports =
        Reports { notes: &notes, json: global.json, lines: LineLimit::new(REFUSALS, Instant::now()) };
    let mut relay = Relay { receive, publisher, pictures, reports, stop, tally };
    let result = relay.run(&mut listener);
    relay.reports.finish();
    notes.end_progress();
    let Relay { publisher, tally, .. } = relay;
    result?;
    let Tally { frames, broken, connections, elapsed, .. } = tally;
    let unserved = listener.closed();
    let (dropped, frames_per_second) = (publisher.dropped(), rate(frames, elapsed));
    drop(publisher);
    if global.json {
        print_json(&Event::Summary { frames, dropped, broken, connections, unserved, frames_per_second })?;
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

/// Reports what senders do. A flood of connections from one network is counted: it must neither hide those of
/// others nor fill a disk. Programs get every event.
struct Reports<'n> {
    notes: &'n Notes,
    json: bool,
    lines: LineLimit,
}

impl Reports<'_> {
    fn say(&mut self, peer: &str, text: &str) {
        let sums = self.lines.end_period(Instant::now());
        self.say_sums(sums);
        if self.lines.is_logged(Party::of(None, peer)) {
            self.notes.say(text);
        }
    }

    fn event(&self, event: &Event) -> Result<(), Failure> {
        if self.json {
            print_json(event)?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        let sums = self.lines.end();
        self.say_sums(sums);
    }

    fn say_sums(&self, sums: Vec<More>) {
        for More { count, party } in sums {
            let party = party.map_or_else(|| "other addresses".to_owned(), |party| party.to_string());
            self.notes.say(&format!("{count} more lines about {party} were skipped"));
        }
    }
}

struct Relay<'r> {
    receive: &'r Receive,
    publisher: Publisher,
    pictures: Pictures,
    reports: Reports<'r>,
    stop: &'r Stop,
    tally: Tally,
}

impl Relay<'_> {
    fn run(&mut self, listener: &mut Listener) -> Result<(), Failure> {
        let options = &self.receive.stream;
        let max_bytes = usize::try_from(options.max_bytes).unwrap_or(usize::MAX);
        let mut reported = String::new();
        while !self.is_over() {
            let accepted =
                listener.accept(options.idle_timeout.unwrap_or(IDLE_TIMEOUT), max_bytes, &mut || {
                    !self.stop.is_set()
                });
            let mut sender = match accepted {
                Ok(Some(sender)) => sender,
                Ok(None) => break,
                Err(error) => {
                    // Out of descriptors, perhaps, which others return: no reason to end the channel.
                    let reason = error.to_string();
                    if reported != reason {
                        self.reports.notes.say(&reason);
                        self.reports.event(&Event::Waiting { reason: reason.clone() })?;
                        reported = reason;
                    }
                    self.stop.sleep(PAUSE);
                    continue;
                }
            };
            reported.clear();
            self.tally.connections += 1;
            let (peer, before) = (sender.peer().to_owned(), self.tally.frames);
            self.reports.say(&peer, &format!("{peer} connected"));
            self.reports.event(&Event::Connected { peer: &peer })?;
            let lost = self.serve(&mut sender, listener)?;
            drop(sender);
            let frames = self.tally.frames - before;
            let reason = lost.map(|error| error.to_string());
            let why = reason.clone().unwrap_or_else(|| format!("{peer} closed the connection"));
            let count = counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
            self.reports.say(&peer, &format!("{why}, after {count}"));
            self.reports.event(&Event::Disconnected { peer: &peer, frames, reason })?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.receive.count.is_some_and(|count| self.tally.frames >= count)
    }

    /// Serves a sender until it disconnects, or is disconnected: then returns the reason.
    fn serve(&mut self, sender: &mut Incoming, listener: &mut Listener) -> Result<Option<Error>, Failure> {
        let stop = self.stop;
        let mut reported = String::new();
        let mut last_picture = Instant::now();
        while !self.is_over() {
            let jpeg = match sender.next(listener, &mut || !stop.is_set()) {
                Ok(Some(jpeg)) => jpeg,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(lost(error)),
            };
            let picture = self.pictures.publish(jpeg, &mut self.publisher)?;
            let is_broken = matches!(picture, Picture::Broken(_));
            match picture {
                Picture::Published => {
                    self.tally.frames += 1;
                    self.tally.elapsed = self.tally.first.get_or_insert_with(Instant::now).elapsed();
                    self.reports.notes.progress(self.tally.frames, "frames".to_owned());
                    last_picture = Instant::now();
                }
                Picture::Dropped => last_picture = Instant::now(),
                Picture::Broken(error) => {
                    self.tally.broken += 1;
                    let reason = error.to_string();
                    // Once for each fault in a row: a camera sends the same one again and again.
                    if reported != reason {
                        let text = format!("{}: a frame is skipped: {reason}", sender.peer());
                        self.reports.say(sender.peer(), &text);
                        reported.clone_from(&reason);
                    }
                    self.reports.event(&Event::Broken { peer: sender.peer(), reason })?;
                }
            }
            // Also to a broken one: the format has no other answer, and a sender without an answer waits
            // indefinitely.
            if let Err(error) = sender.answer(&mut || !stop.is_set()) {
                return Ok(lost(error));
            }
            if is_broken && let Some(error) = sender.yields_after(last_picture.elapsed(), listener) {
                return Ok(Some(error));
            }
        }
        Ok(None)
    }
}

/// The end that was asked for is no fault of the sender.
fn lost(error: Error) -> Option<Error> {
    Some(error).filter(|error| error.kind() != ErrorKind::Interrupted)
}
