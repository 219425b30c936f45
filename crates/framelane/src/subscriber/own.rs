//! Frames as copies in memory of this process, which may be written to.

use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers kept for the next frames. More than that are frames that the program kept for a while.
const KEPT: usize = 2;

/// Memory that frames are copied to, used again: fresh memory costs a page fault for each page.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A copy of `bytes`; `intact` is true if they were whole.
    pub(super) fn copy(&self, bytes: &[u8], is_intact: impl FnOnce() -> bool) -> Own {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let start = AtomicPtr::new(buffer.as_mut_ptr());
        Own { start, buffer, is_intact: is_intact(), pool: self.clone() }
    }
}

/// The copy of one frame.
pub(super) struct Own {
    /// Never reallocated.
    buffer: Vec<u8>,
    start: AtomicPtr<u8>,
    /// True if the frame was whole when it had been copied.
    pub is_intact: bool,
    pool: Pool,
}

impl Own {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.load(Relaxed)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut kept = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}
