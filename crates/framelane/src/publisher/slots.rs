//! The publisher's own account of one generation of slots: shared memory is never asked what it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::directory::Directory;
use crate::error::Error;
use crate::files::DataFile;
use crate::ring::{self, Readers};

/// A data file, shared with the slots held out of it.
pub(crate) struct Generation {
    pub data: DataFile,
    /// Whether a [`HeldSlot`](super::HeldSlot) exists for the slot. Set by the publisher, cleared by its drop.
    pub held: Box<[AtomicBool]>,
}

/// One generation of slots.
pub(super) struct Slots {
    generation: Arc<Generation>,
    /// The sequence in each slot, 0 when there is none.
    versions: Box<[u64]>,
    newest: Option<usize>,
}

impl Slots {
    pub(super) fn create(
        directory: &Directory,
        channel: &str,
        mode: u32,
        ids: (u64, u64, u64),
        count: usize,
        frame_bytes: usize,
    ) -> Result<Self, Error> {
        let data = DataFile::create(directory, channel, mode, ids, count, frame_bytes)?;
        let held = (0..count).map(|_| AtomicBool::new(false)).collect();
        Ok(Slots {
            generation: Arc::new(Generation { data, held }),
            versions: vec![0; count].into(),
            newest: None,
        })
    }

    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    pub(super) fn slot_bytes(&self) -> usize {
        self.generation.data.slot_bytes
    }

    /// Whether the file was cut short under the slots.
    pub(super) fn is_lost(&self) -> bool {
        self.generation.data.is_lost()
    }

    pub(super) fn any_held(&self) -> bool {
        self.generation.held.iter().any(|held| held.load(Ordering::Relaxed))
    }

    pub(super) fn published(&mut self, slot: usize, sequence: u64) {
        self.versions[slot] = sequence;
        self.newest = Some(slot);
    }

    /// Claims the oldest slot that nobody holds; else says which readers stand in the way, a bit for each.
    ///
    /// `lossless`: a frame that a reader in `Every` mode has not received stands in the way too.
    pub(super) fn claim(&mut self, readers: &Readers, lossless: bool) -> Result<usize, u64> {
        let mut in_the_way = 0;
        let mut last = None;
        while let Some((version, slot)) = self.oldest_after(last) {
            last = Some((version, slot));
            if lossless {
                let blocked = ring::blocked(readers, version);
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

    /// The candidate that follows `last` in age: neither the newest nor held.
    fn oldest_after(&self, last: Option<(u64, usize)>) -> Option<(u64, usize)> {
        self.versions
            .iter()
            .enumerate()
            .map(|(slot, &version)| (version, slot))
            .filter(|&candidate| last.is_none_or(|last| candidate > last))
            .filter(|&(_, slot)| self.newest != Some(slot))
            // Acquire: pairs with the Release in the drop of `HeldSlot`; its holder's writes are done.
            .filter(|&(_, slot)| !self.generation.held[slot].load(Ordering::Acquire))
            .min()
    }
}
