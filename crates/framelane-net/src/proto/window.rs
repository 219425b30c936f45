//! Number of frames in flight.
//!
//! With one, the network idles for a round trip after each frame. With more than the path holds, frames queue
//! in sockets and routers, and each is older when it arrives. The path holds its bandwidth times its round
//! trip, in frames: the rate at which frames arrive times the shortest round trip ever seen, which is the one
//! without a queue (the same reasoning as in BBR, Cardwell et al., "BBR: Congestion-Based Congestion
//! Control", 2016). In addition come a frame that is being received and one that follows it without a pause.
//! Where frames take longer than a round trip, that is all: the credit for the next one is here long before
//! it is needed, and one more would only wait in a socket, and be older by the time that a frame takes. Where
//! they take less, the share of a frame that the path holds is rounded up.

use std::time::{Duration, Instant};

use framelane::Delivery;

/// No link gets more.
const MOST: u64 = 64;
/// Beyond what the way holds.
const NEWEST: u64 = 2;
/// When every frame is wanted latency counts less than keeping up.
const EVERY: u64 = 8;
/// Arrivals that the rate is taken over.
const MEMORY: u32 = 8;

#[derive(Debug)]
pub(super) struct Window {
    least: u64,
    last_arrival: Option<Instant>,
    interval: Option<Duration>,
}

impl Window {
    pub(super) fn new(delivery: Delivery) -> Self {
        let least = if delivery == Delivery::Every { EVERY } else { NEWEST };
        Window { least, last_arrival: None, interval: None }
    }

    pub(super) fn arrived(&mut self, now: Instant) {
        if let Some(last) = self.last_arrival.replace(now) {
            let interval = now.duration_since(last);
            // The first ones count fully; later ones move the mean slowly.
            self.interval =
                Some(self.interval.map_or(interval, |mean| (mean * (MEMORY - 1) + interval) / MEMORY));
        }
    }

    /// Frames that may be in flight, when the path takes `round_trip` there and back.
    pub(super) fn frames(&self, round_trip: Duration) -> u64 {
        let held = match self.interval {
            None => 0,
            Some(interval) if interval > round_trip => 0,
            Some(interval) => round_trip.as_nanos().div_ceil(interval.as_nanos().max(1)),
        };
        self.least.saturating_add(u64::try_from(held).unwrap_or(MOST)).min(MOST)
    }
}
