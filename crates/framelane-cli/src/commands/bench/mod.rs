//! `framelane bench`

mod reader;

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use framelane::{
    Backpressure, Delivery, Error, ErrorKind, FrameInfo, Layout, LoanError, PixelFormat, Publisher,
};
use serde::Serialize;

pub use self::reader::BenchReader;
use self::reader::ReaderFigures;
use crate::delivery::DeliveryArgs;
use crate::drain::drain;
use crate::failure::Failure;
use crate::global::Global;
use crate::latency::{Latencies, Percentiles, human_us};
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::columns;

/// Frames that are not counted: they create the ring, touch its pages and warm the caches.
const WARM_UP: u64 = 30;
/// Time between two counts of readers, and between two reports of progress.
const READER_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Measure the latency between processes on this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane bench                       1080p bgr8, 60 frames a second, one reader, 5 seconds
  framelane bench --readers 8
  framelane bench --free                as fast as it goes: frames a second
  framelane bench --free --every        as fast as it goes without loss, every frame to each reader
  framelane bench --write               write the whole frame each time, as a camera would
  framelane bench --duration 30 --json | jq .wake

publish: the two calls for one frame (loan and publish), without the time to write its pixels.
wake:    from the publish call until a reader process has the frame, over all readers.
Readers sleep until a frame arrives. Nothing is copied. Measure on a machine without other load.")]
pub struct Bench {
    /// Reader processes
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    readers: u8,
    /// Frames a second
    #[arg(long, default_value = "60", value_parser = parse::fps, conflicts_with = "free")]
    fps: f64,
    /// Publish as fast as possible, instead of --fps
    #[arg(long)]
    free: bool,
    /// Duration of the measurement, in seconds
    #[arg(long, default_value = "5", value_parser = parse::seconds)]
    duration: Duration,
    /// Size of the frames
    #[arg(long, default_value = "1920x1080", value_name = "WxH", value_parser = parse::size)]
    size: (u32, u32),
    /// Pixel format
    #[arg(long, default_value = "bgr8", value_parser = parse::format)]
    format: PixelFormat,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Write the whole frame each time
    #[arg(long)]
    write: bool,
    /// Slots of the ring [default: 4 + --readers]
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: Option<u8>,
}

#[derive(Serialize)]
struct Report {
    readers: u8,
    /// `None` when free-running.
    fps: Option<f64>,
    delivery: &'static str,
    width: u32,
    height: u32,
    format: String,
    frame_bytes: usize,
    slots: usize,
    write: bool,
    seconds: f64,
    frames: u64,
    dropped: u64,
    frames_per_second: f64,
    publish: Option<Percentiles>,
    wake: Option<Percentiles>,
    each_reader: Vec<EachReader>,
}

#[derive(Serialize)]
struct EachReader {
    frames: u64,
    dropped: u64,
    frames_per_second: f64,
    wake: Option<Percentiles>,
}

/// Measurements of the publisher.
struct Published {
    calls: Latencies,
    seconds: f64,
    frames: u64,
    dropped: u64,
}

