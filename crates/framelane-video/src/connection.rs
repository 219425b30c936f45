//! The connection to a live source: its loss, its return, and the reports of both.

use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, SourceStatus, redact};

use crate::options::{Events, SourceOptions};
use crate::progress::SourceEvent;
use crate::sink::Sink;

/// Wait before the first attempt to reconnect.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The wait doubles with each attempt that fails, up to this one. A connection that lasted longer starts
/// over.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The state of the connection to one source.
pub(crate) struct Connection {
    status: SourceStatus,
    events: Events,
    /// Zero before the first loss.
    wait: Duration,
    /// When frames began to arrive; `None` before the first frame of a connection.
    arriving: Option<Instant>,
    lost: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(options: &SourceOptions, source: &str) -> Self {
        let mut status = SourceStatus::default();
        status.name = redact::url(source).into_owned();
        Connection {
            status,
            events: options.events.clone(),
            wait: Duration::ZERO,
            arriving: None,
            lost: None,
        }
    }

    /// Counts a frame that has arrived; the first one of a connection is reported.
    pub(crate) fn arrived(&mut self, sink: &mut dyn Sink) {
        if self.arriving.is_some() {
            return;
        }
        let now = Instant::now();
        self.arriving = Some(now);
        self.status.connections += 1;
        self.status.receiving = true;
        sink.set_source(&self.status);
        let (source, connections) = (&self.status.name, self.status.connections);
        tracing::info!(source, connections, "source connected");
        if let Some(lost) = self.lost.take() {
            let outage = now.saturating_duration_since(lost);
            self.events.emit(&SourceEvent::Restored { outage, connections });
        }
    }

    /// Reports that frames have stopped, with the reason; `retries`: the source will be opened again.
    pub(crate) fn lost(&mut self, sink: &mut dyn Sink, reason: &str, retries: bool) {
        let lasted = self.arriving.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.wait = match self.wait {
            _ if lasted > LONGEST_WAIT => FIRST_WAIT,
            Duration::ZERO => FIRST_WAIT,
            // The connection ended at once.
            wait => (wait * 2).min(LONGEST_WAIT),
        };
        self.lost.get_or_insert_with(Instant::now);
        self.report(Some(sink), reason, retries.then_some(self.wait));
    }

    /// Reports an attempt that failed.
    pub(crate) fn failed(&mut self, sink: Option<&mut dyn Sink>, error: &Error) {
        // Cameras lock accounts after a few wrong passwords.
        let wait = if error.kind() == ErrorKind::PermissionDenied { LONGEST_WAIT } else { self.wait * 2 };
        self.wait = wait.clamp(FIRST_WAIT, LONGEST_WAIT);
        self.report(sink, error.message(), Some(self.wait));
    }

    fn report(&mut self, sink: Option<&mut dyn Sink>, reason: &str, retry_in: Option<Duration>) {
        self.status.receiving = false;
        self.status.reason = redact::text(reason).into_owned();
        if let Some(sink) = sink {
            sink.set_source(&self.status);
        }
        let SourceStatus { name: source, reason, .. } = &self.status;
        tracing::warn!(source, reason, ?retry_in, "source lost");
        self.events.emit(&SourceEvent::Lost { reason: self.status.reason.clone(), retry_in });
    }

    /// The wait before the next attempt.
    pub(crate) fn wait(&self) -> Duration {
        self.wait
    }
}

#[cfg(test)]
mod tests {
    use framelane_test_kit::Events;

    use super::*;
    use crate::sink::MemorySink;

    #[test]
    fn loss_and_return_are_traced_without_secrets() {
        let (events, collector) = Events::new();
        tracing::subscriber::with_default(collector, || {
            let mut connection = Connection::new(&SourceOptions::new(), "rtsp://user:secret@camera/live");
            let sink = &mut MemorySink::default();
            connection.arrived(sink);
            connection.arrived(sink);
            connection.lost(sink, "end of rtsp://user:secret@camera/live", true);
            connection.arrived(sink);
        });
        let lines = events.lines();
        let starts = ["INFO framelane_video", "WARN framelane_video", "INFO framelane_video"];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start) && line.contains("camera/live"), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
        assert!(lines[1].contains("source lost") && lines[1].contains("500ms"), "{}", lines[1]);
        assert!(lines[2].contains("source connected") && lines[2].contains("connections=2"), "{}", lines[2]);
    }

    #[test]
    fn wait_doubles_up_to_its_bound() {
        let mut connection = Connection::new(&SourceOptions::new(), "http://h/");
        let sink = &mut MemorySink::default();
        connection.arrived(sink);
        connection.lost(sink, "end", true);
        let error = Error::new(ErrorKind::SystemFailure, "refused");
        let waits: Vec<_> = (0..7)
            .map(|_| {
                let wait = connection.wait();
                connection.failed(Some(&mut *sink), &error);
                wait.as_millis()
            })
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10000, 10000]);
        // A connection that ends at once does not start over.
        connection.arrived(sink);
        connection.lost(sink, "end", true);
        assert_eq!(connection.wait(), LONGEST_WAIT);
    }

    #[test]
    fn wait_doubles_for_connections_without_frames() {
        let mut connection = Connection::new(&SourceOptions::new(), "http://h/");
        let sink = &mut MemorySink::default();
        let waits: Vec<_> = (0..6)
            .map(|_| {
                connection.lost(sink, "end", true);
                connection.wait().as_millis()
            })
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10000]);
    }

    #[test]
    fn refused_password_is_tried_again_after_the_longest_wait() {
        let mut connection = Connection::new(&SourceOptions::new(), "http://h/");
        connection.failed(None, &Error::new(ErrorKind::PermissionDenied, "401"));
        assert_eq!(connection.wait(), LONGEST_WAIT);
    }
}
