//! Frames that wait for their boxes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use framelane::Origin;

use crate::boxes::BoxSource;

/// A frame waits this long for its boxes.
const HOLD: Duration = Duration::from_millis(150);
/// Most frames that wait for their boxes.
const MAX_WAITING: usize = 16;

/// Frames, in any form, that wait a short time for their boxes.
#[derive(Debug)]
pub struct Hold<T> {
    waiting: VecDeque<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    origin: Origin,
    until: Instant,
    payload: T,
}

impl<T> Default for Hold<T> {
    fn default() -> Self {
        Hold { waiting: VecDeque::with_capacity(MAX_WAITING) }
    }
}

impl<T> Hold<T> {
    /// Returns whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the number of frames that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a frame. Returns the oldest one if too many wait.
    pub fn push(&mut self, origin: Origin, payload: T) -> Option<T> {
        let oldest = (self.waiting.len() == MAX_WAITING).then(|| self.pop()).flatten();
        self.waiting.push_back(Waiting { origin, until: Instant::now() + HOLD, payload });
        oldest
    }

    /// Removes the oldest frame.
    pub fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|waiting| waiting.payload)
    }

    /// Removes the newest frame that need not wait any longer. Passes older ones to `skip`.
    ///
    /// A frame need not wait if its boxes or those of a later frame have arrived, if 150 ms have passed, or
    /// if no detector is alive.
    pub fn release(&mut self, boxes: &BoxSource, skip: impl FnMut(T)) -> Option<T> {
        let alive = boxes.is_alive();
        let is_ready = |waiting: &Waiting<T>| {
            !alive || Instant::now() >= waiting.until || boxes.has_reached(waiting.origin)
        };
        let newest = self.waiting.iter().rposition(is_ready)?;
        let mut released = self.waiting.drain(..=newest).map(|waiting| waiting.payload);
        let shown = released.next_back();
        released.for_each(skip);
        shown
    }
}
