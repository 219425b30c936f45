//! Options of sources.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use framelane::{CancelToken, Error, ErrorKind, PixelFormat, redact};

use crate::progress::SourceEvent;

/// Rate at which frames are published.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Rate {
    /// Paces by the media's times; live sources: frames are published when they arrive.
    #[default]
    Realtime,
    /// Publishes at the speed of decoding and of the readers.
    Max,
    /// Publishes this many frames a second, regardless of the media's times; live sources: at most so many.
    Fps(f64),
}

impl std::str::FromStr for Rate {
    type Err = Error;

    /// Parses `realtime`, `max` or a number of frames a second.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for anything else, and for numbers that are not above 0.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "realtime" => Ok(Rate::Realtime),
            "max" => Ok(Rate::Max),
            number => number
                .parse()
                .ok()
                .filter(|fps: &f64| fps.is_finite() && *fps > 0.0)
                .map(Rate::Fps)
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidOption,
                        format!(
                            "expected a rate (realtime, max or frames per second above 0), found {text:?}"
                        ),
                    )
                }),
        }
    }
}

/// Number of times that the source is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repeat {
    /// This many times; 1 plays it once.
    Times(NonZeroU32),
    /// Until the source is stopped.
    Forever,
}

impl Default for Repeat {
    fn default() -> Self {
        Repeat::Times(NonZeroU32::MIN)
    }
}

impl Repeat {
    /// Returns true if the source is played again after this many rounds.
    pub(crate) fn more_after(self, rounds: u64) -> bool {
        match self {
            Repeat::Forever => true,
            Repeat::Times(times) => rounds < u64::from(times.get()),
        }
    }

    /// Returns the error for a source that has no start to go back to.
    pub(crate) fn impossible(source: &str) -> Error {
        Error::new(
            ErrorKind::InvalidOption,
            format!("{source} cannot be repeated: it cannot go back to its start"),
        )
        .with_hint("leave the repetition out, or save the stream to a file first")
    }
}

/// Treatment of a display matrix or EXIF orientation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotate {
    /// Turns and mirrors the pixels, as `ffmpeg` and OpenCV do.
    #[default]
    Auto,
    /// Publishes the pixels as they are coded.
    None,
}

/// Size and format of frames without a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawFormat {
    /// The format of the bytes; rows and planes without padding.
    pub format: PixelFormat,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second, for their times.
    pub fps: f64,
}

/// Options of a source; [`SourceOptions::open`] opens it.
///
/// ```
/// use framelane_video::{Rate, SourceOptions};
/// let mut source = SourceOptions::new().rate(Rate::Max).count(Some(3)).open("testsrc=320x240@30")?;
/// let mut seen = Vec::new();
/// source.decode(&mut |progress| {
///     seen.push(progress.layout.size_bytes());
///     std::ops::ControlFlow::Continue(())
/// })?;
/// assert_eq!(seen, [320 * 240 * 3; 3]);
/// # Ok::<(), framelane::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SourceOptions {
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) format: Option<PixelFormat>,
    pub(crate) rate: Rate,
    pub(crate) repeat: Repeat,
    pub(crate) count: Option<u64>,
    pub(crate) hwaccel: Option<String>,
    pub(crate) scaler: String,
    pub(crate) video_stream: Option<usize>,
    pub(crate) raw: Option<RawFormat>,
    pub(crate) input_format: Option<String>,
    pub(crate) ffmpeg: FfmpegOptions,
    pub(crate) cancel: CancelToken,
    pub(crate) direct: bool,
    pub(crate) rotate: Rotate,
    /// The source, when its name is not UTF-8.
    pub(crate) path: Option<PathBuf>,
    pub(crate) live: Option<bool>,
    pub(crate) reconnect: Option<bool>,
    /// `None`: as the kind of source asks for.
    pub(crate) read_timeout: Option<Option<Duration>>,
    pub(crate) events: Events,
}

type Callback = dyn Fn(&SourceEvent) + Send + Sync;

/// The caller's callback for events.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<Callback>>);

impl Events {
    pub(crate) fn emit(&self, event: &SourceEvent) {
        if let Some(callback) = &self.0 {
            callback(event);
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "a callback" } else { "none" })
    }
}

