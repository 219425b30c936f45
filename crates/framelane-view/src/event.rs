//! Events of a window, for the program that shows it.

use std::path::PathBuf;
use std::time::Duration;

/// Events of a window. Names of channels have no secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ViewEvent {
    /// The window exists.
    Opened {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// `x11` or `wayland`.
        system: &'static str,
    },
    /// The channel does not exist, or has no publisher.
    Waiting {
        /// Channel or URL.
        channel: String,
    },
    /// The channel has frames, after [`ViewEvent::Waiting`], [`ViewEvent::Stalled`] or [`ViewEvent::Failed`].
    Live {
        /// Channel or URL.
        channel: String,
    },
    /// The publisher lives and sends no frames.
    Stalled {
        /// Channel or URL.
        channel: String,
        /// Time since the newest frame.
        time: Duration,
    },
    /// The channel cannot be shown. It is tried again.
    Failed {
        /// Channel or URL.
        channel: String,
        /// The cause.
        cause: String,
    },
    /// The size or the format of the frames, with the first frame and after changes.
    Format {
        /// Channel or URL.
        channel: String,
        /// Width of a frame in pixels.
        width: u32,
        /// Height of a frame in pixels.
        height: u32,
        /// Pixel format of a frame.
        format: String,
    },
    /// Counts of the last second.
    Statistics {
        /// Channel or URL.
        channel: String,
        /// Time that was counted.
        time: Duration,
        /// Frames that the channel delivered.
        received: u64,
        /// Pictures that the window showed.
        shown: u64,
        /// Frames of the channel that were not delivered.
        dropped: u64,
        /// From the capture until the display server has the picture. `None` without pictures.
        latency: Option<Latency>,
    },
    /// A picture was saved.
    Saved {
        /// Channel or URL.
        channel: String,
        /// Sequence of the frame.
        sequence: u64,
        /// The new file.
        path: PathBuf,
    },
    /// A picture could not be saved.
    NotSaved {
        /// Channel or URL.
        channel: String,
        /// The cause.
        cause: String,
    },
    /// The frames stand still.
    Paused,
    /// The frames move again.
    Resumed,
}

/// Latencies, as percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Median in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile in nanoseconds.
    pub p99_ns: u64,
    /// Longest in nanoseconds.
    pub max_ns: u64,
}

/// Counts of all channels, from the start to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewSummary {
    /// Frames that the channels delivered.
    pub received: u64,
    /// Pictures that the window showed.
    pub shown: u64,
    /// Frames of the channels that were not delivered.
    pub dropped: u64,
}
