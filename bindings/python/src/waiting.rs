//! Waits of calls: deadlines, Ctrl-C and cancellation.

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

pub(crate) fn attach_and(raised: &mut Option<PyErr>, call: impl FnOnce(Python<'_>) -> PyResult<()>) -> bool {
    match Python::try_attach(call) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            *raised = Some(error);
            false
        }
        None => false,
    }
}

/// Runs Python's signal handlers; false, and the exception in `raised`, when one raises (Ctrl-C).
///
/// To be called detached, by a thread that waits and has taken no object.
pub(crate) fn keep_waiting(raised: &mut Option<PyErr>) -> bool {
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

/// What is left until `deadline`.
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}
