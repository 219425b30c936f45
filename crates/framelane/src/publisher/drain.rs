//! Waiting until subscribers and the link have the published frames.

use std::time::{Duration, Instant};

use super::{DEATH_CHECK, LoanError, Publisher};
use crate::error::{Error, ErrorKind};
use crate::os;
use crate::ring::{self, Ordering::Relaxed};

/// The time between two checks whether a link has the newest frame.
const LINK_CHECK: Duration = Duration::from_millis(1);

impl Publisher {
    /// Waits until every live subscriber with [`Delivery::Every`](crate::Delivery::Every) has received all
    /// frames. For a URL, also waits until the link has taken the newest frame. A `timeout` of `None` waits
    /// without limit, and zero does not wait.
    ///
    /// Works with either [`Backpressure`](super::Backpressure). The publisher can be used afterwards. If no
    /// frame may be lost at the end of a channel, drain the channel before closing it.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if a subscriber or the link has not received all frames within `timeout`.
    /// [`ErrorKind::Interrupted`] when the token of
    /// [`PublisherOptions::cancel`](super::PublisherOptions::cancel) ends the wait. [`ErrorKind::Forked`] in
    /// a forked child. [`ErrorKind::Damaged`] if a file of the channel was cut short. The error of a link
    /// that has ended, of any kind.
    pub fn drain(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.check_fork()?;
        let deadline = os::deadline(timeout);
        match self.wait_for_all(deadline) {
            // Zeros of a file that was cut short look like subscribers that have received all.
            Ok(true) => self.check_whole(),
            Ok(false) => Err(self.not_drained()),
            Err(LoanError::Interrupted) => {
                let message = format!("interrupted while draining channel {}", self.channel);
                Err(Error::new(ErrorKind::Interrupted, message))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for subscribers, then for the link. Returns false after `deadline`.
    fn wait_for_all(&mut self, deadline: Option<Instant>) -> Result<bool, LoanError> {
        if !self.consumed()
            && self.wait_until(deadline, |publisher| publisher.consumed_or_none_free())?.is_none()
        {
            return Ok(false);
        }
        self.wait_for_link(deadline)
    }

    /// Waits until the link has taken the newest frame. Returns false after `deadline`.
    fn wait_for_link(&mut self, deadline: Option<Instant>) -> Result<bool, LoanError> {
        let mut next_question = Instant::now() + DEATH_CHECK;
        while self.link.is_some() && self.link_lags() {
            // The check reports the fault of the link. It also ends the wait for a link that reads a removed
            // channel.
            self.check()?;
            let now = Instant::now();
            if deadline.is_some_and(|at| now >= at) {
                return Ok(false);
            }
            if self.cancel.is_cancelled() || now >= next_question && self.cancel.ends_wait() {
                return Err(LoanError::Interrupted);
            }
            if now >= next_question {
                next_question = now + DEATH_CHECK;
            }
            std::thread::sleep(LINK_CHECK);
        }
        Ok(true)
    }

    /// Returns true if the link has not taken the newest frame. A link without a subscriber has failed, and
    /// reports its fault a moment later.
    fn link_lags(&self) -> bool {
        let readers = self.readers.words();
        readers.active.load(Relaxed) == 0 || ring::behind(readers, self.published)
    }

    /// Returns the fault of the link, or that a file of the channel was cut short.
    fn check_whole(&self) -> Result<(), Error> {
        if let Some(fault) = self.link_fault() {
            return Err(fault);
        }
        self.control.check_len(&self.channel)?;
        self.readers.check_len(&self.channel)
    }

    fn not_drained(&self) -> Error {
        let channel = &self.channel;
        let behind = ring::blocked(self.readers.words(), self.published).count_ones();
        let cause = match behind {
            0 => "the link has not taken the newest frame".to_owned(),
            1 => format!("1 subscriber has not received frame {}", self.published),
            _ => format!("{behind} subscribers have not received frame {}", self.published),
        };
        Error::new(ErrorKind::Timeout, format!("cannot drain channel {channel} in time: {cause}"))
            .with_hint("let the subscribers receive faster, allow more time, or close without draining")
    }

    /// Waits until the link, which reads the channel, has the newest frame: it could not get it when the
    /// files are gone. Waits no longer than the link allows.
    pub(super) fn wait_for_closing_link(&self) {
        let Some(link) = &self.link else { return };
        while ring::behind(self.readers.words(), self.published) && !link.grace().is_zero() {
            std::thread::sleep(LINK_CHECK);
        }
    }
}
