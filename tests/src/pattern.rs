//! Frames that say of themselves whether they are whole.

use crate::random::{Random, mix};

/// Sequence (u64), length (u32), last (u32), CRC-32 of the pixels behind the header (u32), 0 (u32).
const HEADER_BYTES: usize = 24;
const POOL_BYTES: usize = 16 << 20;

/// The smallest frame that has room for the header and a few pixels.
pub const SMALLEST_FRAME: usize = 64;
/// The largest frame of the pattern.
pub const LARGEST_FRAME: usize = 12 << 20;

/// Pixels that follow from a frame's sequence: a window into a pool of random bytes.
///
/// The same pool is made by `tests/python/pattern.py`.
pub struct Pattern {
    pool: Vec<u8>,
}

impl Default for Pattern {
    fn default() -> Self {
        Self::new()
    }
}

impl Pattern {
    /// Makes the pool.
    pub fn new() -> Self {
        let mut random = Random::new(1);
        let pool = (0..POOL_BYTES / 8).flat_map(|_| random.number().to_le_bytes()).collect();
        Pattern { pool }
    }

    fn pixels(&self, sequence: u64, len: usize) -> &[u8] {
        let start = (mix(sequence) % (POOL_BYTES - LARGEST_FRAME) as u64) as usize;
        &self.pool[start..start + len]
    }

    /// Fills a frame of 64 bytes to 12 MiB; `last` ends its readers.
    pub fn fill(&self, frame: &mut [u8], sequence: u64, last: bool) {
        let len = frame.len();
        let (header, pixels) = frame.split_at_mut(HEADER_BYTES);
        pixels.copy_from_slice(self.pixels(sequence, len - HEADER_BYTES));
        header[..8].copy_from_slice(&sequence.to_le_bytes());
        header[8..12].copy_from_slice(&(len as u32).to_le_bytes());
        header[12..16].copy_from_slice(&u32::from(last).to_le_bytes());
        header[16..20].copy_from_slice(&crc32fast::hash(pixels).to_le_bytes());
        header[20..].fill(0);
    }

    /// Checks the frame. Returns true for the last one.
    ///
    /// # Errors
    /// The fault of a frame that is not exactly the frame of this sequence.
    pub fn check(&self, frame: &[u8], sequence: u64) -> Result<bool, String> {
        if frame.len() < SMALLEST_FRAME {
            return Err(format!("frame {sequence} has {} bytes", frame.len()));
        }
        let word = |offset: usize| u32::from_le_bytes(frame[offset..offset + 4].try_into().expect("4 bytes"));
        let found = u64::from(word(0)) | u64::from(word(4)) << 32;
        let pixels = &frame[HEADER_BYTES..];
        if found != sequence || word(8) as usize != frame.len() {
            return Err(format!(
                "frame {sequence} of {} bytes says that it is frame {found} of {} bytes",
                frame.len(),
                word(8)
            ));
        }
        if word(16) != crc32fast::hash(pixels) {
            return Err(format!("frame {sequence} does not have the checksum that it carries"));
        }
        if pixels != self.pixels(sequence, pixels.len()) {
            return Err(format!("frame {sequence} does not have its pixels"));
        }
        Ok(word(12) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_one_changed_byte_is_noticed() {
        let pattern = Pattern::new();
        let mut frame = vec![0; 1000];
        pattern.fill(&mut frame, 7, true);
        assert_eq!(pattern.check(&frame, 7), Ok(true));
        assert!(pattern.check(&frame, 8).is_err());
        for byte in [0, 8, 16, 24, 999] {
            let mut torn = frame.clone();
            torn[byte] ^= 1;
            assert!(pattern.check(&torn, 7).is_err(), "byte {byte}");
        }
        assert!(pattern.check(&frame[..999], 7).is_err());
    }
}
