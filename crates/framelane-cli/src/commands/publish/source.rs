//! Reports of a live source that is lost, and that returns.

use std::sync::{Mutex, PoisonError};

use framelane::redact;
use framelane_video::SourceEvent;

use super::progress::Event;
use crate::reporter::Reporter;

/// Reports events of a source: lines on standard error, or JSON.
pub struct SourceReporter {
    source: String,
    reporter: Reporter,
    /// The reason printed last: attempts that fail for the same reason are not repeated.
    reason: Mutex<Option<String>>,
}

impl SourceReporter {
    pub fn new(source: &str, reporter: Reporter) -> Self {
        SourceReporter { source: redact::url(source).into_owned(), reporter, reason: Mutex::default() }
    }

    /// Reports one event. Called by the thread that publishes.
    pub fn report(&self, event: &SourceEvent) {
        if let Some(event) = Event::of_source(event) {
            // The next progress event ends the command if the output is closed.
            let _ = self.reporter.json(&event);
        }
        let mut last = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            SourceEvent::Lost { reason, retry_in, .. } => {
                if last.as_ref() == Some(reason) {
                    return;
                }
                let retry = retry_in.map(|wait| format!("; reconnecting in {:.1} s", wait.as_secs_f64()));
                let what = if last.is_none() { "no frames from" } else { "still no frames from" };
                self.reporter.note(&format!("{what} {}: {reason}{}", self.source, retry.unwrap_or_default()));
                *last = Some(reason.clone());
            }
            SourceEvent::Restored { outage, .. } => {
                self.reporter.note(&format!(
                    "frames again from {} after {:.1} s",
                    self.source,
                    outage.as_secs_f64()
                ));
                *last = None;
            }
            _ => {}
        }
    }
}
