//! One core object shared by the threads of a C program: lent to a call, put back afterwards.
//!
//! A plain lock does not do. A thread that waits for it cannot be ended by `close`, a call from the check of
//! a cancel token would wait for its own thread, and a forked child for a thread that it does not have. The
//! mutex here guards a move, and is never held while a call runs.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use framelane::internals::fork_count;
use framelane::{CancelToken, Error, ErrorKind};

use crate::boundary::lock;

/// The longest wait for another thread's call in which nothing else is noticed.
const SLICE: Duration = Duration::from_millis(500);

thread_local! {
    /// The number of calls that this thread is in. More than 0 in the check of a cancel token only. Its
    /// address names the thread.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// The address of something that each thread has, also while it ends.
fn this_thread() -> usize {
    CALLS.with(|calls| std::ptr::from_ref(calls).addr())
}

/// The place of the object.
enum Place<T> {
    Here(Box<T>),
    /// In a call of this thread.
    Lent(usize),
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
    /// Set once by `close`. No call gets the object afterwards, and the call that has it drops it.
    closing: AtomicBool,
    /// Cancelled by `close`. The object waits with it.
    cancel: CancelToken,
    forks: u64,
}

impl<T> Handle<T> {
    /// `cancel` is the token that `value` was opened with.
    pub(crate) fn new(what: &'static str, value: T, cancel: CancelToken) -> Self {
        Handle {
            what,
            place: Mutex::new(Place::Here(Box::new(value))),
            moved: Condvar::new(),
            waiting: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            cancel,
            forks: fork_count(),
        }
    }

    /// Closed, or about to be.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The token that ends waits of the object.
    pub(crate) fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Calls `call` with the object. Waits until `deadline` for calls of other threads.
    ///
    /// # Errors
    /// Forked; ChannelClosed; Interrupted; Misuse within a call of this thread; Timeout when other threads
    /// have the object until `deadline`; those of `call`.
    pub(crate) fn call<R>(
        &self,
        deadline: Option<Instant>,
        call: impl FnOnce(&mut T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.call_with(deadline, &self.cancel, call)
    }

    /// Same as [`Handle::call`], with another token for the wait for calls of other threads.
    ///
    /// # Errors
    /// As [`Handle::call`].
    pub(crate) fn call_with<R>(
        &self,
        deadline: Option<Instant>,
        cancel: &CancelToken,
        call: impl FnOnce(&mut T) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut lent = self.take(deadline, cancel)?;
        match call(lent.value_mut()) {
            Err(error) if error.kind() == ErrorKind::Interrupted && self.is_closing() => Err(self.closed()),
            result => result,
        }
    }

    /// Looks at the object. `None` when a call has it, when it is closed, and in a forked child.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        if self.is_forked() {
            return None;
        }
        match &*lock(&self.place) {
            Place::Here(value) => Some(look(value)),
            Place::Lent(_) | Place::Gone => None,
        }
    }

    /// Closes the object: it is dropped when this returns. Calls of other threads end, which this waits for.
    ///
    /// Within a call of this thread it does not wait: the call that has the object drops it when it returns.
    /// In a forked child it does nothing else than refuse calls.
    pub(crate) fn close(&self) {
        // Before the lock: a call that puts the object back either sees this, or has put it back for us.
        self.closing.store(true, Ordering::Release);
        self.cancel.cancel();
        if self.is_forked() {
            return;
        }
        let mut place = lock(&self.place);
        loop {
            match std::mem::replace(&mut *place, Place::Lent(this_thread())) {
                Place::Here(value) => {
                    drop(place);
                    drop(Lent::new(self, value));
                    return;
                }
                Place::Gone => {
                    *place = Place::Gone;
                    return;
                }
                Place::Lent(thread) => {
                    *place = Place::Lent(thread);
                    if CALLS.get() > 0 {
                        return;
                    }
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    place = self.moved.wait(place).unwrap_or_else(PoisonError::into_inner);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn take(&self, deadline: Option<Instant>, cancel: &CancelToken) -> Result<Lent<'_, T>, Error> {
        if self.is_forked() {
            return Err(self.forked());
        }
        let mut place = lock(&self.place);
        loop {
            if self.is_closing() {
                return Err(self.closed());
            }
            match std::mem::replace(&mut *place, Place::Lent(this_thread())) {
                Place::Here(value) => return Ok(Lent::new(self, value)),
                Place::Gone => {
                    *place = Place::Gone;
                    return Err(self.closed());
                }
                Place::Lent(thread) => {
                    *place = Place::Lent(thread);
                    if thread == this_thread() {
                        return Err(self.nested());
                    }
                    // A thread that has one object and waits for another could wait for a thread that waits
                    // for the first.
                    if CALLS.get() > 0 {
                        return Err(self.busy());
                    }
                }
            }
            let nap = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                _ if cancel.is_cancelled() => {
                    return Err(Error::new(ErrorKind::Interrupted, "interrupted while waiting"));
                }
                Some(left) if left.is_zero() => return Err(self.timeout()),
                left => left.map_or(SLICE, |left| left.min(SLICE)),
            };
            self.waiting.fetch_add(1, Ordering::Relaxed);
            place = self.moved.wait_timeout(place, nap).unwrap_or_else(PoisonError::into_inner).0;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn is_forked(&self) -> bool {
        self.forks != fork_count()
    }

    fn forked(&self) -> Error {
        let what = self.what;
        let fault =
            format!("this {what} was opened by the parent process, before the fork; a child cannot use it");
        Error::new(ErrorKind::Forked, fault).with_hint(format!("open the {what} in the child process itself"))
    }

    pub(crate) fn closed(&self) -> Error {
        let fault = format!("expected an open {}, found one that this program has closed", self.what);
        Error::new(ErrorKind::ChannelClosed, fault)
    }

    fn nested(&self) -> Error {
        let what = self.what;
        Error::new(
            ErrorKind::Misuse,
            format!("cannot call this {what} here: the check of its cancel token runs inside a call of it"),
        )
        .with_hint(format!("return 1 from the check to end that call, or close the {what}"))
    }

    fn busy(&self) -> Error {
        let what = self.what;
        let fault = format!(
            "cannot wait for another thread's call of this {what}: this check of a cancel token runs inside \
             a call"
        );
        Error::new(ErrorKind::Misuse, fault)
            .with_hint(format!("call the {what} after the check has returned"))
    }

    fn timeout(&self) -> Error {
        let fault = format!("another thread's call had this {} for the whole time given", self.what);
        Error::new(ErrorKind::Timeout, fault).with_hint("open one for each thread that waits")
    }
}

/// The object, for as long as a call needs it.
struct Lent<'h, T> {
    handle: &'h Handle<T>,
    /// `Some` until this is dropped.
    value: Option<Box<T>>,
}

impl<'h, T> Lent<'h, T> {
    fn new(handle: &'h Handle<T>, value: Box<T>) -> Self {
        CALLS.set(CALLS.get() + 1);
        Lent { handle, value: Some(value) }
    }

    fn value_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().unwrap_or_else(|| unreachable!("present until dropped"))
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        CALLS.set(CALLS.get() - 1);
        let (handle, value) = (self.handle, self.value.take());
        if handle.is_forked() {
            // The mutex may belong to a thread that this process does not have.
            std::mem::forget(value);
            return;
        }
        let mut place = lock(&handle.place);
        match value {
            Some(value) if !handle.is_closing() => *place = Place::Here(value),
            value => {
                drop(place);
                drop(value);
                place = lock(&handle.place);
                *place = Place::Gone;
            }
        }
        let waiting = handle.waiting.load(Ordering::Relaxed);
        drop(place);
        if waiting > 0 {
            handle.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }

    fn handle<T>(what: &'static str, value: T) -> Handle<T> {
        Handle::new(what, value, CancelToken::new())
    }

    /// Waits as the core does, until the token is cancelled.
    fn wait(cancel: &CancelToken) -> Result<(), Error> {
        while !cancel.ends_wait() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::new(ErrorKind::Interrupted, "interrupted"))
    }

    #[test]
    fn call_within_a_call_of_the_same_object_is_misuse() {
        let handle = self::handle("publisher", 1);
        let nested = handle.call(None, |_| Ok(kind(handle.call(None, |_| Ok(())))));
        assert_eq!(nested.unwrap(), Some(ErrorKind::Misuse));
        assert_eq!(handle.call(None, |value| Ok(*value)).unwrap(), 1);
    }

    #[test]
    fn calls_that_cross_end_instead_of_waiting_for_each_other() {
        let (one, other) = (handle("publisher", ()), handle("subscriber", ()));
        let (entered, both_entered) = channel();
        let (start, started) = channel();
        std::thread::scope(|scope| {
            let (other, one, entered) = (&other, &one, entered);
            scope.spawn(move || {
                let crossed = other.call(None, |()| {
                    entered.send(()).unwrap();
                    started.recv().unwrap();
                    let crossed = kind(one.call(None, |()| Ok(())));
                    one.close();
                    Ok(crossed)
                });
                assert_eq!(crossed.unwrap(), Some(ErrorKind::Misuse));
            });
            let closed = one.call(None, |()| {
                both_entered.recv().unwrap();
                start.send(()).unwrap();
                wait(one.cancel_token())
            });
            assert_eq!(kind(closed), Some(ErrorKind::ChannelClosed));
        });
    }

    #[test]
    fn close_ends_waiting_calls_and_drops_the_object() {
        struct Noted<'n>(&'n AtomicBool);
        impl Drop for Noted<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let dropped = AtomicBool::new(false);
        let handle = self::handle("subscriber", Noted(&dropped));
        let (entered, has_entered) = channel();
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    let (handle, entered) = (&handle, entered.clone());
                    scope.spawn(move || {
                        let _ = entered.send(());
                        kind(handle.call(None, |_| wait(handle.cancel_token())))
                    })
                })
                .collect();
            for _ in 0..4 {
                has_entered.recv().unwrap();
            }
            handle.close();
            assert!(dropped.load(Ordering::Relaxed));
            for call in calls {
                assert_eq!(call.join().unwrap(), Some(ErrorKind::ChannelClosed));
            }
        });
        handle.close();
        assert_eq!(kind(handle.call(None, |_| Ok(()))), Some(ErrorKind::ChannelClosed));
    }

    #[test]
    fn close_within_a_call_leaves_the_object_to_the_call() {
        let handle = self::handle("subscriber", 5);
        let result = handle.call(None, |value| {
            handle.close();
            assert_eq!((*value, handle.cancel_token().ends_wait()), (5, true));
            Err::<(), _>(Error::new(ErrorKind::Interrupted, "interrupted"))
        });
        assert_eq!(kind(result), Some(ErrorKind::ChannelClosed));
        assert!(handle.peek(|_| ()).is_none());
    }

    #[test]
    fn call_waits_for_its_turn_no_longer_than_its_deadline() {
        let handle = self::handle("subscriber", ());
        let (entered, has_entered) = channel();
        let (end, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let handle = &handle;
            scope.spawn(move || {
                handle.call(None, |()| {
                    entered.send(()).unwrap();
                    let _ = ended.recv();
                    Ok(())
                })
            });
            has_entered.recv().unwrap();
            for wait in [0, 1] {
                let deadline = Some(Instant::now() + Duration::from_millis(wait));
                assert_eq!(kind(handle.call(deadline, |()| Ok(()))), Some(ErrorKind::Timeout));
            }
            drop(end);
            handle.call(None, |()| Ok(())).unwrap();
        });
    }

    #[test]
    fn panic_in_a_call_gives_the_object_back() {
        let handle = self::handle("publisher", 3);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            handle.call(None, |_| -> Result<(), Error> { panic!("of the test") })
        }));
        assert!(panicked.is_err());
        assert_eq!(handle.call(None, |value| Ok(*value)).unwrap(), 3);
        assert_eq!(CALLS.get(), 0);
    }
}
