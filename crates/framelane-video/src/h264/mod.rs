//! Frames to packets of H.264 and back, one packet a frame, without delay.

mod decoder;
mod encoder;
mod packet;

use framelane::{Error, ErrorKind, Layout};

pub use decoder::H264Decoder;
pub use encoder::H264Encoder;

/// The longest side that libx264 takes.
const MOST_SIDE: u32 = 16_384;

/// Refuses sides that H.264 cannot have, before they reach FFmpeg as C integers.
fn check_sides(layout: &Layout) -> Result<(), Error> {
    let (width, height) = (layout.width(), layout.height());
    if width.max(height) <= MOST_SIDE {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::FrameTooLarge,
        format!("expected sides of at most {MOST_SIDE} pixels for H.264, found {width}x{height}"),
    )
    .with_hint("use lz4, or a smaller size"))
}
