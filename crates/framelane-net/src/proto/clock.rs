//! Offset of the peer's clock, and time that a message takes.
//!
//! As in NTP (RFC 5905, section 8): a message leaves at t1 on our clock, arrives at t2 and is answered at t3
//! on the peer's clock, and the answer arrives at t4 on ours. So the peer's clock is ahead by ((t2 − t1) +
//! (t3 − t4)) / 2, with an error of at most half the round trip (t4 − t1) − (t3 − t2). Messages wait behind
//! frames. Those that did not wait are the most accurate, so the sample with the shortest round trip counts.
//! Clocks drift, so samples are forgotten after a while.

use std::time::{Duration, Instant};

/// The best samples of the present and of the last stretch of this length count.
const STRETCH: Duration = Duration::from_secs(30);
/// The largest offset of two clocks, a hundred years. Larger values are nonsense or hostile.
const MOST_NS: i128 = 100 * 366 * 86_400 * 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    peer_ahead_ns: i64,
    round_trip_ns: u64,
}

/// One side's estimate.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    /// Both sides are one machine, with one clock: there is nothing to estimate.
    same: bool,
    now: Option<Sample>,
    before: Option<Sample>,
    shortest_ns: Option<u64>,
}

impl Clock {
    pub(crate) fn new(now: Instant) -> Self {
        Clock { begun: now, same: false, now: None, before: None, shortest_ns: None }
    }

    /// Adds the four times of a message and its answer; `now` is the arrival of the answer.
    pub(crate) fn add(&mut self, now: Instant, [t1, t2, t3, t4]: [u64; 4]) {
        let [t1, t2, t3, t4] = [t1, t2, t3, t4].map(i128::from);
        let (round_trip, ahead) = ((t4 - t1) - (t3 - t2), ((t2 - t1) + (t3 - t4)) / 2);
        if round_trip < 0 || t3 < t2 || ahead.abs() > MOST_NS || round_trip > MOST_NS {
            // A clock was set meanwhile, or the peer sends impossible times.
            return;
        }
        let sample = Sample { peer_ahead_ns: ahead as i64, round_trip_ns: round_trip as u64 };
        if now.duration_since(self.begun) >= STRETCH {
            self.before = self.now.take();
            self.begun = now;
        }
        if self.now.is_none_or(|best| sample.round_trip_ns <= best.round_trip_ns) {
            self.now = Some(sample);
        }
        self.shortest_ns =
            Some(self.shortest_ns.map_or(sample.round_trip_ns, |ns| ns.min(sample.round_trip_ns)));
    }

    fn best(&self) -> Option<Sample> {
        self.now.into_iter().chain(self.before).min_by_key(|sample| sample.round_trip_ns)
    }

    /// Takes the machines' numbers: equal ones share their clocks, however long the way between them is.
    pub(crate) fn compare_machines(&mut self, ours: u64, theirs: u64) {
        self.same = ours != 0 && ours == theirs;
    }

    /// Returns true if both sides read the same clocks.
    pub(crate) fn is_same(&self) -> bool {
        self.same
    }

    /// Nanoseconds that the other clock is ahead; 0 before anything is known.
    pub(crate) fn peer_ahead_ns(&self) -> i64 {
        if self.same {
            return 0;
        }
        self.best().map_or(0, |sample| sample.peer_ahead_ns)
    }

    /// The shortest round trip of late.
    pub(crate) fn round_trip_ns(&self) -> u64 {
        self.best().map_or(0, |sample| sample.round_trip_ns)
    }

    /// The shortest round trip since the link began: what the way takes when nothing waits on it.
    pub(crate) fn idle_round_trip(&self) -> Duration {
        Duration::from_nanos(self.shortest_ns.unwrap_or(0))
    }

    /// A time of the other clock on ours.
    pub(crate) fn to_ours_ns(&self, peer_ns: u64) -> u64 {
        peer_ns.saturating_add_signed(self.peer_ahead_ns().saturating_neg())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    proptest! {
        #[test]
        fn clock_error_is_at_most_half_the_shortest_round_trip(
            ahead in -(1_i64 << 50)..1 << 50,
            ways in prop::collection::vec((1_u64..1 << 32, 1_u64..1 << 32, 0_u64..1 << 32), 1..20),
        ) {
            let start = Instant::now();
            let mut clock = Clock::new(start);
            for (forth, rest, back) in &ways {
                let t1 = 2_000_000_000 * SECOND;
                let theirs = |ours: u64| ours.checked_add_signed(ahead).unwrap();
                let (t2, t3) = (theirs(t1 + forth), theirs(t1 + forth + rest));
                clock.add(start, [t1, t2, t3, t1 + forth + rest + back]);
            }
            let shortest = ways.iter().map(|(forth, _, back)| forth + back).min().unwrap();
            prop_assert_eq!(clock.round_trip_ns(), shortest);
            prop_assert!(clock.peer_ahead_ns().abs_diff(ahead) <= shortest / 2 + 1);
        }

        #[test]
        fn no_times_make_it_panic(times in any::<[u64; 4]>(), peer in any::<u64>()) {
            let mut clock = Clock::new(Instant::now());
            clock.add(Instant::now(), times);
            clock.to_ours_ns(peer);
        }
    }

    #[test]
    fn a_clock_that_drifts_is_followed() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        for second in 0..300 {
            let (t1, drift) = (1000 * SECOND + second * SECOND, second * 50_000);
            // The first round trip was the best of all; it must not count indefinitely.
            let way = if second == 0 { 1000 } else { 1_000_000 };
            clock.add(
                start + Duration::from_secs(second),
                [t1, t1 + way + drift, t1 + way + drift, t1 + 2 * way],
            );
        }
        assert!(clock.peer_ahead_ns().abs_diff(299 * 50_000) <= 61 * 50_000, "{}", clock.peer_ahead_ns());
        assert_eq!(clock.idle_round_trip(), Duration::from_nanos(2000));
    }
}
