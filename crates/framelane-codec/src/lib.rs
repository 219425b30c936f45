//! Frames to bytes and back, for links between machines: packed, by lz4, as JPEG, as H.264.
//!
//! ```
//! use framelane::{FrameInfo, Layout, PixelFormat};
//! use framelane_codec::{Decoder, Encoder};
//!
//! let codec = "lz4".parse()?;
//! let (mut encoder, mut decoder) = (Encoder::new(codec, None)?, Decoder::new(codec)?);
//! let layout = Layout::packed(PixelFormat::Bgr8, 64, 48)?;
//! let frame = vec![7; layout.size_bytes()];
//!
//! let mut payload = Vec::new();
//! let encoded = encoder.encode(&layout, &FrameInfo::default(), &frame, &mut payload)?;
//! let mut decoded = vec![0; encoded.layout.size_bytes()];
//! decoder.decode(&payload, &encoded.layout, &mut decoded)?;
//! assert_eq!(decoded, frame);
//! # Ok::<(), framelane::Error>(())
//! ```
//!
//! | codec | frames | what is lost |
//! |---|---|---|
//! | `raw`, `lz4` | all, matrices and detections too | the padding |
//! | `jpeg:80` | video formats; matrices of `u8` with 1, 3 or 4 channels | detail; alpha becomes 255; nv12, yuyv and p010 come out as i420, gray16 as gray8 |
//! | `h264:4M` | as `jpeg` | detail; alpha becomes 255; the lower bits of gray16 and p010 |
//!
//! # Trust
//! A payload may come from an untrusted peer: decoding it returns a picture of the layout asked for, or an
//! error of kind [`Damaged`](framelane::ErrorKind::Damaged). Memory follows the layout and the length of the
//! payload, never sizes that the payload claims.
//!
//! # Features
//! `video` (on by default) links FFmpeg, for H.264, for scaling, and for JPEG of the formats that it does not
//! know.

mod codec;
mod convert;
mod decoder;
mod encoder;
mod exif;
pub mod jpeg;
mod lz4;
mod planes;
#[cfg(framelane_testing)]
pub mod testing;

pub use codec::Codec;
pub use decoder::Decoder;
pub use encoder::{Encoded, Encoder, pack};
pub use planes::as_video;
