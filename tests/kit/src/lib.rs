//! Directories, processes, displays, deadlines and skips for the tests of all crates.
//!
//! The kit depends on no framelane crate, so that the core's tests can use it too.
#![allow(missing_debug_implementations, reason = "parts of tests")]

mod deadline;
mod display;
mod events;
mod kept;
#[cfg_attr(windows, path = "limit_windows.rs")]
mod limit;
#[cfg_attr(windows, path = "memory_windows.rs")]
mod memory;
mod place;
mod running;
mod skip;

pub use deadline::{Deadline, deadline, wait_until};
pub use display::Display;
pub use events::{Collector, Events};
pub use kept::Kept;
pub use limit::Limit;
pub use memory::Memory;
pub use place::{Place, files_in, program, remove_file};
pub use running::{Running, finish_all};
pub use skip::skip;
