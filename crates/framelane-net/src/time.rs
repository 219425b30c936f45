//! The two clocks, and whose they are.

use std::sync::OnceLock;

use ring::digest;
use rustix::time::{ClockId, clock_gettime};

fn ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    ns(ClockId::Realtime)
}

/// Returns nanoseconds on the clock that cannot be set.
pub(crate) fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

/// Returns a number of this machine since it was started, the same in all of its containers; 0 when the
/// system does not provide it. The system's own number cannot be derived from it.
pub(crate) fn machine() -> u64 {
    static MACHINE: OnceLock<u64> = OnceLock::new();
    *MACHINE.get_or_init(|| {
        let Ok(id) = std::fs::read("/proc/sys/kernel/random/boot_id") else { return 0 };
        let hash = digest::digest(&digest::SHA256, &[b"framelane link ", id.trim_ascii()].concat());
        u64::from_le_bytes(hash.as_ref()[..8].try_into().expect("a hash has 32 bytes"))
    })
}
