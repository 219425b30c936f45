//! Video files, network streams, cameras and a test pattern into framelane channels, by the system's FFmpeg.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use framelane::{PixelFormat, PublisherOptions};
//! use framelane_video::{Rate, SourceOptions};
//!
//! let mut source = SourceOptions::new().format(PixelFormat::Bgr8).rate(Rate::Realtime).open("film.mp4")?;
//! let mut publisher = PublisherOptions::new().slots(source.slots_needed(6)).create("cam0")?;
//! let summary = source.publish_to(&mut publisher, &mut |progress| {
//!     println!("frame {:?} at {:?} ns", progress.sequence, progress.info.pts_ns);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} frames, {} dropped, {:?}", summary.frames, summary.dropped, summary.warnings);
//! # Ok::<(), framelane::Error>(())
//! ```
//!
//! # Copies
//! i420, or nv12 from a decoder that returns nv12, without scaling: the decoder writes into the slot that
//! readers read (H.264, HEVC, VP8, VP9, MPEG-1 and MPEG-2; [`Summary::direct`] counts these frames).
//! Everything else is converted once, from the decoder's memory into the slot, while the next pictures are
//! decoded on the other cores.
//!
//! # Colour
//! The matrix and the range of the stream are honoured; where it names no matrix, BT.601 is assumed, as the
//! `ffmpeg` program does. RGB and gray formats come out as full range; between YUV formats matrix and range
//! stay as they are. [`FrameInfo::color`](framelane::FrameInfo::color) says what was published.
//!
//! # Orientation
//! Pictures are published upright: a display matrix of the stream or of a picture, and the EXIF orientation
//! of a JPEG, are applied to the pixels, mirror images included. The pixels equal those of `ffmpeg -i`.
//! [`SourceOptions::rotate`] with [`Rotate::None`] leaves them as they are coded, with the rotation in
//! [`FrameInfo::rotation_degrees`](framelane::FrameInfo::rotation_degrees). `FrameInfo` has no field for a
//! mirror image.
//!
//! # Times
//! [`FrameInfo::pts_ns`](framelane::FrameInfo::pts_ns) is the position in the media from its start, for
//! streams with a variable rate too; it goes on growing when the source is repeated.
//!
//! # Events
//! Sources emit events of the [`tracing`](https://docs.rs/tracing) crate: connected, lost (with the time until the
//! next attempt) and ended, and at level `DEBUG` each frame that is dropped. Without a subscriber of
//! `tracing` nothing is formatted.

mod conflicts;
mod connection;
mod convert;
mod decode;
mod emit;
mod feed;
mod ffmpeg;
mod h264;
mod interrupt;
mod live;
mod media;
mod opening;
mod options;
mod pace;
mod progress;
mod queue;
mod raw;
mod references;
mod sink;
mod source;
mod stdin;
mod testsrc;
mod upright;

pub use convert::Converter;
pub use ffmpeg::libavcodec_version;
pub use ffmpeg::orientation::Orientation;
pub use h264::{H264Decoder, H264Encoder};
pub use options::{Rate, RawFormat, Repeat, Rotate, SourceOptions};
pub use progress::{End, Progress, SourceEvent, SourceInfo, Summary};
pub use source::Source;

/// Internals for the fuzz targets.
#[cfg(framelane_testing)]
pub mod testing {
    /// Size and rate of a `testsrc=…`.
    ///
    /// # Errors
    /// As for [`SourceOptions::open`](crate::SourceOptions::open).
    pub fn testsrc(source: &str) -> Result<(Option<(u32, u32)>, f64), framelane::Error> {
        crate::testsrc::parse(source)
    }
}
