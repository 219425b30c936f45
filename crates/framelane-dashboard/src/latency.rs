//! Latencies of a channel, hop by hop.

use std::sync::Mutex;

use framelane::Frame;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency, one minute. Longer ones count as this.
const MAX_NS: u64 = 60_000_000_000;
/// Upper bounds of the buckets for `/metrics`, in seconds.
pub(crate) const BOUNDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Steps of a frame, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// From the capture to the publication.
    Publish,
    /// From the publication to the lease of the dashboard.
    Receive,
    /// From the publication to the publication of its boxes.
    Detect,
}

impl Hop {
    pub(crate) const ALL: [Hop; 3] = [Hop::Publish, Hop::Receive, Hop::Detect];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Hop::Publish => "capture_to_publish",
            Hop::Receive => "publish_to_receive",
            Hop::Detect => "publish_to_boxes",
        }
    }
}

/// All latencies of a channel since the dashboard first received it.
pub(crate) struct Latencies([Mutex<Counts>; Hop::ALL.len()]);

/// Counts of one hop.
#[derive(Clone)]
pub(crate) struct Counts {
    /// Latencies since the last call of [`Latencies::take`].
    recent: Histogram<u64>,
    /// One for each of [`BOUNDS`], and one for longer latencies.
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    pub(crate) sum_seconds: f64,
    pub(crate) count: u64,
}

/// Percentiles of one interval, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// Percentiles of all hops. `None` for a hop without frames in the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Hops {
    pub(crate) capture_to_publish: Option<Percentiles>,
    pub(crate) publish_to_receive: Option<Percentiles>,
    pub(crate) publish_to_boxes: Option<Percentiles>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Latencies(std::array::from_fn(|_| Mutex::new(Counts::new())))
    }

    pub(crate) fn record(&self, hop: Hop, ns: u64) {
        self.counts(hop).record(ns);
    }

    /// Records both hops of a frame that was just received.
    pub(crate) fn record_frame(&self, frame: &Frame) {
        let age_ns = frame.age_ns();
        self.record(Hop::Receive, age_ns);
        let since_capture = now_ns().checked_sub(frame.timestamp_ns());
        if let Some(ns) = since_capture.and_then(|since| since.checked_sub(age_ns)) {
            self.record(Hop::Publish, ns);
        }
    }

    /// Returns the percentiles since the last call.
    pub(crate) fn take(&self) -> Hops {
        let [capture_to_publish, publish_to_receive, publish_to_boxes] =
            Hop::ALL.map(|hop| self.counts(hop).take());
        Hops { capture_to_publish, publish_to_receive, publish_to_boxes }
    }

    /// Returns the counts since the beginning.
    pub(crate) fn totals(&self, hop: Hop) -> Counts {
        self.counts(hop).clone()
    }

    fn counts(&self, hop: Hop) -> std::sync::MutexGuard<'_, Counts> {
        self.0[hop as usize].lock().expect("no holder of the lock panics")
    }
}

impl Counts {
    fn new() -> Self {
        Counts {
            recent: Histogram::new_with_bounds(1, MAX_NS, 2).expect("the bounds are valid"),
            buckets: [0; BOUNDS.len() + 1],
            sum_seconds: 0.0,
            count: 0,
        }
    }

    fn record(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        self.recent.saturating_record(ns);
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum_seconds += seconds;
        self.count += 1;
    }

    fn take(&mut self) -> Option<Percentiles> {
        let ms = |ns: u64| ns as f64 / 1e6;
        let percentiles = (!self.recent.is_empty()).then(|| Percentiles {
            count: self.recent.len(),
            p50_ms: ms(self.recent.value_at_quantile(0.5)),
            p90_ms: ms(self.recent.value_at_quantile(0.9)),
            p99_ms: ms(self.recent.value_at_quantile(0.99)),
            max_ms: ms(self.recent.max()),
        });
        self.recent.reset();
        percentiles
    }
}

/// Time since 1970 in nanoseconds, the clock of [`Frame::timestamp_ns`].
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_restart_and_buckets_accumulate() {
        let latencies = Latencies::new();
        for ms in 1..=100 {
            latencies.record(Hop::Receive, ms * 1_000_000);
        }
        let first = latencies.take();
        let receive = first.publish_to_receive.unwrap();
        assert_eq!((receive.count, first.capture_to_publish), (100, None));
        assert!((receive.p50_ms - 50.0).abs() < 1.0 && (receive.max_ms - 100.0).abs() < 1.5, "{receive:?}");
        assert_eq!(latencies.take(), Hops::default());
        latencies.record(Hop::Receive, 7_000_000_000);
        let totals = latencies.totals(Hop::Receive);
        assert_eq!((totals.count, totals.buckets[BOUNDS.len()]), (101, 1));
        // 1 ms belongs to the bucket that ends there.
        assert_eq!(totals.buckets[..4].iter().sum::<u64>(), 1);
        assert_eq!(totals.buckets.iter().sum::<u64>(), 101);
    }
}
