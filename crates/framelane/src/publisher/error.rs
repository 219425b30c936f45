//! Reasons that no slot was available.

use crate::error::{Error, ErrorKind, forked};

/// Reason that no slot was available.
#[non_exhaustive]
#[derive(Debug)]
pub enum LoanError {
    /// Every slot is leased, on loan or the newest; the frame got a number and counts as dropped
    /// (but not in [`Publisher::try_loan_owned`](super::Publisher::try_loan_owned)).
    NoFreeSlot,
    /// The caller cancelled the wait.
    Interrupted,
    /// The publisher was opened before this process was forked.
    Forked,
    /// A new generation of slots could not be made, or the frame does not fit.
    Other(Error),
}

impl From<LoanError> for Error {
    fn from(error: LoanError) -> Self {
        match error {
            LoanError::NoFreeSlot => {
                Error::new(ErrorKind::NoFreeSlot, "every slot is leased, on loan or the newest")
                    .with_hint("give the channel more slots, or hold fewer leases")
            }
            LoanError::Interrupted => {
                Error::new(ErrorKind::Interrupted, "interrupted while waiting for a slot")
            }
            LoanError::Forked => forked("publisher"),
            LoanError::Other(error) => error,
        }
    }
}

impl From<Error> for LoanError {
    fn from(error: Error) -> Self {
        LoanError::Other(error)
    }
}

impl std::fmt::Display for LoanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoanError::NoFreeSlot => f.write_str("every slot is leased, on loan or the newest"),
            LoanError::Interrupted => f.write_str("interrupted while waiting for a slot"),
            LoanError::Forked => forked("publisher").fmt(f),
            LoanError::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its message is that of this error.
            LoanError::Other(error) => error.source(),
            _ => None,
        }
    }
}
