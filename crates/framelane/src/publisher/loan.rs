//! Slots on loan: borrowed from the publisher for one frame, or owned.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Publisher;
use super::slots::Generation;
use crate::frame::{FrameInfo, Layout};

/// A slot to write one frame into. [`Loan::publish`] publishes it. Dropping the loan returns the slot.
#[must_use = "dropping a loan returns its slot"]
pub struct Loan<'p> {
    publisher: &'p mut Publisher,
    slot: usize,
    layout: Layout,
}

impl fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (publisher, slot) = (&self.publisher, &self.slot);
        f.debug_struct("Loan").field("publisher", publisher).field("slot", slot).finish_non_exhaustive()
    }
}

impl<'p> Loan<'p> {
    pub(super) fn new(publisher: &'p mut Publisher, slot: usize, layout: Layout) -> Self {
        Loan { publisher, slot, layout }
    }

    /// The layout that was asked for.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The whole payload, [`Layout::size_bytes`] long. No copy: these are the bytes that readers will read.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.publisher.writing_to().generation().data.payload(self.slot);
        let len = self.layout.size_bytes();
        #[expect(
            unsafe_code,
            reason = "the claim is the proof that the bytes are ours; see the SAFETY comment"
        )]
        // SAFETY: the slot was claimed, so its version is WRITING and no reader can come to hold it until
        // `publish`, which consumes the loan; no other loan exists while this one borrows the publisher, and
        // a slot of an owned loan is never claimed. The slot is at least `size_bytes` long, mapped for
        // writing, and stays mapped while the publisher is borrowed. Bytes have no invalid values.
        unsafe {
            std::slice::from_raw_parts_mut(start.as_ptr(), len)
        }
    }

    /// One plane, from its first sample to its last, padding between rows included.
    ///
    /// # Panics
    /// When the format has no such plane.
    pub fn plane_mut(&mut self, plane: usize) -> &mut [u8] {
        assert!(plane < self.layout.planes().len(), "the frame has {} planes", self.layout.planes().len());
        let range = self.layout.plane_range(plane);
        &mut self.bytes_mut()[range]
    }

    /// Makes the frame the newest of the channel and wakes waiting subscribers. Returns its sequence.
    ///
    /// Makes no system call when no subscriber waits.
    pub fn publish(self, info: &FrameInfo) -> u64 {
        self.publisher.publish_slot(self.slot, &self.layout, info)
    }
}

/// A loan that does not borrow the publisher, and may outlive it.
///
/// [`Publisher::publish_owned`] publishes it. The slot is not used for another frame until the loan is
/// dropped, whether it was published or not. Decoders need this: they keep reading a published picture as a
/// reference for later ones. Any thread may use and drop it.
#[must_use = "dropping a loan returns its slot"]
pub struct OwnedLoan {
    generation: Arc<Generation>,
    slot: usize,
    published: AtomicBool,
}

impl fmt::Debug for OwnedLoan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, capacity) = (&self.slot, &self.capacity());
        f.debug_struct("OwnedLoan").field("slot", slot).field("capacity", capacity).finish_non_exhaustive()
    }
}

impl OwnedLoan {
    pub(super) fn new(generation: &Arc<Generation>, slot: usize) -> Self {
        generation.owned[slot].store(true, Ordering::Relaxed);
        OwnedLoan { generation: generation.clone(), slot, published: AtomicBool::new(false) }
    }

    /// The first byte; page-aligned. Writing is allowed until the slot is published, reading always.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.generation.data.payload(self.slot)
    }

    /// Bytes of the slot.
    pub fn capacity(&self) -> usize {
        self.generation.data.slot_bytes
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    /// Returns true if readers may hold the slot. Changed by the publisher only, which is borrowed for it.
    pub(super) fn was_published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }

    pub(super) fn set_published(&self) {
        self.published.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_of(&self, generation: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.generation, generation)
    }

    /// Copies the first bytes of the slot.
    pub(super) fn copy_to(&self, bytes: &mut [u8]) {
        let len = bytes.len().min(self.capacity());
        #[expect(unsafe_code, reason = "the loan is the proof that no code writes; see the SAFETY comment")]
        // SAFETY: the source is a mapped slot of at least `len` bytes that only the owner of the loan may
        // write to, and the owner calls `publish_owned`, from which on no code may. The destination is
        // another slot.
        unsafe {
            std::ptr::copy_nonoverlapping(self.as_ptr().as_ptr(), bytes.as_mut_ptr(), len);
        }
    }
}

impl Drop for OwnedLoan {
    fn drop(&mut self) {
        // Release: what the owner wrote and read comes before the next claim (`Slots::oldest_after`).
        self.generation.owned[self.slot].store(false, Ordering::Release);
    }
}
