//! When the next frame is due.

use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::options::Rate;

/// A source that has fallen behind by more does not catch up: its clock is reset.
const MOST_LATE: Duration = Duration::from_millis(200);
/// A longer gap in the media's times is a break in the stream, not a pause to wait for.
const MOST_AHEAD: Duration = Duration::from_secs(60);
/// The longest sleep between two checks of the interrupt.
const INTERRUPT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Holds frames back until they are due.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: Rate,
    /// The moment at which media time `origin_ns` is due.
    start: Option<(Instant, i64)>,
    count: u64,
}

impl Pacer {
    pub(crate) fn new(rate: Rate) -> Self {
        Pacer { rate, start: None, count: 0 }
    }

    /// Returns true if frames are thinned out to a rate of the user's.
    pub(crate) fn has_own_rate(&self) -> bool {
        matches!(self.rate, Rate::Fps(_))
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
            std::thread::sleep(left.min(INTERRUPT_POLL_INTERVAL));
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

/// A pipe whose frames arrive this much faster than their times say is fed from a file.
const FASTER: f64 = 1.5;
/// Grace for the start of a producer.
const START: Duration = Duration::from_millis(100);
/// Media time after which a pipe is judged, and after which the judgement is final.
const JUDGED: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// A producer that took so much longer than the media that it sent is live at once.
const SLOWER: Duration = Duration::from_secs(2);
/// A live producer is waited for during at least this part of the media's time.
const WAITED: u32 = 10;

/// Distinguishes a live producer behind a pipe from one that pushes a file, by the rate at which frames
/// arrive while nothing blocks them.
///
/// A file that comes through a pipe must be paced. A camera program must not be: it would be blocked, or its
/// frames would age, as soon as its rate differs from the one that the container names.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The moment of the first byte.
    began: Instant,
    first_ns: Option<i64>,
    /// Time for which the producer was blocked so far.
    blocked: Duration,
    live: bool,
    is_final: bool,
}

impl Arrival {
    pub(crate) fn new(began: Instant) -> Self {
        Arrival { began, first_ns: None, blocked: Duration::ZERO, live: false, is_final: false }
    }

    /// Counts time for which the producer was not read from.
    pub(crate) fn blocked(&mut self, time: Duration) {
        self.blocked += time;
    }

    /// Takes the next frame into account; returns whether the producer is live. `waited`: how long reads have
    /// waited.
    pub(crate) fn is_live(&mut self, pts_ns: i64, now: Instant, waited: Duration) -> bool {
        let first_ns = *self.first_ns.get_or_insert(pts_ns);
        let media = Duration::from_nanos(u64::try_from(pts_ns.saturating_sub(first_ns)).unwrap_or(0));
        if self.is_final {
            return self.live;
        }
        let free = now.saturating_duration_since(self.began).saturating_sub(self.blocked);
        self.live = if media < JUDGED.0 {
            waited > media + SLOWER
        } else {
            media <= free.mul_f64(FASTER) + START && waited >= media / WAITED
        };
        self.is_final = media >= JUDGED.1;
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn frames_are_due_by_their_media_times() {
        let mut pacer = Pacer::new(Rate::Realtime);
        let start = Instant::now();
        assert_eq!(pacer.due(500 * MS, start), Some(start));
        assert_eq!(pacer.due(540 * MS, start), Some(start + Duration::from_millis(40)));
    }

    #[test]
    fn a_long_stall_does_not_end_in_a_burst() {
        let mut pacer = Pacer::new(Rate::Realtime);
        let start = Instant::now();
        pacer.due(0, start);
        let later = start + Duration::from_secs(60);
        assert_eq!(pacer.due(40 * MS, later), Some(later));
        assert_eq!(pacer.due(80 * MS, later), Some(later + Duration::from_millis(40)));
    }

    #[test]
    fn a_short_delay_is_caught_up() {
        let mut pacer = Pacer::new(Rate::Fps(100.0));
        let start = Instant::now();
        pacer.due(0, start);
        assert_eq!(pacer.due(0, start + Duration::from_millis(90)), Some(start + Duration::from_millis(10)));
    }

    #[test]
    fn a_jump_of_the_media_times_sets_the_clock_anew() {
        let mut pacer = Pacer::new(Rate::Realtime);
        let start = Instant::now();
        pacer.due(0, start);
        assert_eq!(pacer.due(100_000_000 * MS, start), Some(start));
        assert_eq!(pacer.due(-5 * MS, start), Some(start));
        assert_eq!(pacer.due(35 * MS, start), Some(start + Duration::from_millis(40)));
    }

    #[test]
    fn highest_rate_never_waits() {
        assert_eq!(Pacer::new(Rate::Max).due(1_000 * MS, Instant::now()), None);
    }

    /// Returns true if the producer is live by its last frame, when frames come every `real_ms` and their
    /// times say `claimed_ms`.
    fn judged(real_ms: u64, claimed_ms: i64, frames: u64, blocked: bool) -> bool {
        let began = Instant::now();
        let mut arrival = Arrival::new(began);
        let mut live = false;
        for frame in 0..frames {
            let passed = Duration::from_millis(frame * real_ms);
            let waited = if blocked { Duration::ZERO } else { passed };
            live = arrival.is_live(frame as i64 * claimed_ms * MS, began + passed, waited);
            if blocked {
                arrival.blocked(Duration::from_millis(real_ms - 1));
            }
        }
        live
    }

    #[test]
    fn producer_at_about_its_rate_is_live_and_a_faster_one_is_not() {
        for (real_ms, claimed_ms) in [(40, 40), (33, 40), (40, 33), (100, 40), (28, 40)] {
            assert!(judged(real_ms, claimed_ms, 60, false), "{real_ms} {claimed_ms}");
            assert!(judged(real_ms, claimed_ms, 600, false), "{real_ms} {claimed_ms}");
        }
        for (real_ms, claimed_ms) in [(1, 40), (20, 40), (2, 4)] {
            assert!(!judged(real_ms, claimed_ms, 600, false), "{real_ms} {claimed_ms}");
        }
        // Held back to its rate by us.
        assert!(!judged(40, 40, 600, true));
    }

    #[test]
    fn producer_that_is_never_waited_for_is_not_live() {
        // Our own start took long.
        let began = Instant::now();
        let mut arrival = Arrival::new(began);
        let at = |frame: u64| began + Duration::from_millis(400 + frame);
        assert!((0..50).all(|frame| !arrival.is_live(frame as i64 * 40 * MS, at(frame), Duration::ZERO)));
    }

    #[test]
    fn producer_that_probing_has_waited_for_is_live_at_once() {
        let began = Instant::now();
        let waited = Duration::from_secs(5);
        assert!(Arrival::new(began).is_live(0, began + waited, waited));
    }
}
