//! What is said on standard error while a command runs: notes, and progress when it is a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Standard error of one command.
#[derive(Clone, Debug)]
pub struct Notes {
    bar: ProgressBar,
    quiet: bool,
}

impl Notes {
    /// Notes without progress; none at all with `--json`, whose reader gets events instead.
    pub fn new(json: bool) -> Self {
        Notes { bar: ProgressBar::hidden(), quiet: json }
    }

    /// Whether progress would be seen.
    pub fn on_terminal(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Begins to show progress, of `total` steps when that is known. Nothing unless standard error is a
    /// terminal.
    pub fn start_progress(&self, total: Option<u64>) {
        if !self.on_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(template(total)).expect("the template is ours");
        // The same bar as before: copies of these notes write above it.
        self.bar.set_style(style);
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Shows how far it is; the message goes on after the position.
    pub fn progress(&self, position: u64, message: String) {
        self.bar.set_position(position);
        self.bar.set_message(message);
    }

    /// Takes the progress off the terminal.
    pub fn end_progress(&self) {
        self.bar.finish_and_clear();
    }

    /// Says something in a line of its own, without the secrets of URLs.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            let text = framelane::redact::text(text);
            // An error here has nowhere to be printed.
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        }
    }
}

/// The position is there in both: a source without an end is where nothing else shows that it goes on.
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
    fn progress_shows_the_position_whether_or_not_the_end_is_known() {
        for total in [None, Some(10)] {
            assert!(template(total).contains("{pos}"));
            assert!(ProgressStyle::with_template(template(total)).is_ok());
        }
    }
}
