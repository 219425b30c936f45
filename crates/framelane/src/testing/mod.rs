//! Internals for the crate's tests: built only with `--cfg framelane_testing`, never by a user.

/// Writes the files of channels, which are memory on Unix only.
#[cfg(unix)]
mod parsers;
mod steps;

#[cfg(unix)]
pub use parsers::{batch, channel, descriptor, name};
pub(crate) use steps::step;
pub use steps::{Step, kill_at, stop_at};
