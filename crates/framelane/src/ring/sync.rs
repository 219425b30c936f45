//! The atomics: the machine's, or the model checker's.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// One turn of waiting for another core.
pub(crate) fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// An acquire load made of a relaxed load and a fence.
///
/// Readers map `control` and `data` read-only. A relaxed load of at most pointer size is the only atomic
/// access that Rust guarantees not to write, see "Atomic accesses to read-only memory" in `std::sync::atomic`.
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// As [`load_acquire`], of a 32-bit word.
pub(crate) fn load_acquire_u32(word: &AtomicU32) -> u32 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}
