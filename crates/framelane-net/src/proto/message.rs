//! Messages, and their bytes.

use framelane::internals::terminal;
use framelane::{Error, ErrorKind, Origin};

use super::frame_head::FrameHead;
use super::handshake::{Challenge, Hello, Request};
use super::violation;
use super::wire::{Reader, cut, put_text};

/// The first bytes of each side.
pub(crate) const MAGIC: [u8; 8] = *b"FRMLLINK";
/// Bytes of the head of every message.
pub(crate) const HEADER_BYTES: usize = 16;
/// The longest body. Payloads of frames follow it.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 10;
/// In a message's flags: a receiver that does not know the type ignores the message.
const OPTIONAL: u16 = 1;
/// The longest texts.
const MAX_CODEC_BYTES: usize = 64;
const MAX_REASON_BYTES: usize = 4096;
/// The longest part of a peer's text that is shown.
const MAX_SHOWN_BYTES: usize = 400;

/// The answer when the server agrees.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Welcome {
    /// Arrival of the request and sending of this message, on `CLOCK_REALTIME`.
    pub received_ns: u64,
    pub sent_ns: u64,
    pub max_payload: u64,
    /// Epoch and sequence of the last frame of this channel that the peer has; zeros: none.
    pub last: (u64, u64),
    /// Number of the machine, as in the request.
    pub machine: u64,
    /// The codec that frames will have.
    pub codec: String,
}

/// The answer when it is not; also the end of a link that was well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The number of an [`ErrorKind`].
    pub code: u32,
    /// True if it may be otherwise later.
    pub try_again: bool,
    pub message: String,
    pub hint: String,
}

impl Refusal {
    pub(crate) fn of(error: &Error, try_again: bool) -> Self {
        Refusal {
            code: error.code(),
            try_again,
            message: error.message().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
        }
    }

    /// Removes the texts: those of a peer that is not authenticated are neither shown nor logged.
    pub(crate) fn without_texts(self) -> Self {
        Refusal { message: String::new(), hint: String::new(), ..self }
    }

    pub(crate) fn into_error(self) -> Error {
        let kind = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == self.code);
        let kind = kind.unwrap_or(ErrorKind::SystemFailure);
        let message = shown(&self.message);
        if message.is_empty() {
            return of_unknown_peer(kind);
        }
        let error = Error::new(kind, format!("the peer reports: {message}"));
        match shown(&self.hint) {
            hint if hint.is_empty() => error,
            hint => error.with_hint(hint),
        }
    }
}

/// A peer's text for a terminal: without the characters that move the cursor or turn the text around, and not
/// all of it if it is long.
fn shown(text: &str) -> String {
    let clean: String = text.chars().filter(|&c| !terminal::changes_terminal(c)).collect();
    match cut(&clean, MAX_SHOWN_BYTES) {
        part if part.len() < clean.len() => format!("{part}…"),
        whole => whole.to_owned(),
    }
}

/// The reason of an unauthenticated peer: the number that it sent, in our own words.
fn of_unknown_peer(kind: ErrorKind) -> Error {
    let hint = match kind {
        ErrorKind::PermissionDenied => {
            "check the token or certificate of the client, and `framelane identity list` and `serve --read --write` on the \
             server"
        }
        _ => "read the peer's log, which has the details",
    };
    Error::new(
        kind,
        format!(
            "the peer ended the link with the reason {:?} (its text is hidden because it is not \
             authenticated)",
            kind.name()
        ),
    )
    .with_hint(hint)
}

/// State of the channel at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelState {
    /// The channel has no publisher.
    Waiting,
    /// The channel has a publisher.
    Live,
    /// The channel was closed. It may be published again.
    Closed,
}

/// Everything that crosses a link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
    Challenge(Challenge),
    Request(Request),
    Welcome(Welcome),
    Refused(Refusal),
    /// A frame; its payload follows.
    Frame(Box<FrameHead>, u64),
    /// So many frames may have been sent in all, since the link began.
    Credit(u64),
    Ping {
        sent_ns: u64,
    },
    Pong {
        ping_sent_ns: u64,
        received_ns: u64,
        sent_ns: u64,
    },
    State(ChannelState),
    /// Epoch of the publisher of the following frames, and the last sequence before it. Another pair than
    /// before announces another publisher.
    Life(Origin),
    /// Send a keyframe next: the last payload could not be decoded.
    Keyframe,
    /// A message of a later version that may be ignored.
    Unknown,
}

