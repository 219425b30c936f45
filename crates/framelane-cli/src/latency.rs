//! Latencies, as percentiles of a full histogram.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The upper end of the histogram: a minute.
const MOST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Latencies(Histogram::new_with_bounds(1, MOST_NS, 3).expect("the bounds are ours"))
    }

    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Adds what another histogram has counted.
    pub fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// `None` when nothing was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let us = |ns: u64| ns as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            p50_us: us(self.0.value_at_quantile(0.5)),
            p90_us: us(self.0.value_at_quantile(0.9)),
            p99_us: us(self.0.value_at_quantile(0.99)),
            p999_us: us(self.0.value_at_quantile(0.999)),
            max_us: us(self.0.max()),
        })
    }

    /// The counts, for another process.
    pub fn to_counts(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
    }

    /// The same histogram, from the report of another process.
    pub fn from_counts(counts: &[(u64, u64)]) -> Self {
        let mut latencies = Self::new();
        for &(ns, count) in counts {
            latencies.0.saturating_record_n(ns, count);
        }
        latencies
    }
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// A latency for people: three digits and a unit.
pub fn human_us(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1000.0 => (us, "µs"),
        us if us < 1_000_000.0 => (us / 1000.0, "ms"),
        us => (us / 1_000_000.0, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// Nanoseconds for people.
pub fn human_ns(ns: u64) -> String {
    human_us(ns as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_the_way_to_another_process() {
        let mut sent = Latencies::new();
        for ns in (1..100_000).step_by(7) {
            sent.record(ns);
        }
        let (sent, got) =
            (sent.percentiles().unwrap(), Latencies::from_counts(&sent.to_counts()).percentiles().unwrap());
        assert_eq!(sent.count, got.count);
        for (sent, got) in [(sent.p50_us, got.p50_us), (sent.p99_us, got.p99_us), (sent.max_us, got.max_us)] {
            assert!((sent - got).abs() <= sent * 0.002, "{sent} {got}");
        }
    }

    #[test]
    fn latencies_are_read_in_a_unit_that_suits() {
        assert_eq!(
            [3.456, 42.0, 999.4, 1500.0, 2e6].map(human_us),
            ["3.46 µs", "42.0 µs", "999 µs", "1.50 ms", "2.00 s"]
        );
    }
}