impl Bench {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let layout = Layout::packed(self.format, self.size.0, self.size.1)?;
        let mut publisher = self.publisher(global, &layout)?;
        publisher.set_cancel_token(stop.token());
        let reporter = Reporter::new(global.json);
        let mut readers = Readers::start(self, global, publisher.channel())?;
        if !readers.wait_until_attached(&publisher, stop)? {
            return Ok(ExitCode::SUCCESS);
        }
        reporter.start_progress(Some(self.duration.as_secs()));
        let published = self.publish(&mut publisher, &layout, &reporter, stop);
        let slots = publisher.slots();
        let drained = drain(&mut publisher, stop);
        // Closes the channel: the readers print their figures and end.
        drop(publisher);
        reporter.end_progress();
        let published = published?;
        drained?;
        if stop.is_set() {
            return Ok(ExitCode::SUCCESS);
        }
        let report = self.report(&layout, slots, &published, &readers.figures()?);
        reporter.result(&report, || report.text())?;
        Ok(ExitCode::SUCCESS)
    }

    fn publisher(&self, global: &Global, layout: &Layout) -> Result<Publisher, Error> {
        let slots = self.slots.map_or(4 + usize::from(self.readers), usize::from);
        let backpressure = if self.delivery.delivery() == Delivery::Every {
            Backpressure::Block
        } else {
            Backpressure::Drop
        };
        let options =
            global.publisher().slots(slots).backpressure(backpressure).frame_bytes(layout.size_bytes());
        options.create(&format!("bench-{}", std::process::id()))
    }

    fn publish(
        &self,
        publisher: &mut Publisher,
        layout: &Layout,
        reporter: &Reporter,
        stop: &Stop,
    ) -> Result<Published, Failure> {
        let period = (!self.free).then(|| Duration::from_secs_f64(1.0 / self.fps));
        let mut published = Published { calls: Latencies::new(), seconds: 0.0, frames: 0, dropped: 0 };
        let mut began = Instant::now();
        let mut due = began;
        let mut number = 0;
        let mut reported = 0;
        while !stop.is_set() {
            number += 1;
            if number == WARM_UP + 1 {
                began = Instant::now();
            }
            let counts = number > WARM_UP;
            if counts && began.elapsed() >= self.duration {
                break;
            }
            let call = self.publish_one(publisher, layout, number as u8)?;
            match call {
                Some(call) if counts => {
                    published.calls.record(u64::try_from(call.as_nanos()).unwrap_or(u64::MAX));
                    published.frames += 1;
                }
                None if counts => published.dropped += 1,
                _ => {}
            }
            if let Some(period) = period {
                due += period;
                // Behind by more than a frame: do not catch up in a burst.
                due = due.max(Instant::now() - period);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let seconds = began.elapsed().as_secs();
            if counts && seconds != reported {
                reported = seconds;
                reporter.progress(seconds, format!("seconds  {} frames", published.frames));
            }
        }
        published.seconds = began.elapsed().as_secs_f64();
        Ok(published)
    }

    /// Publishes a frame. Returns the duration of the calls, or `None` if the frame was dropped.
    fn publish_one(
        &self,
        publisher: &mut Publisher,
        layout: &Layout,
        value: u8,
    ) -> Result<Option<Duration>, Failure> {
        let start = Instant::now();
        let mut loan = match publisher.loan(layout) {
            Ok(loan) => loan,
            Err(LoanError::NoFreeSlot | LoanError::Interrupted) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let loaning = start.elapsed();
        if self.write {
            loan.bytes_mut().fill(value);
        }
        let start = Instant::now();
        loan.publish(&FrameInfo::default());
        Ok(Some(loaning + start.elapsed()))
    }

    fn report(
        &self,
        layout: &Layout,
        slots: usize,
        published: &Published,
        readers: &[ReaderFigures],
    ) -> Report {
        let mut wake = Latencies::new();
        let mut each_reader = Vec::new();
        for reader in readers {
            let latencies = Latencies::from_counts(&reader.wake_ns);
            wake.add(&latencies);
            each_reader.push(EachReader {
                frames: reader.frames,
                dropped: reader.dropped,
                frames_per_second: reader.frames.saturating_sub(1) as f64 / reader.seconds.max(1e-9),
                wake: latencies.percentiles(),
            });
        }
        Report {
            readers: self.readers,
            fps: (!self.free).then_some(self.fps),
            delivery: self.delivery.delivery().name(),
            width: layout.width(),
            height: layout.height(),
            format: layout.format().name().into_owned(),
            frame_bytes: layout.size_bytes(),
            slots,
            write: self.write,
            seconds: published.seconds,
            frames: published.frames,
            dropped: published.dropped,
            frames_per_second: published.frames as f64 / published.seconds.max(1e-9),
            publish: published.calls.percentiles(),
            wake: wake.percentiles(),
            each_reader,
        }
    }
}

/// The reader processes. Dropping kills those that still run.
struct Readers {
    children: Vec<Child>,
}

impl Readers {
    fn start(bench: &Bench, global: &Global, channel: &str) -> Result<Self, Error> {
        let failed = |error| Error::from_io("starting a reader process", error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut readers = Readers { children: Vec::new() };
        for _ in 0..bench.readers {
            let mut command = Command::new(&program);
            command.args(["bench-reader", channel, "--delivery", bench.delivery.delivery().name()]);
            command.args(["--warm-up", &WARM_UP.to_string()]);
            if let Some(directory) = &global.dir {
                command.arg("--dir").arg(directory);
            }
            if global.json {
                command.arg("--json");
            }
            readers
                .children
                .push(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?);
        }
        Ok(readers)
    }

    /// Waits for the readers. Returns false at the end.
    fn wait_until_attached(&mut self, publisher: &Publisher, stop: &Stop) -> Result<bool, Error> {
        while publisher.subscribers() < self.children.len() {
            for child in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(reader_ended(status));
                }
            }
            if !stop.sleep(READER_POLL_INTERVAL) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the measurements of the readers, after the channel was closed.
    fn figures(mut self) -> Result<Vec<ReaderFigures>, Error> {
        let children = std::mem::take(&mut self.children);
        let figures = children.into_iter().map(|child| {
            let output =
                child.wait_with_output().map_err(|error| Error::from_io("waiting for a reader", error))?;
            serde_json::from_slice(&output.stdout).map_err(|_| reader_ended(output.status))
        });
        figures.collect()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself, the channel being closed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn reader_ended(status: std::process::ExitStatus) -> Error {
    Error::new(ErrorKind::SystemFailure, format!("a reader process ended without results ({status})"))
        .with_hint("see its message above, and run the benchmark again")
}

impl Report {
    fn text(&self) -> String {
        let pace = self.fps.map_or("free-running".to_owned(), |fps| format!("{fps} frames/s"));
        let head = format!(
            "{}x{} {} ({:.1} MB), {pace}, {} reader{} of {} frames, {} slots, {:.1} s",
            self.width,
            self.height,
            self.format,
            self.frame_bytes as f64 / 1e6,
            self.readers,
            if self.readers == 1 { "" } else { "s" },
            self.delivery,
            self.slots,
            self.seconds
        );
        let mut rows = vec![["", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned).to_vec()];
        for (name, percentiles) in [("publish", &self.publish), ("wake", &self.wake)] {
            if let Some(p) = percentiles {
                let mut row = vec![name.to_owned()];
                row.extend([p.p50_us, p.p90_us, p.p99_us, p.p999_us, p.max_us].map(human_us));
                rows.push(row);
            }
        }
        let received: Vec<_> = self
            .each_reader
            .iter()
            .map(|reader| format!("{:.1}/s ({} skipped)", reader.frames_per_second, reader.dropped))
            .collect();
        format!(
            "{head}\n{}\npublished {:.1} frames/s ({} dropped), received {}",
            columns(&rows),
            self.frames_per_second,
            self.dropped,
            received.join(", ")
        )
    }
}
