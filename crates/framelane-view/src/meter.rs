//! Rates and latencies of the last second.

use std::time::{Duration, Instant};

use crate::event::Latency;

/// Most latencies of a second. Displays are slower.
const MOST: usize = 1000;

/// Counts of one channel.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    /// Totals at the beginning of this second.
    received: u64,
    dropped: u64,
    shown: u64,
    latencies_ns: Vec<u64>,
    pub(crate) last: Option<Second>,
    pub(crate) total_shown: u64,
}

/// Counts of one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    pub(crate) time: Duration,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) shown: u64,
    pub(crate) latency: Option<Latency>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Meter {
            began: Instant::now(),
            received: 0,
            dropped: 0,
            shown: 0,
            latencies_ns: Vec::with_capacity(MOST),
            last: None,
            total_shown: 0,
        }
    }

    /// Counts a picture that was shown.
    pub(crate) fn show(&mut self, latency_ns: u64) {
        self.shown += 1;
        self.total_shown += 1;
        if self.latencies_ns.len() < MOST {
            self.latencies_ns.push(latency_ns);
        }
    }

    /// Ends a second. `received` and `dropped` are totals.
    pub(crate) fn tick(&mut self, received: u64, dropped: u64) -> Second {
        let second = Second {
            time: self.began.elapsed(),
            received: received.saturating_sub(self.received),
            dropped: dropped.saturating_sub(self.dropped),
            shown: self.shown,
            latency: percentiles(&mut self.latencies_ns),
        };
        (self.began, self.received, self.dropped, self.shown) = (Instant::now(), received, dropped, 0);
        self.latencies_ns.clear();
        self.last = Some(second);
        second
    }
}

impl Second {
    /// Frames a second.
    pub(crate) fn rate(&self) -> f64 {
        self.received as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

fn percentiles(latencies_ns: &mut [u64]) -> Option<Latency> {
    latencies_ns.sort_unstable();
    let at =
        |percent: usize| latencies_ns.get((latencies_ns.len().saturating_sub(1)) * percent / 100).copied();
    Some(Latency { p50_ns: at(50)?, p99_ns: at(99)?, max_ns: at(100)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_has_the_counts_since_the_previous_one() {
        let mut meter = Meter::new();
        assert_eq!(meter.tick(0, 0).latency, None);
        (1..=100).rev().for_each(|ns| meter.show(ns));
        let second = meter.tick(120, 7);
        assert_eq!((second.received, second.dropped, second.shown), (120, 7, 100));
        assert_eq!(second.latency, Some(Latency { p50_ns: 50, p99_ns: 99, max_ns: 100 }));
        (0..5000).for_each(|_| meter.show(1));
        let second = meter.tick(121, 7);
        assert_eq!((second.received, second.dropped, second.shown), (1, 0, 5000));
        assert_eq!(meter.total_shown, 5100);
    }
}
