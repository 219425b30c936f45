//! A full-screen terminal, restored at the end.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::SIGTSTP;

use crate::failure::Failure;
use crate::signals::{Stop, is_ignored};

/// Time between two checks for signals and for another size.
const SIGNAL_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The alternate screen, without a cursor, and back: see the manual of xterm's control sequences.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const INVERSE: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";

/// The alternate screen of the terminal at standard output. Dropping restores the terminal.
#[derive(Debug)]
pub struct Screen {
    /// The earlier settings of standard input. `None` if it is no terminal, and there are no keys.
    keyboard: Option<Termios>,
    /// Width and height that were drawn last.
    drawn: (usize, usize),
    /// Ctrl-Z. Set by the signal handler, read and cleared while waiting. Carries no data.
    suspended: Arc<AtomicBool>,
}

/// The end of a wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Woken {
    /// The time is over.
    Due,
    Key(u8),
    /// The screen has another size, or the process continues after Ctrl-Z.
    Redraw,
    /// The user has asked for the end.
    Stopped,
}

impl Screen {
    /// `None` when standard output is not a terminal that can be drawn on.
    pub fn open() -> Result<Option<Self>, Failure> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if dumb || !stdout().is_terminal() {
            return Ok(None);
        }
        let suspended = Arc::new(AtomicBool::new(false));
        if !is_ignored(SIGTSTP) {
            signal_hook::flag::register(SIGTSTP, suspended.clone())
                .map_err(|error| Error::from_io("taking over Ctrl-Z", error))?;
        }
        let mut screen = Screen { keyboard: None, drawn: (0, 0), suspended };
        screen.enter()?;
        Ok(Some(screen))
    }

    /// Width and height, in characters.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// True if keys can be read.
    pub fn has_keys(&self) -> bool {
        self.keyboard.is_some()
    }

    /// Draws these lines, with line `inverse` in inverse video. They must fit into [`Screen::size`].
    pub fn draw(&mut self, lines: &[String], inverse: usize) -> Result<(), Failure> {
        self.drawn = self.size();
        let (width, height) = self.drawn;
        let mut text = String::from("\x1b[H");
        for at in 0..height {
            let line = lines.get(at).map_or("", String::as_str);
            let end = if at + 1 < height { "\r\n" } else { "" };
            // The old line is cleared first: after a full line the cursor is on its last character.
            text += &match at == inverse {
                true => format!("{INVERSE}{line:width$}{PLAIN}{end}"),
                false => format!("\x1b[2K{line}{end}"),
            };
        }
        put(&text)
    }

    /// Waits until `until`, or for a key, a signal or another size.
    pub fn wait(&mut self, until: Instant, stop: &Stop) -> Result<Woken, Failure> {
        loop {
            if stop.is_set() {
                return Ok(Woken::Stopped);
            }
            if self.suspended.swap(false, Ordering::Relaxed) {
                self.leave();
                signal_hook::low_level::emulate_default_handler(SIGTSTP)
                    .map_err(|error| Error::from_io("stopping for Ctrl-Z", error))?;
                self.enter()?;
                return Ok(Woken::Redraw);
            }
            if self.size() != self.drawn {
                return Ok(Woken::Redraw);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::Due);
            }
            if let Some(key) = self.key(left.min(SIGNAL_POLL_INTERVAL)) {
                return Ok(Woken::Key(key));
            }
        }
    }

    /// Returns a key that is pressed within `time`.
    fn key(&mut self, time: Duration) -> Option<u8> {
        if self.keyboard.is_none() {
            std::thread::sleep(time);
            return None;
        }
        let input = stdin();
        let mut watched = [PollFd::new(&input, PollFlags::IN)];
        let time = Timespec::try_from(time).ok()?;
        // A signal that interrupts this is looked for next.
        if poll(&mut watched, Some(&time)).ok()? == 0 {
            return None;
        }
        let mut key = [0];
        // Not through the buffer of `Stdin`, in which polling does not see what is left.
        match rustix::io::read(&input, &mut key) {
            Ok(1) => Some(key[0]),
            Err(Errno::INTR | Errno::AGAIN) => None,
            _ => {
                // At the end of the input, polling would return at once, repeatedly.
                self.keyboard = None;
                None
            }
        }
    }

    fn enter(&mut self) -> Result<(), Failure> {
        let input = stdin();
        if let Ok(before) = tcgetattr(&input) {
            let mut keys = before.clone();
            // Keys are read at once and not shown. Ctrl-C and Ctrl-Z stay signals.
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            if tcsetattr(&input, OptionalActions::Now, &keys).is_ok() {
                self.keyboard = Some(before);
            }
        }
        put(ENTER)
    }

    /// Restores the terminal, if it still exists.
    fn leave(&mut self) {
        let _ = put(LEAVE);
        if let Some(before) = self.keyboard.take() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn put(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
