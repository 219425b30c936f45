//! `framelane send CHANNEL legacy-memory:NAME`: the newest frame in a named mapping.

use framelane::{Error, ErrorKind, Frame, Layout, PixelFormat, RecvError, Subscriber};
use framelane_legacy::memory::{Address, Header, Made, OpenCv, Writer};
use framelane_video::Converter;
use serde::Serialize;

use super::options::{Options, STOP_POLL_INTERVAL};
use super::skips::Skips;
use crate::failure::Failure;
use crate::global::Global;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::tally::Tally;

/// Options of `legacy-memory:`.
#[derive(Debug, clap::Args)]
#[group(id = "legacy-memory")]
#[command(next_help_heading = "Options of legacy-memory")]
pub struct MemoryOptions {
    /// scale: to BGR pixels of the URL's ?size=; keep: unchanged, if they fit
    #[arg(long, default_value = "scale")]
    fit: Fit,
    /// OpenCV version of the type codes, 4 or 5 [default: the URL's ?opencv=, else 4]
    #[arg(long, value_name = "VERSION")]
    opencv: Option<OpenCv>,
}

/// The treatment of frames that old readers do not expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fit {
    Scale,
    Keep,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String, made: bool },
    Warning { reason: &'e str },
    Summary { frames: u64, skipped: u64, frames_per_second: Option<f64> },
}

/// Copies frames into the mapping until the channel closes.
pub fn run(options: &Options, memory: &MemoryOptions, global: &Global, stop: &Stop) -> Result<(), Failure> {
    let address: Address = options.target.parse()?;
    let address = match memory.opencv {
        Some(opencv) => address.with_opencv(opencv),
        None => address,
    };
    let reporter = Reporter::new(global.json);
    let of_channel = global.subscriber().reconnect(options.reconnect);
    let mut subscriber = options.subscribe(global, of_channel, &reporter, stop)?;
    let writer = Writer::open(&address)?;
    let made = writer.made() == Made::New;
    let state = if made { "made" } else { "there already" };
    reporter.event(
        &Event::Started { channel: &options.channel, target: address.to_string(), made },
        &format!("channel {} to the mapping {} ({state})", options.channel, address.name()),
    )?;
    if let Some(reason) = writer.owner()?.warning(&address) {
        reporter.event(&Event::Warning { reason: &reason }, &format!("warning: {reason}"))?;
    }
    reporter.start_progress(options.count);
    let mut mirror = Mirror::new(&address, writer, memory.fit)?;
    let (mut tally, mut skips) = (Tally::default(), Skips::new(&reporter));
    let result = mirror.run(options, &mut subscriber, &mut tally, &mut skips, &reporter, stop);
    reporter.end_progress();
    mirror.writer.remove_if_made();
    result?;
    let (frames, skipped, frames_per_second) = (tally.frames(), skips.count(), tally.frames_per_second());
    reporter.event(
        &Event::Summary { frames, skipped, frames_per_second },
        &format!("{}, {skipped} skipped", tally.text("sent")),
    )
}

/// Returns whether two layouts are the same for readers that do not read the header.
fn has_type_of(layout: &Layout, wanted: &Layout) -> bool {
    Header::of(layout, OpenCv::V4) == Header::of(wanted, OpenCv::V4)
}

/// Writes frames unchanged, or as old readers expect them.
struct Mirror {
    writer: Writer,
    /// `None`: unchanged.
    wanted: Option<Layout>,
    converter: Converter,
    converted: Vec<u8>,
}

impl Mirror {
    fn new(address: &Address, writer: Writer, fit: Fit) -> Result<Self, Error> {
        let (width, height) = address.size();
        let wanted = Layout::packed(PixelFormat::Bgr8, width, height)?;
        let wanted = (fit == Fit::Scale).then_some(wanted);
        Ok(Mirror { writer, wanted, converter: Converter::new()?, converted: Vec::new() })
    }

    fn run(
        &mut self,
        options: &Options,
        subscriber: &mut Subscriber,
        tally: &mut Tally,
        skips: &mut Skips,
        reporter: &Reporter,
        stop: &Stop,
    ) -> Result<(), Failure> {
        while !stop.is_set() && !tally.has_reached(options.count) {
            let frame = match subscriber.recv_timeout(STOP_POLL_INTERVAL) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed | RecvError::Interrupted) => break,
                Err(error) => return Err(error.into()),
            };
            match self.write(&frame) {
                Ok(()) => {
                    tally.add();
                    reporter.progress(tally.frames(), "frames".to_owned());
                }
                Err(error) if matches!(error.kind(), ErrorKind::InvalidFrame | ErrorKind::FrameTooLarge) => {
                    skips.add(&frame, &error)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Error> {
        let layout = frame.layout();
        let is_matrix = matches!(layout.format(), PixelFormat::Matrix(_) | PixelFormat::Detections);
        match &self.wanted {
            // Matrices have no colour to convert, and are written unchanged.
            Some(wanted) if !is_matrix && !has_type_of(layout, wanted) => {
                self.converted.resize(wanted.size_bytes(), 0);
                let from = (layout, frame.info().color, frame.bytes());
                self.converter.convert(from, wanted, &mut self.converted)?;
                self.writer.write(wanted, &self.converted)
            }
            _ => self.writer.write(layout, frame.bytes()),
        }
    }
}
