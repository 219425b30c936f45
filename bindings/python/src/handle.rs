//! One core object shared by Python threads: lent to a call, put back afterwards.
//!
//! A plain lock does not do: a thread that waits for it sees neither Ctrl-C nor `close`. A call that blocks
//! does so in slices of at most half a second. Between two slices it puts the object back and runs Python's
//! signal handlers, so a handler can use or close the object that the interrupted call waits for. The mutex
//! inside is held for a few instructions only, never while waiting and never while asking for the
//! interpreter.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use framelane::ErrorKind;
use pyo3::prelude::*;

use crate::cancel::Tokens;
use crate::error;
use crate::waiting::{Raised, attach_and, check_signals, remaining};

/// The longest slice of a wait, in which neither signals nor `close` are noticed.
const SLICE: Duration = Duration::from_millis(500);

/// Number of forks between the process that loaded this module and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The handles in whose calls this thread runs signal handlers, the innermost last.
    static INTERRUPTED: RefCell<Vec<*const ()>> = const { RefCell::new(Vec::new()) };
}

extern "C" fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Starts counting forks; called once, when the module is loaded.
pub(crate) fn watch_forks() {
    // SAFETY: the handler is a function for the life of the process, and only adds to an atomic, which is
    // async-signal-safe as a handler in the child of a threaded process must be.
    unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
}

/// The reason why an object is not available.
pub(crate) enum Refusal {
    Closed,
    Timeout,
    /// Another call has it, and a slice of waiting is over.
    Busy,
    /// The call of this very thread that a signal handler has interrupted has it.
    Nested,
}

/// The place of the object.
enum Place<T> {
    Here(Box<T>),
    /// In a call.
    Lent,
    /// Dropped by `close`.
    Gone,
}

pub(crate) struct Handle<T> {
    /// "publisher" or "subscriber", for messages.
    what: &'static str,
    place: Mutex<Place<T>>,
    /// The place has changed.
    moved: Condvar,
    /// Number of threads waiting for that. Changed and read under the lock of `place`. At 0, the end of a
    /// call makes no system call.
    waiting: AtomicUsize,
    /// Set once by `close`; no call gets the object afterwards.
    closing: AtomicBool,
    /// Set once by `close_soon`: the call that has the object drops it.
    unwanted: AtomicBool,
    tokens: Tokens,
    forks: u32,
}

