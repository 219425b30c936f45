//! A subscriber's record: taken, used by the subscriber and its leases, given back with the last of them.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, ErrorKind};
use crate::files::{ControlFile, ReadersFile};
use crate::frame::Origin;
use crate::os;
use crate::ring::{self, Delivery, PINS, READERS, Record};
use crate::step::{Step, step};

/// The record of one subscriber, with the maps that it needs.
pub(super) struct Attachment {
    pub channel: String,
    pub control: ControlFile,
    pub readers: ReadersFile,
    pub index: usize,
    pub forks: u64,
    /// Bit *i*: pin *i* belongs to a lease. Ours alone; the pins in shared memory are not trusted.
    pins_in_use: AtomicU8,
}

const _: () = assert!(PINS <= 8, "one bit for each pin");

impl Attachment {
    /// Takes a free record. Also returns the sequence before the first frame to receive.
    pub(super) fn new(
        channel: &str,
        control: ControlFile,
        readers: ReadersFile,
        delivery: Delivery,
        after: Option<Origin>,
    ) -> Result<(Self, u64), Error> {
        let Some(index) = Self::lock_record(channel, &readers)? else {
            return Err(Error::new(
                ErrorKind::TooManySubscribers,
                format!("channel {channel} has {READERS} subscribers already"),
            )
            .with_hint("end a subscriber, or publish the frames on a second channel as well"));
        };
        step(Step::RecordLocked);
        let joined_after = |control: &ControlFile| {
            let words = control.words();
            let (newest, _) = ring::newest(words);
            let epoch = words.epoch_now();
            let here = after.filter(|after| after.epoch == epoch && after.sequence <= newest);
            // Only readers that were attached when a publisher died receive its last frame.
            let newest_only = newest.saturating_sub(1).max(words.epoch_after.load(Ordering::Relaxed));
            here.map_or(newest_only, |after| after.sequence)
        };
        ring::attach(readers.words(), index, delivery, joined_after(&control), std::process::id());
        // Again, now that the publisher sees us: a frame that is new by now will be kept for us.
        let cursor = joined_after(&control);
        readers.words().records[index].cursor.store(cursor, Ordering::Release);
        step(Step::Attached);
        let made = Attachment {
            channel: channel.to_owned(),
            control,
            readers,
            index,
            forks: os::fork_count(),
            pins_in_use: AtomicU8::new(0),
        };
        Ok((made, cursor))
    }

    fn lock_record(channel: &str, readers: &ReadersFile) -> Result<Option<usize>, Error> {
        for index in 0..READERS {
            let locked = readers.lock.try_lock(index as u64);
            if locked
                .map_err(|error| Error::from_io(format!("locking a record of channel {channel}"), error))?
            {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    pub(super) fn record(&self) -> &Record {
        &self.readers.words().records[self.index]
    }

    /// Returns true if the publisher may sleep until we release a slot.
    pub(super) fn waits(&self) -> bool {
        self.control.words().backpressure.load(Ordering::Relaxed) == crate::Backpressure::Block as u32
    }

    /// A pin that no lease has, unless there are `most` leases.
    pub(super) fn free_pin(&self, most: usize) -> Option<usize> {
        // Acquire: pairs with the Release in `release`; the pin word is 0 by then.
        let used = self.pins_in_use.load(Ordering::Acquire);
        let free = used.trailing_ones() as usize;
        (free < PINS && (used.count_ones() as usize) < most).then_some(free)
    }

    pub(super) fn take_pin(&self, pin: usize) {
        self.pins_in_use.fetch_or(1 << pin, Ordering::Relaxed);
    }

    /// No more frames will be received with this record.
    pub(super) fn stop_receiving(&self) {
        if os::fork_count() != self.forks {
            return;
        }
        self.record().delivery.store(Delivery::Newest as u32, Ordering::Release);
        step(Step::ReceivingStopped);
        if self.waits() {
            let readers = self.readers.words();
            readers.freed.fetch_add(1, Ordering::Release);
            self.readers.wake_publisher();
        }
    }

    /// Ends the lease with this pin.
    pub(super) fn release(&self, pin: usize) {
        if os::fork_count() != self.forks {
            // A forked child's copy of the frame: the pin is the parent's.
            return;
        }
        let (control, readers) = (self.control.words(), self.readers.words());
        if ring::release(control, readers, &self.record().pins[pin], self.waits()) {
            self.readers.wake_publisher();
        }
        self.pins_in_use.fetch_and(!(1 << pin), Ordering::Release);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if os::fork_count() != self.forks {
            return;
        }
        let readers = self.readers.words();
        ring::detach(readers, self.index);
        // A publisher that waits for our cursor need not wait until it checks our lock.
        if self.waits() {
            readers.freed.fetch_add(1, Ordering::Release);
            self.readers.wake_publisher();
        }
        // The lock goes with the descriptor.
    }
}
