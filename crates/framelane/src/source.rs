//! The state of the live source that feeds a channel, such as a camera.

use crate::os;
use crate::redact;
use crate::ring::{Ordering::Relaxed, SourceWords};
use crate::text::{load_text, store_text};

/// The state of the live source that feeds a channel. Written by the channel's publisher, informational.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Name of the source, without secrets. At most 128 bytes are kept.
    pub name: String,
    /// True if frames arrive; false while the publisher reconnects.
    pub receiving: bool,
    /// Connections so far.
    pub connections: u32,
    /// Cause of the last loss, without secrets, empty before the first. At most 192 bytes are kept.
    pub reason: String,
    /// Time of the last change, on `CLOCK_MONOTONIC`, in nanoseconds.
    /// [`Publisher::set_source`](crate::Publisher::set_source) sets it.
    pub since_ns: u64,
}

const RECEIVING: u32 = 1;
const RECONNECTING: u32 = 2;

pub(crate) fn clear(words: &SourceWords) {
    words.state.store(0, Relaxed);
}

pub(crate) fn write(words: &SourceWords, source: &SourceStatus) {
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
