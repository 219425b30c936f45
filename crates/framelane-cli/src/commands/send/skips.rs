//! Frames that cannot be sent.

use framelane::{Error, Frame, Layout};
use serde::Serialize;

use crate::failure::Failure;
use crate::reporter::Reporter;

#[derive(Serialize)]
#[serde(tag = "event", rename = "skipped")]
struct Skipped {
    sequence: u64,
    reason: String,
}

/// Counts skipped frames. Reports the first of each layout: a camera's frames are all alike.
pub struct Skips<'r> {
    reporter: &'r Reporter,
    count: u64,
    reported: Option<Layout>,
}

impl<'r> Skips<'r> {
    pub fn new(reporter: &'r Reporter) -> Self {
        Skips { reporter, count: 0, reported: None }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn add(&mut self, frame: &Frame, error: &Error) -> Result<(), Failure> {
        self.count += 1;
        if self.reported.as_ref() == Some(frame.layout()) {
            return Ok(());
        }
        self.reported = Some(frame.layout().clone());
        let skipped = Skipped { sequence: frame.sequence(), reason: error.to_string() };
        self.reporter.event(&skipped, &format!("frame {} is skipped: {error}", skipped.sequence))
    }
}
