//! Bytes to messages, in pieces of any size.

use framelane::Error;

use super::message::{HEADER_BYTES, Head, MAGIC, Message};
use super::violation;

/// Result of the bytes so far.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// [`Parser::wanted`] more bytes are needed.
    More,
    Message(Message),
}

#[derive(Debug)]
enum Step {
    Magic,
    Head,
    Body(Head),
}

/// Reads the messages of one direction of a link. It does not read the payloads of frames: the caller that
/// gets [`Message::Frame`] takes as many bytes off the stream before it continues here.
///
/// Holds at most one body, which is bounded.
#[derive(Debug)]
pub(crate) struct Parser {
    step: Step,
    bytes: Vec<u8>,
}

impl Parser {
    pub(crate) fn new() -> Self {
        Parser { step: Step::Magic, bytes: Vec::new() }
    }

    /// Returns the number of bytes wanted next. They may be passed at once or in parts, and no more of them.
    pub(crate) fn wanted(&self) -> usize {
        self.total() - self.bytes.len()
    }

    fn total(&self) -> usize {
        match &self.step {
            Step::Magic => MAGIC.len(),
            Step::Head => HEADER_BYTES,
            Step::Body(head) => head.body_bytes,
        }
    }

    /// Takes up to [`Parser::wanted`] bytes.
    ///
    /// # Errors
    /// When the peer violates the protocol; the stream is unusable then.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Piece, Error> {
        assert!(bytes.len() <= self.wanted(), "more than was wanted");
        self.bytes.extend_from_slice(bytes);
        loop {
            if let Step::Magic = self.step
                && !MAGIC.starts_with(&self.bytes)
            {
                return Err(stranger(&self.bytes));
            }
            if self.wanted() > 0 {
                return Ok(Piece::More);
            }
            match self.step {
                Step::Magic => self.step = Step::Head,
                Step::Head => {
                    let head = self.bytes.as_slice().try_into().expect("as many as were wanted");
                    self.step = Step::Body(Head::read(head)?);
                }
                Step::Body(head) => {
                    let message = Message::decode(head, &self.bytes)?;
                    self.bytes.clear();
                    self.step = Step::Head;
                    return Ok(Piece::Message(message));
                }
            }
            self.bytes.clear();
        }
    }
}

/// Names the protocol of a peer that does not start as a link does.
fn stranger(bytes: &[u8]) -> Error {
    // In numbers: text of an unauthenticated peer is not shown.
    let shown: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let error = violation(format_args!("expected FRMLLINK, found the bytes {}", shown.join(" ")));
    match bytes {
        // A TLS record: a handshake, or an alert.
        [0x15 | 0x16, ..] => error.with_hint(
            "it speaks TLS (tls://) and this side does not (tcp://): use tls:// in the address of the client and in \
             that on which the server listens, or in neither",
        ),
        [b'G' | b'P' | b'H' | b'O', ..] => {
            error.with_hint("it looks like HTTP: check the port; framelane listens on 7420 by default")
        }
        _ => error.with_hint("check the host and the port; `framelane serve` listens on 7420 by default"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::MAX_BODY_BYTES;
    use crate::proto::examples::messages;

    #[test]
    fn messages_come_back_whatever_the_pieces_are() {
        let mut bytes = MAGIC.to_vec();
        for message in messages() {
            message.encode(&mut bytes);
        }
        for piece in [1, 2, 3, 7, 16, 1000] {
            let (mut parser, mut rest, mut found) = (Parser::new(), bytes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(piece.min(parser.wanted()).min(rest.len()));
                if let Piece::Message(message) = parser.feed(now).unwrap() {
                    found.push(message);
                }
                rest = later;
            }
            assert_eq!(found, messages());
            assert!(matches!(parser.step, Step::Head) && parser.bytes.is_empty());
        }
    }

    #[test]
    fn wrong_magic_is_refused_at_first_byte_naming_the_protocol() {
        for (bytes, guess) in [
            (&b"\x16\x03\x01"[..], "this side does not (tcp://)"),
            (b"GET / HT", "HTTP"),
            (b"FRMLCTRL", "port"),
            (b"\0", "port"),
        ] {
            let wrong = bytes.iter().zip(MAGIC).position(|(a, b)| *a != b).unwrap();
            let mut parser = Parser::new();
            for byte in &bytes[..wrong] {
                assert_eq!(parser.feed(&[*byte]).unwrap(), Piece::More);
            }
            let error = parser.feed(&bytes[wrong..=wrong]).unwrap_err();
            assert!(error.hint().unwrap().contains(guess), "{error}");
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused_by_its_head() {
        let head = |number: u16, flags: u16, body: u32, payload: u64| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
            bytes.extend_from_slice(&body.to_le_bytes());
            bytes.extend_from_slice(&payload.to_le_bytes());
            let mut parser = Parser::new();
            parser.feed(&bytes[..8]).unwrap();
            parser.feed(&bytes[8..])
        };
        assert!(head(5, 0, MAX_BODY_BYTES as u32 + 1, 0).is_err());
        assert!(head(5, 0, 8, 1).is_err(), "a payload without a frame");
        assert!(head(77, 0, 0, 0).is_err(), "a type that must be known");
        assert_eq!(head(77, 1, 0, 0).unwrap(), Piece::Message(Message::Unknown));
        assert!(head(1, 0, u32::MAX, u64::MAX).is_err());
    }

    #[test]
    fn another_major_version_is_named() {
        let mut bytes = MAGIC.to_vec();
        messages()[0].encode(&mut bytes);
        bytes[8 + HEADER_BYTES] = 2;
        let mut parser = Parser::new();
        for part in [8, HEADER_BYTES] {
            let (now, later) = bytes.split_at(part);
            parser.feed(now).unwrap();
            bytes = later.to_vec();
        }
        let error = parser.feed(&bytes).unwrap_err();
        assert!(error.message().contains("version 2.1") && error.message().contains("1.1"), "{error}");
    }

    #[test]
    fn earlier_minor_version_is_refused() {
        let mut bytes = MAGIC.to_vec();
        messages()[0].encode(&mut bytes);
        bytes[8 + HEADER_BYTES + 2] = 0;
        let mut parser = Parser::new();
        for part in [8, HEADER_BYTES] {
            let (now, later) = bytes.split_at(part);
            parser.feed(now).unwrap();
            bytes = later.to_vec();
        }
        let error = parser.feed(&bytes).unwrap_err();
        assert_eq!(error.kind(), framelane::ErrorKind::IncompatibleVersion);
        assert!(error.message().contains("version 1.0"), "{error}");
    }
}
