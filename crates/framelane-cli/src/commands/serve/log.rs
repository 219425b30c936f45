//! The log of a server. A separate thread writes it, so that no connection waits for the reader of the
//! output.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{json, print_line};
use crate::line_limit::{CONNECTIONS, LineLimit, More, Network, Party, REFUSALS};
use crate::reporter::Reporter;
use serde::Serialize;

/// Lines that may wait to be written.
const WAITING: usize = 4096;
const SECOND: Duration = Duration::from_secs(1);

/// One event, for people and for programs.
pub struct Line {
    pub text: String,
    /// With `--json`.
    pub json: Option<String>,
    pub cause: Cause,
}

/// The cause of a line, which decides on its limit.
pub enum Cause {
    /// A connection was refused.
    Refusal(Party),
    /// A connection was accepted.
    Connection { number: u64, party: Party },
    /// An accepted connection has ended. It is logged if its start was.
    End { number: u64 },
    /// The server itself.
    Server,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// More refusals than are logged one by one: of one client, of one network, or of several.
    RefusedMore { count: u64, client: Option<String>, network: Option<String> },
    /// The same of connections that were accepted.
    ConnectedMore { count: u64, client: Option<String>, network: Option<String> },
    /// Events while the output was blocked.
    NotTold { count: u64 },
}

/// Takes lines from all connections.
pub struct Log {
    lines: SyncSender<Line>,
    not_told: AtomicU64,
    limits: Mutex<Limits>,
}

struct Limits {
    refusals: LineLimit,
    connections: LineLimit,
    /// Open connections whose start was not logged.
    unlogged: HashSet<u64>,
}

/// Lines that a [`Log`] has counted instead of writing them.
#[derive(Default)]
pub struct Counted {
    pub not_told: u64,
    pub more: Vec<Line>,
}

impl Limits {
    /// Counts a line, and returns whether it is logged.
    fn is_logged(&mut self, cause: &Cause) -> bool {
        match cause {
            Cause::Refusal(party) => self.refusals.is_logged(party.clone()),
            Cause::Connection { number, party } => {
                let is_logged = self.connections.is_logged(party.clone());
                if !is_logged {
                    self.unlogged.insert(*number);
                }
                is_logged
            }
            Cause::End { number } => !self.unlogged.remove(number),
            Cause::Server => true,
        }
    }
}

impl Log {
    /// Returns the log and its writer.
    pub fn new(reporter: Reporter) -> (Self, Writer) {
        let (lines, waiting) = sync_channel(WAITING);
        let writer = Writer { reporter, waiting };
        let now = Instant::now();
        let limits = Limits {
            refusals: LineLimit::new(REFUSALS, now),
            connections: LineLimit::new(CONNECTIONS, now),
            unlogged: HashSet::new(),
        };
        (Log { lines, not_told: AtomicU64::new(0), limits: Mutex::new(limits) }, writer)
    }

    /// Never blocks. Counts lines above a limit, and lines for which the queue has no room.
    pub fn log(&self, line: Line) {
        if self.limits().is_logged(&line.cause) && self.lines.try_send(line).is_err() {
            self.not_told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the counts since the last call.
    pub fn counted(&self, now: Instant) -> Counted {
        let mut limits = self.limits();
        let refusals = limits.refusals.end_period(now).into_iter().map(refused_more);
        let more = refusals.chain(limits.connections.end_period(now).into_iter().map(connected_more));
        Counted { not_told: self.not_told.swap(0, Ordering::Relaxed), more: more.collect() }
    }

    /// Logs the last counts, before the log is dropped.
    pub fn finish(&self) {
        let mut limits = self.limits();
        let (refusals, connections) = (limits.refusals.end(), limits.connections.end());
        drop(limits);
        let refusals = refusals.into_iter().map(refused_more);
        refusals.chain(connections.into_iter().map(connected_more)).for_each(|line| self.log(line));
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // A panic leaves the counts whole.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused_more(More { count, party }: More) -> Line {
    let text = format!("{count} more connections of {} were refused", shown(party.as_ref()));
    let (client, network) = named(party);
    Line { text, json: Some(json(&Event::RefusedMore { count, client, network })), cause: Cause::Server }
}

fn connected_more(More { count, party }: More) -> Line {
    let text = format!("{count} more connections of {} were not logged", shown(party.as_ref()));
    let (client, network) = named(party);
    Line { text, json: Some(json(&Event::ConnectedMore { count, client, network })), cause: Cause::Server }
}

fn shown(party: Option<&Party>) -> String {
    party.map_or_else(|| "others".to_owned(), Party::to_string)
}

/// The client, or the network.
fn named(party: Option<Party>) -> (Option<String>, Option<String>) {
    match party {
        Some(Party::Client(name)) => (Some(name), None),
        Some(Party::Network(network)) => (None, Some(Network::to_string(&network))),
        None => (None, None),
    }
}

/// Writes the lines of a [`Log`].
pub struct Writer {
    reporter: Reporter,
    waiting: Receiver<Line>,
}

impl Writer {
    /// Runs until the log is dropped. Calls `counted` at least once a second.
    pub fn run(self, counted: &dyn Fn() -> Counted) {
        loop {
            match self.waiting.recv_timeout(SECOND) {
                Ok(line) => self.write(&line.text, line.json.as_deref()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Counted { not_told, more } = counted();
            for line in more {
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
        self.reporter.note(text);
        if let (true, Some(json)) = (self.reporter.is_json(), json) {
            // A closed output does not end the server.
            let _ = print_line(json);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cause: Cause) -> Line {
        Line { text: String::new(), json: None, cause }
    }

    #[test]
    fn blocked_output_blocks_no_connection_and_is_counted() {
        let (log, _writer) = Log::new(Reporter::new(true));
        for _ in 0..WAITING + 7 {
            log.log(line(Cause::Server));
        }
        let now = Instant::now();
        assert_eq!((log.counted(now).not_told, log.counted(now).not_told), (7, 0));
    }

    #[test]
    fn flood_of_one_address_takes_no_room_in_the_queue() {
        let (log, writer) = Log::new(Reporter::new(true));
        let refusal = |peer| line(Cause::Refusal(Party::of(None, peer)));
        for _ in 0..10 * WAITING {
            log.log(refusal("203.0.113.9:1"));
        }
        log.log(refusal("192.0.2.1:1"));
        assert_eq!(log.counted(Instant::now()).not_told, 0);
        assert!(writer.waiting.try_iter().count() < 100);
    }

    #[test]
    fn client_that_reconnects_in_a_loop_is_summed_up() {
        let (log, writer) = Log::new(Reporter::new(true));
        let party = |client| Party::of(Some(client), "192.0.2.1:1");
        for number in 0..1000 {
            log.log(line(Cause::Connection { number, party: party("loop") }));
            log.log(line(Cause::End { number }));
        }
        log.log(line(Cause::Connection { number: 1000, party: party("lab") }));
        log.log(line(Cause::End { number: 1000 }));
        // A start and an end of each connection that is logged.
        let each = usize::try_from(CONNECTIONS.each).unwrap();
        assert_eq!(writer.waiting.try_iter().count(), 2 * each + 2);
        assert!(log.limits().unlogged.is_empty());
        let counted = log.counted(Instant::now() + CONNECTIONS.period);
        let texts: Vec<_> = counted.more.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, [format!("{} more connections of client loop were not logged", 1000 - each)]);
    }
}
