//! System calls: one folder a system, nothing above names one.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;

pub(crate) use system::*;
pub use system::{folder, fork_count};
