//! Channels whose publisher lives and publishes no frames.

use std::time::Duration;

use super::{ChannelState, ChannelStatus};
use crate::descriptor;
use crate::files::DataFile;
use crate::os;
use crate::ring::{self, Ordering::Relaxed};

/// Periods without a frame after which a channel counts as stalled.
const STALL_PERIODS: u64 = 5;
/// Shortest time without a frame that counts as a stall: pauses of a scheduler or a decoder are shorter.
const SHORTEST_STALL_NS: u64 = 1_000_000_000;

impl ChannelStatus {
    /// Returns the time since the newest frame if the channel is stalled.
    ///
    /// A channel is stalled if its publisher lives and has published no frame for five
    /// [periods](ChannelStatus::period_ns), and for a second. A channel without a period is never stalled.
    /// Reads the clock.
    pub fn stalled_for(&self) -> Option<Duration> {
        self.stalled_for_at(os::monotonic_ns())
    }

    /// Returns the same as [`ChannelStatus::stalled_for`], at a time of `CLOCK_MONOTONIC` in nanoseconds.
    pub fn stalled_for_at(&self, now_ns: u64) -> Option<Duration> {
        if self.state != ChannelState::Live {
            return None;
        }
        let age_ns = now_ns.saturating_sub(self.newest_published_ns?);
        let limit_ns = self.period_ns?.saturating_mul(STALL_PERIODS).max(SHORTEST_STALL_NS);
        (age_ns > limit_ns).then(|| Duration::from_nanos(age_ns))
    }
}

/// Returns the usual interval of frames: the median of the intervals in the ring, or the duration of the
/// newest frame if the ring has only that one.
pub(super) fn period_ns(data: &DataFile, duration_ns: Option<u64>) -> Option<u64> {
    let mut frames: Vec<_> = data
        .entries()
        .filter_map(|entry| {
            let version = entry.version.load(Relaxed);
            let found = ring::is_frame(version).then(|| descriptor::read(entry, data.slot_bytes).ok())??;
            // A frame that was replaced meanwhile is no evidence.
            (entry.version.load(Relaxed) == version).then_some((version, found.epoch, found.published_ns))
        })
        .collect();
    frames.sort_unstable();
    period_of(&frames).or(duration_ns).filter(|period| *period > 0)
}

/// The median interval of frames, each with sequence, epoch and publication time. Frames that were dropped in
/// between count: they were published on time. Frames of other epochs do not.
fn period_of(frames: &[(u64, u64, u64)]) -> Option<u64> {
    let &(_, newest, _) = frames.last()?;
    let own: Vec<_> = frames.iter().filter(|(_, epoch, _)| *epoch == newest).collect();
    let mut intervals: Vec<u64> = own
        .windows(2)
        .map(|pair| pair[1].2.saturating_sub(pair[0].2) / (pair[1].0 - pair[0].0).max(1))
        .collect();
    intervals.sort_unstable();
    intervals.get(intervals.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::empty;

    const MS: u64 = 1_000_000;

    fn live(period_ns: Option<u64>) -> ChannelStatus {
        let newest_published_ns = Some(1_000 * MS);
        ChannelStatus { state: ChannelState::Live, period_ns, newest_published_ns, ..empty("cam0", &[]) }
    }

    fn stalled_after(status: &ChannelStatus, ms: u64) -> bool {
        status.stalled_for_at((1_000 + ms) * MS).is_some()
    }

    #[test]
    fn live_channel_is_stalled_after_five_periods_and_a_second() {
        let fast = live(Some(33 * MS));
        assert!(!stalled_after(&fast, 0) && !stalled_after(&fast, 1_000));
        assert_eq!(fast.stalled_for_at(2_001 * MS), Some(Duration::from_millis(1_001)));
        let slow = live(Some(2_000 * MS));
        assert!(!stalled_after(&slow, 10_000) && stalled_after(&slow, 10_001));
        assert_eq!(slow.stalled_for_at(0), None);
        assert!(!stalled_after(&live(Some(u64::MAX)), 1 << 40));
    }

    #[test]
    fn channel_without_publisher_period_or_frame_is_not_stalled() {
        for state in [ChannelState::Stale, ChannelState::Closed, ChannelState::Damaged(String::new())] {
            assert!(!stalled_after(&ChannelStatus { state, ..live(Some(MS)) }, 60_000));
        }
        assert!(!stalled_after(&live(None), 60_000));
        assert!(!stalled_after(&ChannelStatus { newest_published_ns: None, ..live(Some(MS)) }, 60_000));
    }

    #[test]
    fn period_is_the_median_of_one_epoch_and_ignores_one_gap() {
        assert_eq!(period_of(&[]), None);
        assert_eq!(period_of(&[(7, 1, 500)]), None);
        assert_eq!(
            period_of(&[(1, 1, 100), (2, 1, 140), (3, 1, 180), (4, 1, 9_000), (5, 1, 9_041)]),
            Some(41)
        );
        // Two frames between these found no slot.
        assert_eq!(period_of(&[(1, 1, 100), (4, 1, 220)]), Some(40));
        assert_eq!(period_of(&[(1, 1, 100), (2, 2, 5_000), (3, 2, 5_030)]), Some(30));
    }
}
