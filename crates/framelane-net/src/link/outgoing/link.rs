//! The state that the two threads of a sending link share, and the thread that reads.

use std::io;
use std::sync::{Condvar, Mutex, TryLockError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};

use super::{Terms, Watch, lock};
use crate::fault::{Ended, Fault};
use crate::messages::{MessageReader, flush};
use crate::proto::{Message, Reply, Source};
use crate::time::realtime_ns;
use crate::transport::{END_POLL_INTERVAL, Transport};

pub(super) struct Link<'a> {
    pub(super) stream: &'a dyn Transport,
    pub(super) peer: &'a str,
    pub(super) terms: &'a Terms,
    pub(super) watch: Watch<'a>,
    pub(super) source: Mutex<Source>,
    /// Notified when `source` has changed or the link has ended.
    pub(super) changed: Condvar,
    /// The bytes of messages that have not gone yet. Every write starts with them. The lock is held while a
    /// message and its payload are written. The hearing thread never waits with the lock held, so that the
    /// sending thread gets it at once.
    pub(super) unsent: Mutex<Vec<u8>>,
    /// A ping without an answer: its time of sending and of arrival.
    pub(super) ping: Mutex<Option<(u64, u64)>>,
    pub(super) ended: Ended,
    /// The peer has confirmed that it has everything.
    pub(super) done: Ended,
}

impl Link<'_> {
    /// Handles the messages of the peer until the link ends. Returns the reason of the end.
    pub(super) fn hear(&self, messages: &mut MessageReader) -> Fault {
        loop {
            if self.ended.is_set() {
                return Fault::stopped();
            }
            if let Err(fault) = self.answer() {
                return fault;
            }
            let message = match messages.next(self.stream, self.peer, END_POLL_INTERVAL) {
                Ok(Some(message)) => message,
                Ok(None) if lock(&self.source).is_gone(Instant::now()) => {
                    return Fault::silent(self.peer, self.terms.idle_timeout);
                }
                Ok(None) => continue,
                Err(fault) => return fault,
            };
            let received_ns = realtime_ns();
            let reply = lock(&self.source).take(Instant::now(), received_ns, &message);
            match reply {
                Ok(Reply::Nothing) => self.changed.notify_all(),
                Ok(Reply::Done) => {
                    self.done.set();
                    return Fault::lost(self.peer);
                }
                Ok(Reply::Pong { ping_sent_ns, received_ns }) => {
                    *lock(&self.ping) = Some((ping_sent_ns, received_ns));
                }
                Err(error) => {
                    let passes = matches!(&message, Message::Refused(refusal) if refusal.try_again);
                    return if passes { Fault::passing(error) } else { Fault::lasting(error) };
                }
            }
        }
    }

    /// Sends unsent bytes and the answer to the last ping, as far as that needs no wait. While the sending
    /// thread writes, it does nothing: that thread answers afterwards. The receiving thread must not wait, or
    /// the peer would seem to be silent.
    pub(super) fn answer(&self) -> Result<(), Fault> {
        loop {
            let mut unsent = match self.unsent.try_lock() {
                Ok(unsent) => unsent,
                Err(TryLockError::Poisoned(unsent)) => unsent.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            // A newer ping replaces an answer of which no byte was sent.
            let mut ping = None;
            if unsent.is_empty() {
                ping = lock(&self.ping).take();
                let Some((ping_sent_ns, received_ns)) = ping else { return Ok(()) };
                Message::Pong { ping_sent_ns, received_ns, sent_ns: realtime_ns() }.encode(&mut unsent);
            }
            match self.stream.write(&unsent, false, Duration::ZERO) {
                Ok(0) => return Err(Fault::lost(self.peer)),
                Ok(len) => drop(unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(ping) = ping {
                        unsent.clear();
                        lock(&self.ping).get_or_insert(ping);
                    }
                    return Ok(());
                }
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
            match self.stream.flush(Duration::ZERO) {
                Ok(()) => {}
                // The bytes that TLS has taken go with the next message.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
        }
    }

    /// Writes the unsent bytes. Those that have not gone on an error stay.
    pub(super) fn write(
        &self,
        unsent: &mut Vec<u8>,
        more: bool,
        keep: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !unsent.is_empty() {
            match self.stream.write(unsent, more, END_POLL_INTERVAL) {
                Ok(0) => return Err(Fault::lost(self.peer)),
                Ok(len) => drop(unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
            if !unsent.is_empty() {
                keep()?;
            }
        }
        if more { Ok(()) } else { flush(self.stream, self.peer, keep) }
    }

    /// Returns the reason to end, if there is one.
    pub(super) fn go_on(&self) -> Result<(), Fault> {
        if self.ended.is_set() {
            return Err(Fault::passing(Error::new(ErrorKind::ChannelClosed, "the link has ended")));
        }
        if lock(&self.source).is_gone(Instant::now()) {
            return Err(Fault::silent(self.peer, self.terms.idle_timeout));
        }
        Ok(())
    }
}
