//! JPEG frames over TCP: a line with the length, the JPEG, an answer.
//!
//! `protocol` is what travels, without I/O; [`Outgoing`] and [`Incoming`] carry it over a socket. A JPEG is
//! bytes here: nobody looks into it.

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
