//! What is said on standard error while a command runs: notes, and progress when it is a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Standard error of one command.
#[derive(Debug)]
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

    /// Begins to show progress, of `total` steps when that is known. Nothing unless standard error is a terminal.
    pub fn start_progress(&mut self, total: Option<u64>) {
        if !self.on_terminal() {
            return;
        }
        let template = match total {
            Some(_) => "{bar:20} {pos}/{len} {wide_msg}",
            None => "{spinner} {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is ours");
        self.bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style);
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Shows how far it is.
    pub fn progress(&self, position: u64, message: String) {
        self.bar.set_position(position);
        self.bar.set_message(message);
    }

    /// Takes the progress off the terminal.
    pub fn end_progress(&self) {
        self.bar.finish_and_clear();
    }

    /// Says something in a line of its own.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            // Nobody is left to be told when this fails.
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        }
    }
}
