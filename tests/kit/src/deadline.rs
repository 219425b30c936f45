//! One generous deadline for all waits of tests.

use std::time::{Duration, Instant};

/// The default of `FRAMELANE_TEST_DEADLINE`: longer than any single wait on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The longest wait for one condition: `$FRAMELANE_TEST_DEADLINE` seconds, else 120. Fractions are allowed.
///
/// # Panics
/// When the variable is not a number of seconds.
pub fn deadline() -> Duration {
    match std::env::var("FRAMELANE_TEST_DEADLINE") {
        Ok(text) => {
            let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.expect("FRAMELANE_TEST_DEADLINE in seconds")
        }
        Err(_) => DEADLINE,
    }
}

/// The end of one wait.
pub struct Deadline(Instant);

impl Default for Deadline {
    fn default() -> Self {
        Self::new()
    }
}

impl Deadline {
    /// Begins a wait now.
    pub fn new() -> Self {
        Deadline(Instant::now() + deadline())
    }

    /// The time left.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Sleeps until the next poll.
    ///
    /// # Panics
    /// When the deadline has passed. The message names what was awaited.
    #[track_caller]
    pub fn next_poll(&self, awaited: impl std::fmt::Display) {
        assert!(!self.left().is_zero(), "waited {} s until {awaited}", deadline().as_secs_f64());
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Polls a condition that another process or thread changes without a notification.
///
/// # Panics
/// When the deadline has passed. [`wait_until!`](crate::wait_until!) names the condition by its source text.
#[track_caller]
pub fn wait_until(awaited: impl std::fmt::Display, mut condition: impl FnMut() -> bool) {
    let deadline = Deadline::new();
    while !condition() {
        deadline.next_poll(&awaited);
    }
}

/// Polls a condition until it holds. At the deadline the test fails and prints the condition.
#[macro_export]
macro_rules! wait_until {
    ($condition:expr $(,)?) => {
        $crate::wait_until(stringify!($condition), || $condition)
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn wait_past_the_deadline_names_the_condition() {
        for seconds in ["0", "0.5"] {
            let test = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["deadline::tests::endless", "--exact", "--ignored", "--nocapture"])
                .env("FRAMELANE_TEST_DEADLINE", seconds)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&test.stderr);
            assert_eq!(test.status.code(), Some(101), "{text}");
            assert!(text.contains(&format!("waited {seconds} s until 1 + 1 == 3")), "{text}");
            assert!(text.contains("deadline.rs"), "{text}");
        }
    }

    #[test]
    #[ignore = "the test above runs it and expects it to fail"]
    fn endless() {
        wait_until!(1 + 1 == 3);
    }
}
