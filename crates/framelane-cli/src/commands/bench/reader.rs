//! The reader process of `framelane bench`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Delivery, Error, ErrorKind, RecvError};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::global::Global;
use crate::latency::Latencies;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// The longest wait for a frame between two checks of the publisher.
const PUBLISHER_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Receives until the channel closes, and prints its figures.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane bench    starts these itself")]
pub struct BenchReader {
    channel: String,
    #[arg(long, value_parser = parse::named::<Delivery>)]
    delivery: Delivery,
    /// Frames up to this number are the warm-up.
    #[arg(long)]
    warm_up: u64,
}

/// Measurements of a reader.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReaderFigures {
    pub frames: u64,
    pub dropped: u64,
    /// From the first frame that counts to the last.
    pub seconds: f64,
    /// From publication to having the frame: nanoseconds, and how often.
    pub wake_ns: Vec<(u64, u64)>,
}

impl BenchReader {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let options = global.subscriber().delivery(self.delivery).open_timeout(Some(Duration::from_secs(60)));
        let mut subscriber = options.cancel(stop.token()).open(&self.channel)?;
        let mut wake = Latencies::new();
        let (mut frames, mut dropped) = (0, 0);
        let (mut first, mut last) = (None, None);
        loop {
            match subscriber.recv_timeout(PUBLISHER_POLL_INTERVAL) {
                Ok(frame) => {
                    let age_ns = frame.age_ns();
                    if frame.sequence() <= self.warm_up {
                        continue;
                    }
                    wake.record(age_ns);
                    last = Some(Instant::now());
                    if first.is_none() {
                        // What was missed before it belongs to the warm-up.
                        first = last;
                    } else {
                        dropped += frame.dropped();
                    }
                    frames += 1;
                }
                Err(RecvError::Closed | RecvError::Interrupted) => break,
                Err(RecvError::Timeout) if subscriber.publisher_alive() => {}
                Err(RecvError::Timeout) => {
                    return Err(Error::new(
                        ErrorKind::ChannelClosed,
                        "the publisher of the benchmark has died",
                    )
                    .into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        Reporter::new(true).json(&ReaderFigures { frames, dropped, seconds, wake_ns: wake.to_counts() })?;
        Ok(ExitCode::SUCCESS)
    }
}
