//! The publisher's half of the ring.

use super::sync::{AtomicU64, Ordering, fence};
use super::words::{Control, Delivery, HEAD_SLOT_BITS, READERS, Readers, WRITING, claim_of};
use crate::step::{Step, step};

/// The indices of the bits set in `mask`.
fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..READERS).filter(move |index| mask >> index & 1 == 1)
}

/// Takes a slot for writing, or returns the readers that pin it (a bit for each).
///
/// `published` is the version that the slot had; it is put back when the slot is pinned. After `Ok` no reader
/// can come to hold the slot until [`publish`].
pub(crate) fn claim(readers: &Readers, version: &AtomicU64, published: u64, pin: u64) -> Result<(), u64> {
    // Relaxed: ordered by the fence. Pairs with the reader's pin; fence; version (`lease`).
    version.store(claim_of(published), Ordering::Relaxed);
    step(Step::ClaimMarked);
    fence(Ordering::SeqCst);
    let pinned = pinned_by(readers, pin);
    if pinned == 0 {
        version.store(WRITING, Ordering::Relaxed);
        // Before the payload. Pairs with the fence in `is_intact`: a reader that sees a byte of ours sees
        // that it is not the frame's.
        fence(Ordering::Release);
        step(Step::ClaimTaken);
        return Ok(());
    }
    step(Step::ClaimRefused);
    // Nothing was written; Release keeps the frame's bytes visible to a reader that meets the version now.
    version.store(published, Ordering::Release);
    step(Step::ClaimTakenBack);
    Err(pinned)
}

/// The readers that hold `pin`, a bit for each.
pub(crate) fn pinned_by(readers: &Readers, pin: u64) -> u64 {
    // Relaxed: a reader sets its bit before its first pin and the fence of its first lease, so the caller's
    // fence covers the bit as it covers the pin.
    let active = readers.active.load(Ordering::Relaxed);
    bits(active)
        .filter(|&reader| {
            // Acquire: pairs with the Release of a pin taken back or moved on; the reader's last reads of the
            // frame come before our writes.
            readers.records[reader].pins.iter().any(|word| word.load(Ordering::Acquire) == pin)
        })
        .fold(0, |mask, reader| mask | 1 << reader)
}

/// The readers with delivery `Every` that have not received frame `sequence`, a bit for each.
pub(crate) fn blocked(readers: &Readers, sequence: u64) -> u64 {
    bits(readers.active.load(Ordering::Acquire))
        .filter(|&reader| {
            let record = &readers.records[reader];
            record.delivery.load(Ordering::Relaxed) == Delivery::Every as u32
                // Acquire: pairs with the Release after a lease; the pin was set before.
                && record.cursor.load(Ordering::Acquire) < sequence
        })
        .fold(0, |mask, reader| mask | 1 << reader)
}

/// Returns true if a reader, of any delivery, has not received the newest frame.
pub(crate) fn behind(readers: &Readers, newest: u64) -> bool {
    bits(readers.active.load(Ordering::Acquire))
        .any(|reader| readers.records[reader].cursor.load(Ordering::Acquire) < newest)
}

/// Makes the frame in the slot the newest. Returns the readers that sleep and must be woken, a bit for each.
pub(crate) fn publish(
    control: &Control,
    readers: &Readers,
    version: &AtomicU64,
    generation: u64,
    (sequence, slot): (u64, usize),
) -> u64 {
    // With the first frame of a ring. Relaxed: no other thread writes it.
    if control.generation.load(Ordering::Relaxed) != generation {
        // Release: the file has its name by now. Pairs with the acquire in `next`. It precedes the head: a
        // reader that sees the frame there looks for it in the right ring.
        control.generation.store(generation, Ordering::Release);
        step(Step::Announced);
    }
    // Release: the frame's bytes and descriptor come before it. Pairs with the acquire in `lease`. (A reader
    // that found the sequence through `head` has them already: that ordering alone would do.)
    version.store(sequence, Ordering::Release);
    step(Step::VersionStored);
    // Release: the version comes before it. Pairs with the acquire in `newest`.
    control.head.store(sequence << HEAD_SLOT_BITS | slot as u64, Ordering::Release);
    step(Step::HeadStored);
    notify(control, readers)
}

/// Notifies readers of a change. Returns those that sleep and must be woken, a bit for each.
///
/// A reader is woken once: by the first change after the value that it went to sleep on. Until it runs, which
/// may take longer than many publications, its record still says that it waits; those later changes need no
/// system call.
pub(crate) fn notify(control: &Control, readers: &Readers) -> u64 {
    // One writer, so no read-modify-write. Release: pairs with `prepare_wait`.
    let wake = control.wake.load(Ordering::Relaxed).wrapping_add(1);
    control.wake.store(wake, Ordering::Release);
    step(Step::WakeChanged);
    // Pairs with the fence in `prepare_wait`: either we see `waiting`, or the reader sees the new `wake`.
    fence(Ordering::SeqCst);
    // `waiting` is the value slept on, plus 1, which is this very value before the first notification. A 0,
    // "not waiting", is equal once in 2^32 changes: a system call for nothing.
    bits(readers.active.load(Ordering::Relaxed))
        .filter(|&reader| readers.records[reader].waiting.load(Ordering::Relaxed) == wake)
        .fold(0, |mask, reader| mask | 1 << reader)
}

/// Announces that the publisher is about to sleep for a slot. Returns the value to sleep on.
///
/// The caller looks for a slot once more before it sleeps, and calls [`unblock`] afterwards.
pub(crate) fn prepare_block(control: &Control, readers: &Readers) -> u32 {
    let freed = readers.freed.load(Ordering::Acquire);
    control.publisher_waiting.store(1, Ordering::Relaxed);
    step(Step::PublisherWaiting);
    // Pairs with the fence in `release`: either we see the freed slot, or the reader sees that we wait.
    fence(Ordering::SeqCst);
    freed
}

/// The publisher no longer sleeps.
pub(crate) fn unblock(control: &Control) {
    control.publisher_waiting.store(0, Ordering::Relaxed);
}

/// Frees what a dead reader held. The caller holds the reader's lock: no one else can be using the record.
pub(crate) fn reclaim(readers: &Readers, reader: usize) {
    let record = &readers.records[reader];
    for pin in &record.pins {
        pin.store(0, Ordering::Release);
    }
    record.waiting.store(0, Ordering::Relaxed);
    step(Step::PinsCleared);
    readers.active.fetch_and(!(1 << reader), Ordering::AcqRel);
}
