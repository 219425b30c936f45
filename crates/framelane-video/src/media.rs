//! Files, streams and cameras: one thread decodes, the caller's converts and publishes.

use std::sync::Arc;
use std::time::Duration;

use framelane::{Error, ErrorKind, Layout, PixelFormat, redact};

use crate::connection::Connection;
use crate::decode::{DecodeJob, Decoded, HUNG_UP, Report};
use crate::emit::{Emitter, Next};
use crate::feed::Feed;
use crate::ffmpeg::decoder::Decoder;
use crate::ffmpeg::hardware::Device;
use crate::ffmpeg::input::Input;
use crate::ffmpeg::orientation::Orientation;
use crate::ffmpeg::picture::Picture;
use crate::ffmpeg::pixel;
use crate::ffmpeg::scale::Scaler;
use crate::ffmpeg::slots::{self, SlotPool};
use crate::ffmpeg::streams::StreamFacts;
use crate::ffmpeg::turn::Turner;
use crate::interrupt::Interrupt;
use crate::live::Delivery;
use crate::opening::{self, Opened};
use crate::options::{Repeat, Rotate, SourceOptions};
use crate::progress::{End, SourceInfo};
use crate::queue::{self, Queue};
use crate::sink::Sink;
use crate::stdin::Producer;
use crate::upright::orientation;

/// A source that FFmpeg reads.
pub(crate) struct Media {
    source: String,
    /// `None` only while a lost source is opened again: a camera must be closed before.
    input: Option<Input>,
    facts: StreamFacts,
    delivery: Delivery,
    /// The producer behind a pipe.
    producer: Option<Arc<Producer>>,
    /// True if a source that is lost is opened again.
    reconnects: bool,
}

impl Media {
    pub(crate) fn open(
        options: &SourceOptions,
        source: &str,
        interrupt: &Interrupt,
    ) -> Result<(Self, SourceInfo), Error> {
        // Reported now rather than at the first picture.
        Scaler::new(&options.scaler)?;
        if let Some(device) = &options.hwaccel {
            Device::open(device)?;
        }
        let opened = match options.reconnect {
            Some(true) => open_and_wait(options, source, interrupt)?,
            _ => opening::open(options, source, interrupt)?,
        };
        let Opened { input, facts, delivery, producer } = opened;
        let live = delivery.is_live();
        let reconnects = reconnects(options, source, delivery)?;
        let seekable = !live && source != "-" && (input.seekable() || input.is_sequence());
        if options.repeat != Repeat::default() && !seekable {
            return Err(Repeat::impossible(&redact::url(source)));
        }
        let output_format = options.format.unwrap_or_else(|| pixel::nearest(facts.format));
        let info = SourceInfo {
            source: redact::url(source).into_owned(),
            container: input.container(),
            codec: facts.codec.clone(),
            pixel_format: pixel::name(facts.format),
            width: facts.width,
            height: facts.height,
            output_format,
            output_size: options
                .size
                .unwrap_or_else(|| orientation(options, facts.display).size(facts.width, facts.height)),
            fps: facts.fps,
            duration: facts.duration_ns.filter(|_| !live).map(Duration::from_nanos),
            frames: facts.frames.filter(|_| !live),
            color: facts.color,
            rotation_degrees: facts.display.orientation.degrees(),
            mirrored: facts.display.orientation.mirrored(),
            odd_rotation_degrees: facts.display.odd_degrees,
            seekable,
            live,
        };
        let input = Some(input);
        Ok((Media { source: source.to_owned(), input, facts, delivery, producer, reconnects }, info))
    }

    /// Returns true if pictures will be decoded straight into slots, as far as it is known before decoding.
    fn direct(&self, options: &SourceOptions) -> bool {
        let same_format = pixel::from_av(self.facts.format).is_some_and(|native| {
            matches!(native, PixelFormat::I420 | PixelFormat::Nv12)
                && options.format.is_none_or(|wanted| wanted == native)
        });
        let same_size = options.size.is_none_or(|size| size == (self.facts.width, self.facts.height));
        options.direct
            && same_format
            && same_size
            && orientation(options, self.facts.display) == Orientation::UPRIGHT
            && options.hwaccel.is_none()
            && slots::known(&self.facts.decoder)
    }