/// Options for FFmpeg, some of which hold secrets.
#[derive(Clone, Default)]
pub(crate) struct FfmpegOptions(pub(crate) Vec<(String, String)>);

impl std::fmt::Debug for FfmpegOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown =
            self.0.iter().map(|(name, value)| redact::assignment(&format!("{name}={value}")).into_owned());
        f.debug_list().entries(shown).finish()
    }
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions {
            size: None,
            format: Some(PixelFormat::Bgr8),
            rate: Rate::default(),
            repeat: Repeat::default(),
            count: None,
            hwaccel: None,
            scaler: "bicubic".to_owned(),
            video_stream: None,
            raw: None,
            input_format: None,
            ffmpeg: FfmpegOptions::default(),
            cancel: CancelToken::new(),
            direct: true,
            rotate: Rotate::default(),
            path: None,
            live: None,
            reconnect: None,
            read_timeout: None,
            events: Events::default(),
        }
    }
}

impl SourceOptions {
    /// The defaults: the source's size, bgr8, its own pace, once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Width and height to scale to, without regard to the aspect ratio; `None` (default): the source's size,
    /// which may change while it plays. For `testsrc`, the size to draw.
    #[must_use]
    pub fn size(mut self, size: Option<(u32, u32)>) -> Self {
        self.size = size;
        self
    }

    /// The pixel format to publish; default bgr8.
    ///
    /// `None` publishes the decoder's output where framelane has that format (i420, nv12, gray8, bgr8 …),
    /// else the nearest: bgr8 or bgra8 for RGB, p010 for YUV of more than 8 bits, i420 for other YUV. i420,
    /// or nv12 from a decoder that returns nv12, is decoded straight into the slot.
    #[must_use]
    pub fn format(mut self, format: impl Into<Option<PixelFormat>>) -> Self {
        self.format = format.into();
        self
    }

    /// Sets the rate; default [`Rate::Realtime`].
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// Sets the number of repetitions; default once. The times of the frames continue to grow from one round
    /// to the next.
    #[must_use]
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Ends after this many frames, published or dropped; default: all.
    #[must_use]
    pub fn count(mut self, count: Option<u64>) -> Self {
        self.count = count;
        self
    }

    /// Decodes on a device: FFmpeg's name of its kind (`vaapi`, `cuda`, …) or `auto`, which takes the first
    /// that opens and falls back to the processor. Pictures are read back into memory.
    #[must_use]
    pub fn hwaccel(mut self, device: Option<&str>) -> Self {
        self.hwaccel = device.map(str::to_owned);
        self
    }

    /// Swscale's flags, as in `ffmpeg -sws_flags`; default `bicubic`, as the `ffmpeg` program.
    #[must_use]
    pub fn scaler(mut self, flags: &str) -> Self {
        flags.clone_into(&mut self.scaler);
        self
    }

    /// Which video stream, counted from 0 among the video streams; default: the one FFmpeg thinks best.
    #[must_use]
    pub fn video_stream(mut self, number: Option<usize>) -> Self {
        self.video_stream = number;
        self
    }

    /// Reads frames without a container, from `-` (standard input) or a file.
    #[must_use]
    pub fn raw(mut self, raw: Option<RawFormat>) -> Self {
        self.raw = raw;
        self
    }

    /// FFmpeg's name of the demuxer or device (`ffmpeg -formats`), when it must not be guessed.
    ///
    /// A file or pipe opens nothing but itself. One that refers to other sources (`hls`, `dash`, `concat`,
    /// `sdp`) is refused unless its format is named here. A stream from the network may refer to other
    /// addresses on the network, never to local files. The FFmpeg options `protocol_whitelist` and
    /// `format_whitelist` replace these limits.
    #[must_use]
    pub fn input_format(mut self, name: Option<&str>) -> Self {
        self.input_format = name.map(str::to_owned);
        self
    }

