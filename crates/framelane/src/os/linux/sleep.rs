//! Sleeping until a word or a directory changes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;
use rustix::time::Timespec;

use super::maps::Map;
use crate::os::Woken;

impl Map {
    /// Sleeps while a word of this map is `expected`, for at most `timeout`. The map may be read-only.
    ///
    /// `sleeper` is below 64. No two sleepers on the word have the same number. No other word of the map has
    /// sleepers.
    pub(crate) fn wait_on(
        &self,
        word: &AtomicU32,
        expected: u32,
        _sleeper: usize,
        timeout: Duration,
    ) -> Woken {
        // Here, because it makes system calls, as this does.
        super::signals::keep_installed();
        let timeout = timespec(timeout);
        match futex::wait(word, futex::Flags::empty(), expected, Some(&timeout)) {
            Err(rustix::io::Errno::TIMEDOUT) => Woken::TimedOut,
            Err(rustix::io::Errno::INTR) => Woken::Signal,
            // AGAIN: the word had changed already. Any other error ends the sleep too.
            _ => Woken::Changed,
        }
    }

    /// Wakes the sleepers on a word of this map, a bit for each. Others may wake too.
    pub(crate) fn wake(&self, word: &AtomicU32, sleepers: u64) {
        if sleepers != 0 {
            // Fails only for addresses that are not mapped, which a reference is not.
            let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
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
