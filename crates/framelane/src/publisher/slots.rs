//! The publisher's own account of one generation of slots: shared memory is never asked what it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::directory::Directory;
use crate::error::Error;
use crate::files::{Adopted, AdoptedState, DataFile};
use crate::os::Place;
use crate::ring::{self, Readers};

/// A data file, shared with its owned loans.
pub(crate) struct Generation {
    pub data: DataFile,
    /// True if an [`OwnedLoan`](super::OwnedLoan) exists for the slot. Set by the publisher, cleared by its
    /// drop.
    pub owned: Box<[AtomicBool]>,
}

/// A ring that was taken over and is smaller than this is never too large.
const SMALL_RING_BYTES: usize = 1 << 20;
/// A version that is not a sequence: the slot's memory was returned to the file system.
const RELEASED: u64 = u64::MAX;

/// One generation of slots.
pub(super) struct Slots {
    generation: Arc<Generation>,
    /// The sequence in each slot, 0 when there is none.
    versions: Box<[u64]>,
    newest: Option<usize>,
    /// True if a dead publisher has made it, and the present one has not published in it.
    adopted: bool,
    /// True if it takes no more frames.
    retired: bool,
}

impl Slots {
    pub(super) fn create(
        directory: &Directory,
        channel: &str,
        permissions: u32,
        ids: (u64, u64, u64),
        count: usize,
        frame_bytes: usize,
    ) -> Result<Self, Error> {
        let data = DataFile::create(directory, channel, permissions, ids, count, frame_bytes)?;
        Ok(Self::new(data, vec![0; count].into()))
    }

    /// Continues the ring of a dead publisher, which had `head` announced and `given` as its last number.
    ///
    /// Frames do not change: readers may hold them. The ring's content is not trusted.
    pub(super) fn adopt(Adopted { data, state }: Adopted, head: (u64, usize), given: u64) -> Self {
        let settled = data.entries().map(|entry| {
            let found = entry.version.load(Ordering::Acquire);
            let frame = Some(ring::frame_of(found)).filter(|&frame| frame <= given).unwrap_or(0);
            if frame != found {
                // Release: as in a claim that is taken back. No reader can lease a slot without a frame.
                entry.version.store(frame, Ordering::Release);
            }
            frame
        });
        let versions: Box<[u64]> = settled.collect();
        let newest = Some(head.1).filter(|&slot| head.0 != 0 && versions.get(slot) == Some(&head.0));
        Slots { newest, adopted: true, retired: state != AdoptedState::Usable, ..Self::new(data, versions) }
    }

    fn new(data: DataFile, versions: Box<[u64]>) -> Self {
        let owned = versions.iter().map(|_| AtomicBool::new(false)).collect();
        let generation = Arc::new(Generation { data, owned });
        Slots { generation, versions, newest: None, adopted: false, retired: false }
    }

    /// Returns true if the ring takes frames of `frame_bytes`, and is as its publisher wants it.
    pub(super) fn fits(&self, count: usize, frame_bytes: usize) -> bool {
        let bytes = self.slot_bytes();
        let wasteful = self.adopted && self.ring_bytes() > SMALL_RING_BYTES && bytes / 2 > frame_bytes;
        bytes >= frame_bytes && self.versions.len() == count && !wasteful && !self.retired && !self.is_lost()
    }

    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(super) fn slot_bytes(&self) -> usize {
        self.generation.data.slot_bytes
    }

    /// Room of all slots.
    pub(super) fn ring_bytes(&self) -> usize {
        self.slot_bytes() * self.versions.len()
    }

    /// Returns true if the file was cut short under the slots.
    pub(super) fn is_lost(&self) -> bool {
        self.generation.data.is_lost()
    }

    pub(super) fn any_owned(&self) -> bool {
        self.generation.owned.iter().any(|owned| owned.load(Ordering::Relaxed))
    }

    pub(super) fn published(&mut self, slot: usize, sequence: u64) {
        self.versions[slot] = sequence;
        self.newest = Some(slot);
        self.adopted = false;
    }

    /// Takes no more frames.
    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    /// Returns the memory of all unleased slots to the file system; of the newest too, if `newest`.
    ///
    /// The ring takes no more frames. Leases stay valid.
    pub(super) fn release(&mut self, path: &Place, readers: &Readers, newest: bool) -> Result<(), Error> {
        self.retire();
        if newest {
            self.newest = None;
        }
        while let Ok(slot) = self.claim(readers, None) {
            self.versions[slot] = RELEASED;
        }
        let released = self.versions.iter().enumerate().filter(|&(_, &version)| version == RELEASED);
        self.generation.data.release(path, released.map(|(slot, _)| slot))
    }

    /// Claims the oldest unleased slot. Otherwise returns the readers that block a slot, a bit for each.
    ///
    /// `lossless`, with the newest announced sequence: a frame that a reader with delivery `Every` has not
    /// received blocks its slot too.
    pub(super) fn claim(&mut self, readers: &Readers, lossless: Option<u64>) -> Result<usize, u64> {
        let mut in_the_way = 0;
        let mut last = None;
        while let Some((version, slot)) = self.oldest_after(last) {
            last = Some((version, slot));
            if let Some(announced) = lossless {
                // No reader waits for a frame that a dead publisher did not announce.
                let blocked = ring::blocked(readers, version.min(announced));
                if blocked != 0 {
                    in_the_way |= blocked;
                    continue;
                }
            }
            let data = &self.generation.data;
            let word = &data.entry(slot).expect("a slot of this ring").version;
            match ring::claim(readers, word, version, ring::pin_of(data.generation, slot)) {
                Ok(()) => {
                    self.versions[slot] = 0;
                    return Ok(slot);
                }
                Err(pinned) => in_the_way |= pinned,
            }
        }
        Err(in_the_way)
    }

    /// The candidate that follows `last` in age: neither the newest nor on loan.
    fn oldest_after(&self, last: Option<(u64, usize)>) -> Option<(u64, usize)> {
        self.versions
            .iter()
            .enumerate()
            .map(|(slot, &version)| (version, slot))
            .filter(|&candidate| candidate.0 != RELEASED && last.is_none_or(|last| candidate > last))
            .filter(|&(_, slot)| self.newest != Some(slot))
            // Acquire: pairs with the Release in the drop of `OwnedLoan`; its writes are done.
            .filter(|&(_, slot)| !self.generation.owned[slot].load(Ordering::Acquire))
            .min()
    }
}
