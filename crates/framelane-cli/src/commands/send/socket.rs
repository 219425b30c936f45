//! `framelane send CHANNEL legacy://HOST:PORT`: JPEGs over TCP, each answered by the receiver.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Frame, Layout};
use framelane_legacy::socket::{Address, Outgoing};
use serde::Serialize;

use super::encoder::{Encoder, Next, Slot};
use super::{STOP_POLL_INTERVAL, Send};
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::link_options::IDLE_TIMEOUT;
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};
use crate::transport::{check_exposure, headings};

/// JPEG quality unless the address or an option says another.
const QUALITY: u8 = 90;
/// How long to wait before connecting again: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Options of `legacy:`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = headings::LEGACY)]
pub struct StreamOptions {
    /// JPEG quality, 1 to 100 [default: the URL's ?quality=, else 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// Scale to this size [default: the frame's own]
    #[arg(long, value_name = "WxH", value_parser = parse::size, help_heading = headings::LINKS_AND_LEGACY)]
    pub size: Option<(u32, u32)>,
    /// Reconnect when the receiver accepts and sends nothing for this time [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, help_heading = headings::LINKS_AND_LEGACY)]
    pub idle_timeout: Option<Duration>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String, quality: u8 },
    Waiting { reason: String },
    Connected { peer: &'e str },
    Disconnected { reason: String },
    Skipped { sequence: u64, reason: String },
    Summary { frames: u64, skipped: u64, left_out: u64, connections: u64, frames_per_second: Option<f64> },
}

/// Sends until the channel closes.
pub fn run(send: &Send, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let address: Address = send.target.parse()?;
    let addresses = address.resolve()?;
    check_exposure(&addresses, send.insecure)?;
    let options = &send.stream;
    let quality = options.quality.or(address.quality()).unwrap_or(QUALITY);
    let mut encoder = Encoder::new(quality, options.size)?;
    let notes = Notes::new(global.json);
    let subscriber = send.open(global, global.subscriber().reconnect(send.reconnect), &notes, stop)?;
    let (slot, is_done) = (Slot::default(), AtomicBool::new(false));
    let keep_going = || !stop.is_set() && !is_done.load(Ordering::Relaxed);
    if global.json {
        print_json(&Event::Started { channel: &send.channel, target: address.to_string(), quality })?;
    }
    notes.say(&format!("channel {} to {address}, JPEG of quality {quality}", send.channel));
    notes.start_progress(send.count);
    let mut left_out = LeftOut { notes: &notes, json: global.json, count: 0, told: None };
    let mut sender = Sender {
        addresses: &addresses,
        send,
        slot: &slot,
        notes: &notes,
        json: global.json,
        stop,
        tally: Tally::default(),
    };
    let result = std::thread::scope(|scope| {
        let encoding = scope.spawn(|| {
            encoder
                .run(subscriber, &slot, &mut || keep_going(), &mut |frame, error| left_out.tell(frame, error))
        });
        let sent = sender.run();
        is_done.store(true, Ordering::Relaxed);
        let encoded = encoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent.and(encoded)
    });
    notes.end_progress();
    result?;
    let Tally { frames, connections, elapsed, .. } = sender.tally;
    let (skipped, left_out) = (slot.skipped(), left_out.count);
    let frames_per_second = rate(frames, elapsed);
    if global.json {
        print_json(&Event::Summary { frames, skipped, left_out, connections, frames_per_second })?;
    }
    notes.say(&format!(
        "{} sent, {} a second, {skipped} skipped, {left_out} not encodable",
        counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame"),
        human_rate(frames_per_second)
    ));
    Ok(ExitCode::SUCCESS)
}

/// Tells of frames that are no picture, once for each kind: a camera gives the same one again and again.
struct LeftOut<'s> {
    notes: &'s Notes,
    json: bool,
    count: u64,
    told: Option<Layout>,
}

