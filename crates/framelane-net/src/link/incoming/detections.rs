//! The times in a batch of detections.

use crate::proto::{Clock, FrameHead};
use crate::time::{monotonic_ns, realtime_ns};

/// Offsets of the times of the frame in a batch of detections (`spec/detections.md`), and length of its
/// header.
pub(super) const MAGIC: &[u8] = b"FLDT";
pub(super) const TIMESTAMP: usize = 24;
const PUBLISHED: usize = 32;
pub(super) const HEADER_BYTES: usize = 64;

/// A batch of detections names times of its frame on the sender's clocks: here they are on ours.
pub(super) fn to_our_clocks(batch: &mut [u8], head: &FrameHead, clock: &Clock) {
    if clock.is_same() || batch.len() < HEADER_BYTES || !batch.starts_with(MAGIC) {
        return;
    }
    let mut change = |at: usize, to_ours: &dyn Fn(u64) -> u64| {
        let field = &mut batch[at..at + 8];
        let theirs = u64::from_le_bytes((&*field).try_into().expect("eight bytes"));
        field.copy_from_slice(&to_ours(theirs).to_le_bytes());
    };
    change(TIMESTAMP, &|ns| clock.to_ours_ns(ns));
    // From their monotonic clock to their wall clock, to ours, to our monotonic clock.
    let (ours_ns, ours_monotonic_ns) = (realtime_ns(), monotonic_ns());
    change(PUBLISHED, &|ns| {
        let age_when_sent = head.sent_monotonic_ns.saturating_sub(ns);
        let on_the_way = ours_ns.saturating_sub(clock.to_ours_ns(head.sent_ns));
        ours_monotonic_ns.saturating_sub(age_when_sent).saturating_sub(on_the_way)
    });
}