impl Message {
    /// The name in `spec/link.md`, shown instead of the fields: they may hold text of an unauthenticated
    /// peer.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "HELLO",
            Message::Challenge(_) => "CHALLENGE",
            Message::Request(_) => "REQUEST",
            Message::Welcome(_) => "WELCOME",
            Message::Refused(_) => "REFUSED",
            Message::Frame(..) => "FRAME",
            Message::Credit(_) => "CREDIT",
            Message::Ping { .. } => "PING",
            Message::Pong { .. } => "PONG",
            Message::State(_) => "STATE",
            Message::Life(_) => "LIFE",
            Message::Keyframe => "KEYFRAME",
            Message::Unknown => "a message of an unknown type",
        }
    }

    fn number(&self) -> (u16, u16) {
        match self {
            Message::Hello(_) => (1, 0),
            Message::Welcome(_) => (2, 0),
            Message::Refused(_) => (3, 0),
            Message::Frame(..) => (4, 0),
            Message::Credit(_) => (5, 0),
            Message::Ping { .. } => (6, 0),
            Message::Pong { .. } => (7, 0),
            Message::State(_) => (8, 0),
            Message::Keyframe => (9, 0),
            Message::Challenge(_) => (10, 0),
            Message::Request(_) => (11, 0),
            Message::Life(_) => (12, OPTIONAL),
            Message::Unknown => (u16::MAX, OPTIONAL),
        }
    }

    /// Appends the bytes; of a frame, those without its payload.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let (number, flags) = self.number();
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let payload_bytes = if let Message::Frame(_, payload_bytes) = self { *payload_bytes } else { 0 };
        bytes.extend_from_slice(&payload_bytes.to_le_bytes());
        self.encode_body(bytes);
        let body_bytes = (bytes.len() - start - HEADER_BYTES) as u32;
        bytes[start + 4..start + 8].copy_from_slice(&body_bytes.to_le_bytes());
    }

    fn encode_body(&self, bytes: &mut Vec<u8>) {
        match self {
            Message::Hello(hello) => hello.encode(bytes),
            Message::Challenge(challenge) => challenge.encode(bytes),
            Message::Request(request) => {
                bytes.extend_from_slice(&request.proof);
                bytes.extend_from_slice(&request.body);
            }
            Message::Welcome(welcome) => {
                let last = welcome.last;
                for word in [
                    welcome.received_ns,
                    welcome.sent_ns,
                    welcome.max_payload,
                    last.0,
                    last.1,
                    welcome.machine,
                ] {
                    bytes.extend_from_slice(&word.to_le_bytes());
                }
                put_text(bytes, &welcome.codec);
            }
            Message::Refused(refusal) => {
                bytes.extend_from_slice(&refusal.code.to_le_bytes());
                bytes.extend_from_slice(&u32::from(refusal.try_again).to_le_bytes());
                for text in [&refusal.message, &refusal.hint] {
                    put_text(bytes, cut(text, MAX_REASON_BYTES));
                }
            }
            Message::Frame(head, _) => head.encode(bytes),
            Message::Credit(total) => bytes.extend_from_slice(&total.to_le_bytes()),
            Message::Ping { sent_ns } => bytes.extend_from_slice(&sent_ns.to_le_bytes()),
            Message::Pong { ping_sent_ns, received_ns, sent_ns } => {
                for word in [ping_sent_ns, received_ns, sent_ns] {
                    bytes.extend_from_slice(&word.to_le_bytes());
                }
            }
            Message::State(state) => bytes.extend_from_slice(&(*state as u32).to_le_bytes()),
            Message::Life(Origin { epoch, sequence }) => {
                bytes.extend_from_slice(&epoch.to_le_bytes());
                bytes.extend_from_slice(&sequence.to_le_bytes());
            }
            Message::Keyframe | Message::Unknown => {}
        }
    }

    /// Reads a message whose head has been [checked](Head::read).
    pub(super) fn decode(head: Head, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(body);
        Ok(match head.number {
            1 => Message::Hello(Hello::decode(&mut reader)?),
            2 => Message::Welcome(Welcome {
                received_ns: reader.u64(),
                sent_ns: reader.u64(),
                max_payload: reader.u64(),
                last: (reader.u64(), reader.u64()),
                machine: reader.u64(),
                codec: reader.text(MAX_CODEC_BYTES)?.to_owned(),
            }),
            3 => Message::Refused(Refusal {
                code: reader.u32(),
                try_again: reader.u32() != 0,
                message: reader.text(MAX_REASON_BYTES)?.to_owned(),
                hint: reader.text(MAX_REASON_BYTES)?.to_owned(),
            }),
            4 => Message::Frame(Box::new(FrameHead::decode(&mut reader)?), head.payload_bytes),
            5 => Message::Credit(reader.u64()),
            6 => Message::Ping { sent_ns: reader.u64() },
            7 => {
                Message::Pong { ping_sent_ns: reader.u64(), received_ns: reader.u64(), sent_ns: reader.u64() }
            }
            8 => Message::State(match reader.u32() {
                0 => ChannelState::Waiting,
                1 => ChannelState::Live,
                2 => ChannelState::Closed,
                other => {
                    return Err(violation(format_args!(
                        "expected a channel's state of 0 to 2, found {other}"
                    )));
                }
            }),
            9 => Message::Keyframe,
            10 => Message::Challenge(Challenge::decode(&mut reader)?),
            11 => Message::Request(Request { proof: reader.bytes(), body: reader.0.to_vec() }),
            12 => Message::Life(Origin { epoch: reader.u64(), sequence: reader.u64() }),
            _ => Message::Unknown,
        })
    }
}