/// A lock that no panic can have left in a bad state: it only guards a move.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send> Handle<T> {
    /// `tokens` are those that `value` was opened with.
    pub(crate) fn new(what: &'static str, value: T, tokens: Tokens) -> Self {
        Handle {
            what,
            place: Mutex::new(Place::Here(Box::new(value))),
            moved: Condvar::new(),
            waiting: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
            tokens,
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    /// The tokens that the object was opened with.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    /// Closed, or about to be.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn address(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// Returns true if this thread runs a signal handler that interrupted a call of this object.
    fn is_interrupted(&self) -> bool {
        INTERRUPTED.with_borrow(|handles| handles.contains(&self.address()))
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
                "open the {what} in the child process itself (or start children with multiprocessing's \
                 \"spawn\")"
            )),
        ))
    }

    pub(crate) fn closed_error(&self, py: Python<'_>) -> PyErr {
        let message = format!("expected an open {}, found one that this program has closed", self.what);
        error::raise_new(py, ErrorKind::ChannelClosed, &message, None)
    }

    /// The error of a call whose wait the user's token ended.
    pub(crate) fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message =
            format!("interrupted while waiting: the cancel token of this {} was cancelled", self.what);
        error::raise_new(py, ErrorKind::Interrupted, &message, None)
    }

    /// The error of a call that would wait within a signal handler for what the interrupted call waits for.
    fn nested_error(&self, py: Python<'_>) -> PyErr {
        let message = format!(
            "cannot wait here: a signal handler has interrupted a call of this {} that waits itself",
            self.what
        );
        let hint = "set a flag in the handler and return, close the object, or raise an exception";
        error::raise_new(py, ErrorKind::Interrupted, &message, Some(hint))
    }

    /// Takes the object if no other call has it.
    pub(crate) fn try_take(&self) -> Option<Taken<'_, T>> {
        self.take_from(&mut lock(&self.place))
    }

    fn take_from(&self, place: &mut Place<T>) -> Option<Taken<'_, T>> {
        if self.is_closed() {
            return None;
        }
        match std::mem::replace(place, Place::Lent) {
            Place::Here(value) => Some(Taken { handle: self, value: Some(value) }),
            other => {
                *place = other;
                None
            }
        }
    }

    /// Waits until the place changes.
    fn wait<'p>(&self, place: MutexGuard<'p, Place<T>>, nap: Duration) -> MutexGuard<'p, Place<T>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = self.moved.wait_timeout(place, nap).unwrap_or_else(PoisonError::into_inner).0;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        place
    }

    /// Takes the object, waiting for at most a slice while another call has it. Needs no interpreter.
    pub(crate) fn wait_take(&self, deadline: Option<Instant>) -> Result<Taken<'_, T>, Refusal> {
        let mut place = lock(&self.place);
        if let Some(taken) = self.take_from(&mut place) {
            return Ok(taken);
        }
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        if self.is_interrupted() {
            return Err(Refusal::Nested);
        }
        let nap = remaining(deadline).map_or(SLICE, |left| left.min(SLICE));
        place = self.wait(place, nap);
        match self.take_from(&mut place) {
            Some(taken) => Ok(taken),
            None if self.is_closed() => Err(Refusal::Closed),
            None if remaining(deadline) == Some(Duration::ZERO) => Err(Refusal::Timeout),
            None => Err(Refusal::Busy),
        }
    }

    /// Calls `attempt` with the object, without the interpreter, until it returns a value. `attempt` returns
    /// `None` when it has waited for a slice; signal handlers run then, while the object is back in its
    /// place.
    ///
    /// # Errors
    /// After a fork; when closed; when another call has the object until `deadline`; what a signal handler
    /// raises; in a signal handler that has interrupted another call of the object, instead of waiting
    /// without a deadline.
    pub(crate) fn call<R: Send>(
        &self,
        py: Python<'_>,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut T) -> Option<R> + Send,
    ) -> PyResult<R> {
        self.check_fork(py)?;
        loop {
            let outcome = py.detach(|| self.wait_take(deadline).map(|mut taken| attempt(&mut taken)));
            match outcome {
                Ok(Some(result)) => return Ok(result),
                Ok(None) if deadline.is_none() && self.is_interrupted() => return Err(self.nested_error(py)),
                Ok(None) | Err(Refusal::Busy) if self.tokens.is_cancelled() => {
                    return Err(self.cancelled_error(py));
                }
                Ok(None) | Err(Refusal::Busy) => self.run_signal_handlers(py)?,
                Err(Refusal::Closed) => return Err(self.closed_error(py)),
                Err(Refusal::Nested) => return Err(self.nested_error(py)),
                Err(Refusal::Timeout) => {
                    let message =
                        format!("another thread's call had this {} for the whole time given", self.what);
                    return Err(error::raise_new(py, ErrorKind::Timeout, &message, None));
                }
            }
        }
    }

    /// Calls an `attempt` that is too short to release the interpreter and does not wait.
    ///
    /// # Errors
    /// The errors of `call`.
    pub(crate) fn call_briefly<R: Send>(
        &self,
        py: Python<'_>,
        mut attempt: impl FnMut(&mut T) -> Option<R> + Send,
    ) -> PyResult<R> {
        self.check_fork(py)?;
        let result = self.try_take().and_then(|mut taken| attempt(&mut taken));
        match result {
            Some(result) => Ok(result),
            None => self.call(py, None, attempt),
        }
    }

    /// Calls `drain` with the object and the time until `deadline`, in slices. Its error does not mark the
    /// end of a slice: a link may fail with an error of any kind.
    ///
    /// # Errors
    /// As `call`; those of `drain`.
    pub(crate) fn drain(
        &self,
        py: Python<'_>,
        deadline: Option<Instant>,
        drain: impl Fn(&mut T, Option<Duration>) -> Result<(), framelane::Error> + Send + Sync,
    ) -> PyResult<()> {
        let drained = self.call(py, deadline, |value| {
            self.tokens.has_ended_a_wait();
            let drained = drain(value, remaining(deadline));
            if drained.is_err() && self.tokens.has_ended_a_wait() { None } else { Some(drained) }
        })?;
        drained.map_err(|error| error::raise(py, error))
    }

    /// Runs Python's signal handlers on behalf of a call of this object.
    ///
    /// # Errors
    /// What a handler raises; CancelledError when a handler has cancelled the task of asyncio that makes the
    /// call.
    pub(crate) fn run_signal_handlers(&self, py: Python<'_>) -> PyResult<()> {
        INTERRUPTED.with_borrow_mut(|handles| handles.push(self.address()));
        let result = check_signals(py);
        INTERRUPTED.with_borrow_mut(Vec::pop);
        result
    }

    /// The check of a token for calls of the core that cannot be cut into slices: runs signal handlers while
    /// the call has the object. Returns true to end the call. `raised` then has what a handler raised.
    pub(crate) fn ends_wait(&self, raised: &Raised) -> bool {
        self.is_closed() || attach_and(raised, |py| self.run_signal_handlers(py))
    }

    /// Closes the object. No call gets it from now on; calls that wait for it in other threads end. Returns
    /// when the object is closed: after the call that has it, if any. In a forked child it only forgets.
    ///
    /// # Errors
    /// Exceptions of a signal handler that runs meanwhile. The object is closed nevertheless.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.closing.store(true, Ordering::Release);
        if self.is_forked() {
            return Ok(());
        }
        let mut raised = None;
        while !py.detach(|| self.close_slice()) {
            if let Err(error) = self.run_signal_handlers(py) {
                raised = Some(error);
            }
        }
        raised.map_or(Ok(()), Err)
    }

    /// Returns true if the object was closed.
    fn close_slice(&self) -> bool {
        let mut place = lock(&self.place);
        if matches!(*place, Place::Lent) {
            place = self.wait(place, SLICE);
        }
        let mut taken = match std::mem::replace(&mut *place, Place::Lent) {
            Place::Here(value) => Taken { handle: self, value: Some(value) },
            Place::Lent => return false,
            Place::Gone => {
                *place = Place::Gone;
                return true;
            }
        };
        drop(place);
        // Other threads that close it see it as lent until it is closed.
        drop(taken.value.take());
        true
    }

    /// Closes the object: now, or when the call that has it returns. In a forked child it only forgets.
    pub(crate) fn close_soon(&self) {
        self.closing.store(true, Ordering::Release);
        self.unwanted.store(true, Ordering::Release);
        if self.is_forked() {
            return;
        }
        let mut place = lock(&self.place);
        let taken = match std::mem::replace(&mut *place, Place::Lent) {
            Place::Here(value) => Some(Taken { handle: self, value: Some(value) }),
            other => {
                *place = other;
                None
            }
        };
        drop(place);
        drop(taken);
        self.moved.notify_all();
    }
}

