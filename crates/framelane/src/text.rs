//! Texts in shared words.

use crate::ring::{AtomicU64, Ordering::Relaxed};
use crate::terminal;

/// Stores as much of a text as there is room for, padded with zeros.
pub(crate) fn store_text(words: &[AtomicU64], text: &str) {
    let mut length = text.len().min(words.len() * 8);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    let mut bytes = text.as_bytes()[..length].chunks(8);
    for word in words {
        let mut padded = [0; 8];
        if let Some(part) = bytes.next() {
            padded[..part.len()].copy_from_slice(part);
        }
        word.store(u64::from_le_bytes(padded), Relaxed);
    }
}

/// Loads a text that another process has stored. It is not trusted: control characters would write over a
/// terminal.
pub(crate) fn load_text(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    terminal::plain(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_cannot_change_a_terminal() {
        let words = [const { AtomicU64::new(0) }; 8];
        store_text(&words, "a\u{202e}b\u{1b}c\u{2066}d\u{200b}e");
        assert_eq!(load_text(&words), "a?b?c?d?e");
    }

    #[test]
    fn stored_text_is_cut_at_a_character() {
        let words = [const { AtomicU64::new(u64::MAX) }; 2];
        for (text, kept) in [("", ""), ("0123456789", "0123456789"), ("0123456789abcdeé", "0123456789abcde")]
        {
            store_text(&words, text);
            assert_eq!(load_text(&words), kept);
        }
        store_text(&words, "a\nb");
        assert_eq!(load_text(&words), "a?b");
    }
}
