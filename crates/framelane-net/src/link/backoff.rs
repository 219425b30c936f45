//! Time to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with each attempt, with a random part so that many clients of one server do not connect at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff { tries: 0 }
    }

    /// The wait before the next try; `random` is any number, new each time.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries += 1;
        // Three quarters to five quarters of it.
        wait.mul_f64(0.75 + (random >> 32) as f64 / (2.0 * 4_294_967_296.0))
    }

    /// After a connection that was good for something.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_begin_anew_after_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..40).map(|_| backoff.next(1 << 63).as_millis()).collect();
        assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!(waits[39], 5000);
        backoff.reset();
        assert_eq!(backoff.next(0).as_millis(), 75);
        assert!(backoff.next(u64::MAX).as_millis() <= 250);
    }
}
