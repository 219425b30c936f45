//! Messages, and their bytes.

use std::fmt;

use framelane::{Error, ErrorKind, Mode};

use super::frame_head::FrameHead;
use super::violation;
use super::wire::{Reader, cut, put_text};

/// What each side sends first.
pub(crate) const MAGIC: [u8; 8] = *b"FRMLLINK";
/// Changed when an old program would misread the messages; and when something is added.
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
/// Bytes of the head of every message.
pub(crate) const HEADER_BYTES: usize = 16;
/// The longest body. Payloads of frames come after it.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 10;
/// In a message's flags: whoever does not know the type may pass over it.
const OPTIONAL: u16 = 1;
/// The longest texts.
const MAX_CHANNEL_BYTES: usize = 200;
const MAX_CODEC_BYTES: usize = 64;
const MAX_TOKEN_BYTES: usize = 256;
const MAX_REASON_BYTES: usize = 4096;

/// What the one who has connected wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To get frames.
    Receive,
    /// To bring frames.
    Send,
}

/// The first message of whoever has connected.
#[derive(Clone, PartialEq)]
pub(crate) struct Hello {
    pub direction: Direction,
    pub mode: Mode,
    /// Frames of one second at most, in thousandths; 0: all.
    pub max_milli_fps: u32,
    /// Scale to this; 0, 0: as they are.
    pub size: (u32, u32),
    /// The longest payload that the sender of this takes.
    pub max_payload: u64,
    /// Epoch and sequence of the last frame that it has; zeros: none.
    pub last: (u64, u64),
    /// `CLOCK_REALTIME` of the sending.
    pub sent_ns: u64,
    /// A number of the machine since it was started; the same on both sides: they share their clocks. 0: not known.
    pub machine: u64,
    pub channel: String,
    pub codec: String,
    /// Empty: none.
    pub token: String,
}

/// A token is nobody's business.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("direction", &self.direction)
            .field("channel", &self.channel)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

/// The answer when all is well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Welcome {
    /// When the hello came and when this went, on `CLOCK_REALTIME`.
    pub received_ns: u64,
    pub sent_ns: u64,
    pub max_payload: u64,
    /// Epoch and sequence of the last frame of this channel that the other side has; zeros: none.
    pub last: (u64, u64),
    /// As in the hello.
    pub machine: u64,
    /// The codec that frames will have.
    pub codec: String,
}

/// The answer when it is not; also the end of a link that was well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The number of an [`ErrorKind`].
    pub code: u32,
    /// Whether it may be otherwise later.
    pub try_again: bool,
    pub message: String,
    pub remedy: String,
}

impl Refusal {
    pub(crate) fn of(error: &Error, try_again: bool) -> Self {
        Refusal {
            code: error.code(),
            try_again,
            message: error.message().to_owned(),
            remedy: error.remedy().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        let kind = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == self.code);
        let kind = kind.unwrap_or(ErrorKind::Io);
        // Not trusted: it is printed on a terminal, where some characters move the cursor and others turn the text around.
        let is_shown = |c: &char| {
            let changes_others = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
            !c.is_control() && !changes_others
        };
        let clean = |text: String| text.chars().filter(is_shown).collect::<String>();
        let error = Error::new(kind, format!("the other side says: {}", clean(self.message)));
        match clean(self.remedy) {
            remedy if remedy.is_empty() => error,
            remedy => error.with_remedy(remedy),
        }
    }
}

/// Whether there are frames to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelState {
    /// Nobody publishes the channel now.
    Waiting,
    /// Somebody does.
    Live,
    /// It was closed; it may come again.
    Closed,
}

/// Everything that crosses a link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
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
    /// Begin anew with the next frame: what came cannot be decoded.
    Keyframe,
    /// Something that a later version has added and that may be passed over.
    Unknown,
}

