//! One core object shared by Python threads: taken out for the time of a call, put back afterwards.
//!
//! A plain lock would not do: a thread that waits for it could neither see Ctrl-C nor `close`. Here
//! whoever waits sleeps on a condition and looks up twice a second. The mutex inside is held for a few
//! instructions only, never while waiting and never while asking for the interpreter, so it may be taken
//! with the interpreter attached.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use framelane::ErrorKind;
use pyo3::prelude::*;

use crate::error;

/// How long a sleeping thread goes without a look at signals and at `close`.
const LOOK_UP: Duration = Duration::from_millis(500);

/// How many forks lie between the process that loaded this module and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Starts counting forks; called once, when the module is loaded.
pub(crate) fn watch_forks() {
    // SAFETY: the handler is a function for the life of the process, and only adds to an atomic, which is
    // async-signal-safe as a handler in the child of a threaded process must be.
    unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
}

/// Why an object could not be taken.
pub(crate) enum Refusal {
    Closed,
    Timeout,
    Interrupted,
}

pub(crate) struct Handle<T> {
    /// "publisher" or "subscriber", for messages.
    what: &'static str,
    /// `None` while a call has it, and for good once closed.
    value: Mutex<Option<Box<T>>>,
    put_back: Condvar,
    /// Set once by `close`; read by whoever waits, and when a value is put back.
    closing: AtomicBool,
    forks: u32,
}

/// A lock that no panic can have left in a bad state: it only guards a move.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send> Handle<T> {
    pub(crate) fn new(what: &'static str, value: T) -> Self {
        Handle {
            what,
            value: Mutex::new(Some(Box::new(value))),
            put_back: Condvar::new(),
            closing: AtomicBool::new(false),
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    /// Closed, or about to be when the call that has the object returns.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// # Errors
    /// In a process forked after the object was opened.
    pub(crate) fn check_fork(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_forked() {
            return Ok(());
        }
        let what = self.what;
        Err(error::raise_new(
            py,
            ErrorKind::Forked,
            &format!("this {what} was opened by the parent process, before the fork; a child cannot use it"),
            Some(&format!(
                "open the {what} in the child process itself (or start children with multiprocessing's \"spawn\")"
            )),
        ))
    }

    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        let message = format!("expected an open {}, found one that this program has closed", self.what);
        error::raise_new(py, ErrorKind::Closed, &message, None)
    }

    /// Takes the object if no other call has it.
    pub(crate) fn try_take(&self) -> Option<Taken<'_, T>> {
        lock(&self.value).take().map(|value| Taken { handle: self, value: Some(value) })
    }

    /// Takes the object, waiting without the interpreter while another thread's call has it.
    ///
    /// # Errors
    /// After a fork; when closed; when `deadline` passes; what a signal handler raises.
    pub(crate) fn take(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Taken<'_, T>> {
        self.check_fork(py)?;
        if let Some(taken) = self.try_take() {
            return Ok(taken);
        }
        let mut raised = None;
        let taken = py.detach(|| self.wait_take(deadline, &mut || keep_waiting(&mut raised)));
        if let Some(raised) = raised {
            return Err(raised);
        }
        taken.map_err(|refusal| match refusal {
            Refusal::Timeout => {
                let message =
                    format!("another thread's call had this {} for the whole time given", self.what);
                error::raise_new(py, ErrorKind::Timeout, &message, None)
            }
            Refusal::Closed | Refusal::Interrupted => self.closed_error(py),
        })
    }

    /// The same without any Python; `keep_waiting` is asked twice a second.
    pub(crate) fn wait_take(
        &self,
        deadline: Option<Instant>,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Taken<'_, T>, Refusal> {
        loop {
            let mut value = lock(&self.value);
            if value.is_none() && !self.is_closed() {
                let nap =
                    deadline.map_or(LOOK_UP, |at| at.saturating_duration_since(Instant::now()).min(LOOK_UP));
                value = self.put_back.wait_timeout(value, nap).unwrap_or_else(PoisonError::into_inner).0;
            }
            if let Some(value) = value.take() {
                return Ok(Taken { handle: self, value: Some(value) });
            }
            drop(value);
            if self.is_closed() {
                return Err(Refusal::Closed);
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(Refusal::Timeout);
            }
            if !keep_waiting() {
                return Err(Refusal::Interrupted);
            }
        }
    }

    /// Closes the object: now, or when the call that has it returns. In a forked child it only forgets.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if self.is_forked() {
            return;
        }
        let value = lock(&self.value).take();
        drop(value);
        self.put_back.notify_all();
    }
}

/// What is to be closed when the interpreter exits.
trait Open: Send + Sync {
    fn close_at_exit(&self);
}

impl<T: Send> Open for Handle<T> {
    fn close_at_exit(&self) {
        if !self.is_forked() {
            self.close();
        }
    }
}

/// Every open publisher: an interpreter that exits does not collect all objects, and would leave channels behind.
static OPEN: Mutex<Vec<Weak<dyn Open>>> = Mutex::new(Vec::new());

/// Has `handle` closed when the interpreter exits, if it still lives.
pub(crate) fn close_at_exit<T: Send + 'static>(handle: &Arc<Handle<T>>) {
    let mut open = lock(&OPEN);
    open.retain(|known| known.strong_count() > 0);
    let handle: Weak<Handle<T>> = Arc::downgrade(handle);
    open.push(handle);
}

/// Closes what is still open; registered with `atexit`.
#[pyfunction]
#[pyo3(name = "_close_all")]
pub(crate) fn close_all() {
    // A forked child must not wait for a mutex that a thread of the parent held during the fork.
    let open = match OPEN.try_lock() {
        Ok(mut open) => std::mem::take(&mut *open),
        Err(TryLockError::Poisoned(poisoned)) => std::mem::take(&mut *poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => return,
    };
    for handle in open.iter().filter_map(Weak::upgrade) {
        handle.close_at_exit();
    }
}

/// The object, for as long as a call needs it.
pub(crate) struct Taken<'h, T: Send> {
    handle: &'h Handle<T>,
    /// `Some` until dropped.
    value: Option<Box<T>>,
}

impl<T: Send> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_deref().unwrap_or_else(|| unreachable!("present until dropped"))
    }
}

impl<T: Send> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().unwrap_or_else(|| unreachable!("present until dropped"))
    }
}

impl<T: Send> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut value = lock(&self.handle.value);
        // `close` sets the flag before it takes the mutex: either this sees the flag, or `close` the value.
        if !self.handle.is_closed() {
            *value = self.value.take();
        }
        drop(value);
        self.handle.put_back.notify_one();
    }
}

/// Runs Python's signal handlers; false, and the exception in `raised`, when one raises (Ctrl-C).
///
/// To be called detached, by a thread that waits.
pub(crate) fn keep_waiting(raised: &mut Option<PyErr>) -> bool {
    match Python::try_attach(|py| py.check_signals()) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            *raised = Some(error);
            false
        }
        None => false,
    }
}

/// `timeout=` in seconds as a deadline; `None` is for ever.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else {
        return Ok(None);
    };
    if seconds.is_nan() || seconds < 0.0 {
        let message = format!("timeout: expected seconds from 0, or None to wait for ever, found {seconds}");
        return Err(pyo3::exceptions::PyValueError::new_err(message));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|duration| Instant::now().checked_add(duration)))
}

/// What is left until `deadline`.
pub(crate) fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(Instant::now()))
}
