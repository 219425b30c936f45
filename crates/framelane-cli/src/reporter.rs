//! Output of a command: results and events on standard output, notes and progress on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::failure::{Failure, json, print_line};

/// Reports of one command. Clones share the progress bar.
#[derive(Clone, Debug)]
pub struct Reporter {
    bar: ProgressBar,
    json: bool,
    /// Standard output has frames.
    is_stdout_taken: bool,
}

impl Reporter {
    /// A reporter without progress. With `json`, events and results are JSON, and notes are not printed.
    pub fn new(json: bool) -> Self {
        Reporter { bar: ProgressBar::hidden(), json, is_stdout_taken: false }
    }

    /// Prints results and events to standard error, because standard output has frames.
    pub fn without_stdout(self) -> Self {
        Reporter { is_stdout_taken: true, ..self }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result to standard output.
    pub fn result(&self, result: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        self.print(&if self.json { json(result) } else { text() })
    }

    /// Reports an event: JSON on standard output, or a note.
    pub fn event(&self, event: &impl Serialize, text: &str) -> Result<(), Failure> {
        self.note(text);
        self.json(event)
    }

    /// Prints an event to standard output with `--json`, and nothing without.
    pub fn json(&self, event: &impl Serialize) -> Result<(), Failure> {
        if self.json { self.print(&json(event)) } else { Ok(()) }
    }

    /// Prints a line to standard error, without the secrets of URLs.
    pub fn note(&self, text: &str) {
        if !self.json {
            self.print_to_stderr(text);
        }
    }

    fn print(&self, line: &str) -> Result<(), Failure> {
        if !self.is_stdout_taken {
            return print_line(line);
        }
        self.print_to_stderr(line);
        Ok(())
    }

    fn print_to_stderr(&self, line: &str) {
        let line = framelane::redact::text(line);
        // An error here cannot be printed.
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }

    /// True if progress is visible.
    pub fn shows_progress(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// Starts to show progress, of `total` steps if that is known. Does nothing without a terminal.
    pub fn start_progress(&self, total: Option<u64>) {
        if !self.shows_progress() {
            return;
        }
        let style = ProgressStyle::with_template(template(total)).expect("the template is ours");
        // The same bar as before: clones of this reporter write above it.
        self.bar.set_style(style);
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Shows the position, followed by the message.
    pub fn progress(&self, position: u64, message: String) {
        self.bar.set_position(position);
        self.bar.set_message(message);
    }

    /// Removes the progress from the terminal.
    pub fn end_progress(&self) {
        self.bar.finish_and_clear();
    }
}

/// Both templates have the position: it is the only sign of life of a source without an end.
fn template(total: Option<u64>) -> &'static str {
    match total {
        Some(_) => "{bar:20} {pos}/{len} {wide_msg}",
        None => "{spinner} {pos} {wide_msg}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_the_position_with_and_without_a_total() {
        for total in [None, Some(10)] {
            assert!(template(total).contains("{pos}"));
            assert!(ProgressStyle::with_template(template(total)).is_ok());
        }
    }
}
