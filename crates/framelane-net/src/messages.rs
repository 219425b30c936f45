//! Messages over a transport.

use std::io;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};

use crate::fault::Fault;
use crate::proto::{MAGIC, MAX_BODY_BYTES, Message, Parser, Piece, violation};
use crate::transport::{END_POLL_INTERVAL, Transport};

/// Sends all of `bytes`, asking `keep` whether to continue while there are more. `Ok`: all of them were sent,
/// which does not mean that the peer accepted them.
pub(crate) fn write_all(
    stream: &dyn Transport,
    mut bytes: &[u8],
    more: bool,
    peer: &str,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !bytes.is_empty() {
        match stream.write(bytes, more, END_POLL_INTERVAL) {
            Ok(0) => return Err(Fault::lost(peer)),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Fault::io(peer, error)),
        }
        if !bytes.is_empty() {
            keep()?;
        }
    }
    if more { Ok(()) } else { flush(stream, peer, keep) }
}

pub(crate) fn flush(
    stream: &dyn Transport,
    peer: &str,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        match stream.flush(END_POLL_INTERVAL) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => keep()?,
            Err(error) => return Err(Fault::io(peer, error)),
        }
    }
}

/// Sends a message that has no payload.
pub(crate) fn send(
    stream: &dyn Transport,
    message: &Message,
    peer: &str,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut bytes = Vec::with_capacity(64);
    message.encode(&mut bytes);
    write_all(stream, &bytes, false, peer, keep)
}

/// Reads messages from a stream.
pub(crate) struct MessageReader {
    parser: Parser,
    bytes: Box<[u8]>,
    is_authenticated: bool,
}

impl MessageReader {
    pub(crate) fn new() -> Self {
        MessageReader {
            parser: Parser::new(),
            bytes: vec![0; MAX_BODY_BYTES].into(),
            is_authenticated: false,
        }
    }

    /// The peer is authenticated: the texts of its refusals are passed on.
    pub(crate) fn authenticated(&mut self) {
        self.is_authenticated = true;
    }

    /// Returns the next message, if one arrives within `timeout`. An incomplete message is kept for the next
    /// call.
    pub(crate) fn next(
        &mut self,
        stream: &dyn Transport,
        peer: &str,
        timeout: Duration,
    ) -> Result<Option<Message>, Fault> {
        let deadline = Instant::now() + timeout;
        loop {
            let wanted = self.parser.wanted();
            let left = deadline.saturating_duration_since(Instant::now());
            let len = match stream.read(&mut self.bytes[..wanted], left) {
                Ok(0) => return Err(Fault::lost(peer)),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Fault::lost(peer)),
                Err(error) => return Err(Fault::io(peer, error)),
            };
            match self.parser.feed(&self.bytes[..len]).map_err(Fault::lasting)? {
                Piece::More => {}
                Piece::Message(Message::Refused(refusal)) if !self.is_authenticated => {
                    return Ok(Some(Message::Refused(refusal.without_texts())));
                }
                Piece::Message(message) => return Ok(Some(message)),
            }
        }
    }

    /// The one message that is expected before `deadline`.
    pub(crate) fn expect(
        &mut self,
        stream: &dyn Transport,
        peer: &str,
        deadline: Instant,
        keep: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Message, Fault> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::passing(
                    Error::new(ErrorKind::Timeout, format!("{peer} sent no request in time"))
                        .with_hint("check that the peer runs the same version of framelane"),
                ));
            }
            if let Some(message) = self.next(stream, peer, left.min(END_POLL_INTERVAL))? {
                return Ok(message);
            }
            keep()?;
        }
    }
}

/// Returns the start of a side's messages: the magic bytes and the first message.
pub(crate) fn opening(message: &Message) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    message.encode(&mut bytes);
    bytes
}

/// Returns the fault for a message that was received instead of another one.
pub(crate) fn unexpected(expected: &str, found: &Message) -> Fault {
    match found {
        Message::Refused(refusal) => {
            Fault { try_again: refusal.try_again, error: refusal.clone().into_error(), private: false }
        }
        found => Fault::lasting(violation(format_args!("expected {expected}, found {}", found.name()))),
    }
}