/// Objects to close at the exit of the interpreter.
trait Open: Send + Sync {
    /// Begins to close.
    fn begin(&self);
    /// Waits for a slice. Returns true when the object is closed.
    fn is_gone(&self) -> bool;
}

impl<T: Send> Open for Handle<T> {
    fn begin(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn is_gone(&self) -> bool {
        self.is_forked() || self.close_slice()
    }
}

/// Every open object that has files: an interpreter that exits does not collect all objects, and would leave
/// them.
static OPEN: Mutex<Vec<Weak<dyn Open>>> = Mutex::new(Vec::new());

/// Has `handle` closed when the interpreter exits, if it still lives.
pub(crate) fn close_at_exit<T: Send + 'static>(handle: &Arc<Handle<T>>) {
    let mut open = lock(&OPEN);
    open.retain(|known| known.strong_count() > 0);
    let handle: Weak<Handle<T>> = Arc::downgrade(handle);
    open.push(handle);
}

/// Closes what is still open, also while calls of daemon threads have it; registered with `atexit`.
///
/// It keeps the interpreter meanwhile, or those threads would print that their calls have failed. A call that
/// waits or copies puts the object back before it asks for the interpreter. One that does not comes to an end
/// with the process: its slices are counted.
#[pyfunction]
#[pyo3(name = "_close_all")]
pub(crate) fn close_all() {
    const SLICES: usize = 20;
    // A forked child must not wait for a mutex that a thread of the parent held during the fork.
    let open = match OPEN.try_lock() {
        Ok(mut open) => std::mem::take(&mut *open),
        Err(TryLockError::Poisoned(poisoned)) => std::mem::take(&mut *poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => return,
    };
    let open: Vec<_> = open.iter().filter_map(Weak::upgrade).collect();
    for handle in &open {
        handle.begin();
    }
    let mut slices = 0..SLICES;
    for handle in &open {
        while !handle.is_gone() && slices.next().is_some() {}
    }
}

/// The object, for as long as a call needs it.
pub(crate) struct Taken<'h, T: Send> {
    handle: &'h Handle<T>,
    /// `Some`, unless `close_slice` has dropped it.
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
        let mut place = lock(&self.handle.place);
        // `close_soon` sets the flag before it takes the mutex: either this sees the flag, or `close_soon`
        // the value.
        let unwanted = self.handle.unwanted.load(Ordering::Acquire);
        match self.value.take() {
            Some(value) if !unwanted => *place = Place::Here(value),
            Some(value) => {
                drop(place);
                drop(value);
                place = lock(&self.handle.place);
                *place = Place::Gone;
            }
            None => *place = Place::Gone,
        }
        let waiting = self.handle.waiting.load(Ordering::Relaxed);
        drop(place);
        if waiting > 0 {
            self.handle.moved.notify_all();
        }
    }
}
