//! Frames without a container, read straight into their slot.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use framelane::{Color, Error, ErrorKind, FrameInfo, Layout, redact};

use crate::emit::{Emitter, Next};
use crate::feed::Feed;
use crate::ffmpeg::picture::Picture;
use crate::ffmpeg::pixel;
use crate::ffmpeg::scale::Scaler;
use crate::interrupt::Interrupt;
use crate::live::{Delivery, Origin};
use crate::opening;
use crate::options::{Rate, RawFormat, Repeat, SourceOptions};
use crate::progress::SourceInfo;
use crate::queue::Queue;
use crate::sink::Sink;
use crate::stdin::{Pipe, Producer};

/// A raw source.
pub(crate) struct Raw {
    format: RawFormat,
    /// Layout of a frame in the input, and layout of the published frame.
    from: Layout,
    to: Layout,
    reader: Reader,
    /// For frames that are converted or dropped.
    scratch: Vec<u8>,
    scaler: Scaler,
    delivery: Delivery,
}

enum Reader {
    Pipe(Pipe),
    File(File),
}

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Reader::Pipe(pipe) => pipe.read(bytes),
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
        let origin = Origin::of(source);
        let failed = |error| Error::from_io(format_args!("cannot open {}", redact::url(source)), error);
        let (reader, frames) = if source == "-" {
            (Reader::Pipe(Pipe::stdin(interrupt.clone())), None)
        } else if origin == Origin::Pipe && opening::is_fifo(source) {
            (Reader::Pipe(Pipe::open(source, interrupt.clone()).map_err(failed)?), None)
        } else {
            let file = File::open(options.path(source)).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            let frames = metadata.is_file().then(|| metadata.len() / from.size_bytes() as u64);
            (Reader::File(file), frames)
        };
        if options.reconnect == Some(true) {
            return Err(Error::new(ErrorKind::InvalidOption, "cannot reconnect to a source of raw frames")
                .with_hint("remove the option to reconnect, and restart the command when the input ends"));
        }
        let live = options.live.unwrap_or(origin != Origin::File && options.rate == Rate::Realtime);
        let delivery = match options.live {
            Some(true) => Delivery::Live,
            None if live => Delivery::Pipe,
            _ => Delivery::File,
        };
        let seekable = frames.is_some();
        if options.repeat != Repeat::default() && !seekable {
            return Err(Repeat::impossible(source));
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
            mirrored: false,
            odd_rotation_degrees: None,
            seekable,
            live,
        };
        let scaler = Scaler::new(&options.scaler)?;
        Ok((Raw { format, from, to, reader, scratch: Vec::new(), scaler, delivery }, info))
    }

    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        match &mut self.reader {
            Reader::Pipe(_) => Ok(()),
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
        if let Reader::Pipe(pipe) = &self.reader
            && self.delivery.is_live()
        {
            let producer = pipe.producer();
            return self.run_queued(sink, emitter, interrupt, producer);
        }
        self.run_direct(sink, emitter, interrupt, first)
    }

    /// Reads on a separate thread, so that a live producer never waits for a conversion or a reader.
    fn run_queued(
        &mut self,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        producer: Arc<Producer>,
    ) -> Result<(u64, Next), Error> {
        let Raw { format, from, to, reader, scaler, delivery, .. } = self;
        let (format, from, to) = (*format, &*from, &*to);
        let queue = Queue::new();
        let spare = Mutex::new(Vec::new());
        let mut feed = Feed::new(&queue, *delivery, sink.is_lossless(), Some(producer));
        let (published, read) = std::thread::scope(|scope| {
            let (ending, spare) = (queue.ending(), &spare);
            let reading = scope.spawn(move || {
                let _ending = ending;
                let mut count = 0;
                loop {
                    let mut bytes: Vec<u8> = lock(spare).pop().unwrap_or_default();
                    bytes.resize(from.size_bytes() + Picture::SLACK, 0);
                    let had = read_frame(reader, &mut bytes[..from.size_bytes()])?;
                    let info = frame_info(format, to, count);
                    let queued = |paced| Queued { bytes, info: info.clone(), paced };
                    if had != Had::Whole || feed.push(info.pts_ns, queued).is_err() {
                        return Ok::<_, Error>((count, had));
                    }
                    count += 1;
                }
            });
            let published = {
                let _closing = queue.closing();
                let published = publish_queued(&queue, spare, (from, to), scaler, sink, emitter);
                interrupt.set_enough(true);
                published
            };
            (published, reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        emitter.summary.skipped += queue.skipped();
        let next = published?;
        let (count, had) = match read {
            Err(_) if next == Next::End => (0, Had::Nothing),
            Err(_) if interrupt.by_user() => {
                emitter.summary.end = crate::progress::End::Stopped;
                return Ok((0, Next::End));
            }
            read => read?,
        };
        if let (Had::Part(found), Next::Nothing) = (had, next) {
            emitter.summary.warnings.push(cut_off(from, found));
        }
        Ok((count, next))
    }

    /// Reads straight into slots.
    fn run_direct(
        &mut self,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        first: u64,
    ) -> Result<(u64, Next), Error> {
        let mut count = first;
        let converts = self.from != self.to;
        loop {
            let info = frame_info(self.format, &self.to, count);
            if !emitter.wait(info.pts_ns, self.delivery != Delivery::Live) {
                return Ok((count, Next::End));
            }
            let mut had = Had::NotRead;
            let (from, to) = (&self.from, &self.to);
            let (reader, scratch, scaler) = (&mut self.reader, &mut self.scratch, &mut self.scaler);
            let fill = &mut |bytes: &mut [u8]| {
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
            };
            let next = emitter.publish(to, &info, |look| sink.put(to, &info, fill, look));
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
                emitter.summary.warnings.push(cut_off(&self.from, found));
            }
            match next {
                Next::Continue if had == Had::Whole => count += 1,
                Next::End => return Ok((count, Next::End)),
                _ => return Ok((count, Next::Nothing)),
            }
        }
    }
}

/// A frame between the two threads.
struct Queued {
    bytes: Vec<u8>,
    info: FrameInfo,
    paced: bool,
}

/// Publishes what the reading thread sends. [`Next::Nothing`] when that thread ended by itself.
fn publish_queued(
    queue: &Queue<Queued>,
    spare: &Mutex<Vec<Vec<u8>>>,
    (from, to): (&Layout, &Layout),
    scaler: &mut Scaler,
    sink: &mut dyn Sink,
    emitter: &mut Emitter<'_>,
) -> Result<Next, Error> {
    while let Some(mut queued) = queue.pop() {
        if !emitter.wait(queued.info.pts_ns, queued.paced) {
            return Ok(Next::End);
        }
        if !queued.paced && emitter.has_own_rate() {
            queued = queue.newest().unwrap_or(queued);
        }
        let Queued { bytes, info, .. } = &queued;
        let fill = &mut |slot: &mut [u8]| {
            if from == to {
                slot.copy_from_slice(&bytes[..from.size_bytes()]);
            } else {
                scaler.convert(&Picture::of_bytes(from, Color::default(), bytes)?, to, slot)?;
            }
            Ok(true)
        };
        let next = emitter.publish(to, info, |look| sink.put(to, info, fill, look))?;
        lock(spare).push(queued.bytes);
        if next == Next::End {
            return Ok(next);
        }
    }
    Ok(Next::Nothing)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn frame_info(format: RawFormat, to: &Layout, count: u64) -> FrameInfo {
    FrameInfo::default()
        .with_pts_ns((count as f64 * 1e9 / format.fps) as i64)
        .with_duration_ns((1e9 / format.fps) as u64)
        .with_color(pixel::output_color(Color::default(), to.format()))
        .with_keyframe(true)
}

fn cut_off(from: &Layout, found: usize) -> String {
    let expected = from.size_bytes();
    format!(
        "the input ends within a frame: expected {expected} bytes, found {found}; the part is not published"
    )
}

/// Part of a frame that was available.
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
    let source = if source == "-" { "standard input" } else { source };
    Error::new(ErrorKind::Damaged, format!("{source} is empty: expected raw frames, found none"))
        .with_hint("check the program that writes into it")
}
