//! Ends or stops this process at a chosen [`Step`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::os;
pub use crate::step::Step;

/// Which step, and how often it is still to be reached; 0: none is chosen.
struct Choice {
    step: AtomicU32,
    left: AtomicU64,
}

impl Choice {
    const fn none() -> Self {
        Choice { step: AtomicU32::new(0), left: AtomicU64::new(0) }
    }

    fn set(&self, step: Step, times: u64) {
        self.step.store(step as u32, Relaxed);
        self.left.store(times, Relaxed);
    }

    fn is_met(&self, step: Step) -> bool {
        self.left.load(Relaxed) > 0
            && self.step.load(Relaxed) == step as u32
            && self.left.fetch_sub(1, Relaxed) == 1
    }
}

static KILL: Choice = Choice::none();
static STOP: Choice = Choice::none();

/// Kills this process, without a clean end, when it reaches the step for the `times`-th time from now.
pub fn kill_at(step: Step, times: u64) {
    KILL.set(step, times);
}

/// Stops this process when it reaches the step the next time.
pub fn stop_at(step: Step) {
    STOP.set(step, 1);
}

pub(crate) fn step(step: Step) {
    if STOP.is_met(step) {
        os::stop_this_process();
    }
    if KILL.is_met(step) {
        os::kill_this_process();
    }
}