    /// An option for FFmpeg's demuxer, protocol or device, as in `rtsp_transport` = `tcp`. May be called
    /// again for more.
    #[must_use]
    pub fn ffmpeg_option(mut self, name: &str, value: &str) -> Self {
        self.ffmpeg.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A token that ends opening, waiting and publishing; default none. A wait of the publisher for a slot
    /// ends too. The check of the token runs in several threads.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Permits the decoder to write into slots where the format allows it. Default: true. For measurements.
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Rotates and mirrors pictures by their display matrix or EXIF orientation. Default: [`Rotate::Auto`].
    ///
    /// [`SourceOptions::size`] is the size of the upright picture. Only pictures that need no turn are
    /// decoded straight into slots. A rotation by another angle than 90, 180 or 270 degrees is reported and
    /// not applied, as in OpenCV.
    #[must_use]
    pub fn rotate(mut self, rotate: Rotate) -> Self {
        self.rotate = rotate;
        self
    }

    /// Treats the source as live or not. Default: `None`, which detects it from the input.
    ///
    /// Live are capture devices, and streams, pipes and FIFOs that have neither a length nor a duration:
    /// RTSP, RTMP, SRT and UDP without an end, MJPEG and MPEG-TS over HTTP, HLS without an end. A live source
    /// is decoded with low delay. Its frames are published when they arrive and never paced. When frames
    /// arrive faster than they can be published, the newest wins and
    /// [`Summary::skipped`](crate::Summary::skipped) counts the others; a publisher with
    /// [`Backpressure::Block`](framelane::Backpressure::Block) gets all. With [`Rate::Fps`], the source is
    /// thinned out to that rate.
    ///
    /// Two kinds differ. HLS brings bursts of a segment, so its frames are paced by their times. A pipe that
    /// is not declared live is judged by its first five seconds: a producer that is more than 1.5 times as
    /// fast as the times of its frames sends a file, which is paced. With another rate than
    /// [`Rate::Realtime`], a pipe counts as a file.
    #[must_use]
    pub fn live(mut self, live: Option<bool>) -> Self {
        self.live = live;
        self
    }

    /// Opens a live source again after a loss. Default: `None`, which means yes, except for pipes and FIFOs,
    /// which end when their producer closes them.
    ///
    /// The first attempt follows 0.5 s after the loss. The wait doubles with each failed attempt, up to 10 s.
    /// It is 10 s at once when user or password are refused. The channel and its subscribers stay. Size and
    /// format may change. The times of the frames continue and include the outage.
    ///
    /// [`SourceOptions::open`] tries once, so that a wrong address is an error at once. `Some(true)` tries
    /// there, too, until the source is there, unless an option, the user or the password is wrong.
    /// `Some(false)` ends publishing with [`End::Lost`](crate::End::Lost).
    #[must_use]
    pub fn reconnect(mut self, reconnect: Option<bool>) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Sets the time after which a read without data is an error, `None` for never. Default: 10 s for streams
    /// and cameras, never for files and pipes. Three times as long for HLS, whose data arrives in segments.
    ///
    /// It holds when the source is opened, for a server that accepts the connection and sends nothing, and
    /// while it plays. A live source is opened again then.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.read_timeout = Some(timeout);
        self
    }

    /// A callback for the loss and the return of a live source. The thread that opens or publishes calls it,
    /// and waits for it.
    #[must_use]
    pub fn on_event(mut self, callback: impl Fn(&SourceEvent) + Send + Sync + 'static) -> Self {
        self.events = Events(Some(Arc::new(callback)));
        self
    }

    /// The file that the source names.
    pub(crate) fn path<'p>(&'p self, source: &'p str) -> &'p Path {
        self.path.as_deref().unwrap_or(Path::new(source))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidOption, message));
        if let Some(size) = self.size
            && (!(1..=32768).contains(&size.0) || !(1..=32768).contains(&size.1))
        {
            return invalid(format!(
                "expected a size of 1 to 32768 pixels a side, found {}x{}",
                size.0, size.1
            ));
        }
        if self.count == Some(0) {
            return invalid("expected at least 1 frame, found a limit of 0".to_owned());
        }
        if let Rate::Fps(fps) = self.rate
            && !(fps.is_finite() && fps > 0.0)
        {
            return invalid(format!("expected a rate above 0 frames per second, found {fps}"));
        }
        if let Some(raw) = self.raw
            && !(raw.fps.is_finite() && raw.fps > 0.0)
        {
            return invalid(format!("expected raw frames at more than 0 a second, found {}", raw.fps));
        }
        if let Some(format) = self.format {
            crate::ffmpeg::pixel::to_av(format)?;
        }
        Ok(())
    }
}
