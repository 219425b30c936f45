//! Sleeping until a word or a directory changes, and the clocks.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use rustix::thread::futex;
use rustix::time::{ClockId, Timespec};

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The word changed, or somebody woke us, or the system did for no reason.
    Changed,
    TimedOut,
    Signal,
}

/// Sleeps while the word is `expected`, for at most `timeout`. The word may be mapped read-only.
pub(crate) fn wait_on(word: &AtomicU32, expected: u32, timeout: Duration) -> Woken {
    // Here, because it makes system calls, as this does.
    super::signals::keep_installed();
    let timeout = timespec(timeout);
    match futex::wait(word, futex::Flags::empty(), expected, Some(&timeout)) {
        Err(rustix::io::Errno::TIMEDOUT) => Woken::TimedOut,
        Err(rustix::io::Errno::INTR) => Woken::Signal,
        // AGAIN: the word had changed already. Any other error ends the sleep too; the caller looks again.
        _ => Woken::Changed,
    }
}

/// Wakes all who sleep on the word.
pub(crate) fn wake_all(word: &AtomicU32) {
    // Fails only for addresses that are not mapped, which a reference is not.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

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

/// A random number that is not zero.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's source of randomness.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(realtime_ns());
    hasher.finish() | 1
}

/// Waits for files to appear in a directory.
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        use rustix::fs::inotify;
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events =
            inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE;
        inotify::add_watch(&fd, directory, events)?;
        Ok(Watch(fd))
    }

    /// Sleeps until something happened in the directory, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut polled = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&timespec(timeout))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|count| count > 0) {}
        Ok(())
    }
}

/// The moment after which waiting ends; `None` when there is none or it lies beyond the clock.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
