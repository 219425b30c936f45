//! The formats of older programs: `spec/legacy.md`.
//!
//! [`memory`] is one frame in a named mapping, without a lock. Files are read and written with plain system
//! calls, which copy at the speed of memory: nothing is mapped, so nothing that another program does to the
//! file can end this one.
//!
//! [`socket`] is JPEG frames over TCP, each of which the receiver answers.
#![forbid(unsafe_code)]

pub mod memory;
pub mod socket;

/// Internals for the fuzz targets.
#[cfg(framelane_testing)]
pub mod testing {
    /// Bytes as they might arrive from a sender or a receiver, split as the first byte specifies.
    ///
    /// # Panics
    /// When the split makes a difference.
    pub fn socket(bytes: &[u8]) {
        crate::socket::check(bytes);
    }
}
