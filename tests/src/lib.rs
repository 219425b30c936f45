//! Tests across processes and languages: what the tests in `tests/` and the programs they start share.
#![allow(missing_debug_implementations, reason = "parts of tests")]

#[cfg(feature = "links")]
mod camera;
mod channels;
#[cfg(feature = "links")]
mod hosts;
#[cfg(feature = "links")]
pub mod language;
#[cfg(feature = "links")]
pub mod links;
mod pattern;
mod random;
#[cfg(feature = "links")]
mod samples;
#[cfg(target_os = "linux")]
mod tmpfs;

#[cfg(feature = "links")]
pub use camera::Camera;
pub use channels::{Channels, python};
pub use framelane_test_kit::{Memory, Place, Running, finish_all, remove_file, skip, wait_until};
#[cfg(feature = "links")]
pub use hosts::{Counts, Host, Hosts, Wire};
pub use pattern::{LARGEST_FRAME, Pattern, SMALLEST_FRAME};
pub use random::Random;
#[cfg(feature = "links")]
pub use samples::Samples;
#[cfg(target_os = "linux")]
pub use tmpfs::on_small_tmpfs;