impl LeftOut<'_> {
    fn tell(&mut self, frame: &Frame, error: &Error) -> Result<(), Failure> {
        self.count += 1;
        if self.told.as_ref() == Some(frame.layout()) {
            return Ok(());
        }
        self.told = Some(frame.layout().clone());
        let (sequence, reason) = (frame.sequence(), error.to_string());
        self.notes.say(&format!("frame {sequence} is skipped: {reason}"));
        if self.json {
            print_json(&Event::Skipped { sequence, reason })?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Tally {
    frames: u64,
    connections: u64,
    first: Option<Instant>,
    /// From the first frame's answer to the last one's.
    elapsed: Duration,
}

struct Sender<'s> {
    addresses: &'s [SocketAddr],
    send: &'s Send,
    slot: &'s Slot,
    notes: &'s Notes,
    json: bool,
    stop: &'s Stop,
    tally: Tally,
}

impl Sender<'_> {
    /// One connection after the other, until the end.
    fn run(&mut self) -> Result<(), Failure> {
        let mut pause = BACK_OFF.0;
        let mut told = String::new();
        while let Some(mut connection) = self.connect(&mut pause, &mut told)? {
            self.tally.connections += 1;
            let before = self.tally.frames;
            if self.json {
                print_json(&Event::Connected { peer: connection.peer() })?;
            }
            self.slot.set_wanted(true);
            let served = self.serve(&mut connection);
            self.slot.set_wanted(false);
            let Some(error) = served? else { return Ok(()) };
            let reason = error.to_string();
            if self.json {
                print_json(&Event::Disconnected { reason: reason.clone() })?;
            }
            if self.tally.frames > before {
                (pause, told) = (BACK_OFF.0, String::new());
            }
            // A receiver that fails at its first frame, again and again, is told of once.
            if told != reason {
                self.notes.say(&format!("{reason}; connecting again"));
                told = reason;
            }
            if !self.pause(&mut pause) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `None` when it is time to end.
    fn connect(&self, pause: &mut Duration, told: &mut String) -> Result<Option<Outgoing>, Failure> {
        let began = Instant::now();
        let mut is_told = false;
        while !self.stop.is_set() && !self.is_count_reached() {
            let error = match Outgoing::connect(
                self.addresses,
                self.send.stream.idle_timeout.unwrap_or(IDLE_TIMEOUT),
            ) {
                Ok(connection) => return Ok(Some(connection)),
                Err(error) => error,
            };
            // Not before: a short film may be over by now, and its last frame is there.
            if self.slot.has_ended() {
                return Ok(None);
            }
            if let Some(limit) = self.send.open_timeout.filter(|&limit| began.elapsed() >= limit) {
                let message =
                    format!("expected a receiver within {} s: {}", limit.as_secs_f64(), error.message());
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_hint("start the receiver, check host and port, or allow more time (--open-timeout)")
                    .into());
            }
            if !std::mem::replace(&mut is_told, true) {
                let reason = format!("waiting for a receiver: {}", error.message());
                if self.json {
                    print_json(&Event::Waiting { reason: reason.clone() })?;
                }
                if *told != reason {
                    self.notes.say(&reason);
                    *told = reason;
                }
            }
            self.pause(pause);
        }
        Ok(None)
    }

    /// Why the connection has ended; `None` when it is time to end.
    fn serve(&mut self, connection: &mut Outgoing) -> Result<Option<Error>, Failure> {
        while !self.stop.is_set() && !self.is_count_reached() {
            let frame = match self.slot.take(STOP_POLL_INTERVAL) {
                Next::Frame(frame) => frame,
                Next::Nothing if connection.is_gone() => {
                    let message = format!("{} has closed the connection", connection.peer());
                    return Ok(Some(Error::new(ErrorKind::SystemFailure, message)));
                }
                Next::Nothing => continue,
                Next::Ended => return Ok(None),
            };
            match connection.send(&frame.jpeg, &mut || !self.stop.is_set()) {
                Ok(()) => {
                    self.slot.recycle(frame);
                    self.tally.frames += 1;
                    self.tally.elapsed = self.tally.first.get_or_insert_with(Instant::now).elapsed();
                    self.notes.progress(self.tally.frames, "frames".to_owned());
                }
                Err(error) => {
                    self.slot.give_back(frame);
                    return Ok(Some(error).filter(|error| error.kind() != ErrorKind::Interrupted));
                }
            }
        }
        Ok(None)
    }

    /// Waits longer each time; false when it is time to end.
    fn pause(&self, pause: &mut Duration) -> bool {
        let now = std::mem::replace(pause, (*pause * 2).min(BACK_OFF.1));
        self.stop.sleep(now)
    }

    fn is_count_reached(&self) -> bool {
        self.send.count.is_some_and(|count| self.tally.frames >= count)
    }
}
