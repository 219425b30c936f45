//! What `publish` says when its live source is lost and when it returns.

use std::sync::{Mutex, PoisonError};

use framelane::redact;
use framelane_video::SourceEvent;

use super::progress::Event;
use crate::failure::print_json;
use crate::notes::Notes;

/// Reports events of a source: lines on standard error, or JSON.
pub struct Reporter {
    json: bool,
    source: String,
    notes: Notes,
    /// The reason printed last: attempts that fail for the same reason are not repeated.
    reason: Mutex<Option<String>>,
}

impl Reporter {
    pub fn new(json: bool, source: &str, notes: Notes) -> Self {
        Reporter { json, source: redact::url(source).into_owned(), notes, reason: Mutex::default() }
    }

    /// Reports one event. Called by the thread that publishes.
    pub fn report(&self, event: &SourceEvent) {
        if self.json
            && let Some(event) = Event::of_source(event)
        {
            // A closed output ends the command elsewhere, with its next progress event.
            let _ = print_json(&event);
        }
        let mut last = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            SourceEvent::Lost { reason, retry_in, .. } => {
                if last.as_ref() == Some(reason) {
                    return;
                }
                let retry = retry_in.map(|wait| format!("; reconnecting in {:.1} s", wait.as_secs_f64()));
                let what = if last.is_none() { "no frames from" } else { "still no frames from" };
                self.notes.say(&format!("{what} {}: {reason}{}", self.source, retry.unwrap_or_default()));
                *last = Some(reason.clone());
            }
            SourceEvent::Restored { outage, .. } => {
                self.notes.say(&format!(
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
