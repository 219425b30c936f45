//! Files, streams and cameras: one thread decodes, the caller's converts and publishes.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use framelane::{Error, ErrorKind, FrameInfo, Layout, PixelFormat, redact};

use crate::decode::{DecodeJob, Decoded, Report};
use crate::emit::{Emitter, Next};
use crate::ffmpeg::decoder::Decoder;
use crate::ffmpeg::hardware::Device;
use crate::ffmpeg::input::{Input, Request, StreamFacts};
use crate::ffmpeg::pixel;
use crate::ffmpeg::scale::{Picture, Scaler};
use crate::ffmpeg::slots::{self, SlotPool};
use crate::interrupt::Interrupt;
use crate::options::{Repeat, SourceOptions};
use crate::progress::{End, SourceInfo};
use crate::sink::Sink;
use crate::stdin::Stdin;

/// Pictures between the decoding and the publishing thread: enough to keep both busy, few enough for cameras.
const QUEUE: usize = 2;

/// A source that FFmpeg reads.
pub(crate) struct Media {
    source: String,
    input: Input,
    facts: StreamFacts,
    live: bool,
}

impl Media {
    pub(crate) fn open(
        options: &SourceOptions,
        source: &str,
        interrupt: &Interrupt,
    ) -> Result<(Self, SourceInfo), Error> {
        // Told now rather than at the first picture.
        Scaler::new(&options.scaler)?;
        if let Some(device) = &options.hwaccel {
            Device::open(device)?;
        }
        let (input, facts) = open_input(options, source, interrupt)?;
        let live = is_live(source);
        let seekable = !live && source != "-" && input.seekable();
        if options.repeat != Repeat::default() && !seekable {
            return Err(crate::source::cannot_repeat(&redact::url(source)));
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
            output_size: options.size.unwrap_or((facts.width, facts.height)),
            fps: facts.fps,
            duration: facts.duration_ns.filter(|_| !live).map(Duration::from_nanos),
            frames: facts.frames.filter(|_| !live),
            color: facts.color,
            rotation_degrees: facts.rotation_degrees,
            seekable,
            live,
        };
        Ok((Media { source: source.to_owned(), input, facts, live }, info))
    }

    /// Whether pictures will be decoded straight into slots, as far as it is known before decoding.
    fn direct(&self, options: &SourceOptions) -> bool {
        let same_format = pixel::from_av(self.facts.format).is_some_and(|native| {
            matches!(native, PixelFormat::I420 | PixelFormat::Nv12)
                && options.format.is_none_or(|wanted| wanted == native)
        });
        let same_size = options.size.is_none_or(|size| size == (self.facts.width, self.facts.height));
        options.direct
            && same_format
            && same_size
            && options.hwaccel.is_none()
            && slots::known(&self.facts.decoder)
    }

    /// Slots that the decoder and the queue hold at most.
    pub(crate) fn slots_held(&self, options: &SourceOptions) -> usize {
        if !self.direct(options) {
            return 0;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(15) + 1;
        crate::references::pictures(&self.facts) + threads + QUEUE + 1
    }

    /// Plays the source as often as wanted.
    pub(crate) fn run(
        &mut self,
        options: &SourceOptions,
        sink: &mut dyn Sink,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
        again: bool,
    ) -> Result<(), Error> {
        if again && !self.live && self.source != "-" && self.input.rewind().is_err() {
            (self.input, self.facts) = open_input(options, &self.source, interrupt)?;
        }
        let source = self.source.clone();
        let reopen = || open_input(options, &source, interrupt);
        let direct = self.direct(options);
        let pool = SlotPool::new(sink);
        let device = options.hwaccel.as_deref().map(Device::open).transpose()?.flatten();
        let decoder = Decoder::open(&self.input, &self.facts, self.live, device, direct.then_some(&pool))?;
        let mut scaler = Scaler::new(&options.scaler)?;
        let (sender, receiver) = sync_channel(QUEUE);
        let report = std::thread::scope(|scope| {
            let job = DecodeJob {
                input: &mut self.input,
                facts: &self.facts,
                decoder,
                repeat: options.repeat,
                interrupt,
                reopen: &reopen,
            };
            let decoding = std::thread::Builder::new()
                .name("framelane-decode".to_owned())
                .spawn_scoped(scope, move || job.run(&sender))
                .map_err(|error| Error::from_io("cannot start the decoding thread", error))?;
            let published = {
                let _enough = SetEnough(interrupt);
                publish(options, receiver, &pool, &mut scaler, emitter)
            };
            let report = decoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            published?;
            Ok::<_, Error>(report)
        })?;
        self.conclude(report, emitter, interrupt)
    }

    /// Puts what the decoding thread has met into the summary.
    fn conclude(
        &mut self,
        report: Report,
        emitter: &mut Emitter<'_>,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        if let Some((input, facts)) = report.reopened {
            (self.input, self.facts) = (input, facts);
        }
        let summary = &mut emitter.summary;
        summary.decode_errors = report.decode_errors;
        summary.damaged_packets = report.damaged_packets;
        summary.rounds = report.rounds;
        if summary.end == End::Finished && interrupt.by_user() {
            summary.end = End::Stopped;
        }
        if summary.end == End::Finished && summary.frames + summary.dropped == 0 && report.pictures == 0 {
            let reason = report.warnings.first().map_or(String::new(), |warning| format!(" ({warning})"));
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("{}: no picture could be decoded{reason}", redact::url(&self.source)),
            )
            .with_remedy("check with `ffprobe SOURCE` that the file is whole"));
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

/// Ends a read that the decoding thread may be waiting in, also when the caller's callback panics.
struct SetEnough<'i>(&'i Interrupt);

