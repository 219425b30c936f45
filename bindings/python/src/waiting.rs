//! Waits of calls: deadlines, Ctrl-C and cancellation.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Returns whether the asyncio task of this thread has a pending cancellation. False without a task.
fn is_cancelled(py: Python<'_>) -> bool {
    let asked = || -> PyResult<bool> {
        let asyncio = py.import("sys")?.getattr("modules")?.get_item("asyncio")?;
        // Raises without a loop that runs in this thread.
        asyncio.call_method0("current_task")?.getattr("_must_cancel")?.is_truthy()
    };
    asked().unwrap_or(false)
}

/// Runs Python's signal handlers.
///
/// # Errors
/// What a handler raises; CancelledError when the task of asyncio that runs in this thread was cancelled,
/// which is all that `asyncio.run` does at the first Ctrl-C. A call that blocks the loop would never notice.
pub(crate) fn check_signals(py: Python<'_>) -> PyResult<()> {
    py.check_signals()?;
    if is_cancelled(py) {
        let class = py.import("asyncio")?.getattr("CancelledError")?;
        return Err(PyErr::from_value(class.call0()?));
    }
    Ok(())
}

/// An exception that a signal handler raised while the core waited.
pub(crate) type Raised = Mutex<Option<PyErr>>;

/// Takes the exception.
pub(crate) fn take(raised: &Raised) -> Option<PyErr> {
    raised.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Returns false when `call` succeeded.
pub(crate) fn attach_and(raised: &Raised, call: impl FnOnce(Python<'_>) -> PyResult<()>) -> bool {
    match Python::try_attach(call) {
        Some(Ok(())) => false,
        Some(Err(error)) => {
            *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            true
        }
        None => true,
    }
}

/// Runs Python's signal handlers. Returns true, with the exception in `raised`, when one raises (Ctrl-C).
///
/// To be called detached, by a thread that waits and has taken no object.
pub(crate) fn signals_end_wait(raised: &Raised) -> bool {
    attach_and(raised, check_signals)
}

/// The argument `name`, in seconds, as a deadline. `None` is without limit.
pub(crate) fn deadline(name: &str, timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else {
        return Ok(None);
    };
    if seconds.is_nan() || seconds < 0.0 {
        let message =
            format!("{name}: expected seconds from 0, or None to wait without limit, found {seconds}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|duration| Instant::now().checked_add(duration)))
}

/// Time left until `deadline`.
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}
