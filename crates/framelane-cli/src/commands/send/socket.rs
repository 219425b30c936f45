//! `framelane send CHANNEL legacy://HOST:PORT`: JPEGs over TCP, each answered by the receiver.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, ErrorKind};
use framelane_legacy::socket::{Address, Outgoing};
use serde::Serialize;

use super::encoder::{Encoder, Next, Slot};
use super::options::{NetworkOptions, Options, STOP_POLL_INTERVAL};
use super::skips::Skips;
use crate::failure::Failure;
use crate::global::Global;
use crate::link_options::IDLE_TIMEOUT;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::tally::Tally;
use crate::transport::check_exposure;

/// Default JPEG quality.
const QUALITY: u8 = 90;
/// The shortest and the longest pause before the next connection.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Options of `legacy:`.
#[derive(Debug, clap::Args)]
#[group(id = "legacy")]
#[command(next_help_heading = "Options of legacy")]
pub struct SocketOptions {
    /// JPEG quality, 1 to 100 [default: the URL's ?quality=, else 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String, quality: u8 },
    Waiting { reason: &'e str },
    Connected { peer: &'e str },
    Disconnected { reason: &'e str },
    Summary { frames: u64, skipped: u64, left_out: u64, connections: u64, frames_per_second: Option<f64> },
}

/// Sends until the channel closes.
pub fn run(
    options: &Options,
    socket: &SocketOptions,
    network: &NetworkOptions,
    global: &Global,
    stop: &Stop,
) -> Result<(), Failure> {
    let address: Address = options.target.parse()?;
    let addresses = address.resolve()?;
    check_exposure(&addresses, options.insecure)?;
    let quality = socket.quality.or(address.quality()).unwrap_or(QUALITY);
    let mut encoder = Encoder::new(quality, network.size)?;
    let reporter = Reporter::new(global.json);
    let of_channel = global.subscriber().reconnect(options.reconnect);
    let subscriber = options.subscribe(global, of_channel, &reporter, stop)?;
    let (slot, is_done) = (Slot::default(), AtomicBool::new(false));
    let keep_going = || !stop.is_set() && !is_done.load(Ordering::Relaxed);
    reporter.event(
        &Event::Started { channel: &options.channel, target: address.to_string(), quality },
        &format!("channel {} to {address}, JPEG of quality {quality}", options.channel),
    )?;
    reporter.start_progress(options.count);
    let mut skips = Skips::new(&reporter);
    let mut sender = Sender {
        addresses: &addresses,
        options,
        idle_timeout: network.idle_timeout.unwrap_or(IDLE_TIMEOUT),
        slot: &slot,
        reporter: &reporter,
        stop,
        cancel: stop.token(),
        tally: Tally::default(),
        connections: 0,
    };
    let result = std::thread::scope(|scope| {
        let encoding = scope.spawn(|| {
            encoder.run(subscriber, &slot, &mut || keep_going(), &mut |frame, error| skips.add(frame, error))
        });
        let sent = sender.run();
        is_done.store(true, Ordering::Relaxed);
        let encoded = encoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent.and(encoded)
    });
    reporter.end_progress();
    result?;
    let Sender { tally, connections, .. } = sender;
    let (frames, skipped, left_out) = (tally.frames(), slot.skipped(), skips.count());
    let frames_per_second = tally.frames_per_second();
    reporter.event(
        &Event::Summary { frames, skipped, left_out, connections, frames_per_second },
        &format!("{}, {skipped} skipped, {left_out} not encodable", tally.text("sent")),
    )
}

struct Sender<'s> {
    addresses: &'s [SocketAddr],
    options: &'s Options,
    idle_timeout: Duration,
    slot: &'s Slot,
    reporter: &'s Reporter,
    stop: &'s Stop,
    cancel: CancelToken,
    tally: Tally,
    connections: u64,
}

impl Sender<'_> {
    /// Serves one connection after the other, until the end.
    fn run(&mut self) -> Result<(), Failure> {
        let mut pause = BACK_OFF.0;
        let mut reported = String::new();
        while let Some(mut connection) = self.connect(&mut pause, &mut reported)? {
            self.connections += 1;
            let before = self.tally.frames();
            self.reporter.json(&Event::Connected { peer: connection.peer() })?;
            self.slot.set_wanted(true);
            let served = self.serve(&mut connection);
            self.slot.set_wanted(false);
            let Some(error) = served? else { return Ok(()) };
            let reason = error.to_string();
            self.reporter.json(&Event::Disconnected { reason: &reason })?;
            if self.tally.frames() > before {
                (pause, reported) = (BACK_OFF.0, String::new());
            }
            // A receiver that fails at each first frame is reported once.
            if reported != reason {
                self.reporter.note(&format!("{reason}; reconnecting"));
                reported = reason;
            }
            if !self.pause(&mut pause) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Connects to the receiver. Returns `None` at the end.
    fn connect(&self, pause: &mut Duration, reported: &mut String) -> Result<Option<Outgoing>, Failure> {
        let began = Instant::now();
        let mut is_reported = false;
        while !self.stop.is_set() && !self.tally.has_reached(self.options.count) {
            let error = match Outgoing::connect(self.addresses, self.idle_timeout) {
                Ok(connection) => return Ok(Some(connection)),
                Err(error) => error,
            };
            // After the attempt: a short film may be over by now, and its last frame is there.
            if self.slot.has_ended() {
                return Ok(None);
            }
            if let Some(limit) = self.options.open_timeout.filter(|&limit| began.elapsed() >= limit) {
                let message =
                    format!("expected a receiver within {} s: {}", limit.as_secs_f64(), error.message());
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_hint("start the receiver, check host and port, or allow more time (--open-timeout)")
                    .into());
            }
            if !std::mem::replace(&mut is_reported, true) {
                let reason = format!("waiting for a receiver: {}", error.message());
                self.reporter.json(&Event::Waiting { reason: &reason })?;
                if *reported != reason {
                    self.reporter.note(&reason);
                    *reported = reason;
                }
            }
            self.pause(pause);
        }
        Ok(None)
    }

    /// Serves a connection. Returns the reason of its loss, or `None` at the end.
    fn serve(&mut self, connection: &mut Outgoing) -> Result<Option<Error>, Failure> {
        while !self.stop.is_set() && !self.tally.has_reached(self.options.count) {
            let frame = match self.slot.take(STOP_POLL_INTERVAL) {
                Next::Frame(frame) => frame,
                Next::Nothing if connection.is_gone() => {
                    let message = format!("{} has closed the connection", connection.peer());
                    return Ok(Some(Error::new(ErrorKind::SystemFailure, message)));
                }
                Next::Nothing => continue,
                Next::Ended => return Ok(None),
            };
            match connection.send(&frame.jpeg, &self.cancel) {
                Ok(()) => {
                    self.slot.recycle(frame);
                    self.tally.add();
                    self.reporter.progress(self.tally.frames(), "frames".to_owned());
                }
                Err(error) => {
                    self.slot.give_back(frame);
                    return Ok(Some(error).filter(|error| error.kind() != ErrorKind::Interrupted));
                }
            }
        }
        Ok(None)
    }

    /// Waits longer each time. Returns false at the end.
    fn pause(&self, pause: &mut Duration) -> bool {
        let now = std::mem::replace(pause, (*pause * 2).min(BACK_OFF.1));
        self.stop.sleep(now)
    }
}
