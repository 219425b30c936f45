//! The end of a read that waits: a cancel token, or a time limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use framelane::CancelToken;

/// Interval at which a sleep polls the flags.
const POLL: Duration = Duration::from_millis(50);

/// Set by the user (from any thread or a signal handler) or by the end of publishing.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<Flags>);

#[derive(Debug)]
struct Flags {
    /// Cancelled by the user.
    user: CancelToken,
    /// Written by the publishing thread when it has had enough, read by the decoding thread.
    enough: AtomicBool,
    /// Nanoseconds after `began` at which a read is given up, 0: never. Written and read by the thread that
    /// reads.
    deadline_ns: AtomicU64,
    began: Instant,
}

impl Interrupt {
    pub(crate) fn new(user: CancelToken) -> Self {
        Interrupt(Arc::new(Flags {
            user,
            enough: AtomicBool::new(false),
            deadline_ns: AtomicU64::new(0),
            began: Instant::now(),
        }))
    }

    /// Returns whether the user wants an end.
    pub(crate) fn by_user(&self) -> bool {
        self.0.user.ends_wait()
    }

    /// Returns the user's token.
    pub(crate) fn user(&self) -> &CancelToken {
        &self.0.user
    }

    pub(crate) fn is_set(&self) -> bool {
        self.by_user() || self.0.enough.load(Ordering::Relaxed)
    }

    pub(crate) fn set_enough(&self, enough: bool) {
        self.0.enough.store(enough, Ordering::Relaxed);
    }

    /// Ends a read after this time from now; `None`: never.
    pub(crate) fn set_limit(&self, limit: Option<Duration>) {
        let deadline =
            limit.map_or(0, |limit| (self.0.began.elapsed() + limit).as_nanos().clamp(1, u64::MAX.into()));
        self.0.deadline_ns.store(deadline as u64, Ordering::Relaxed);
    }

    /// Returns true if the time limit of the read has passed.
    pub(crate) fn is_late(&self) -> bool {
        let deadline = self.0.deadline_ns.load(Ordering::Relaxed);
        deadline != 0 && self.0.began.elapsed().as_nanos() >= deadline.into()
    }

    /// Sleeps for this time. Returns false as soon as an end is wanted.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(POLL));
        }
        false
    }
}
