//! `framelane receive legacy://HOST:PORT CHANNEL`: JPEGs over TCP, each of which is answered.

use std::time::{Duration, Instant};

use framelane::{Backpressure, CancelToken, Error, ErrorKind, Publisher};
use framelane_legacy::socket::{Address, Incoming, Listener};
use serde::Serialize;

use super::options::Options;
use super::pictures::{Picture, Pictures};
use crate::failure::Failure;
use crate::global::Global;
use crate::line_limit::{LineLimit, More, Party, REFUSALS};
use crate::link_options::IDLE_TIMEOUT;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::counted;
use crate::tally::Tally;
use crate::transport::check_exposure;

/// The pause after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `legacy:`.
#[derive(Debug, clap::Args)]
#[group(id = "legacy")]
#[command(next_help_heading = "Options of legacy")]
pub struct SocketOptions {
    /// Limit the bytes of a JPEG; a sender that announces more is disconnected
    #[arg(long, default_value = "67108864", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    max_bytes: u64,
    /// Limit the pixels of a picture to those of this size; larger ones are skipped
    #[arg(long, default_value = "4096x4096", value_name = "WxH", value_parser = parse::size)]
    max_size: (u32, u32),
}

/// Options of links and of `legacy:`.
#[derive(Debug, clap::Args)]
#[group(id = "network")]
#[command(next_help_heading = "Options of links and of legacy")]
pub struct NetworkOptions {
    /// Disconnect a peer that sends nothing for this time; a legacy sender between two frames only if another
    /// sender waits [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
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
        reason: &'e str,
    },
    Disconnected {
        peer: &'e str,
        frames: u64,
        reason: Option<&'e str>,
    },
    Waiting {
        reason: &'e str,
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
pub fn run(
    options: &Options,
    socket: &SocketOptions,
    network: &NetworkOptions,
    global: &Global,
    stop: &Stop,
) -> Result<(), Failure> {
    let address: Address = options.source.parse()?;
    if address.quality().is_some() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            "expected an address without ?quality=: the sender decides it",
        )
        .with_hint("remove it here, and set the quality at the sender")
        .into());
    }
    let addresses = address.resolve()?;
    check_exposure(&addresses, options.insecure)?;
    let mut listener = Listener::bind(&addresses)?;
    let channel = options.channel()?;
    let publisher = options.create(global, channel, Backpressure::Drop)?;
    let reporter = Reporter::new(global.json);
    // The port that the system has chosen for port 0.
    let address = address.with_port(listener.address()?.port());
    reporter.event(
        &Event::Started { channel, source: address.to_string() },
        &format!("{address} to channel {channel}"),
    )?;
    reporter.start_progress(options.count);
    let mut relay = Relay {
        count: options.count,
        max_bytes: usize::try_from(socket.max_bytes).unwrap_or(usize::MAX),
        idle_timeout: network.idle_timeout.unwrap_or(IDLE_TIMEOUT),
        publisher,
        pictures: Pictures::new(socket.max_size)?,
        reports: Reports { reporter: &reporter, lines: LineLimit::new(REFUSALS, Instant::now()) },
        stop,
        cancel: stop.token(),
        tally: Tally::default(),
        broken: 0,
        connections: 0,
    };
    let result = relay.run(&mut listener);
    relay.reports.finish();
    reporter.end_progress();
    result?;
    let Relay { publisher, tally, broken, connections, .. } = relay;
    let (frames, frames_per_second) = (tally.frames(), tally.frames_per_second());
    let (dropped, unserved) = (publisher.dropped(), listener.closed());
    drop(publisher);
    reporter.event(
        &Event::Summary { frames, dropped, broken, connections, unserved, frames_per_second },
        &format!("{}, {dropped} dropped, {broken} broken", tally.text("received")),
    )
}

/// Reports of senders. Lines about a flood of connections from one network are counted, so that it neither
/// hides lines about other networks nor fills a disk. With `--json`, each event is printed.
struct Reports<'r> {
    reporter: &'r Reporter,
    lines: LineLimit,
}

