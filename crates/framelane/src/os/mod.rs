//! System calls: one folder a system, nothing above names one.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;

pub use system::fork_count;
pub(crate) use system::*;
