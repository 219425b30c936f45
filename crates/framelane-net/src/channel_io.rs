//! Messages over a stream.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};

use crate::proto::{MAGIC, MAX_BODY_BYTES, Message, Parser, Piece, Refusal, violation};
use crate::stream::Stream;

/// The longest wait between two checks for the end of a link.
pub(crate) const END_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The hint of a lost connection.
const NETWORK_HINT: &str = "check the network, and what the other side reports";

/// Why a link ended, and whether a new one may do better.
#[derive(Debug)]
pub(crate) struct Fault {
    pub error: Error,
    pub try_again: bool,
    /// Of this machine's own files and processes: not for the other side's eyes.
    pub private: bool,
}

impl Fault {
    pub(crate) fn lasting(error: Error) -> Self {
        Fault { error, try_again: false, private: false }
    }

    pub(crate) fn passing(error: Error) -> Self {
        Fault { error, try_again: true, private: false }
    }

    /// An error with this machine's channel.
    pub(crate) fn private(error: Error, try_again: bool) -> Self {
        Fault { error, try_again, private: true }
    }

    /// What the other side is told.
    pub(crate) fn refusal(&self) -> Refusal {
        let try_again = self.try_again || self.error.kind() == ErrorKind::Interrupted;
        if !self.private {
            return Refusal::of(&self.error, try_again);
        }
        let kind = self.error.kind();
        let told = Error::new(kind, kind.meaning().trim_end_matches('.'));
        Refusal::of(&told.with_hint("the output there says which"), try_again)
    }

    pub(crate) fn lost(peer: &str) -> Self {
        Fault::passing(
            Error::new(ErrorKind::SystemFailure, format!("{peer} has closed the connection"))
                .with_hint(NETWORK_HINT),
        )
    }

    pub(crate) fn silent(peer: &str, idle_timeout: Duration) -> Self {
        Fault::passing(
            Error::new(
                ErrorKind::Timeout,
                format!("nothing was heard of {peer} for {} s", idle_timeout.as_secs_f64()),
            )
            .with_hint("check the network; idle-timeout= allows for longer silence"),
        )
    }

    pub(crate) fn stopped() -> Self {
        Fault::lasting(Error::new(ErrorKind::Interrupted, "asked to end"))
    }

    /// Whether this is [`Fault::stopped`], and not what the other side says when somebody has stopped it.
    pub(crate) fn is_stop(&self) -> bool {
        self.error.kind() == ErrorKind::Interrupted && !self.try_again
    }

    pub(crate) fn io(peer: &str, error: io::Error) -> Self {
        let error = Error::from_io(format!("the connection with {peer}"), error);
        // The system's own advice is for this machine, as when it has no memory.
        let has_hint = error.hint().is_some();
        Fault::passing(if has_hint { error } else { error.with_hint(NETWORK_HINT) })
    }
}

/// Set once, when a link is to end; with why.
#[derive(Debug, Default)]
pub(crate) struct Ended(AtomicBool);

impl Ended {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Sends all of `bytes`, asking `keep` whether to go on while there are more. `Ok`: all of them have gone,
/// however the other side has taken them.
pub(crate) fn write_all(
    stream: &dyn Stream,
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
    stream: &dyn Stream,
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
    stream: &dyn Stream,
    message: &Message,
    peer: &str,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut bytes = Vec::with_capacity(64);
    message.encode(&mut bytes);
    write_all(stream, &bytes, false, peer, keep)
}

/// The messages that come over a stream.
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

    /// The peer has proved who it is: the texts of its refusals are passed on.
    pub(crate) fn authenticated(&mut self) {
        self.is_authenticated = true;
    }

    /// The next message, if one comes within `timeout`. A part of it may come, and waits for the rest.
    pub(crate) fn next(
        &mut self,
        stream: &dyn Stream,
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
        stream: &dyn Stream,
        peer: &str,
        deadline: Instant,
        keep: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Message, Fault> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::passing(
                    Error::new(ErrorKind::Timeout, format!("{peer} did not say in time what it wants"))
                        .with_hint("check that a framelane of the same version is on the other side"),
                ));
            }
            if let Some(message) = self.next(stream, peer, left.min(END_POLL_INTERVAL))? {
                return Ok(message);
            }
            keep()?;
        }
    }
}

/// What opens the conversation of one side: the magic bytes and the first message.
pub(crate) fn opening(message: &Message) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    message.encode(&mut bytes);
    bytes
}

/// What came where something else was expected.
pub(crate) fn unexpected(expected: &str, found: &Message) -> Fault {
    match found {
        Message::Refused(refusal) => {
            Fault { try_again: refusal.try_again, error: refusal.clone().into_error(), private: false }
        }
        found => Fault::lasting(violation(format_args!("expected {expected}, found {}", found.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connection_has_a_hint_for_networks() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for fault in [Fault::lost("10.0.0.5:4000"), Fault::io("10.0.0.5:4000", reset())] {
            let text = fault.error.to_string();
            assert!(text.contains("the network") && !text.contains("doctor"), "{text}");
        }
        let full = Fault::io("10.0.0.5:4000", io::Error::from(rustix::io::Errno::NOMEM));
        assert!(full.error.advice().contains("free memory"), "{:?}", full.error);
    }
}
