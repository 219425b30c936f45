//! `framelane send CHANNEL legacy-memory:NAME`: the newest frame in a named mapping.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Frame, Layout, PixelFormat, RecvError, Subscriber};
use framelane_legacy::memory::{Address, Header, Made, OpenCv, Writer};
use framelane_video::Converter;
use serde::Serialize;

use super::{Fit, STOP_POLL_INTERVAL, Send};
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::notes::Notes;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String, made: bool },
    Warning { reason: String },
    Skipped { sequence: u64, reason: String },
    Summary { frames: u64, skipped: u64, frames_per_second: Option<f64> },
}

/// Mirrors the channel until its end.
pub fn run(send: &Send, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let address: Address = send.target.parse()?;
    let address = match send.opencv {
        Some(opencv) => address.with_opencv(opencv),
        None => address,
    };
    let notes = Notes::new(global.json);
    let mut subscriber = send.open(global, global.subscriber().reconnect(send.reconnect), &notes, stop)?;
    let writer = Writer::open(&address)?;
    let made = writer.made() == Made::New;
    if global.json {
        print_json(&Event::Started { channel: &send.channel, target: address.to_string(), made })?;
    }
    let how = if made { "made" } else { "there already" };
    notes.say(&format!("channel {} to the mapping {} ({how})", send.channel, address.name()));
    if let Some(reason) = writer.owner()?.warning(&address) {
        notes.say(&format!("warning: {reason}"));
        if global.json {
            print_json(&Event::Warning { reason })?;
        }
    }
    notes.start_progress(send.count);
    let mut mirror = Mirror::new(&address, writer, send.fit)?;
    let result = mirror_all(send, &mut subscriber, &mut mirror, &notes, global.json, stop);
    notes.end_progress();
    let Mirror { writer, frames, skipped, .. } = mirror;
    writer.remove_if_made();
    let elapsed = result?;
    let frames_per_second = rate(frames, elapsed);
    if global.json {
        print_json(&Event::Summary { frames, skipped, frames_per_second })?;
    }
    let sent = counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
    notes.say(&format!("{sent} sent, {} a second, {skipped} skipped", human_rate(frames_per_second)));
    Ok(ExitCode::SUCCESS)
}

/// Until the end; gives the time from the first frame to the last.
fn mirror_all(
    send: &Send,
    subscriber: &mut Subscriber,
    mirror: &mut Mirror,
    notes: &Notes,
    json: bool,
    stop: &Stop,
) -> Result<Duration, Failure> {
    let (mut first, mut elapsed) = (None, Duration::ZERO);
    let mut told: Option<Layout> = None;
    while !stop.is_set() && send.count.is_none_or(|count| mirror.frames < count) {
        let frame = match subscriber.recv_while(Some(STOP_POLL_INTERVAL), &mut || !stop.is_set()) {
            Ok(frame) => frame,
            Err(RecvError::Timeout) => continue,
            Err(RecvError::Closed | RecvError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        };
        match mirror.write(&frame) {
            Ok(()) => {
                elapsed = first.get_or_insert_with(Instant::now).elapsed();
                notes.progress(mirror.frames, "frames".to_owned());
            }
            Err(error) if matches!(error.kind(), ErrorKind::InvalidFrame | ErrorKind::FrameTooLarge) => {
                mirror.skipped += 1;
                // Once for each kind of frame: a camera gives the same one again and again.
                if told.as_ref() != Some(frame.layout()) {
                    told = Some(frame.layout().clone());
                    notes.say(&format!("frame {} is skipped: {error}", frame.sequence()));
                    if json {
                        let (sequence, reason) = (frame.sequence(), error.to_string());
                        print_json(&Event::Skipped { sequence, reason })?;
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(elapsed)
}

/// Whether readers that do not look at the header can take one for the other.
fn has_type_of(layout: &Layout, wanted: &Layout) -> bool {
    Header::of(layout, OpenCv::V4) == Header::of(wanted, OpenCv::V4)
}

/// Writes frames as they are or as old readers expect them.
struct Mirror {
    writer: Writer,
    /// `None`: as they are.
    wanted: Option<Layout>,
    converter: Converter,
    converted: Vec<u8>,
    frames: u64,
    skipped: u64,
}

impl Mirror {
    fn new(address: &Address, writer: Writer, fit: Fit) -> Result<Self, Error> {
        let (width, height) = address.size();
        let wanted = Layout::packed(PixelFormat::Bgr8, width, height)?;
        Ok(Mirror {
            writer,
            wanted: (fit == Fit::Scale).then_some(wanted),
            converter: Converter::new()?,
            converted: Vec::new(),
            frames: 0,
            skipped: 0,
        })
    }

    fn write(&mut self, frame: &Frame) -> Result<(), Error> {
        let layout = frame.layout();
        let is_matrix = matches!(layout.format(), PixelFormat::Matrix(_) | PixelFormat::Detections);
        match &self.wanted {
            // Matrices have no colour to convert: they travel as they are.
            Some(wanted) if !is_matrix && !has_type_of(layout, wanted) => {
                self.converted.resize(wanted.size_bytes(), 0);
                let from = (layout, frame.info().color, frame.bytes());
                self.converter.convert(from, wanted, &mut self.converted)?;
                self.writer.write(wanted, &self.converted)?;
            }
            _ => self.writer.write(layout, frame.bytes())?,
        }
        self.frames += 1;
        Ok(())
    }
}
