//! An open source, of whichever kind.

use std::ops::ControlFlow;

use framelane::{Error, ErrorKind, Publisher};

use crate::conflicts;
use crate::emit::{Emitter, Next, OnFrame};
use crate::interrupt::Interrupt;
use crate::media::Media;
use crate::options::{Repeat, SourceOptions};
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
    /// Whether a run has begun, so that the next one goes back to the start.
    used: bool,
}

enum Kind {
    Media(Box<Media>),
    Raw(Box<Raw>),
    Test(TestSource),
}

impl Source {
    pub(crate) fn open(options: &SourceOptions, source: &str) -> Result<Self, Error> {
        conflicts::check(options, source)?;
        let interrupt = Interrupt::new(options.stop.clone());
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

    /// What is known of it.
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

    /// Publishes all frames of the source; gives what became of them.
    ///
    /// `on_frame` is called on this thread for each frame just before readers can see it, and ends publishing
    /// after that frame with `Break`. Blocks until the source has ended, `on_frame` breaks or the stop flag
    /// is set. Decoding runs on threads of its own meanwhile. Called again, it starts again from the
    /// beginning where the source can; live sources go on.
    ///
    /// Damage in the media is no error: what can be decoded is published, and the summary has counts and
    /// warnings.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when no picture at all could be decoded; the errors of
    /// [`Publisher::loan`]; [`ErrorKind::InvalidOption`] for a conversion that FFmpeg cannot do.
    pub fn publish_to(
        &mut self,
        publisher: &mut Publisher,
        on_frame: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let interrupt = self.interrupt.clone();
        self.run(&mut ChannelSink { publisher, interrupt }, on_frame)
    }

    /// As [`Source::publish_to`] without a channel: `on_frame` is all that sees the frames.
    ///
    /// The bytes are valid during the call only. Frames are numbered from 1 and never dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] and [`ErrorKind::InvalidOption`] as for [`Source::publish_to`].
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
        Ok(emitter.finish())
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
        if after == count || !more_rounds(options.repeat, emitter.summary.rounds) {
            return Ok(());
        }
        count = after;
        raw.rewind()?;
    }
}

/// Whether the source is to be played again after this many rounds.
pub(crate) fn more_rounds(repeat: Repeat, rounds: u64) -> bool {
    match repeat {
        Repeat::Forever => true,
        Repeat::Times(times) => rounds < u64::from(times.get()),
    }
}

/// The source has no start to go back to.
pub(crate) fn cannot_repeat(source: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        format!("{source} cannot be repeated: it cannot go back to its start"),
    )
    .with_hint("leave the repetition out, or save the stream to a file first")
}
