//! What a server tells: by a thread of its own, so that no connection waits for whoever reads the output, or does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::refusals::{More, Network, Refusals};
use crate::failure::{json, print_line};
use crate::notes::Notes;
use serde::Serialize;

/// Lines that may wait to be written.
const WAITING: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);

/// One thing that has happened, for people and for programs.
pub struct Line {
    pub text: String,
    /// With `--json`.
    pub json: Option<String>,
    /// The network of a client that was refused; `None` for other lines.
    pub refused: Option<Network>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// More refusals than are logged one by one; of one network, or of several.
    RefusedMore { count: u64, network: Option<String> },
    /// What happened while nobody took the output.
    NotTold { count: u64 },
}

impl From<More> for Line {
    fn from(More { count, network }: More) -> Self {
        let text = match &network {
            Some(network) => format!("{count} more from {network} were refused"),
            None => format!("{count} more from other addresses were refused"),
        };
        Line { text, json: Some(json(&Event::RefusedMore { count, network })), refused: None }
    }
}

/// Takes lines from all connections.
pub struct Log {
    lines: SyncSender<Line>,
    not_told: AtomicU64,
    refusals: Mutex<Refusals>,
}

/// What a [`Log`] has counted instead of writing it.
#[derive(Default)]
pub struct Counted {
    pub not_told: u64,
    pub refused: Vec<More>,
}

impl Log {
    /// The log, and what writes it.
    pub fn new(notes: Notes, as_json: bool) -> (Self, Writer) {
        let (lines, waiting) = sync_channel(WAITING);
        let writer = Writer { notes, as_json, waiting };
        let refusals = Mutex::new(Refusals::new(Instant::now()));
        (Log { lines, not_told: AtomicU64::new(0), refusals }, writer)
    }

    /// Never waits: lines for which there is no room are counted, and so are refusals above the limit.
    pub fn tell(&self, line: Line) {
        let is_counted = line.refused.is_some_and(|network| !self.refusals().is_logged(network));
        if !is_counted && self.lines.try_send(line).is_err() {
            self.not_told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since this was called last.
    pub fn counted(&self, now: Instant) -> Counted {
        Counted {
            not_told: self.not_told.swap(0, Ordering::Relaxed),
            refused: self.refusals().end_second(now),
        }
    }

    /// Says what is still to be said of refusals, before the log is dropped.
    pub fn finish(&self) {
        let sums = self.refusals().end();
        sums.into_iter().for_each(|more| self.tell(more.into()));
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // Counts are whole whatever has panicked.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what a [`Log`] takes.
pub struct Writer {
    notes: Notes,
    as_json: bool,
    waiting: Receiver<Line>,
}

impl Writer {
    /// Runs until the log is dropped; asks `counted` at least once a second.
    pub fn run(self, counted: &dyn Fn() -> Counted) {
        loop {
            match self.waiting.recv_timeout(SECOND) {
                Ok(line) => self.write(&line.text, line.json.as_deref()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Counted { not_told, refused } = counted();
            for more in refused {
                let line = Line::from(more);
                self.write(&line.text, line.json.as_deref());
            }
            if not_told > 0 {
                self.write(
                    &format!("{not_told} events were not logged because the output was blocked"),
                    Some(&json(&Event::NotTold { count: not_told })),
                );
            }
        }
    }

    fn write(&self, text: &str, json: Option<&str>) {
        self.notes.say(text);
        if let (true, Some(json)) = (self.as_json, json) {
            // Whoever reads our output may be gone: the server does not end for that.
            let _ = print_line(json);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_the_output_and_what_is_left_out_is_counted() {
        let (log, _writer) = Log::new(Notes::new(true), false);
        for _ in 0..WAITING + 7 {
            log.tell(Line { text: String::new(), json: None, refused: None });
        }
        let now = Instant::now();
        assert_eq!((log.counted(now).not_told, log.counted(now).not_told), (7, 0));
    }

    #[test]
    fn flood_of_one_address_takes_no_room_in_the_queue() {
        let (log, writer) = Log::new(Notes::new(true), false);
        let line = |peer| Line { text: String::new(), json: None, refused: Some(Network::of(peer)) };
        for _ in 0..10 * WAITING {
            log.tell(line("203.0.113.9:1"));
        }
        log.tell(line("192.0.2.1:1"));
        assert_eq!(log.counted(Instant::now()).not_told, 0);
        assert!(writer.waiting.try_iter().count() < 100);
    }
}
