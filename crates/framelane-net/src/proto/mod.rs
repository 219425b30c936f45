//! The link protocol without I/O: input is bytes and the time, output is messages and decisions.
//!
//! One connection carries one channel in one direction. The [`Source`] sends frames, the [`Sink`] receives
//! them. Either can be the client. `spec/link.md` specifies the protocol.
//!
//! # How latency is kept from growing
//! The sink grants *credits*, one for each frame that may be in flight. The source sends the newest frame
//! when it has a credit, and skips the frames that were published meanwhile. The number of credits decides
//! between idle links (too few) and queues in routers and sockets (too many): see [`window`].

mod clock;
#[cfg(test)]
mod examples;
mod frame_head;
mod handshake;
mod message;
mod parser;
#[cfg(test)]
mod simulation;
mod sink;
mod source;
mod window;
mod wire;

pub(crate) use clock::Clock;
pub(crate) use frame_head::FrameHead;
pub use handshake::Direction;
pub(crate) use handshake::{Challenge, ChannelRequest, Hello, Request};
pub(crate) use message::{ChannelState, MAGIC, MAX_BODY_BYTES, Message, Refusal, Welcome};
pub(crate) use parser::{Parser, Piece};
pub(crate) use sink::{Arrival, Sink};
pub(crate) use source::{Ready, Reply, Source};

use framelane::{Error, ErrorKind};

/// Returns the error for a peer that violated the protocol.
pub(crate) fn violation(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Damaged, format!("the peer breaks the link protocol: {what}"))
        .with_hint("check that it is a framelane of the same version; spec/link.md defines the protocol")
}
