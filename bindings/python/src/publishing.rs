//! The core's publisher, as a `Publisher` and its loans share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use framelane::{Error, FrameInfo, Layout, LoanError};
use pyo3::prelude::*;

use crate::error::raise;
use crate::handle::Handle;

/// From this size on the interpreter is released for the copy; below, asking for it again costs more.
const DETACH_BYTES: usize = 64 * 1024;

/// A publisher, and its state for threads that ask while another thread's call has it.
pub(crate) struct Shared {
    pub(crate) handle: Arc<Handle<framelane::Publisher>>,
    pub(crate) channel: String,
    pub(crate) epoch: u64,
    pub(crate) slots: usize,
    pub(crate) waits: bool,
    pub(crate) sequence: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) subscribers: AtomicUsize,
}

/// A loan of either kind failed: no free slot with backpressure "drop", or an exception.
pub(crate) enum Failure {
    NoFreeSlot,
    Raised(PyErr),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Failure::Raised(error)
    }
}

/// The result of an attempt; `None` when it has waited for a slice and is to be made again.
pub(crate) fn unless_interrupted<T>(result: Result<T, LoanError>) -> Option<Result<T, LoanError>> {
    if matches!(result, Err(LoanError::Interrupted)) { None } else { Some(result) }
}

impl Shared {
    /// Remembers the counters for threads that ask while another has the publisher.
    fn note(&self, publisher: &framelane::Publisher) {
        self.sequence.store(publisher.sequence(), Ordering::Relaxed);
        self.dropped.store(publisher.dropped(), Ordering::Relaxed);
    }

    /// Makes attempts until one neither waits nor is interrupted; without the interpreter if `long`.
    pub(crate) fn call<R: Send>(
        &self,
        py: Python<'_>,
        long: bool,
        mut attempt: impl FnMut(&mut framelane::Publisher) -> Result<R, LoanError> + Send,
    ) -> Result<R, Failure> {
        let attempt = |publisher: &mut framelane::Publisher| {
            let result = attempt(publisher);
            self.note(publisher);
            unless_interrupted(result)
        };
        let result = if long {
            self.handle.call(py, None, attempt)?
        } else {
            self.handle.call_briefly(py, attempt)?
        };
        result.map_err(|error| match error {
            LoanError::NoFreeSlot => Failure::NoFreeSlot,
            error => Failure::Raised(raise(py, Error::from(error))),
        })
    }

    /// Counts a frame that found no slot.
    pub(crate) fn skip(&self, py: Python<'_>) -> Result<u64, Failure> {
        self.call(py, false, |publisher| Ok(publisher.skip()))
    }

    /// One go at a slot, filled by `fill` and published. Released from the interpreter when it may take long.
    pub(crate) fn publish_copy(
        &self,
        py: Python<'_>,
        layout: &Layout,
        info: &FrameInfo,
        fill: impl Fn(*mut u8) + Send + Sync,
    ) -> Result<u64, Failure> {
        let long = self.waits || layout.size_bytes() >= DETACH_BYTES;
        self.call(py, long, |publisher| {
            let mut loan = publisher.loan(layout)?;
            fill(loan.bytes_mut().as_mut_ptr());
            Ok(loan.publish(info))
        })
    }

    /// A slot for an array to keep. With backpressure "block" it waits until there is one.
    pub(crate) fn loan_owned(
        &self,
        py: Python<'_>,
        layout: &Layout,
    ) -> Result<framelane::OwnedLoan, Failure> {
        self.call(py, self.waits, |publisher| {
            if self.waits {
                publisher.loan_owned(layout)
            } else {
                // A drop is counted when the loan is over.
                publisher.try_loan_owned(layout)
            }
        })
    }

    /// Publishes an owned loan as it is.
    pub(crate) fn publish_owned(
        &self,
        py: Python<'_>,
        loan: &framelane::OwnedLoan,
        layout: &Layout,
        info: &FrameInfo,
    ) -> Result<u64, Failure> {
        self.call(py, self.waits, |publisher| publisher.publish_owned(loan, layout, info))
    }
}
