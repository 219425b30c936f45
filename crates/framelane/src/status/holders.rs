//! Which processes hold the slots of a ring.

use crate::files::ReadersFile;
use crate::os;
use crate::ring::{self, Control, Ordering::Relaxed, READERS};

/// A process that holds slots of a channel's ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotHolder {
    /// The process, as it sees itself.
    pub pid: u32,
    /// The process's name; `None` where the system does not show it.
    pub name: Option<String>,
    /// Slots that it holds.
    pub slots: usize,
}

impl std::fmt::Display for SlotHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        write!(f, " holds {} slot{}", self.slots, if self.slots == 1 { "" } else { "s" })
    }
}

/// Names the holders, as in `process 12 (python3) holds 4 slots, process 13 holds 1 slot`.
pub(crate) fn describe(holders: &[SlotHolder]) -> String {
    holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The live processes that hold slots of the newest ring, those with the most slots first.
///
/// `own` is the record of the caller, whose lock it cannot see.
pub(crate) fn holders(control: &Control, readers: &ReadersFile, own: Option<usize>) -> Vec<SlotHolder> {
    let (words, generation) = (readers.words(), control.generation_now());
    let active = words.active.load(Relaxed);
    let mut found: Vec<SlotHolder> = Vec::new();
    for index in (0..READERS).filter(|index| active >> index & 1 == 1) {
        let record = &words.records[index];
        let pins =
            record.pins.iter().filter(|pin| ring::generation_of(pin.load(Relaxed)) == Some(generation));
        let slots = pins.count();
        let alive = || own == Some(index) || readers.lock.is_locked(index as u64).unwrap_or(false);
        if slots == 0 || !alive() {
            continue;
        }
        let pid = record.pid.load(Relaxed);
        match found.iter_mut().find(|holder| holder.pid == pid) {
            Some(holder) => holder.slots += slots,
            None => found.push(SlotHolder { pid, name: None, slots }),
        }
    }
    for holder in &mut found {
        holder.name = os::process_name(holder.pid, &readers.lock);
    }
    found.sort_by_key(|holder| std::cmp::Reverse(holder.slots));
    found
}

/// Slots that the publisher cannot use because subscribers hold them: the newest one apart, which it keeps
/// anyway.
pub(crate) fn held_slots(control: &Control, readers: &ReadersFile) -> usize {
    let (words, generation) = (readers.words(), control.generation_now());
    let (_, newest) = ring::newest(control);
    let active = words.active.load(Relaxed);
    let records = (0..READERS).filter(|index| active >> index & 1 == 1);
    let pins = records.flat_map(|index| words.records[index].pins.iter().map(|pin| pin.load(Relaxed)));
    let mut slots: Vec<u64> = pins
        .filter(|&pin| {
            ring::generation_of(pin) == Some(generation) && pin != ring::pin_of(generation, newest)
        })
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots.len()
}
