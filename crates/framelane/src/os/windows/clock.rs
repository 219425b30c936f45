//! The clocks.

use std::sync::OnceLock;
use std::time::SystemTime;

use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

/// The performance counter in nanoseconds, the same in every process of the machine.
pub(crate) fn monotonic_ns() -> u64 {
    static FREQUENCY: OnceLock<i64> = OnceLock::new();
    let frequency = *FREQUENCY.get_or_init(|| {
        let mut frequency = 0;
        // SAFETY: `frequency` may be written to. The call cannot fail since Windows XP.
        unsafe { QueryPerformanceFrequency(&mut frequency) };
        frequency.max(1)
    });
    let mut now = 0;
    // SAFETY: `now` may be written to. The call cannot fail since Windows XP.
    unsafe { QueryPerformanceCounter(&mut now) };
    (i128::from(now) * 1_000_000_000 / i128::from(frequency)) as u64
}

/// Nanoseconds since 1970.
pub(crate) fn realtime_ns() -> u64 {
    // The standard library reads the precise clock.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}