impl Message {
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
            Message::Hello(hello) => {
                bytes.extend_from_slice(&MAJOR.to_le_bytes());
                bytes.extend_from_slice(&MINOR.to_le_bytes());
                let direction = if hello.direction == Direction::Receive { 1 } else { 2 };
                bytes.extend_from_slice(&[direction, hello.mode as u8, 0, 0]);
                for word in [hello.max_milli_fps, hello.size.0, hello.size.1, 0] {
                    bytes.extend_from_slice(&word.to_le_bytes());
                }
                for word in [hello.max_payload, hello.last.0, hello.last.1, hello.sent_ns, hello.machine] {
                    bytes.extend_from_slice(&word.to_le_bytes());
                }
                for text in [&hello.channel, &hello.codec, &hello.token] {
                    put_text(bytes, text);
                }
            }
            Message::Welcome(welcome) => {
                bytes.extend_from_slice(&MAJOR.to_le_bytes());
                bytes.extend_from_slice(&MINOR.to_le_bytes());
                bytes.extend_from_slice(&[0; 4]);
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
                for text in [&refusal.message, &refusal.remedy] {
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
            Message::Keyframe | Message::Unknown => {}
        }
    }

    /// Reads a message whose head has been [checked](Head::read).
    pub(super) fn decode(head: Head, body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(body);
        Ok(match head.number {
            1 => Message::Hello(decode_hello(&mut reader)?),
            2 => {
                check_version(&mut reader)?;
                reader.u32();
                Message::Welcome(Welcome {
                    received_ns: reader.u64(),
                    sent_ns: reader.u64(),
                    max_payload: reader.u64(),
                    last: (reader.u64(), reader.u64()),
                    machine: reader.u64(),
                    codec: reader.text(MAX_CODEC_BYTES)?.to_owned(),
                })
            }
            3 => Message::Refused(Refusal {
                code: reader.u32(),
                try_again: reader.u32() != 0,
                message: reader.text(MAX_REASON_BYTES)?.to_owned(),
                remedy: reader.text(MAX_REASON_BYTES)?.to_owned(),
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
            _ => Message::Unknown,
        })
    }
}

fn check_version(reader: &mut Reader<'_>) -> Result<(), Error> {
    let (major, minor) = (reader.u16(), reader.u16());
    if major == MAJOR {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::LayoutVersion,
        format!("the other side speaks version {major}.{minor} of the link protocol, this framelane {MAJOR}.{MINOR}"),
    )
    .with_remedy("use the same major version of framelane on both sides"))
}

fn decode_hello(reader: &mut Reader<'_>) -> Result<Hello, Error> {
    check_version(reader)?;
    let direction = match reader.u8() {
        1 => Direction::Receive,
        2 => Direction::Send,
        other => return Err(violation(format_args!("expected direction 1 or 2, found {other}"))),
    };
    let mode = match reader.u8() {
        0 => Mode::Newest,
        1 => Mode::Every,
        other => return Err(violation(format_args!("expected mode 0 or 1, found {other}"))),
    };
    reader.u16();
    let max_milli_fps = reader.u32();
    let size = (reader.u32(), reader.u32());
    reader.u32();
    Ok(Hello {
        direction,
        mode,
        max_milli_fps,
        size,
        max_payload: reader.u64(),
        last: (reader.u64(), reader.u64()),
        sent_ns: reader.u64(),
        machine: reader.u64(),
        channel: reader.text(MAX_CHANNEL_BYTES)?.to_owned(),
        codec: reader.text(MAX_CODEC_BYTES)?.to_owned(),
        token: reader.text(MAX_TOKEN_BYTES)?.to_owned(),
    })
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
        if !(1..=9).contains(&number) && flags & OPTIONAL == 0 {
            return Err(violation(format_args!("expected a message of type 1 to 9, found type {number}")));
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
    fn a_reason_of_the_other_side_does_nothing_to_the_terminal_that_shows_it() {
        let text = "\u{1b}]0;title\u{7}red\u{9b}31m \u{202e}back\u{2066}\r\nä".to_owned();
        let refusal = Refusal { code: 5, try_again: false, message: text.clone(), remedy: text };
        let error = refusal.into_error();
        assert_eq!(error.message(), "the other side says: ]0;titlered31m backä");
        assert_eq!(error.remedy(), Some("]0;titlered31m backä"));
    }
}
