//! The reasons for the end of a connection.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{Error, ErrorKind};

use crate::proto::Refusal;

/// The hint of a lost connection.
const NETWORK_HINT: &str = "check the network, and the log of the peer";

/// Reason that a link ended, and whether a new attempt may succeed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub error: Error,
    pub try_again: bool,
    /// Concerns files and processes of this machine, so it is not sent to the peer.
    pub private: bool,
}

impl Fault {
    pub(crate) fn lasting(error: Error) -> Self {
        Fault { error, try_again: false, private: false }
    }

    pub(crate) fn passing(error: Error) -> Self {
        Fault { error, try_again: true, private: false }
    }

    /// An error with this machine's channel.
    pub(crate) fn private(error: Error, try_again: bool) -> Self {
        Fault { error, try_again, private: true }
    }

    /// Returns the refusal for the peer.
    pub(crate) fn refusal(&self) -> Refusal {
        let try_again = self.try_again || self.error.kind() == ErrorKind::Interrupted;
        if !self.private {
            return Refusal::of(&self.error, try_again);
        }
        let kind = self.error.kind();
        let shown = Error::new(kind, kind.meaning().trim_end_matches('.'));
        Refusal::of(&shown.with_hint("see the log of the peer"), try_again)
    }

    pub(crate) fn lost(peer: &str) -> Self {
        Fault::passing(
            Error::new(ErrorKind::SystemFailure, format!("{peer} has closed the connection"))
                .with_hint(NETWORK_HINT),
        )
    }

    pub(crate) fn silent(peer: &str, idle_timeout: Duration) -> Self {
        Fault::passing(
            Error::new(
                ErrorKind::Timeout,
                format!("nothing was heard of {peer} for {} s", idle_timeout.as_secs_f64()),
            )
            .with_hint("check the network; idle-timeout= allows for longer silence"),
        )
    }

    pub(crate) fn stopped() -> Self {
        Fault::lasting(Error::new(ErrorKind::Interrupted, "asked to end"))
    }

    /// Returns true for [`Fault::stopped`], and false for the message of a peer that was stopped.
    pub(crate) fn is_stop(&self) -> bool {
        self.error.kind() == ErrorKind::Interrupted && !self.try_again
    }

    pub(crate) fn io(peer: &str, error: io::Error) -> Self {
        let error = Error::from_io(format!("the connection with {peer}"), error);
        // The system's own advice is for this machine, as when it has no memory.
        let has_hint = error.hint().is_some();
        Fault::passing(if has_hint { error } else { error.with_hint(NETWORK_HINT) })
    }
}

/// Set once, when a link is to end; with why.
#[derive(Debug, Default)]
pub(crate) struct Ended(AtomicBool);

impl Ended {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connection_has_a_hint_for_networks() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        for fault in [Fault::lost("10.0.0.5:4000"), Fault::io("10.0.0.5:4000", reset())] {
            let text = fault.error.to_string();
            assert!(text.contains("the network") && !text.contains("doctor"), "{text}");
        }
        let full = Fault::io("10.0.0.5:4000", io::Error::from(rustix::io::Errno::NOMEM));
        assert!(full.error.advice().contains("free memory"), "{:?}", full.error);
    }
}
