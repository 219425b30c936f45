//! An open source, of whichever kind.

use std::ffi::OsStr;
use std::fmt;
use std::ops::ControlFlow;

use framelane::{CancelToken, Error, Publisher, redact};

use crate::conflicts;
use crate::emit::{Emitter, Next, OnFrame};
use crate::interrupt::Interrupt;
use crate::media::Media;
use crate::options::SourceOptions;
use crate::progress::{Progress, SourceInfo, Summary};
use crate::raw::{self, Raw};
use crate::sink::{ChannelSink, MemorySink, Sink};
use crate::testsrc::{self, TestSource};

/// An open source of frames, made by [`SourceOptions::open`].
pub struct Source {
    options: SourceOptions,
    info: SourceInfo,
    kind: Kind,
    interrupt: Interrupt,
    /// True if a run has begun, so that the next one goes back to the start.
    used: bool,
}

enum Kind {
    Media(Box<Media>),
    Raw(Box<Raw>),
    Test(TestSource),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("info", &self.info).finish_non_exhaustive()
    }
}

impl SourceOptions {
    /// Opens a source.
    ///
    /// | source | what |
    /// |---|---|
    /// | a path, in any encoding | any file that FFmpeg reads |
    /// | `img%03d.png`, `img*.png` | a sequence of pictures; `start_number` and `framerate` are options for FFmpeg |
    /// | `rtsp://…`, `http://…`, any URL that FFmpeg knows | a stream |
    /// | `/dev/videoN`, or a link to it such as `/dev/v4l/by-id/…` | a camera (V4L2) |
    /// | a FIFO | what another program writes into it |
    /// | `-` | standard input: y4m or any container that can be read without seeking; raw frames with [`SourceOptions::raw`] |
    /// | `testsrc`, `testsrc=1920x1080@60` | a moving pattern with the frame number and a clock, endless, without FFmpeg |
    ///
    /// Blocks until the source is there and its streams are known; the token of
    /// [`SourceOptions::cancel`] ends the wait.
    ///
    /// # Errors
    /// [`NotFound`](framelane::ErrorKind::NotFound),
    /// [`PermissionDenied`](framelane::ErrorKind::PermissionDenied),
    /// [`Damaged`](framelane::ErrorKind::Damaged) (not a media file, cut off, or without video),
    /// [`InvalidOption`](framelane::ErrorKind::InvalidOption),
    /// [`Interrupted`](framelane::ErrorKind::Interrupted) (the token),
    /// [`SystemFailure`](framelane::ErrorKind::SystemFailure) and [`Timeout`](framelane::ErrorKind::Timeout)
    /// (network).
    pub fn open(&self, source: impl AsRef<OsStr>) -> Result<Source, Error> {
        self.check()?;
        let source = source.as_ref();
        match source.to_str() {
            Some(text) => Source::open(self, text),
            None => {
                let options = SourceOptions { path: Some(source.into()), ..self.clone() };
                Source::open(&options, &source.to_string_lossy())
            }
        }
    }
}

impl Source {
    fn open(options: &SourceOptions, source: &str) -> Result<Self, Error> {
        conflicts::check(options, source)?;
        let interrupt = Interrupt::new(options.cancel.clone());
        let (kind, info) = if testsrc::is_testsrc(source) {
            let (test, info) = TestSource::open(options, source)?;
            (Kind::Test(test), info)
        } else if let Some(format) = options.raw {
            let (raw, info) = Raw::open(options, format, source, &interrupt)?;
            (Kind::Raw(Box::new(raw)), info)
        } else {
            let (media, info) = Media::open(options, source, &interrupt)?;
            (Kind::Media(Box::new(media)), info)
        };
        Ok(Source { options: options.clone(), info, kind, interrupt, used: false })
    }

    /// Returns facts about the source.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Slots that the channel needs, when `base` are wanted for readers and the newest frame.
    ///
    /// More than `base` where the decoder writes straight into slots: it keeps some as references. With fewer
    /// slots all works the same, but pictures are copied.
    pub fn slots_needed(&self, base: usize) -> usize {
        let held = match &self.kind {
            Kind::Media(media) => media.slots_held(&self.options),
            _ => 0,
        };
        (base + held).clamp(2, 128)
    }

    /// Publishes all frames of the source. Returns a summary.
    ///
    /// `on_frame` is called on this thread for each frame just before readers can see it, and ends publishing
    /// after that frame with `Break`. Blocks until the source has ended, `on_frame` breaks or the token of
    /// the options is cancelled. Decoding runs on separate threads meanwhile. A second call starts again from
    /// the beginning where the source can; live sources continue.
    ///
    /// Damage in the media is no error: what can be decoded is published, and the summary has counts and
    /// warnings.
    ///
    /// # Errors
    /// [`Damaged`](framelane::ErrorKind::Damaged) when no picture at all could be decoded; the errors of
    /// [`Publisher::loan`]; [`InvalidOption`](framelane::ErrorKind::InvalidOption) for a conversion that
    /// FFmpeg cannot do.
    pub fn publish_to(
        &mut self,
        publisher: &mut Publisher,
        on_frame: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        // The user's token also ends the publisher's wait for a slot.
        let own = publisher.cancel_token().clone();
        publisher.set_cancel_token(CancelToken::any([own.clone(), self.interrupt.user().clone()]));
        let summary = self.run(&mut ChannelSink { publisher }, on_frame);
        publisher.set_cancel_token(own);
        summary
    }

    /// Decodes as [`Source::publish_to`] does, without a channel: only `on_frame` gets the frames.
    ///
    /// The bytes are valid during the call only. Frames are numbered from 1 and never dropped.
    ///
    /// # Errors
    /// [`Damaged`](framelane::ErrorKind::Damaged) and [`InvalidOption`](framelane::ErrorKind::InvalidOption)
    /// for the same reasons as [`Source::publish_to`].
    pub fn decode(
        &mut self,
        on_frame: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.run(&mut MemorySink::default(), on_frame)
    }

    fn run(&mut self, sink: &mut dyn Sink, mut on_frame: &mut OnFrame<'_>) -> Result<Summary, Error> {
        self.interrupt.set_enough(false);
        let mut emitter = Emitter::new(&self.options, self.interrupt.clone(), &mut on_frame);
        let again = std::mem::replace(&mut self.used, true);
        match &mut self.kind {
            Kind::Media(media) => media.run(&self.options, sink, &mut emitter, &self.interrupt, again)?,
            Kind::Test(test) => test.run(sink, &mut emitter)?,
            Kind::Raw(raw) => {
                if again {
                    raw.rewind()?;
                }
                run_raw(raw, &self.options, &self.info, sink, &mut emitter, &self.interrupt)?;
            }
        }
        let summary = emitter.finish();
        tracing::info!(
            source = %redact::url(&self.info.source),
            frames = summary.frames,
            dropped = summary.dropped,
            end = ?summary.end,
            "source ended"
        );
        Ok(summary)
    }
}

fn run_raw(
    raw: &mut Raw,
    options: &SourceOptions,
    info: &SourceInfo,
    sink: &mut dyn Sink,
    emitter: &mut Emitter<'_>,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let mut count = 0;
    loop {
        let (after, next) = raw.run(sink, emitter, interrupt, count)?;
        if next == Next::End {
            return Ok(());
        }
        if after == 0 && emitter.summary.warnings.is_empty() {
            return Err(raw::empty(&info.source));
        }
        emitter.summary.rounds += 1;
        if after == count || !options.repeat.more_after(emitter.summary.rounds) {
            return Ok(());
        }
        count = after;
        raw.rewind()?;
    }
}
