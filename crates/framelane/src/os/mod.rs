//! System calls: one file a system, nothing above names one.

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod system;

pub(crate) use system::*;
