//! The protocol without I/O. It accepts bytes in pieces of any size.
//!
//! Existing programs send and receive one byte per system call, so nothing here expects a line, a JPEG or an
//! answer in one piece.

use framelane::{Error, ErrorKind};

/// Bytes of the line before each JPEG: its length in decimal digits, padded with spaces on the right.
pub const LENGTH_BYTES: usize = 16;
/// Answer of the receiver to each frame, with the spelling of existing programs.
pub const ANSWER: &[u8; 18] = b"recieved messages!";

/// Number of bytes that existing programs read of an answer: a longer text is no answer.
const MAX_ANSWER_BYTES: usize = 32;
/// The least room that is made for a JPEG at a time.
const FIRST_ROOM_BYTES: usize = 1 << 16;

/// The line before a JPEG of this many bytes.
///
/// # Panics
/// From 10^16 bytes on, which no memory has.
pub fn length_line(jpeg_bytes: usize) -> [u8; LENGTH_BYTES] {
    let digits = jpeg_bytes.to_string();
    let mut line = [b' '; LENGTH_BYTES];
    line[..digits.len()].copy_from_slice(digits.as_bytes());
    line
}

/// Puts frames together from what arrives.
///
/// Memory follows what has arrived, not what a length line claims: at most twice the bytes that are there,
/// and never more than the limit.
#[derive(Debug)]
pub struct FrameBuffer {
    max_bytes: usize,
    line: [u8; LENGTH_BYTES],
    line_bytes: usize,
    /// The JPEG's length; 0 until its line is complete.
    expected_bytes: usize,
    arrived_bytes: usize,
    /// The JPEG's bytes, then room. Kept from frame to frame.
    jpeg: Vec<u8>,
}

impl FrameBuffer {
    /// For JPEGs of at most this many bytes.
    pub fn new(max_bytes: usize) -> Self {
        FrameBuffer {
            max_bytes,
            line: [0; LENGTH_BYTES],
            line_bytes: 0,
            expected_bytes: 0,
            arrived_bytes: 0,
            jpeg: Vec::new(),
        }
    }

    /// Returns the buffer for the next bytes: never empty, and never beyond the end of the line or of the
    /// frame. Starts the next frame when one is complete.
    pub fn room(&mut self) -> &mut [u8] {
        if self.is_complete() {
            (self.line_bytes, self.expected_bytes, self.arrived_bytes) = (0, 0, 0);
        }
        if self.line_bytes < LENGTH_BYTES {
            return &mut self.line[self.line_bytes..];
        }
        if self.jpeg.len() == self.arrived_bytes {
            let step = self.arrived_bytes.max(FIRST_ROOM_BYTES);
            let len = self.expected_bytes.min(self.arrived_bytes + step);
            // Exact: the vector's own growth may go beyond the limit.
            self.jpeg.reserve_exact(len - self.jpeg.len());
            self.jpeg.resize(len, 0);
        }
        let end = self.expected_bytes.min(self.jpeg.len());
        &mut self.jpeg[self.arrived_bytes..end]
    }

    /// Adds the first `count` bytes of [`FrameBuffer::room`]. Returns true if a frame is complete.
    ///
    /// # Errors
    /// When a length line is complete that announces no frame, or one above the limit. Where the next frame
    /// would begin is not known then: the connection is of no more use.
    ///
    /// # Panics
    /// When there was no room for so many.
    pub fn advance(&mut self, count: usize) -> Result<bool, Error> {
        if self.line_bytes < LENGTH_BYTES {
            assert!(count <= LENGTH_BYTES - self.line_bytes, "{count} bytes do not fit the line");
            self.line_bytes += count;
            if self.line_bytes == LENGTH_BYTES {
                self.expected_bytes =
                    read_length(&self.line, self.max_bytes).inspect_err(|_| self.line_bytes = 0)?;
            }
            return Ok(false);
        }
        assert!(count <= self.jpeg.len() - self.arrived_bytes, "{count} bytes do not fit the frame");
        self.arrived_bytes += count;
        Ok(self.is_complete())
    }