    /// Slots that the decoder and the queue hold at most.
    pub(crate) fn slots_held(&self, options: &SourceOptions) -> usize {
        if !self.direct(options) {
            return 0;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(15) + 1;
        crate::references::pictures(&self.facts) + threads + queue::CAPACITY + 1
    }

    /// Plays the source as often as wanted. A live source that is lost is opened again.
    pub(crate) fn run(
        &mut self,
        options: &SourceOptions,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        again: bool,
    ) -> Result<(), Error> {
        let rewinds = again && !self.delivery.is_live() && self.source != "-";
        if self.input.is_none() || rewinds && self.input.as_mut().is_some_and(|input| input.rewind().is_err())
        {
            self.input = None;
            self.take(opening::open(options, &self.source, interrupt)?);
        }
        let mut connection = self.can_be_lost().then(|| Connection::new(options, &self.source));
        loop {
            let (report, ended) = self.play(options, sink, emitter, interrupt, connection.as_mut())?;
            let reason = report.reason.clone().unwrap_or_else(|| HUNG_UP.to_owned());
            self.conclude(report, emitter, interrupt, options.rotate)?;
            let (true, Some(connection), End::Finished) = (ended, &mut connection, emitter.summary.end)
            else {
                return Ok(());
            };
            connection.lost(sink, &reason, self.reconnects);
            if !self.reconnects {
                emitter.summary.end = End::Lost;
                emitter.summary.reason = Some(redact::text(&reason).into_owned());
                return Ok(());
            }
            interrupt.set_enough(false);
            if !self.reconnect(options, sink, interrupt, connection) {
                emitter.summary.end = End::Stopped;
                return Ok(());
            }
            emitter.resume();
        }
    }

    /// Returns true if the end of the input is a loss. The end of a pipe is what its producer wants.
    fn can_be_lost(&self) -> bool {
        match self.delivery {
            Delivery::Live | Delivery::Segments => self.source != "-",
            Delivery::Pipe => self.reconnects,
            Delivery::File => false,
        }
    }

    /// Opens a lost source again, as often as it takes. False when an end is wanted.
    fn reconnect(
        &mut self,
        options: &SourceOptions,
        sink: &mut dyn Sink,
        interrupt: &Interrupt,
        connection: &mut Connection,
    ) -> bool {
        self.input = None;
        while interrupt.sleep(connection.wait()) {
            // What cannot be decoded is not back.
            let opened = opening::open(options, &self.source, interrupt).and_then(|opened| {
                Decoder::open(&opened.input, &opened.facts, true, None, None).map(|_| opened)
            });
            match opened {
                Ok(opened) => {
                    self.take(opened);
                    return true;
                }
                Err(_) if interrupt.is_set() => return false,
                Err(error) => connection.failed(Some(&mut *sink), &error),
            }
        }
        false
    }

    /// Keeps the delivery of frames as it was decided first.
    fn take(&mut self, opened: Opened) {
        self.input = Some(opened.input);
        self.facts = opened.facts;
        self.producer = opened.producer;
    }

    /// Plays from here to the end of the input; returns whether it ended by itself.
    fn play(
        &mut self,
        options: &SourceOptions,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        connection: Option<&mut Connection>,
    ) -> Result<(Report, bool), Error> {
        let source = self.source.clone();
        let reopen = || opening::open(options, &source, interrupt).map(|opened| (opened.input, opened.facts));
        let direct = self.direct(options);
        let lossless = sink.is_lossless();
        let pool = SlotPool::new(sink);
        let device = options.hwaccel.as_deref().map(Device::open).transpose()?.flatten();
        let low_delay = self.delivery.is_live();
        let Some(input) = &mut self.input else { return Ok((Report::default(), true)) };
        let decoder = Decoder::open(input, &self.facts, low_delay, device, direct.then_some(&pool))?;
        let mut turner = Turner::new(&options.scaler)?;
        let queue = Queue::new();
        let feed = Feed::new(&queue, self.delivery, lossless, self.producer.clone());
        let resume_ns = emitter.end_ns();
        std::thread::scope(|scope| {
            let job = DecodeJob {
                input,
                facts: &self.facts,
                decoder,
                repeat: options.repeat,
                interrupt,
                reopen: &reopen,
                resume_ns,
            };
            let ending = queue.ending();
            let decoding = std::thread::Builder::new()
                .name("framelane-decode".to_owned())
                .spawn_scoped(scope, move || {
                    let _ending = ending;
                    job.run(feed)
                })
                .map_err(|error| Error::from_io("cannot start the decoding thread", error))?;
            let published = {
                let _enough = SetEnough(interrupt);
                let _closing = queue.closing();
                publish(options, &queue, &pool, &mut turner, emitter, connection)
            };
            let report = decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            emitter.summary.skipped += queue.skipped();
            Ok::<_, Error>((report, published?))
        })
    }

    /// Puts what the decoding thread has met into the summary.
    fn conclude(
        &mut self,
        mut report: Report,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        rotate: Rotate,
    ) -> Result<(), Error> {
        if let Some((input, facts)) = report.reopened.take() {
            (self.input, self.facts) = (Some(input), facts);
        }
        let summary = &mut emitter.summary;
        summary.decode_errors += report.decode_errors;
        summary.damaged_packets += report.damaged_packets;
        summary.rounds += report.rounds;
        if summary.end == End::Finished && interrupt.by_user() {
            summary.end = End::Stopped;
        }
        if self.can_be_lost() && self.reconnects {
            // Every connection would add to them.
            return Ok(());
        }
        if summary.end == End::Finished && summary.frames + summary.dropped == 0 && report.pictures == 0 {
            return Err(no_picture(&redact::url(&self.source), &self.facts.decoder, &report));
        }
        if let (Rotate::Auto, Some(degrees)) = (rotate, self.facts.display.odd_degrees) {
            summary.warnings.push(format!(
                "the source asks for a rotation by {degrees} degrees, which is not applied: expected 90, \
                 180 or 270"
            ));
        }
        summary.warnings.extend(report.warnings);
        if report.damaged_packets > 0 {
            summary.warnings.push(format!("{} packets are damaged", report.damaged_packets));
        }
        if report.decode_errors > 0 {
            summary.warnings.push(format!("{} packets could not be decoded", report.decode_errors));
        }
        if summary.concealed > 0 {
            summary
                .warnings
                .push(format!("{} pictures have errors that the decoder concealed", summary.concealed));
        }
        Ok(())
    }
}

/// Blames the file only where it ends early.
fn no_picture(source: &str, decoder: &str, report: &Report) -> Error {
    if report.animated_webp {
        return Error::new(
            ErrorKind::InvalidOption,
            format!("cannot decode {source}: this FFmpeg has no decoder for animated WebP"),
        )
        .with_hint("convert it to another format, such as GIF or MP4, or install an FFmpeg that decodes it");
    }
    let reason = report.warnings.first().map_or(String::new(), |warning| format!(" ({warning})"));
    let message = format!("{source}: no picture could be decoded{reason}");
    if report.cut || report.damaged_packets > 0 {
        return Error::new(ErrorKind::Damaged, message)
            .with_hint("check with `ffprobe SOURCE` that the file is whole");
    }
    let kind = if report.unsupported { ErrorKind::InvalidOption } else { ErrorKind::Damaged };
    Error::new(kind, message).with_hint(format!(
        "play it with another program: if that works, FFmpeg's decoder {decoder} lacks a feature, so \
         convert it first"
    ))
}

/// Ends a read that the decoding thread may be waiting in, also when the caller's callback panics.
struct SetEnough<'i>(&'i Interrupt);

