//! The publishers of this process, by their epochs: a pid alone may be that of another container.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 0: free. A publisher that finds no room is not known here, which costs a better error only.
static EPOCHS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];

pub(super) fn add(epoch: u64) {
    let _ = EPOCHS.iter().find(|place| place.compare_exchange(0, epoch, Relaxed, Relaxed).is_ok());
}

pub(super) fn remove(epoch: u64) {
    let _ = EPOCHS.iter().find(|place| place.compare_exchange(epoch, 0, Relaxed, Relaxed).is_ok());
}

pub(super) fn has(epoch: u64) -> bool {
    epoch != 0 && EPOCHS.iter().any(|place| place.load(Relaxed) == epoch)
}
