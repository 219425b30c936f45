//! Messages before the first frame: authentication of both sides, and the client's request.

use framelane::{Delivery, Error, ErrorKind};

use super::violation;
use super::wire::{Reader, put_text};
use crate::security::{Nonce, Proof, TokenId};

/// Increased when an old program would misread the messages; and when something is added.
const MAJOR: u16 = 1;
const MINOR: u16 = 1;
/// 1.0 sent the token itself.
const LEAST_MINOR: u16 = 1;
/// The longest texts.
const MAX_CHANNEL_BYTES: usize = 200;
const MAX_CODEC_BYTES: usize = 64;

/// The first message of the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hello {
    pub nonce: Nonce,
    /// All zeros: no token.
    pub token_id: TokenId,
}

/// The server's first message, unless it refuses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Challenge {
    pub nonce: Nonce,
    /// That the server knows the token; all zeros: none is needed.
    pub proof: Proof,
}

/// The client's second message. Its body is read only when its proof has been checked.
#[derive(Clone, PartialEq)]
pub(crate) struct Request {
    pub proof: Proof,
    /// A [`ChannelRequest`].
    pub body: Vec<u8>,
}

/// Nothing in it is checked yet.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// The direction of the frames, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client receives frames.
    Receive,
    /// The client sends frames.
    Send,
}

/// The channel that a client asks for, and how it is to be carried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChannelRequest {
    pub direction: Direction,
    pub delivery: Delivery,
    /// The most frames in 1000 seconds; 0: no limit.
    pub max_milli_fps: u32,
    /// Scale to this; 0, 0: as they are.
    pub size: (u32, u32),
    /// The longest payload that the client takes.
    pub max_payload: u64,
    /// Epoch and sequence of the last frame that it has; zeros: none.
    pub last: (u64, u64),
    /// `CLOCK_REALTIME` of the sending.
    pub sent_ns: u64,
    /// A number of the machine since it was started. Equal on both sides: they share their clocks. 0: not
    /// known.
    pub machine: u64,
    pub channel: String,
    pub codec: String,
}

fn put_version(bytes: &mut Vec<u8>) {
    for number in [MAJOR, MINOR, 0, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

fn check_version(reader: &mut Reader<'_>) -> Result<(), Error> {
    let (major, minor) = (reader.u16(), reader.u16());
    reader.u32();
    if major == MAJOR && minor >= LEAST_MINOR {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::IncompatibleVersion,
        format!(
            "the peer speaks version {major}.{minor} of the link protocol, this framelane {MAJOR}.{MINOR}"
        ),
    )
    .with_hint("install the same version of framelane on both sides"))
}

impl Hello {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put_version(bytes);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.token_id);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        check_version(reader)?;
        Ok(Hello { nonce: reader.bytes(), token_id: reader.bytes() })
    }
}

impl Challenge {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put_version(bytes);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.proof);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        check_version(reader)?;
        Ok(Challenge { nonce: reader.bytes(), proof: reader.bytes() })
    }
}

impl ChannelRequest {
    /// The bytes of the body, which a proof covers.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let direction = if self.direction == Direction::Receive { 1 } else { 2 };
        let mut bytes = vec![direction, self.delivery as u8, 0, 0];
        for word in [self.max_milli_fps, self.size.0, self.size.1] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.max_payload, self.last.0, self.last.1, self.sent_ns, self.machine] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        put_text(&mut bytes, &self.channel);
        put_text(&mut bytes, &self.codec);
        bytes
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When a field is outside its range.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(body);
        let direction = match reader.u8() {
            1 => Direction::Receive,
            2 => Direction::Send,
            other => return Err(violation(format_args!("expected direction 1 or 2, found {other}"))),
        };
        let delivery = match reader.u8() {
            0 => Delivery::Newest,
            1 => Delivery::Every,
            other => return Err(violation(format_args!("expected delivery 0 or 1, found {other}"))),
        };
        reader.u16();
        Ok(ChannelRequest {
            direction,
            delivery,
            max_milli_fps: reader.u32(),
            size: (reader.u32(), reader.u32()),
            max_payload: reader.u64(),
            last: (reader.u64(), reader.u64()),
            sent_ns: reader.u64(),
            machine: reader.u64(),
            channel: reader.text(MAX_CHANNEL_BYTES)?.to_owned(),
            codec: reader.text(MAX_CODEC_BYTES)?.to_owned(),
        })
    }
}
