//! The combined log of camera and reader. Both run in this process, so the age of a frame is exact.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A frame that is older than this on arrival is not live any more. It takes 0.4 s to send one.
const OLDEST: Duration = Duration::from_secs(10);
/// By this time after a restart frames arrive again.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// Upper ends of the ranges of the histogram.
const RANGES_MS: [u64; 7] = [250, 500, 750, 1000, 2000, 5000, u64::MAX];

/// When a frame was captured.
#[derive(Clone, Copy)]
pub struct Capture {
    instant: Instant,
    /// The time in the frame.
    pub timestamp_ns: u64,
}

impl Capture {
    pub fn now() -> Self {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Capture { instant: Instant::now(), timestamp_ns: timestamp.as_nanos() as u64 }
    }
}

#[derive(Default)]
pub struct Log(Mutex<State>);

#[derive(Default)]
struct State {
    /// Frames that were published after the last one received.
    captures: BTreeMap<u64, Capture>,
    published: u64,
    ages: Vec<Duration>,
    /// Difference between received and sent timestamps.
    clock_errors_ns: Vec<u64>,
    lives: u64,
    received_last: Option<Instant>,
    /// Faults of the camera or the reader. The first wrong frame ends the soak.
    faults: Vec<String>,
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in how the camera or the reader has ended.
    pub fn note(&self, result: Result<(), Box<dyn Error>>) {
        self.state().faults.extend(result.err().map(|error| error.to_string()));
    }

    pub fn published(&self, number: u64, capture: Capture) {
        let mut state = self.state();
        state.captures.insert(number, capture);
        state.published += 1;
    }

    pub fn received(&self, number: u64, timestamp_ns: u64, is_of_a_new_life: bool) {
        let now = Instant::now();
        let mut state = self.state();
        // The frames before were skipped on the path.
        let mut captures = state.captures.split_off(&number);
        match captures.remove(&number) {
            Some(capture) => {
                state.ages.push(now.duration_since(capture.instant));
                state.clock_errors_ns.push(timestamp_ns.abs_diff(capture.timestamp_ns));
            }
            None => state.faults.push(format!("frame {number} arrived, which was never published")),
        }
        state.captures = captures;
        state.lives += u64::from(is_of_a_new_life);
        state.received_last = Some(now);
    }

    /// Receivers of which a frame reached the reader.
    pub fn lives(&self) -> u64 {
        self.state().lives
    }

    pub fn has_faults(&self) -> bool {
        !self.state().faults.is_empty()
    }

    pub fn tell(&self, time: Duration, restarts: u64) {
        let state = self.state();
        let late = &state.ages[state.ages.len().saturating_sub(20)..];
        println!(
            "{:5.1} min: {} frames published, {} received, {restarts} restarts; {:.2} s old of late",
            time.as_secs_f64() / 60.0,
            state.published,
            state.ages.len(),
            share(late, 0.5).as_secs_f64()
        );
    }

    /// Prints the figures. Returns the faults.
    pub fn judge(&self, restarts: u64) -> Vec<String> {
        let state = self.state();
        let mut failures = state.faults.clone();
        let State { published, ages, lives, .. } = &*state;
        println!(
            "link soak: {published} frames published, {} received; faults: {}",
            ages.len(),
            state.faults.len()
        );
        println!(
            "link soak: receivers killed and restarted: {restarts}; frames of {lives} reached the reader"
        );
        let [median, most, max] = [0.5, 0.99, 1.0].map(|part| share(ages, part));
        println!("link soak: age on arrival: median {median:.1?}, 99 % below {most:.1?}, maximum {max:.1?}");
        let mut from = 0;
        for to in RANGES_MS {
            let count = ages.iter().filter(|age| (from..to).contains(&(age.as_millis() as u64))).count();
            println!("link soak:   from {from:>4} ms: {count}");
            from = to;
        }
        let worst = state.clock_errors_ns.iter().max().copied().unwrap_or(0);
        println!("link soak: timestamps arrive within {:.3} ms", worst as f64 / 1e6);
        if *lives < restarts {
            failures.push(format!("{restarts} restarts, but frames of {lives} receivers only"));
        }
        if max > OLDEST {
            failures.push(format!("a frame was {max:.1?} old when it arrived"));
        }
        let quarter = ages.len() / 4;
        if quarter >= 10 {
            let before = share(&ages[quarter..2 * quarter], 0.5);
            let after = share(&ages[3 * quarter..], 0.5);
            if after > before.mul_f64(1.5) {
                failures
                    .push(format!("frames get older: {before:.1?} in the second quarter, then {after:.1?}"));
            }
        }
        if state.received_last.is_none_or(|last| last.elapsed() > LONGEST_SILENCE) {
            failures.push(format!("no frame has arrived for {} s or more", LONGEST_SILENCE.as_secs()));
        }
        failures
    }
}

/// The quantile of the values.
fn share(ages: &[Duration], part: f64) -> Duration {
    let mut sorted = ages.to_vec();
    sorted.sort();
    let index = (part * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
