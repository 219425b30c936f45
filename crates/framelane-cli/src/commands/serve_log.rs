//! What a server tells: by a thread of its own, so that no connection waits for whoever reads the output, or does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::failure::{json, print_line};
use crate::notes::Notes;
use serde::Serialize;

/// Lines that may wait to be written.
const WAITING: usize = 4096;
/// Refusals that are told one by one in a second: a flood of strangers must not fill a disk.
const REFUSALS: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// One thing that has happened, for people and for programs.
pub struct Line {
    pub text: String,
    /// With `--json`.
    pub json: Option<String>,
    /// A stranger was turned away.
    pub refusal: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// More refusals than are told one by one.
    RefusedMore { count: u64 },
    /// What happened while nobody took the output.
    NotTold { count: u64 },
}

/// Takes lines from all connections.
pub struct Log {
    lines: SyncSender<Line>,
    not_told: AtomicU64,
}

impl Log {
    /// The log, and what writes it.
    pub fn new(notes: Notes, as_json: bool) -> (Self, Writer) {
        let (lines, waiting) = sync_channel(WAITING);
        let writer = Writer { notes, as_json, waiting, second: Instant::now(), refusals: 0, more: 0 };
        (Log { lines, not_told: AtomicU64::new(0) }, writer)
    }

    /// Never waits: what there is no room for is counted.
    pub fn tell(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.not_told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines found no room since this was asked last.
    pub fn not_told(&self) -> u64 {
        self.not_told.swap(0, Ordering::Relaxed)
    }
}

/// Writes what a [`Log`] takes.
pub struct Writer {
    notes: Notes,
    as_json: bool,
    waiting: Receiver<Line>,
    second: Instant,
    refusals: u64,
    more: u64,
}

impl Writer {
    /// Until the log is dropped.
    pub fn run(mut self, not_told: &dyn Fn() -> u64) {
        loop {
            let line = match self.waiting.recv_timeout(SECOND) {
                Ok(line) => Some(line),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.new_second(Instant::now());
            if let Some(line) = line
                && self.is_told(&line)
            {
                self.write(&line.text, line.json.as_deref());
            }
            match not_told() {
                0 => {}
                count => self.write(
                    &format!("{count} events are not told: nobody took the output"),
                    Some(&json(&Event::NotTold { count })),
                ),
            }
        }
        self.say_more();
    }

    fn new_second(&mut self, now: Instant) {
        if now.duration_since(self.second) >= SECOND {
            self.say_more();
            (self.second, self.refusals) = (now, 0);
        }
    }

    fn is_told(&mut self, line: &Line) -> bool {
        if !line.refusal {
            return true;
        }
        self.refusals += 1;
        let told = self.refusals <= REFUSALS;
        self.more += u64::from(!told);
        told
    }

    fn say_more(&mut self) {
        let count = std::mem::take(&mut self.more);
        if count > 0 {
            self.write(&format!("{count} more were refused"), Some(&json(&Event::RefusedMore { count })));
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

    fn line(refusal: bool) -> Line {
        Line { text: String::new(), json: None, refusal }
    }

    #[test]
    fn nobody_waits_for_the_output_and_what_is_left_out_is_counted() {
        let (log, _writer) = Log::new(Notes::new(true), false);
        for _ in 0..WAITING + 7 {
            log.tell(line(false));
        }
        assert_eq!((log.not_told(), log.not_told()), (7, 0));
    }

    #[test]
    fn a_flood_of_refusals_is_summed_up_and_all_else_is_told() {
        let (_log, mut writer) = Log::new(Notes::new(true), false);
        let told = (0..1000).filter(|_| writer.is_told(&line(true))).count() as u64;
        assert_eq!((told, writer.more), (REFUSALS, 1000 - REFUSALS));
        assert!(writer.is_told(&line(false)));
        writer.new_second(writer.second + SECOND);
        assert_eq!(writer.more, 0);
        assert!(writer.is_told(&line(true)));
    }
}
