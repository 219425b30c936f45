//! One frame in a named mapping: a header of 12 bytes, then the pixels.

mod address;
mod header;
mod reader;
mod writer;

pub use address::{Address, SCHEME};
pub use header::{HEADER_BYTES, Header};
pub use reader::{Confirmed, Look, Reader};
pub use writer::{Made, Writer};