impl Drop for SetEnough<'_> {
    fn drop(&mut self) {
        self.0.set_enough(true);
    }
}

/// Returns true if a source that is lost is opened again.
fn reconnects(options: &SourceOptions, source: &str, delivery: Delivery) -> Result<bool, Error> {
    let can = delivery.is_live() && source != "-";
    match options.reconnect {
        Some(true) if !can => Err(Error::new(
            ErrorKind::InvalidOption,
            format!("expected a live source to reconnect to, found {}", redact::url(source)),
        )
        .with_hint("remove the option to reconnect, or set the source to live")),
        Some(wanted) => Ok(wanted),
        None => Ok(can && delivery != Delivery::Pipe),
    }
}

/// Opens a source that may not be there yet.
fn open_and_wait(options: &SourceOptions, source: &str, interrupt: &Interrupt) -> Result<Opened, Error> {
    let mut connection = Connection::new(options, source);
    loop {
        match opening::open(options, source, interrupt) {
            Err(error)
                if !interrupt.is_set()
                    && !matches!(error.kind(), ErrorKind::InvalidOption | ErrorKind::PermissionDenied) =>
            {
                connection.failed(None, &error);
                if !interrupt.sleep(connection.wait()) {
                    return Err(error);
                }
            }
            opened => return opened,
        }
    }
}

