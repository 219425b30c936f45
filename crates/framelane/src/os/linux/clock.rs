//! The clocks.

use rustix::time::ClockId;

fn clock_ns(id: ClockId) -> u64 {
    let now = rustix::time::clock_gettime(id);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// `CLOCK_MONOTONIC`, the same in every process of the machine.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(ClockId::Monotonic)
}

/// `CLOCK_REALTIME`, since 1970.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(ClockId::Realtime)
}
