//! Events of a link's connection, as `send` and `receive` report them.

use std::time::Duration;

use framelane::Error;
use serde::Serialize;

use crate::reporter::Reporter;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Connected,
    Lost { reason: &'e str, next_try_s: f64 },
}

/// The state of a link's connection.
pub struct Connection {
    reporter: Reporter,
    is_connected: bool,
    /// Reason of the last loss, reported once until the next connection.
    trouble: String,
}

impl Connection {
    pub fn new(reporter: Reporter) -> Self {
        Connection { reporter, is_connected: false, trouble: String::new() }
    }

    /// True after the first connection.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The reason of the last loss. Empty while connected.
    pub fn trouble(&self) -> &str {
        &self.trouble
    }

    // A closed output does not end the link.
    pub fn connected(&mut self) {
        self.trouble.clear();
        self.is_connected = true;
        let _ = self.reporter.event(&Event::Connected, "connected");
    }

    pub fn lost(&mut self, error: &Error, wait: Duration) {
        let reason = match error.hint() {
            Some(hint) => format!("{} ({hint})", error.message()),
            None => error.message().to_owned(),
        };
        let _ = self.reporter.json(&Event::Lost { reason: &reason, next_try_s: wait.as_secs_f64() });
        if self.trouble != reason {
            self.reporter.note(&format!("{reason}; reconnecting"));
            self.trouble = reason;
        }
    }
}
