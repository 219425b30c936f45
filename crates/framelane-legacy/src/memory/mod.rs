//! One frame in a named mapping: a header of 12 bytes, then the pixels.

mod address;
mod header;
mod owner;
mod place;
mod reader;
mod writer;
mod writers;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::OFlags;

/// Flags for opening a file with the name of a mapping: no symbolic link, and no wait if it is a FIFO.
const NO_SURPRISE: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).bits() as i32;

/// Returns true if two looks saw the same file.
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

pub use address::{Address, SCHEME};
pub use header::{HEADER_BYTES, Header, OpenCv};
pub use owner::Owner;
pub use reader::{Poll, Reader};
pub use writer::{Made, Writer};
