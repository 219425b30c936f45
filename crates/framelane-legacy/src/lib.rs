//! The formats of older programs: `spec/legacy.md`.
//!
//! [`memory`] is one frame in a named mapping, without a lock. Files are read and written with plain system calls, which
//! copy at the speed of memory: nothing is mapped, so nothing that another program does to the file can end this one.
#![forbid(unsafe_code)]

pub mod memory;
