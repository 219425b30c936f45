//! The state of the live source that feeds a channel, such as a camera.

use crate::os;
use crate::publisher::Publisher;
use crate::redact;
use crate::ring::{AtomicU64, Ordering::Relaxed, SourceWords};
use crate::terminal;

/// The state of the live source that feeds a channel. The channel's publisher writes it, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Name of the source, without secrets. At most 128 bytes are kept.
    pub name: String,
    /// Whether frames arrive; false while the publisher reconnects.
    pub receiving: bool,
    /// Connections so far.
    pub connections: u32,
    /// Cause of the last loss, without secrets, empty before the first. At most 192 bytes are kept.
    pub reason: String,
    /// Time of the last change, on `CLOCK_MONOTONIC`, in nanoseconds. [`Publisher::set_source`] sets it.
    pub since_ns: u64,
}

const RECEIVING: u32 = 1;
const RECONNECTING: u32 = 2;

impl Publisher {
    /// Publishes the state of the source of this channel, next to its frames. Makes no system call but for
    /// the clock.
    pub fn set_source(&mut self, source: &SourceStatus) {
        write(self.source_words(), source);
    }
}

pub(crate) fn clear(words: &SourceWords) {
    words.state.store(0, Relaxed);
}

fn write(words: &SourceWords, source: &SourceStatus) {
    store_text(&words.name, &redact::url(&source.name));
    store_text(&words.reason, &redact::text(&source.reason));
    words.connections.store(source.connections, Relaxed);
    words.since_ns.store(os::monotonic_ns(), Relaxed);
    words.state.store(if source.receiving { RECEIVING } else { RECONNECTING }, Relaxed);
}

/// Returns the state that the publisher has written; `None` for a channel without a live source.
pub(crate) fn read(words: &SourceWords) -> Option<SourceStatus> {
    let receiving = match words.state.load(Relaxed) {
        RECEIVING => true,
        RECONNECTING => false,
        _ => return None,
    };
    Some(SourceStatus {
        name: load_text(&words.name),
        receiving,
        connections: words.connections.load(Relaxed),
        reason: load_text(&words.reason),
        since_ns: words.since_ns.load(Relaxed),
    })
}

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
