//! The atomics: the machine's, or the model checker's.

#[cfg(not(any(loom, framelane_tsan)))]
pub(crate) use core::sync::atomic::fence;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// ThreadSanitizer does not know fences. One word that every fence changes orders all fences, and with them
/// what comes before the one and after the other. That is what fences with [`Ordering::SeqCst`] do where they
/// matter here; but it also orders threads by fences that are not partners, so that a race between those
/// would stay hidden. The models see it.
#[cfg(framelane_tsan)]
pub(crate) fn fence(_: Ordering) {
    static ALL: AtomicU64 = AtomicU64::new(0);
    ALL.fetch_add(1, Ordering::SeqCst);
}

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
/// access that Rust guarantees not to write, see "Atomic accesses to read-only memory" in
/// `std::sync::atomic`.
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    if cfg!(framelane_tsan) {
        return word.load(Ordering::Acquire);
    }
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

/// Loads a 32-bit word, as [`load_acquire`] does a 64-bit one.
pub(crate) fn load_acquire_u32(word: &AtomicU32) -> u32 {
    if cfg!(framelane_tsan) {
        return word.load(Ordering::Acquire);
    }
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}
