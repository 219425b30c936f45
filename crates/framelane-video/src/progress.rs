//! Reports to the caller while frames are published, and at the end.

use std::time::Duration;

use framelane::{Color, FrameInfo, Layout, PixelFormat};

/// Facts about an open source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceInfo {
    /// The source as it was named.
    pub source: String,
    /// FFmpeg's name of the container or device; `raw` and `testsrc` for those.
    pub container: String,
    /// FFmpeg's name of the codec, as in `h264`; `raw` and `testsrc` for those.
    pub codec: String,
    /// FFmpeg's name of the pixel format in the stream, as in `yuv420p10le`.
    pub pixel_format: String,
    /// Pixels in a row of the stream. It may change while it plays.
    pub width: u32,
    /// Rows of the stream.
    pub height: u32,
    /// The format that will be published, as far as it is known before decoding.
    pub output_format: PixelFormat,
    /// The size that will be published, as far as it is known before decoding.
    pub output_size: (u32, u32),
    /// Frames a second, on average; `None` when the stream does not specify it.
    pub fps: Option<f64>,
    /// Duration when played once; `None` for live and endless sources.
    pub duration: Option<Duration>,
    /// Approximate number of frames when played once, for progress bars; `None` for live and endless sources.
    pub frames: Option<u64>,
    /// Colour space and range of the stream.
    pub color: Color,
    /// Clockwise rotation of the coded pictures that makes them upright: 0, 90, 180 or 270. It is applied
    /// unless [`Rotate::None`](crate::Rotate::None) is set.
    pub rotation_degrees: u16,
    /// True if left and right are exchanged after the rotation. Applied as the rotation is.
    pub mirrored: bool,
    /// Clockwise rotation by another angle that the source asks for. It is never applied.
    pub odd_rotation_degrees: Option<u16>,
    /// True if it can go back to its start, which [`Repeat`](crate::Repeat) needs.
    pub seekable: bool,
    /// True if it is live: a camera, a stream or a pipe without a length and a duration. See
    /// [`SourceOptions::live`](crate::SourceOptions::live).
    pub live: bool,
}

/// One frame, reported just before readers can see it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The number the frame is about to get in its channel; `None` when it was dropped because no slot was
    /// free.
    pub sequence: Option<u64>,
    /// Its size, format and planes.
    pub layout: &'a Layout,
    /// Its times, colour and rotation.
    pub info: &'a FrameInfo,
    /// Its payload, borrowed for the call; `None` when it was dropped.
    pub bytes: Option<&'a [u8]>,
    /// Frames published so far, this one included unless it was dropped.
    pub frames: u64,
    /// Frames dropped so far, this one included if it was.
    pub dropped: u64,
    /// Since publishing began.
    pub elapsed: Duration,
}

/// Reason that publishing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The source has no more frames, or as many as wanted were taken.
    Finished,
    /// The callback returned `Break`.
    Broken,
    /// The cancel token ended it.
    Stopped,
    /// A live source ended, and reconnecting is off. [`Summary::reason`] has the reason.
    Lost,
}

/// A change of the connection to a live source. See
/// [`SourceOptions::on_event`](crate::SourceOptions::on_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// Frames have stopped: the connection is lost, or an attempt to reconnect failed.
    #[non_exhaustive]
    Lost {
        /// Cause, without secrets.
        reason: String,
        /// Time until the next attempt; `None` when reconnecting is off.
        retry_in: Option<Duration>,
    },
    /// Frames have resumed.
    #[non_exhaustive]
    Restored {
        /// Time without frames.
        outage: Duration,
        /// Connections so far, with this one.
        connections: u32,
    },
}

/// Result of publishing a source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Frames published.
    pub frames: u64,
    /// Frames that found no free slot.
    pub dropped: u64,
    /// Of the frames published, those that the decoder wrote into their slot itself.
    pub direct: u64,
    /// Packets that the container marks as damaged; they are decoded as far as possible.
    pub damaged_packets: u64,
    /// Packets that could not be decoded.
    pub decode_errors: u64,
    /// Frames published in which the decoder has concealed errors.
    pub concealed: u64,
    /// Times the source was played to its end.
    pub rounds: u64,
    /// Frames of a live source that newer ones replaced before they were published.
    pub skipped: u64,
    /// Cause of [`End::Lost`], without secrets.
    pub reason: Option<String>,
    /// From the first call to the end.
    pub elapsed: Duration,
    /// Reason of the end.
    pub end: End,
    /// Warnings for the user: a file that was cut off, packets that could not be decoded. Empty without
    /// problems.
    pub warnings: Vec<String>,
}
