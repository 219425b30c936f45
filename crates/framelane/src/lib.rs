//! Live video frames between processes and between languages.

mod error;
mod format;
mod frame;

pub use error::{Error, ErrorKind};
pub use format::{Depth, MatrixType, PixelFormat};
pub use frame::{Color, ColorRange, FrameInfo, Layout, MAX_FRAME_BYTES, Plane};
mod ring;