/// Converts and publishes what the decoding thread sends. Returns true when that thread ended by itself,
/// false when the emitter has enough.
fn publish(
    options: &SourceOptions,
    queue: &Queue<Decoded>,
    pool: &SlotPool<'_>,
    turner: &mut Turner,
    emitter: &mut Emitter<'_>,
    mut connection: Option<&mut Connection>,
) -> Result<bool, Error> {
    while let Some(mut decoded) = queue.pop() {
        if let Some(connection) = &mut connection {
            connection.arrived(&mut **pool.sink());
        }
        if !emitter.wait(decoded.info.pts_ns, decoded.paced) {
            return Ok(false);
        }
        // A live source is thinned out to the user's rate: frames that arrived meanwhile are newer.
        if !decoded.paced && emitter.has_own_rate() {
            decoded = queue.newest().unwrap_or(decoded);
        }
        let frame = &decoded.frame;
        let output = options.format.unwrap_or_else(|| pixel::nearest(frame.format()));
        let turn = orientation(options, decoded.display);
        let (width, height) = options.size.unwrap_or_else(|| turn.size(frame.width(), frame.height()));
        let info = decoded.info.with_color(pixel::output_color(frame.color(), output)).with_rotation_degrees(
            match options.rotate {
                Rotate::Auto => 0,
                Rotate::None => decoded.display.orientation.degrees(),
            },
        );
        let slot = pool.find(frame).filter(|(_, layout)| {
            turn == Orientation::UPRIGHT
                && (layout.format(), layout.width(), layout.height()) == (output, width, height)
        });
        let next = if let Some((slot, layout)) = slot {
            let next = emitter.publish(&layout, &info, |look| {
                // Looked at without the lock, which the decoder's threads need.
                let sequence = pool.sink().next_sequence();
                slots::look(&slot, &layout, |bytes| look(sequence, bytes));
                pool.sink().put_owned(&slot, &layout, &info)
            })?;
            emitter.summary.direct += 1;
            next
        } else {
            let layout = Layout::packed(output, width, height)?;
            let picture = Picture::of_frame(frame);
            let fill = &mut |bytes: &mut [u8]| turner.convert(&picture, turn, &layout, bytes).map(|()| true);
            emitter.publish(&layout, &info, |look| pool.sink().put(&layout, &info, fill, look))?
        };
        emitter.summary.concealed += u64::from(frame.corrupt());
        if next == Next::End {
            return Ok(false);
        }
    }
    Ok(true)
}
