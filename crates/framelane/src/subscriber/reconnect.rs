//! Waiting for a channel again after its publisher has closed it.

use std::time::{Duration, Instant};

use super::{Frame, RecvError, Subscriber};
use crate::error::{Error, ErrorKind, forked};
use crate::os;
use crate::ring::Ordering::Relaxed;

impl Subscriber {
    /// Receives as [`Subscriber::recv_timeout`] does, across restarts of the channel's publisher.
    pub(super) fn recv_reconnecting(&mut self, timeout: Option<Duration>) -> Result<Frame, RecvError> {
        let deadline = os::deadline(timeout);
        let left = || match timeout {
            Some(Duration::ZERO) => timeout,
            _ => deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
        };
        loop {
            if !self.ended {
                match self.recv_attached(left()) {
                    // A link ends for good only: it waits for the channel itself.
                    Err(RecvError::Closed) if self.remote.is_none() => {}
                    Err(RecvError::Other(error)) if error.kind() == ErrorKind::ChannelRemoved => {}
                    result => return result,
                }
            }
            self.attach_again(left()).map_err(|error| match error.kind() {
                ErrorKind::NotFound => RecvError::Timeout,
                ErrorKind::Interrupted => RecvError::Interrupted,
                ErrorKind::Forked => RecvError::Forked,
                _ => RecvError::Other(error),
            })?;
        }
    }

    /// Waits up to `timeout` for the channel that was closed, and continues with it. Frames of the old one
    /// stay valid.
    ///
    /// # Errors
    /// As [`SubscriberOptions::open`](super::SubscriberOptions::open).
    pub(crate) fn attach_again(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        if os::fork_count() != self.attachment.forks {
            return Err(forked("subscriber"));
        }
        if !std::mem::replace(&mut self.ended, true) {
            self.missed_at_end = self.missed_at_end.saturating_add(self.rest());
        }
        let mut options = self.options.clone().directory(self.directory.path()).open_timeout(timeout);
        options.from_start = true;
        let channel = self.remote.as_ref().map_or(self.channel(), |remote| &remote.url);
        let mut opened = options.open(channel)?;
        // The old record is released with `opened`, or with the last frame that was leased with it.
        std::mem::swap(&mut self.attachment, &mut opened.attachment);
        std::mem::swap(&mut self.directory, &mut opened.directory);
        std::mem::swap(&mut self.remote, &mut opened.remote);
        self.data = opened.data.take();
        (self.cursor, self.farthest) = (opened.cursor, opened.farthest);
        (self.resumed, self.ended) = (true, false);
        Ok(())
    }

    /// Frames of a closed channel that were not received: those of a ring that was removed before it was
    /// mapped, and those that found no slot after the newest frame.
    fn rest(&self) -> u64 {
        self.attachment.control.words().given.load(Relaxed).saturating_sub(self.cursor)
    }

    /// Returns true if the channel was closed and has not been opened again.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}
