//! Waiting for frames or detections: blocking calls without the interpreter, and coroutines.
//!
//! A coroutine never waits in the core itself. It asks for an available item. If there is none, it leaves a
//! callback, and one thread of the receiver waits instead. Items that this thread receives go to the `stash`,
//! from which the next call of any kind takes them: a coroutine that was cancelled meanwhile loses nothing.
//! The thread ends when no coroutine waits any more, when the receiver is closed and when Python exits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, ErrorKind, Observer, RecvError};
use pyo3::prelude::*;

use crate::cancel::Tokens;
use crate::error::raise;
use crate::handle::{Handle, Refusal, close_at_exit, lock};
use crate::waiting::{Raised, deadline, remaining, take};

/// A core subscriber of either kind.
pub(crate) trait Source: Send + 'static {
    type Item: Send + 'static;
    /// Waits up to `timeout`, or until its token ends the wait.
    fn recv(&mut self, timeout: Option<Duration>) -> Result<Self::Item, RecvError>;
    fn set_cancel_token(&mut self, cancel: CancelToken);
    /// Frames missed just before this one.
    fn dropped(item: &Self::Item) -> u64;
    fn total_dropped(&self) -> u64;
    fn total_received(&self) -> u64;
    fn observer(&self) -> Observer;
    /// The error with its reason.
    fn explain(&self, error: RecvError, waited: Option<Duration>) -> Error;
    fn publisher_alive(&self) -> bool;
}

/// A received item, and the number of frames skipped to get it, in addition to those the core counts.
pub(crate) struct Received<T> {
    pub(crate) item: T,
    pub(crate) skipped: u64,
}

pub(crate) struct State<S: Source> {
    pub(crate) source: S,
    /// Item of the waiting thread that no call has taken yet.
    stash: Option<S::Item>,
}

#[derive(Default)]
struct Waiting {
    /// Called, and forgotten, when something may have arrived.
    callbacks: Vec<(u64, Py<PyAny>)>,
    next_token: u64,
    thread_runs: bool,
}

pub(crate) struct Receiver<S: Source> {
    pub(crate) handle: Arc<Handle<State<S>>>,
    pub(crate) channel: Arc<str>,
    newest_only: bool,
    /// Explains timeouts while a thread has the handle.
    observer: Observer,
    /// True if receiving copies a whole frame, which releases the interpreter lock.
    copies: bool,
    waiting: Mutex<Waiting>,
    received: AtomicU64,
    dropped: AtomicU64,
}

