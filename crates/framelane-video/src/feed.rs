//! Frames from the thread that reads into the queue: whether they are paced, and what happens when it is
//! full.

use std::sync::Arc;
use std::time::Instant;

use crate::live::Delivery;
use crate::pace::Arrival;
use crate::queue::{Closed, Queue};
use crate::stdin::Producer;

/// The reading thread's end of the queue.
pub(crate) struct Feed<'q, T> {
    queue: &'q Queue<T>,
    delivery: Delivery,
    /// Every frame is wanted: backpressure.
    lossless: bool,
    producer: Option<Arc<Producer>>,
    arrival: Option<Arrival>,
}

impl<'q, T> Feed<'q, T> {
    pub(crate) fn new(
        queue: &'q Queue<T>,
        delivery: Delivery,
        lossless: bool,
        producer: Option<Arc<Producer>>,
    ) -> Self {
        Feed { queue, delivery, lossless, producer, arrival: None }
    }

    /// Passes a frame on, with the information whether it is paced. Blocks while the queue is full, unless
    /// the source is live.
    pub(crate) fn push(&mut self, pts_ns: Option<i64>, frame: impl FnOnce(bool) -> T) -> Result<(), Closed> {
        let is_live = match (self.delivery, &self.producer) {
            (Delivery::Live, _) => true,
            (Delivery::Pipe, Some(producer)) => {
                let now = Instant::now();
                let began = producer.began().unwrap_or(now);
                let arrival = self.arrival.get_or_insert_with(|| Arrival::new(began));
                arrival.is_live(pts_ns.unwrap_or(0), now, producer.waited())
            }
            _ => false,
        };
        let waited = self.queue.push(frame(!is_live), is_live && !self.lossless)?;
        if let Some(arrival) = &mut self.arrival {
            arrival.blocked(waited);
        }
        Ok(())
    }
}
