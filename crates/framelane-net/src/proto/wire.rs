//! Numbers and texts in messages: little-endian, texts with their length in front.

use framelane::Error;

use super::violation;

/// Takes values off the front of a message's body. What is missing at the end reads as zero: a later minor
/// version adds fields there, and an earlier one has not got them.
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let len = N.min(self.0.len());
        array[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        array
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A text of at most `most` bytes.
    pub(super) fn text(&mut self, most: usize) -> Result<&'b str, Error> {
        let len = usize::from(self.u16());
        if len > most {
            return Err(violation(format_args!(
                "expected a text of at most {most} bytes, found one of {len}"
            )));
        }
        let (text, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| violation(format_args!("a text ends {} bytes too early", len - self.0.len())))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| violation("a text is not UTF-8"))
    }
}

/// Appends a text; what is over 65,535 bytes is cut off, which no caller has.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = cut(text, usize::from(u16::MAX));
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// The text, or as much of it as `most` bytes hold.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut len = most.min(text.len());
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}