    /// The JPEG when a frame is complete, else what has arrived of it.
    pub fn jpeg(&self) -> &[u8] {
        &self.jpeg[..self.arrived_bytes]
    }

    /// Returns true if no byte of the next frame has arrived yet.
    pub fn is_between_frames(&self) -> bool {
        self.line_bytes == 0 || self.is_complete()
    }

    /// Describes the progress of the present frame.
    pub fn progress(&self) -> String {
        match self.expected_bytes {
            0 => format!("{} of the {LENGTH_BYTES} bytes of the length", self.line_bytes),
            expected => format!("{} of the {expected} bytes of a JPEG", self.arrived_bytes),
        }
    }

    /// Bytes of memory that are kept.
    pub fn memory_bytes(&self) -> usize {
        self.jpeg.capacity()
    }

    fn is_complete(&self) -> bool {
        self.expected_bytes > 0 && self.arrived_bytes == self.expected_bytes
    }
}

fn read_length(line: &[u8; LENGTH_BYTES], max_bytes: usize) -> Result<usize, Error> {
    // Receivers at hand take the line with atoi or int(): white space or NULs before the digits, a plus sign,
    // and anything behind them, as a line end or what was in the buffer before.
    let is_padding = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0B);
    let start = line.iter().position(|byte| !is_padding(byte)).unwrap_or(LENGTH_BYTES);
    let number = line[start..].strip_prefix(b"+").unwrap_or(&line[start..]);
    let end = number.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(number.len());
    let text = std::str::from_utf8(&number[..end]).ok();
    let Some(length) = text.and_then(|text| text.parse::<u64>().ok()) else {
        let found = kind(line);
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "expected a JPEG's length, as {LENGTH_BYTES} bytes of decimal digits padded with spaces, \
                 found {found}"
            ),
        )
        .with_hint("check that the sender speaks this format: spec/legacy.md describes it"));
    };
    if length == 0 {
        return Err(Error::new(ErrorKind::Damaged, "expected a JPEG of 1 byte or more, found length 0")
            .with_hint("check the sender: it must skip a frame that it cannot encode"));
    }
    match usize::try_from(length) {
        Ok(length) if length <= max_bytes => Ok(length),
        _ => Err(Error::new(
            ErrorKind::FrameTooLarge,
            format!("expected a JPEG of at most {max_bytes} bytes, found the length {length}"),
        )
        .with_hint("if the sender is right, allow more (--max-bytes)")),
    }
}

/// Names the kind of bytes that are neither a length nor an answer.
///
/// The peer is not authenticated: no byte of it is shown.
fn kind(bytes: &[u8]) -> &'static str {
    const STARTS: [(&[u8], &str); 7] = [
        (b"\xFF\xD8", "a JPEG"),
        (b"\x16\x03", "TLS"),
        (b"GET ", "HTTP"),
        (b"POST ", "HTTP"),
        (b"PUT ", "HTTP"),
        (b"HTTP/", "HTTP"),
        (b"RTSP/", "RTSP"),
    ];
    let is_padding = |byte: &u8| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n' | 0x0B | 0x0C);
    let is_text = |byte: &u8| is_padding(byte) || byte.is_ascii_graphic();
    match STARTS.into_iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, kind)) => kind,
        None if bytes.iter().all(is_padding) => "padding",
        None if bytes.iter().all(is_text) => "text",
        None => "binary data",
    }
}

/// Finds the receiver's answers in what it sends.
///
/// Line ends, spaces and NULs before an answer are skipped, because programs write them after their strings;
/// 32 bytes in all, which is what existing programs read.
#[derive(Debug, Default)]
pub struct Answers {
    /// Bytes received since the last answer.
    seen: [u8; MAX_ANSWER_BYTES],
    seen_bytes: usize,
    /// Number of its last bytes that are the start of the answer.
    matched_bytes: usize,
}

