//! When the next frame is due.

use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::options::Rate;

/// A source that has fallen behind by more does not catch up: its clock is set anew.
const MOST_LATE: Duration = Duration::from_millis(200);
/// A longer gap in the media's times is a break in the stream, not a pause to wait for.
const MOST_AHEAD: Duration = Duration::from_secs(60);
/// How often a wait looks at the interrupt.
const LOOK: Duration = Duration::from_millis(50);

/// Holds frames back until they are due.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: Rate,
    /// The moment at which media time `origin_ns` is due.
    start: Option<(Instant, i64)>,
    count: u64,
}

impl Pacer {
    /// Live sources come at their own pace; only [`Rate::Fps`] holds them back.
    pub(crate) fn new(rate: Rate, live: bool) -> Self {
        let rate = if live && rate == Rate::Realtime { Rate::Max } else { rate };
        Pacer { rate, start: None, count: 0 }
    }

    /// Waits until a frame with this media time is due. False when interrupted meanwhile.
    pub(crate) fn wait(&mut self, pts_ns: i64, interrupt: &Interrupt) -> bool {
        let Some(due) = self.due(pts_ns, Instant::now()) else { return !interrupt.is_set() };
        loop {
            if interrupt.is_set() {
                return false;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// When the frame is due, and never long ago; `None`: at once.
    fn due(&mut self, pts_ns: i64, now: Instant) -> Option<Instant> {
        let media_ns = match self.rate {
            Rate::Max => return None,
            Rate::Realtime => pts_ns,
            Rate::Fps(fps) => (self.count as f64 * 1e9 / fps) as i64,
        };
        self.count += 1;
        let by_count = matches!(self.rate, Rate::Fps(_));
        let (start, origin_ns) = *self.start.get_or_insert((now, media_ns));
        let due = media_ns
            .checked_sub(origin_ns)
            .and_then(|since_ns| u64::try_from(since_ns).ok())
            .and_then(|since_ns| start.checked_add(Duration::from_nanos(since_ns)));
        match due {
            Some(due) if due + MOST_LATE >= now && (by_count || due <= now + MOST_AHEAD) => Some(due),
            // Too late, a jump in the media's times, or times that go backwards.
            _ => {
                self.start = Some((now, media_ns));
                Some(now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn frames_are_due_by_their_media_times() {
        let mut pacer = Pacer::new(Rate::Realtime, false);
        let start = Instant::now();
        assert_eq!(pacer.due(500 * MS, start), Some(start));
        assert_eq!(pacer.due(540 * MS, start), Some(start + Duration::from_millis(40)));
    }

    #[test]
    fn a_long_stall_does_not_end_in_a_burst() {
        let mut pacer = Pacer::new(Rate::Realtime, false);
        let start = Instant::now();
        pacer.due(0, start);
        let later = start + Duration::from_secs(60);
        assert_eq!(pacer.due(40 * MS, later), Some(later));
        assert_eq!(pacer.due(80 * MS, later), Some(later + Duration::from_millis(40)));
    }

    #[test]
    fn a_short_delay_is_caught_up() {
        let mut pacer = Pacer::new(Rate::Fps(100.0), false);
        let start = Instant::now();
        pacer.due(0, start);
        assert_eq!(pacer.due(0, start + Duration::from_millis(90)), Some(start + Duration::from_millis(10)));
    }

    #[test]
    fn a_jump_of_the_media_times_sets_the_clock_anew() {
        let mut pacer = Pacer::new(Rate::Realtime, false);
        let start = Instant::now();
        pacer.due(0, start);
        assert_eq!(pacer.due(100_000_000 * MS, start), Some(start));
        assert_eq!(pacer.due(-5 * MS, start), Some(start));
        assert_eq!(pacer.due(35 * MS, start), Some(start + Duration::from_millis(40)));
    }

    #[test]
    fn live_sources_and_the_highest_rate_never_wait() {
        for mut pacer in [Pacer::new(Rate::Realtime, true), Pacer::new(Rate::Max, false)] {
            assert_eq!(pacer.due(1_000 * MS, Instant::now()), None);
        }
    }
}
