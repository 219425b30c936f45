//! Frames without a container, read straight into their slot.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::Duration;

use framelane::{Color, Error, ErrorKind, FrameInfo, Layout, redact};

use crate::emit::{Emitter, Next};
use crate::ffmpeg::pixel;
use crate::ffmpeg::scale::{Picture, Scaler};
use crate::interrupt::Interrupt;
use crate::options::{RawFormat, Repeat, SourceOptions};
use crate::progress::SourceInfo;
use crate::sink::Sink;
use crate::stdin::Stdin;

/// A raw source.
pub(crate) struct Raw {
    format: RawFormat,
    /// How a frame lies in the input, and how it will be published.
    from: Layout,
    to: Layout,
    reader: Reader,
    /// For frames that are converted or dropped.
    scratch: Vec<u8>,
    scaler: Scaler,
}

enum Reader {
    Stdin(Stdin),
    File(File),
}

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Stdin(stdin) => stdin.read(bytes),
            Reader::File(file) => file.read(bytes),
        }
    }
}

impl Raw {
    pub(crate) fn open(
        options: &SourceOptions,
        format: RawFormat,
        source: &str,
        interrupt: &Interrupt,
    ) -> Result<(Self, SourceInfo), Error> {
        pixel::to_av(format.format)?;
        let from = Layout::packed(format.format, format.width, format.height)?;
        let (width, height) = options.size.unwrap_or((format.width, format.height));
        let to = Layout::packed(options.format.unwrap_or(format.format), width, height)?;
        let (reader, frames) = if source == "-" {
            (Reader::Stdin(Stdin::new(interrupt.clone())), None)
        } else {
            let open = || Ok((File::open(source)?, std::fs::metadata(source)?));
            let (file, metadata) = open().map_err(|error| {
                Error::from_io(format_args!("cannot open {}", redact::url(source)), error)
            })?;
            let frames = metadata.is_file().then(|| metadata.len() / from.size_bytes() as u64);
            (Reader::File(file), frames)
        };
        let seekable = frames.is_some();
        if options.repeat != Repeat::default() && !seekable {
            return Err(crate::source::cannot_repeat(source));
        }
        let info = SourceInfo {
            source: redact::url(source).into_owned(),
            container: "raw".to_owned(),
            codec: "raw".to_owned(),
            pixel_format: format.format.name().into_owned(),
            width: format.width,
            height: format.height,
            output_format: to.format(),
            output_size: (width, height),
            fps: Some(format.fps),
            duration: frames.map(|frames| Duration::from_secs_f64(frames as f64 / format.fps)),
            frames,
            color: Color::default(),
            rotation_degrees: 0,
            seekable,
            live: false,
        };
        let scaler = Scaler::new(&options.scaler)?;
        Ok((Raw { format, from, to, reader, scratch: Vec::new(), scaler }, info))
    }

    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Stdin(_) => Ok(()),
            Reader::File(file) => file
                .rewind()
                .map_err(|error| Error::from_io("cannot go back to the start of the file", error)),
        }
    }

    /// One round: all frames there are.
    pub(crate) fn run(
        &mut self,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        first: u64,
    ) -> Result<(u64, Next), Error> {
        let mut count = first;
        let converts = self.from != self.to;
        let color = pixel::output_color(Color::default(), self.to.format());
        loop {
            let info = FrameInfo {
                pts_ns: Some((count as f64 * 1e9 / self.format.fps) as i64),
                duration_ns: Some((1e9 / self.format.fps) as u64),
                color,
                keyframe: true,
                ..FrameInfo::default()
            };
            let mut had = Had::NotRead;
            let (from, to) = (&self.from, &self.to);
            let (reader, scratch, scaler) = (&mut self.reader, &mut self.scratch, &mut self.scaler);
            let next = emitter.emit(sink, to, &info, &mut |bytes| {
                if !converts {
                    had = read_frame(reader, bytes)?;
                    return Ok(had == Had::Whole);
                }
                scratch.resize(from.size_bytes() + Picture::SLACK, 0);
                had = read_frame(reader, &mut scratch[..from.size_bytes()])?;
                if had == Had::Whole {
                    scaler.convert(&Picture::of_bytes(from, Color::default(), scratch)?, to, bytes)?;
                }
                Ok(had == Had::Whole)
            });
            let next = match next {
                Err(_) if interrupt.is_set() => {
                    emitter.summary.end = crate::progress::End::Stopped;
                    return Ok((count, Next::End));
                }
                other => other?,
            };
            if had == Had::NotRead && next == Next::Continue {
                // Dropped: its bytes are still in the input.
                self.scratch.resize(self.from.size_bytes() + Picture::SLACK, 0);
                had = read_frame(&mut self.reader, &mut self.scratch[..self.from.size_bytes()])?;
            }
            if let Had::Part(found) = had {
                emitter.summary.warnings.push(format!(
                    "the input ends within a frame: expected {} bytes, found {found}; the part is not published",
                    self.from.size_bytes()
                ));
            }
            match next {
                Next::Continue if had == Had::Whole => count += 1,
                Next::End => return Ok((count, Next::End)),
                _ => return Ok((count, Next::Nothing)),
            }
        }
    }
}

/// How much of a frame was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    NotRead,
    Whole,
    Nothing,
    Part(usize),
}

fn read_frame(reader: &mut Reader, bytes: &mut [u8]) -> Result<Had, Error> {
    let mut found = 0;
    while found < bytes.len() {
        match reader.read(&mut bytes[found..]) {
            Ok(0) => return Ok(if found == 0 { Had::Nothing } else { Had::Part(found) }),
            Ok(count) => found += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::from_io("reading raw frames", error)),
        }
    }
    Ok(Had::Whole)
}

/// For the message of an empty input.
pub(crate) fn empty(source: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("{source} is empty: expected raw frames, found none"))
        .with_remedy("check the program that writes into it")
}
