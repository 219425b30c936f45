//! The subscriber's half of the ring.

use super::sync::{AtomicU64, Ordering, fence, load_acquire, load_acquire_u32, spin};
use super::words::{Control, Delivery, Entry, HEAD_SLOT_BITS, Readers, Record, claim_of, is_frame};
use crate::step::{Step, step};

/// Number of times a reader reads a slot again that is being claimed. A claim is a handful of instructions,
/// so this is only used up when the publisher was preempted, or killed, in the middle of one.
const CLAIM_TURNS: usize = if cfg!(loom) { 2 } else { 2000 };

/// Result of an attempt to lease a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    /// The frame will not change until [`release`].
    Held,
    /// The frame is no longer there.
    Gone,
}

/// Makes record `reader` ours. The caller holds the record's lock.
pub(crate) fn attach(readers: &Readers, reader: usize, delivery: Delivery, cursor: u64, pid: u32) {
    let record = &readers.records[reader];
    for pin in &record.pins {
        pin.store(0, Ordering::Release);
    }
    record.waiting.store(0, Ordering::Relaxed);
    record.delivery.store(delivery as u32, Ordering::Relaxed);
    record.cursor.store(cursor, Ordering::Release);
    record.pid.store(pid, Ordering::Relaxed);
    record.received.store(0, Ordering::Relaxed);
    record.dropped.store(0, Ordering::Relaxed);
    step(Step::RecordFilled);
    // AcqRel: the record is in order before the publisher reads it.
    readers.active.fetch_or(1 << reader, Ordering::AcqRel);
    step(Step::RecordActive);
    // Before our first pin the bit is set: the publisher that misses the bit is one that we see claiming.
    fence(Ordering::SeqCst);
}

/// Releases record `reader`, before its lock is released.
pub(crate) fn detach(readers: &Readers, reader: usize) {
    super::writer::reclaim(readers, reader);
}

/// Sequence and slot of the newest frame; sequence 0 when there is none yet.
pub(crate) fn newest(control: &Control) -> (u64, usize) {
    // Pairs with the Release of `head` in `publish`.
    let head = load_acquire(&control.head);
    (head >> HEAD_SLOT_BITS, (head & ((1 << HEAD_SLOT_BITS) - 1)) as usize)
}

/// Next action of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is no frame that it has not received.
    Nothing,
    /// Lease this frame, of the ring that it has mapped.
    Frame { sequence: u64, slot: usize },
    /// Map the ring of this generation, then look again.
    Map(u64),
}

/// Returns the action after frame `cursor`, with the ring that is `mapped`: its generation and its table.
pub(crate) fn next<'t>(
    control: &Control,
    delivery: Delivery,
    cursor: u64,
    mapped: Option<(u64, impl Iterator<Item = &'t Entry>)>,
) -> Next {
    let (newest, newest_slot) = newest(control);
    if newest <= cursor {
        return Next::Nothing;
    }
    // After the head: the ring of the frame that it names is announced by now.
    let generation = control.generation_now();
    let Some((mapped, table)) = mapped else { return Next::Map(generation) };
    let wanted = match delivery {
        Delivery::Newest => (mapped == generation).then_some((newest, newest_slot)),
        // What is left in an old ring comes before the new one.
        Delivery::Every => find(table, cursor, newest),
    };
    match wanted {
        Some((sequence, slot)) => Next::Frame { sequence, slot },
        None if mapped == generation => Next::Nothing,
        None => Next::Map(generation),
    }
}

/// The oldest frame after `cursor`, with its slot.
fn find<'t>(table: impl Iterator<Item = &'t Entry>, cursor: u64, newest: u64) -> Option<(u64, usize)> {
    table
        .enumerate()
        .map(|(slot, entry)| (entry.version.load(Ordering::Relaxed), slot))
        .filter(|&(version, _)| is_frame(version) && version > cursor && version <= newest)
        .min()
}

/// Pins a slot and checks that frame `wanted` is in it.
pub(crate) fn lease(pin_word: &AtomicU64, pin: u64, version: &AtomicU64, wanted: u64) -> Lease {
    // Release: a publisher that reads this pin instead of the one before must also see our earlier reads as
    // done. Pairs with the acquire in `pinned_by`.
    pin_word.store(pin, Ordering::Release);
    step(Step::Pinned);
    // Pairs with the fence in `claim`.
    fence(Ordering::SeqCst);
    for _ in 0..CLAIM_TURNS {
        // Pairs with the Release of `version` in `publish`.
        match load_acquire(version) {
            found if found == wanted => return Lease::Held,
            found if found == claim_of(wanted) => spin(),
            _ => break,
        }
    }
    pin_word.store(0, Ordering::Release);
    step(Step::PinTakenBack);
    Lease::Gone
}

/// Returns true if the slot has held frame `wanted` and nothing else until now.
///
/// For readers whose pin another process may have cleared, as any process can that may write to the readers
/// file. The versions are in a file that only the publisher can write to.
pub(crate) fn is_intact(version: &AtomicU64, wanted: u64) -> bool {
    // What was read of the frame comes before this load. Pairs with the fences in `claim`: if any of it was
    // written by a later writer of the slot, its WRITING, which came before, is seen here, or what followed
    // it.
    fence(Ordering::Acquire);
    let found = version.load(Ordering::Relaxed);
    // While the publisher looks whether it may have the slot, nothing is written. It may have died over it.
    found == wanted || found == claim_of(wanted)
}

/// Ends a lease; true when the publisher sleeps for a slot and must be woken.
///
/// `waits` says whether the channel's publisher ever sleeps (backpressure block).
pub(crate) fn release(control: &Control, readers: &Readers, pin_word: &AtomicU64, waits: bool) -> bool {
    // Release: our reads of the frame come before it. Pairs with the acquire in `pinned_by`.
    pin_word.store(0, Ordering::Release);
    step(Step::Released);
    if !waits {
        return false;
    }
    // Pairs with the fence in `prepare_block`.
    fence(Ordering::SeqCst);
    if control.publisher_waiting.load(Ordering::Relaxed) == 0 {
        return false;
    }
    readers.freed.fetch_add(1, Ordering::Release);
    step(Step::FreedChanged);
    true
}

/// Announces that the reader is about to sleep on `wake`; false when `wake` has changed since `seen`.
///
/// `seen` was read (by [`Control::wake_now`]) before the reader read anything else. After true the reader
/// sleeps while `wake` is `seen`; afterwards, and after false, it takes `waiting` back.
pub(crate) fn prepare_wait(control: &Control, record: &Record, seen: u32) -> bool {
    // Which change it waits for: `notify` wakes for that one only.
    record.waiting.store(seen.wrapping_add(1), Ordering::Relaxed);
    step(Step::SleepAnnounced);
    // Pairs with the fence in `notify`.
    fence(Ordering::SeqCst);
    control.wake.load(Ordering::Relaxed) == seen
}

impl Control {
    /// The futex word, read before anything else.
    pub(crate) fn wake_now(&self) -> u32 {
        load_acquire_u32(&self.wake)
    }

    /// Returns the life of the publisher. A reader that sees the epoch also sees earlier stores of the
    /// publisher, such as `epoch_after`.
    pub(crate) fn epoch_now(&self) -> u64 {
        load_acquire(&self.epoch)
    }

    /// The generation that holds the newest frame.
    pub(crate) fn generation_now(&self) -> u64 {
        load_acquire(&self.generation)
    }

    /// The state as a raw number; anything but a known one means damage.
    pub(crate) fn state_now(&self) -> u32 {
        load_acquire_u32(&self.state)
    }
}