impl Drop for SetEnough<'_> {
    fn drop(&mut self) {
        self.0.set_enough(true);
    }
}

/// Converts and publishes what the decoding thread sends, until it ends or the emitter has enough.
fn publish(
    options: &SourceOptions,
    receiver: Receiver<Decoded>,
    pool: &SlotPool<'_>,
    scaler: &mut Scaler,
    emitter: &mut Emitter<'_>,
) -> Result<(), Error> {
    while let Ok(decoded) = receiver.recv() {
        let frame = &decoded.frame;
        let output = options.format.unwrap_or_else(|| pixel::nearest(frame.format()));
        let (width, height) = options.size.unwrap_or((frame.width(), frame.height()));
        let info = FrameInfo { color: pixel::output_color(frame.color(), output), ..decoded.info };
        if !emitter.wait(info.pts_ns) {
            break;
        }
        let slot = pool.find(frame).filter(|(_, layout)| {
            (layout.format(), layout.width(), layout.height()) == (output, width, height)
        });
        let next = if let Some((slot, layout)) = slot {
            let next = emitter.publish(&layout, &info, |look| {
                // Looked at without the lock, which the decoder's threads need.
                let sequence = pool.sink().next_sequence();
                slots::look(&slot, &layout, |bytes| look(sequence, bytes));
                pool.sink().put_held(&slot, &layout, &info)
            })?;
            emitter.summary.direct += 1;
            next
        } else {
            let layout = Layout::packed(output, width, height)?;
            let picture = Picture::of_frame(frame);
            let fill = &mut |bytes: &mut [u8]| scaler.convert(&picture, &layout, bytes).map(|()| true);
            emitter.publish(&layout, &info, |look| pool.sink().put(&layout, &info, fill, look))?
        };
        emitter.summary.concealed += u64::from(frame.corrupt());
        if next == Next::End {
            break;
        }
    }
    Ok(())
}

fn open_input(
    options: &SourceOptions,
    source: &str,
    interrupt: &Interrupt,
) -> Result<(Input, StreamFacts), Error> {
    // Some demuxers of FFmpeg take directories; what they would make of one is no film.
    if options.input_format.is_none() && std::path::Path::new(source).is_dir() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("expected a file, a stream or a camera, found that {source} is a directory"),
        )
        .with_remedy("give a file in it"));
    }
    let camera = source.starts_with("/dev/video");
    let stdin = source == "-";
    let reader: Option<Box<dyn std::io::Read + Send>> =
        if stdin { Some(Box::new(Stdin::new(interrupt.clone()))) } else { None };
    // FFmpeg takes what stands before a colon for a protocol.
    let file = source.contains(':') && std::path::Path::new(source).exists();
    let url = if file { format!("file:{source}") } else { source.to_owned() };
    let mut input = Input::open(Request {
        secrets: secrets(options, source),
        url: if stdin { "standard input" } else { &url },
        name: &redact::url(source),
        format: options.input_format.as_deref().or(camera.then_some("video4linux2")),
        options: &options.ffmpeg.0,
        interrupt: interrupt.clone(),
        reader,
    })?;
    let facts = input.select_video(options.video_stream, &redact::url(source))?;
    Ok((input, facts))
}

/// The texts that no message of FFmpeg may show.
fn secrets(options: &SourceOptions, source: &str) -> Vec<String> {
    let of_options = options.ffmpeg.0.iter().flat_map(|(name, value)| {
        if redact::is_secret_option(name) { vec![value.clone()] } else { redact::secrets(value) }
    });
    redact::secrets(source).into_iter().chain(of_options).collect()
}

fn is_live(source: &str) -> bool {
    let scheme = source.split_once("://").map_or("", |(scheme, _)| scheme);
    source.starts_with("/dev/video")
        || ["rtsp", "rtsps", "rtp", "udp", "srt", "rtmp", "rtmps"].contains(&scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_and_network_streams_are_live_and_files_are_not() {
        for live in ["/dev/video0", "rtsp://host/x", "udp://host:1"] {
            assert!(is_live(live), "{live}");
        }
        for not in ["film.mp4", "http://host/film.mp4", "-", "rtsp.mp4"] {
            assert!(!is_live(not), "{not}");
        }
    }
}