impl Answers {
    /// Adds received bytes. Returns the number of answers that they complete.
    ///
    /// # Errors
    /// When other bytes than answers arrive. The connection is unusable then.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut complete = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let is_next = byte == ANSWER[self.matched_bytes];
            let is_padding = self.matched_bytes == 0 && matches!(byte, b' ' | b'\0' | b'\r' | b'\n');
            if self.seen_bytes == MAX_ANSWER_BYTES || !(is_next || is_padding) {
                return Err(self.unexpected(&bytes[at..]));
            }
            self.seen[self.seen_bytes] = byte;
            self.seen_bytes += 1;
            self.matched_bytes += usize::from(is_next);
            if self.matched_bytes == ANSWER.len() {
                (self.seen_bytes, self.matched_bytes) = (0, 0);
                complete += 1;
            }
        }
        Ok(complete)
    }

    /// Returns true if a part of the next answer has arrived.
    pub fn has_begun(&self) -> bool {
        self.matched_bytes > 0
    }

    /// Describes the progress of the present answer.
    pub fn progress(&self) -> String {
        format!("{} of the {} bytes of an answer", self.matched_bytes, ANSWER.len())
    }

    fn unexpected(&self, rest: &[u8]) -> Error {
        let room = MAX_ANSWER_BYTES - self.seen_bytes;
        let found = [&self.seen[..self.seen_bytes], &rest[..rest.len().min(room)]].concat();
        let (expected, count, found) = (ANSWER.escape_ascii(), found.len(), kind(&found));
        let message = match self.matched_bytes {
            0 => format!("expected the answer \"{expected}\", found {count} bytes of {found}"),
            same => format!("expected the answer \"{expected}\", found {count} bytes, of which {same} match"),
        };
        Error::new(ErrorKind::Damaged, message)
            .with_hint("check that the receiver speaks this format: spec/legacy.md describes it")
    }
}

/// Bytes as they might arrive from either peer: in pieces, and in one piece for comparison.
#[cfg(any(test, framelane_testing))]
pub(crate) fn check(bytes: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let (&seed, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let pieces = |mut rest: &[u8], feed: &mut dyn FnMut(&[u8])| {
        let mut step = usize::from(seed);
        while !rest.is_empty() {
            step = step.wrapping_mul(31) % 97 + 1;
            let (piece, after) = rest.split_at(step.min(rest.len()));
            feed(piece);
            rest = after;
        }
    };

    // Frames, against a reading of all bytes at once.
    let (mut buffer, mut frames, mut ended) = (FrameBuffer::new(LIMIT), Vec::new(), false);
    let mut arrived = 0;
    pieces(bytes, &mut |mut piece| {
        while !piece.is_empty() && !ended {
            let room = buffer.room();
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            piece = &piece[count..];
            arrived += count;
            match buffer.advance(count) {
                Ok(true) => frames.push(buffer.jpeg().to_vec()),
                Ok(false) => {}
                Err(error) => {
                    assert!(error.hint().is_some());
                    ended = true;
                }
            }
            assert!(buffer.memory_bytes() <= LIMIT.min(2 * arrived + FIRST_ROOM_BYTES));
        }
    });
    let (mut naive, mut rest) = (Vec::new(), bytes);
    let fault = loop {
        let Some((line, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else { break false };
        let text = String::from_utf8_lossy(line);
        let digits = text.trim_start_matches([' ', '\0', '\r', '\n', '\t', '\x0B', '\x0C']);
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let length = digits.parse::<usize>().ok().filter(|length| (1..=LIMIT).contains(length));
        let Some(length) = length else { break true };
        let Some((jpeg, after)) = after.split_at_checked(length) else { break false };
        naive.push(jpeg.to_vec());
        rest = after;
    };
    assert_eq!((frames, ended), (naive, fault));

    // Answers: the same number however they are split.
    let (mut answers, mut found) = (Answers::default(), Ok(0));
    pieces(bytes, &mut |piece| {
        if let Ok(count) = &mut found {
            match answers.take(piece) {
                Ok(more) => *count += more,
                Err(error) => found = Err(error.message().len()),
            }
        }
    });
    let at_once = Answers::default().take(bytes);
    assert_eq!(found.is_ok(), at_once.is_ok());
    if let (Ok(found), Ok(at_once)) = (found, at_once) {
        assert_eq!(found, at_once);
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
