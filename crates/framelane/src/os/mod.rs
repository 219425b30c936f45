//! System calls: one folder for each system. No other module calls a system or names one.
//!
//! | in each folder | |
//! |---|---|
//! | `OpenDirectory`, `Place` | a channel directory, and a name in it |
//! | `File`, `FileId` | an open file of a channel, and its identity under any name |
//! | `Map` | its memory, and the sleepers on a word of it |
//! | `LockFile` | locks that the system releases when their process ends |
//! | `Watch` | changes of a directory |
//! | `User` | an owner of files |
//! | `monotonic_ns`, `realtime_ns` | clocks that all processes share |

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;

pub use system::fork_count;
pub(crate) use system::*;

/// The cause that ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The word changed, or a waker or the system ended the sleep.
    Changed,
    TimedOut,
    Signal,
}

/// A random number that is not zero.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's source of randomness.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(realtime_ns());
    hasher.finish() | 1
}

/// The moment after which waiting ends; `None` when there is none or it lies beyond the clock.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
