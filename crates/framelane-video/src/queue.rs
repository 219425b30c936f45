//! Queue of frames from the decoding to the publishing thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Items between the threads: enough to keep both busy, few enough for cameras.
pub(crate) const CAPACITY: usize = 2;

/// A bounded queue between two threads, in which the newest item may take the place of the oldest.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// The queue has ended.
    ended: bool,
    /// No more items are wanted.
    closed: bool,
    skipped: u64,
}

/// The other thread wants no more items.
pub(crate) struct Closed;

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: VecDeque::new(), ended: false, closed: false, skipped: 0 };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item, and returns for how long it had to wait for room. With `newest_wins` it never waits: the
    /// oldest item is dropped and counted.
    pub(crate) fn push(&self, item: T, newest_wins: bool) -> Result<Duration, Closed> {
        let mut state = self.lock();
        let mut waited = Duration::ZERO;
        if newest_wins && state.items.len() >= CAPACITY {
            state.items.pop_front();
            state.skipped += 1;
        } else if state.items.len() >= CAPACITY {
            let began = Instant::now();
            let full = |state: &mut State<T>| state.items.len() >= CAPACITY && !state.closed;
            state = self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
            waited = began.elapsed();
        }
        if state.closed {
            return Err(Closed);
        }
        state.items.push_back(item);
        self.changed.notify_all();
        Ok(waited)
    }

    /// Takes the oldest item. Waits for one; `None` once there are no more.
    pub(crate) fn pop(&self) -> Option<T> {
        let empty = |state: &mut State<T>| state.items.is_empty() && !state.ended;
        let mut state = self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        self.changed.notify_all();
        item
    }

    /// Takes the newest item, if there is one; those before it are dropped and counted.
    pub(crate) fn newest(&self) -> Option<T> {
        let mut state = self.lock();
        let newest = state.items.pop_back()?;
        // The one that the caller drops for it, and those before.
        state.skipped += 1 + state.items.len() as u64;
        state.items.clear();
        self.changed.notify_all();
        Some(newest)
    }

    /// Items that newer ones have taken the place of.
    pub(crate) fn skipped(&self) -> u64 {
        self.lock().skipped
    }

    /// Ends the queue when dropped.
    pub(crate) fn ending(&self) -> impl Drop + '_ {
        OnDrop(|| self.set(|state| state.ended = true))
    }

    /// Says that no more items are wanted, when dropped.
    pub(crate) fn closing(&self) -> impl Drop + '_ {
        OnDrop(|| self.set(|state| state.closed = true))
    }

    fn set(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_item_takes_the_place_of_the_oldest() {
        let queue = Queue::new();
        for item in 0..5 {
            assert!(queue.push(item, true).is_ok_and(|waited| waited.is_zero()));
        }
        assert_eq!((queue.pop(), queue.skipped()), (Some(3), 3));
        assert!(queue.push(5, true).is_ok());
        assert_eq!((queue.newest(), queue.skipped()), (Some(5), 5));
        drop(queue.ending());
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn full_queue_blocks_until_there_is_room_or_it_is_closed() {
        let queue = Queue::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ended = queue.ending();
                for item in 0..100 {
                    assert!(queue.push(item, false).is_ok());
                }
            });
            assert!(std::iter::from_fn(|| queue.pop()).eq(0..100));
        });
        assert_eq!(queue.skipped(), 0);
        let queue = Queue::new();
        std::thread::scope(|scope| {
            let pushing = scope.spawn(|| (0..100).any(|item| queue.push(item, false).is_err()));
            queue.pop();
            drop(queue.closing());
            assert!(pushing.join().unwrap());
        });
    }
}