impl Reports<'_> {
    fn note(&mut self, peer: &str, text: &str) {
        let sums = self.lines.end_period(Instant::now());
        self.note_sums(sums);
        if self.lines.is_logged(Party::of(None, peer)) {
            self.reporter.note(text);
        }
    }

    fn event(&mut self, peer: &str, event: &Event, text: &str) -> Result<(), Failure> {
        self.note(peer, text);
        self.reporter.json(event)
    }

    fn finish(&mut self) {
        let sums = self.lines.end();
        self.note_sums(sums);
    }

    fn note_sums(&self, sums: Vec<More>) {
        for More { count, party } in sums {
            let party = party.map_or_else(|| "other addresses".to_owned(), |party| party.to_string());
            self.reporter.note(&format!("{count} more lines about {party} were skipped"));
        }
    }
}

struct Relay<'r> {
    count: Option<u64>,
    max_bytes: usize,
    idle_timeout: Duration,
    publisher: Publisher,
    pictures: Pictures,
    reports: Reports<'r>,
    stop: &'r Stop,
    cancel: CancelToken,
    tally: Tally,
    broken: u64,
    connections: u64,
}

impl Relay<'_> {
    fn run(&mut self, listener: &mut Listener) -> Result<(), Failure> {
        let mut reported = String::new();
        while !self.is_over() {
            let accepted = listener.accept(self.idle_timeout, self.max_bytes, &self.cancel);
            let mut sender = match accepted {
                Ok(Some(sender)) => sender,
                Ok(None) => break,
                Err(error) => {
                    // The process may be out of descriptors for a while, which does not end the channel.
                    let reason = error.to_string();
                    if reported != reason {
                        self.reports.reporter.event(&Event::Waiting { reason: &reason }, &reason)?;
                        reported = reason;
                    }
                    self.stop.sleep(PAUSE);
                    continue;
                }
            };
            reported.clear();
            self.connections += 1;
            let (peer, before) = (sender.peer().to_owned(), self.tally.frames());
            self.reports.event(&peer, &Event::Connected { peer: &peer }, &format!("{peer} connected"))?;
            let lost = self.serve(&mut sender, listener)?;
            drop(sender);
            let frames = self.tally.frames() - before;
            let reason = lost.map(|error| error.to_string());
            let cause = reason.clone().unwrap_or_else(|| format!("{peer} closed the connection"));
            let event = Event::Disconnected { peer: &peer, frames, reason: reason.as_deref() };
            self.reports.event(&peer, &event, &format!("{cause}, after {}", counted(frames, "frame")))?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_set() || self.tally.has_reached(self.count)
    }

    /// Serves a sender until it disconnects, or is disconnected: then returns the reason.
    fn serve(&mut self, sender: &mut Incoming, listener: &mut Listener) -> Result<Option<Error>, Failure> {
        let mut reported = String::new();
        let mut last_picture = Instant::now();
        while !self.is_over() {
            let jpeg = match sender.next(listener, &self.cancel) {
                Ok(Some(jpeg)) => jpeg,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(lost(error)),
            };
            let picture = self.pictures.publish(jpeg, &mut self.publisher)?;
            let is_broken = matches!(picture, Picture::Broken(_));
            match picture {
                Picture::Published => {
                    self.tally.add();
                    self.reports.reporter.progress(self.tally.frames(), "frames".to_owned());
                    last_picture = Instant::now();
                }
                Picture::Dropped => last_picture = Instant::now(),
                Picture::Broken(error) => {
                    self.broken += 1;
                    let reason = error.to_string();
                    self.reports.reporter.json(&Event::Broken { peer: sender.peer(), reason: &reason })?;
                    // Once for each fault in a row: a camera repeats its faults.
                    if reported != reason {
                        let text = format!("{}: a frame is skipped: {reason}", sender.peer());
                        self.reports.note(sender.peer(), &text);
                        reported = reason;
                    }
                }
            }
            // Also to a broken one: the format has no other answer, and a sender without an answer waits
            // indefinitely.
            if let Err(error) = sender.answer(&self.cancel) {
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
