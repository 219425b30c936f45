//! Counts of frames.

use std::time::{Duration, Instant};

use crate::table::{counted, human_rate, rate};

/// Frames that were sent or received, and the time from the first to the last.
#[derive(Debug, Default)]
pub struct Tally {
    frames: u64,
    first: Option<Instant>,
    elapsed: Duration,
}

impl Tally {
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Counts one more frame.
    pub fn add(&mut self) {
        self.update(self.frames + 1);
    }

    /// Sets the number of frames. Returns false if it has not grown.
    pub fn update(&mut self, frames: u64) -> bool {
        let has_grown = frames > self.frames;
        if has_grown {
            self.frames = frames;
            self.elapsed = self.first.get_or_insert_with(Instant::now).elapsed();
        }
        has_grown
    }

    /// True if there are `limit` frames. Without a limit, never.
    pub fn has_reached(&self, limit: Option<u64>) -> bool {
        limit.is_some_and(|limit| self.frames >= limit)
    }

    /// Frames a second, from the first to the last. `None` below two frames.
    pub fn frames_per_second(&self) -> Option<f64> {
        rate(self.frames, self.elapsed)
    }

    /// For people: `10 frames sent, 25.0 a second`.
    pub fn text(&self, verb: &str) -> String {
        format!("{} {verb}, {} a second", counted(self.frames, "frame"), human_rate(self.frames_per_second()))
    }
}
