//! The two clocks.

use rustix::time::{ClockId, clock_gettime};

fn ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    ns(ClockId::Realtime)
}

/// Nanoseconds on the clock that nobody sets.
pub(crate) fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}