/// The first bytes of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    number: u16,
    pub(super) body_bytes: usize,
    pub(super) payload_bytes: u64,
}

impl Head {
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        let (number, flags) = (reader.u16(), reader.u16());
        let (body_bytes, payload_bytes) = (reader.u32() as usize, reader.u64());
        if body_bytes > MAX_BODY_BYTES {
            return Err(violation(format_args!(
                "expected a message of at most {MAX_BODY_BYTES} bytes, found one of {body_bytes}"
            )));
        }
        if !(1..=11).contains(&number) && flags & OPTIONAL == 0 {
            return Err(violation(format_args!("expected a message of type 1 to 11, found type {number}")));
        }
        if payload_bytes != 0 && number != 4 {
            return Err(violation(format_args!(
                "expected a payload with frames only, found one with type {number}"
            )));
        }
        Ok(Head { number, body_bytes, payload_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_of_a_peer_does_nothing_to_a_terminal() {
        let text = "\u{1b}]0;title\u{7}red\u{9b}31m \u{202e}back\u{2066}\u{61c}\u{e0041}\r\nä".to_owned();
        let refusal = Refusal { code: 5, try_again: false, message: text.clone(), hint: text };
        let error = refusal.into_error();
        assert_eq!(error.message(), "the peer reports: ]0;titlered31m backä");
        assert_eq!(error.hint(), Some("]0;titlered31m backä"));
    }

    #[test]
    fn long_reason_of_a_peer_is_cut() {
        let text = "ä".repeat(2000);
        let refusal = Refusal { code: 5, try_again: false, message: text.clone(), hint: text };
        let error = refusal.into_error();
        assert!(error.to_string().len() < 1000, "{}", error.to_string().len());
        assert!(error.message().ends_with('…'), "{error}");
    }

    #[test]
    fn reason_of_a_stranger_is_only_its_number() {
        let refusal =
            Refusal { code: 2, try_again: true, message: "words".to_owned(), hint: "more".to_owned() };
        let error = refusal.without_texts().into_error();
        assert_eq!(error.kind(), ErrorKind::ChannelBusy);
        assert!(error.message().contains("channel_busy") && error.hint().is_some(), "{error}");
        assert!(!error.to_string().contains("words") && !error.to_string().contains("more"), "{error}");
    }
}
