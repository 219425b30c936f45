//! `framelane send`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Frame, Layout, PixelFormat, RecvError, Subscriber};
use framelane_legacy::memory::{Address, Header, Made, SCHEME, Writer};
use framelane_video::Converter;
use serde::Serialize;

use crate::Global;
use crate::failure::{Failure, print_json};
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_rate, rate};

/// How long to wait for a frame before looking whether it is time to end.
const LOOK: Duration = Duration::from_millis(500);

/// Send a channel's frames to a program that does not speak framelane.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane send cam0 legacy-memory:ShareMedia
      keeps the newest frame in the named mapping that old programs read
  framelane send cam0 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2'
      the third of four areas, each for frames of 1280x720
  framelane send cam0 legacy-memory:ShareMedia --fit keep
      frames as they are, with their own size and type in the header

Old readers take 1920x1080 BGR pixels without a look at the header: by default every frame is made
so (or of the ?size=). The format has no lock: a reader can see a frame half written;
docs/migrating-from-sharememory.md shows the way out. Waits for the channel, goes on when its
publisher dies and comes back, ends when the channel closes. The mapping is removed at the end if
this command has made it and it has one stream; it is made anew when it goes away meanwhile.")]
pub struct Send {
    /// The channel's name
    channel: String,
    /// Where to: legacy-memory:NAME[?size=1920x1080&streams=1&index=0]
    #[arg(value_name = "URL")]
    target: String,
    /// scale: to BGR pixels of the size in the URL; keep: as they are, if they fit
    #[arg(long, default_value = "scale")]
    fit: Fit,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for the channel at most this long; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fit {
    Scale,
    Keep,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String, made: bool },
    Skipped { sequence: u64, reason: String },
    Summary { frames: u64, skipped: u64, frames_per_second: Option<f64> },
}

/// The error for an address that no version of this command knows.
pub fn unknown_scheme(url: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected an address of a known kind, found {url:?}"))
        .with_remedy(format!("known kinds: {SCHEME}NAME"))
}

impl Send {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        if !self.target.starts_with(SCHEME) {
            return Err(unknown_scheme(&self.target).into());
        }
        let address: Address = self.target.parse()?;
        let mut notes = Notes::new(global.json);
        let mut subscriber = self.open(global, &notes, stop)?;
        let writer = Writer::open(&address)?;
        let made = writer.made() == Made::New;
        if global.json {
            print_json(&Event::Started { channel: &self.channel, target: address.to_string(), made })?;
        }
        let how = if made { "made" } else { "there already" };
        notes.say(&format!("channel {} to the mapping {} ({how})", self.channel, address.name()));
        notes.start_progress(self.count);
        let mut mirror = Mirror::new(&address, writer, self.fit)?;
        let result = self.mirror(&mut subscriber, &mut mirror, &notes, global.json, stop);
        notes.end_progress();
        let Mirror { writer, frames, skipped, .. } = mirror;
        writer.remove_if_made();
        let elapsed = result?;
        let frames_per_second = rate(frames, elapsed);
        if global.json {
            print_json(&Event::Summary { frames, skipped, frames_per_second })?;
        }
        let sent = counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
        notes.say(&format!("{sent} sent, {} a second, {skipped} left out", human_rate(frames_per_second)));
        Ok(ExitCode::SUCCESS)
    }

    fn open(&self, global: &Global, notes: &Notes, stop: &Stop) -> Result<Subscriber, Failure> {
        let options = global.subscriber().wait(self.timeout);
        let mut told = false;
        Ok(options.open_while(&self.channel, &mut || {
            if !std::mem::replace(&mut told, true) {
                notes.say(&format!("waiting for channel {}", self.channel));
            }
            !stop.is_set()
        })?)
    }

    /// Until the end; gives the time from the first frame to the last.
    fn mirror(
        &self,
        subscriber: &mut Subscriber,
        mirror: &mut Mirror,
        notes: &Notes,
        json: bool,
        stop: &Stop,
    ) -> Result<Duration, Failure> {
        let (mut first, mut elapsed) = (None, Duration::ZERO);
        let mut told: Option<Layout> = None;
        while !stop.is_set() && self.count.is_none_or(|count| mirror.frames < count) {
            let frame = match subscriber.recv_while(Some(LOOK), &mut || !stop.is_set()) {
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
                        notes.say(&format!("frame {} is left out: {error}", frame.sequence()));
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
            Some(wanted) if !is_matrix && Header::of(layout) != Header::of(wanted) => {
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