impl<S: Source> Receiver<S> {
    pub(crate) fn new(
        what: &'static str,
        channel: &str,
        newest_only: bool,
        copies: bool,
        (source, tokens): (S, Tokens),
    ) -> Self {
        let observer = source.observer();
        let handle = Arc::new(Handle::new(what, State { source, stash: None }, tokens));
        // A link makes its own channel here.
        if channel.contains("://") || channel.starts_with("unix:") {
            close_at_exit(&handle);
        }
        Receiver {
            handle,
            channel: Arc::from(channel),
            newest_only,
            observer,
            copies,
            waiting: Mutex::new(Waiting::default()),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn note(&self, state: &State<S>) {
        self.received.store(state.source.total_received(), Ordering::Relaxed);
        self.dropped.store(state.source.total_dropped(), Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the available item, the stash first; with delivery newest the stash only if there is nothing
    /// newer.
    fn now(&self, state: &mut State<S>) -> Result<Received<S::Item>, RecvError> {
        let Some(stashed) = state.stash.take() else {
            return state.source.recv(Some(Duration::ZERO)).map(|item| Received { item, skipped: 0 });
        };
        if !self.newest_only {
            return Ok(Received { item: stashed, skipped: 0 });
        }
        match state.source.recv(Some(Duration::ZERO)) {
            Ok(item) => Ok(Received { item, skipped: 1 + S::dropped(&stashed) }),
            Err(_) => Ok(Received { item: stashed, skipped: 0 }),
        }
    }

    /// The next item, waiting up to `timeout` seconds without the interpreter.
    ///
    /// # Errors
    /// Timeout, ChannelClosed and the others of the core; what a signal handler raises.
    pub(crate) fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Received<S::Item>> {
        let deadline = deadline("timeout", timeout)?;
        self.handle.check_fork(py)?;
        // What is there already needs no release of the interpreter.
        let there = self
            .handle
            .try_take()
            .filter(|_| !self.copies)
            .map(|mut state| self.attempt(&mut state, Some(Duration::ZERO)));
        let result = match there.flatten() {
            Some(result) if !matches!(result, Err(RecvError::Timeout)) => result,
            _ => self.handle.call(py, deadline, |state| self.attempt(state, remaining(deadline)))?,
        };
        result.map_err(|error| self.failed(py, error, timeout))
    }

    /// Waits for the next item up to `left`, or for a slice, after which it returns `None`.
    fn attempt(
        &self,
        state: &mut State<S>,
        left: Option<Duration>,
    ) -> Option<Result<Received<S::Item>, RecvError>> {
        let result = match self.now(state) {
            Err(RecvError::Timeout) if left != Some(Duration::ZERO) => {
                let received = state.source.recv(left);
                received.map(|item| Received { item, skipped: 0 })
            }
            result => result,
        };
        self.note(state);
        if matches!(result, Err(RecvError::Interrupted)) { None } else { Some(result) }
    }

    /// True while a publisher holds the channel.
    ///
    /// # Errors
    /// ChannelClosed after `close`.
    pub(crate) fn publisher_alive(&self, py: Python<'_>) -> PyResult<bool> {
        self.handle.call(py, None, |state| Some(state.source.publisher_alive()))
    }

    /// Calls a function of the source other than `recv`: detached, with the interpreter's signals handled.
    ///
    /// # Errors
    /// The errors of [`Receiver::recv`].
    pub(crate) fn with_source<T: Send, E: Into<Error>>(
        &self,
        py: Python<'_>,
        deadline: Option<Instant>,
        mut call: impl FnMut(&mut S) -> Result<T, E> + Send,
    ) -> PyResult<T> {
        let raised = Arc::new(Raised::default());
        let (handle, noted) = (Arc::clone(&self.handle), Arc::clone(&raised));
        let asking = self.handle.tokens().with_check(move || handle.ends_wait(&noted));
        let result = self.handle.call(py, deadline, |state| {
            state.source.set_cancel_token(asking.clone());
            let result = call(&mut state.source);
            state.source.set_cancel_token(self.handle.tokens().slices());
            self.note(state);
            Some(result.map_err(Into::into))
        })?;
        let raised = take(&raised);
        match (result, raised) {
            (_, Some(raised)) => Err(raised),
            (Ok(item), None) => Ok(item),
            (Err(error), None) if error.kind() == ErrorKind::Interrupted => Err(self.interrupted_error(py)),
            (Err(error), None) => Err(raise(py, error)),
        }
    }

    /// The error of a wait that was ended from outside.
    fn interrupted_error(&self, py: Python<'_>) -> PyErr {
        if self.handle.is_closed() { self.handle.closed_error(py) } else { self.handle.cancelled_error(py) }
    }

    /// Returns the error of `recv` after `timeout`: with the reason, unless another thread has the
    /// subscriber.
    pub(crate) fn timeout_error(&self, py: Python<'_>, timeout: Option<f64>) -> PyErr {
        self.failed(py, RecvError::Timeout, timeout)
    }

    fn failed(&self, py: Python<'_>, error: RecvError, timeout: Option<f64>) -> PyErr {
        let waited = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let error = match self.handle.try_take() {
            Some(state) => state.source.explain(error, waited),
            None if matches!(error, RecvError::Timeout) => self.observer.explain_timeout(waited),
            None => Error::from(error).context(format!("channel {}", self.channel)),
        };
        raise(py, error)
    }

    /// Returns the available item, or `None`, also when another thread is waiting in a call.
    ///
    /// # Errors
    /// The errors of [`Receiver::recv`], without the timeout.
    pub(crate) fn poll(&self, py: Python<'_>) -> PyResult<Option<Received<S::Item>>> {
        self.handle.check_fork(py)?;
        let Some(mut state) = self.handle.try_take() else {
            return if self.handle.is_closed() { Err(self.handle.closed_error(py)) } else { Ok(None) };
        };
        let result = if self.copies {
            let state: &mut State<S> = &mut state;
            py.detach(|| self.now(state))
        } else {
            self.now(&mut state)
        };
        self.note(&state);
        drop(state);
        match result {
            Ok(received) => Ok(Some(received)),
            // The coroutine would wait now.
            Err(RecvError::Timeout) if self.handle.tokens().is_cancelled() => {
                Err(self.handle.cancelled_error(py))
            }
            Err(RecvError::Timeout) => Ok(None),
            Err(error) => Err(self.failed(py, error, None)),
        }
    }

    /// Calls `callback`, once and from another thread, when something may have arrived or ended.
    /// Returns a token for [`Receiver::forget`].
    pub(crate) fn notify(self: &Arc<Self>, callback: Py<PyAny>) -> std::io::Result<u64> {
        let mut waiting = lock(&self.waiting);
        let token = waiting.next_token;
        waiting.next_token += 1;
        waiting.callbacks.push((token, callback));
        if !waiting.thread_runs {
            let receiver = Arc::clone(self);
            std::thread::Builder::new()
                .name("framelane-wait".to_owned())
                .spawn(move || receiver.wait_for_others())?;
            waiting.thread_runs = true;
        }
        Ok(token)
    }

    /// Forgets a callback; nothing happens when it was called before.
    pub(crate) fn forget(&self, token: u64) {
        if self.handle.is_forked() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let place = waiting.callbacks.iter().position(|entry| entry.0 == token);
        let callback = place.map(|place| waiting.callbacks.swap_remove(place));
        drop(waiting);
        drop(callback);
    }

    /// The thread: waits until the stash has an item or the channel has ended, then calls back.
    fn wait_for_others(self: Arc<Self>) {
        loop {
            let arrived = self.fill_stash();
            let mut waiting = lock(&self.waiting);
            if !arrived && !waiting.callbacks.is_empty() && !self.handle.is_closed() && !EXIT.is_set() {
                // A call arrived after the last check.
                continue;
            }
            waiting.thread_runs = false;
            let callbacks = std::mem::take(&mut waiting.callbacks);
            drop(waiting);
            with_python(|py| {
                for (_, callback) in &callbacks {
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                }
                drop(callbacks);
            });
            return;
        }
    }

    /// Returns true if the next call has something to return: an item in the stash, or an error that the next
    /// call will meet.
    fn fill_stash(&self) -> bool {
        let wanted =
            || !self.handle.is_closed() && !EXIT.is_set() && !lock(&self.waiting).callbacks.is_empty();
        let mut state = loop {
            match self.handle.wait_take(None) {
                Ok(state) => break state,
                Err(Refusal::Busy) if wanted() => {}
                Err(_) => return false,
            }
        };
        if state.stash.is_some() {
            return true;
        }
        let arrived = loop {
            match state.source.recv(None) {
                Ok(item) => {
                    state.stash = Some(item);
                    break true;
                }
                Err(RecvError::Interrupted) if self.handle.tokens().is_cancelled() => break true,
                Err(RecvError::Interrupted) if wanted() => {}
                Err(RecvError::Interrupted | RecvError::Timeout) => break false,
                Err(_) => break true,
            }
        };
        self.note(&state);
        arrived
    }
}

/// Python's exit: from the moment that it begins, no thread of ours may ask for the interpreter.
static EXIT: Exit = Exit { begun: AtomicBool::new(false), calls: Mutex::new(0), none_left: Condvar::new() };

struct Exit {
    begun: AtomicBool,
    /// Threads that have, or wait for, the interpreter.
    calls: Mutex<usize>,
    none_left: Condvar,
}

impl Exit {
    fn is_set(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }
}

/// Runs `call` with the interpreter, unless it is exiting.
fn with_python(call: impl FnOnce(Python<'_>)) {
    let mut calls = lock(&EXIT.calls);
    if EXIT.is_set() {
        return;
    }
    *calls += 1;
    drop(calls);
    Python::try_attach(call);
    *lock(&EXIT.calls) -= 1;
    EXIT.none_left.notify_all();
}

/// Keeps our threads out of an interpreter that exits; registered with `atexit`.
#[pyfunction]
#[pyo3(name = "_end_threads")]
pub(crate) fn end_threads(py: Python<'_>) {
    py.detach(|| {
        let mut calls = lock(&EXIT.calls);
        EXIT.begun.store(true, Ordering::Release);
        while *calls > 0 {
            calls = EXIT.none_left.wait(calls).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    });
}
