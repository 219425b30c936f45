//! JPEG frames over TCP: a line with the length, the JPEG, an answer.
//!
//! `protocol` has the bytes on the connection, without I/O; [`Outgoing`] and [`Incoming`] carry them over a
//! socket. JPEGs are not decoded here.

mod address;
mod idle_timeout;
mod incoming;
mod listener;
mod outgoing;
mod protocol;

pub use address::{Address, DEFAULT_PORT, SCHEME};
pub use incoming::Incoming;
pub use listener::Listener;
pub use outgoing::Outgoing;
pub use protocol::{ANSWER, Answers, FrameBuffer, LENGTH_BYTES, length_line};

#[cfg(framelane_testing)]
pub(crate) use protocol::check;
