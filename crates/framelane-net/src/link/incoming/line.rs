//! The connection of a receiving link: reads bytes, and sends due messages meanwhile.

use std::io;
use std::time::{Duration, Instant};

use super::ReceiveStatistics;
use crate::fault::Fault;
use crate::messages::send;
use crate::proto::{FrameHead, Sink};
use crate::time::realtime_ns;
use crate::transport::{END_POLL_INTERVAL, Transport};

/// Payloads without a use are read in pieces of this length.
const DISCARD_BYTES: usize = 64 << 10;

/// The connection of a receiving link.
pub(crate) struct Line<'a> {
    pub stream: &'a dyn Transport,
    pub peer: &'a str,
    pub sink: Sink,
    pub idle_timeout: Duration,
    /// Goes on over connections.
    pub received: &'a mut ReceiveStatistics,
    /// Called several times a second, and after every frame. An error ends the link.
    pub watch: &'a mut dyn FnMut(&ReceiveStatistics) -> Result<(), Fault>,
}

impl Line<'_> {
    pub(super) fn watch(&mut self) -> Result<(), Fault> {
        (self.watch)(self.received)
    }

    /// Calls `watch`, and sends the messages that are due while no message can be read.
    pub(super) fn keep(&mut self) -> Result<(), Fault> {
        self.watch()?;
        self.tend_while_reading()
    }

    /// Calls `watch`, and sends the messages that are due.
    pub(super) fn tend(&mut self) -> Result<(), Fault> {
        self.watch()?;
        let now = Instant::now();
        if self.sink.is_gone(now) {
            return Err(Fault::silent(self.peer, self.idle_timeout));
        }
        self.send_due(now)
    }

    /// Sends the messages that are due during a long frame, or the peer would disconnect this side.
    pub(super) fn tend_while_reading(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if now < self.sink.next_due() { Ok(()) } else { self.send_due(now) }
    }

    fn send_due(&mut self, now: Instant) -> Result<(), Fault> {
        while let Some(message) = self.sink.next_message(now, realtime_ns()) {
            let (sink, peer, idle_timeout) = (&self.sink, self.peer, self.idle_timeout);
            send(self.stream, &message, peer, &mut || {
                if sink.is_gone(Instant::now()) {
                    return Err(Fault::silent(peer, idle_timeout));
                }
                (self.watch)(self.received)
            })?;
        }
        Ok(())
    }

    /// Reads some bytes. Returns 0 when none arrived for a while.
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        match self.stream.read(bytes, END_POLL_INTERVAL) {
            Ok(0) => Err(Fault::lost(self.peer)),
            Ok(len) => {
                self.sink.heard(Instant::now());
                Ok(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.sink.is_gone(Instant::now()) {
                    Err(Fault::silent(self.peer, self.idle_timeout))
                } else {
                    Ok(0)
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Fault::lost(self.peer)),
            Err(error) => Err(Fault::io(self.peer, error)),
        }
    }

    /// Fills `bytes`.
    pub(super) fn read_all(&mut self, mut bytes: &mut [u8], polls: &mut Polls) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let len = self.read(bytes)?;
            bytes = &mut bytes[len..];
            if polls.is_due() {
                self.watch()?;
            }
            self.tend_while_reading()?;
        }
        Ok(())
    }

    /// Reads bytes without a use.
    pub(super) fn discard(&mut self, mut left: usize) -> Result<(), Fault> {
        let (mut scratch, mut polls) = (vec![0; DISCARD_BYTES.min(left)], Polls::new());
        while left > 0 {
            let len = scratch.len().min(left);
            self.read_all(&mut scratch[..len], &mut polls)?;
            left -= len;
        }
        Ok(())
    }

    /// Counts a frame that found no free slot.
    pub(super) fn note_dropped(&mut self, head: &FrameHead) {
        self.received.dropped += 1;
        tracing::debug!(peer = self.peer, sequence = head.origin.sequence, "frame dropped: no free slot");
    }
}

/// The times of the calls of [`Line::watch`] during a frame, whose bytes may trickle in.
pub(super) struct Polls(Instant);

impl Polls {
    pub(super) fn new() -> Self {
        Polls(Instant::now() + END_POLL_INTERVAL)
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.0;
        if due {
            self.0 = now + END_POLL_INTERVAL;
        }
        due
    }
}
