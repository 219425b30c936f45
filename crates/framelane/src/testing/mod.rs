//! Internals for the crate's tests: built only with `--cfg framelane_testing`, never by a user.

mod parsers;
mod steps;

pub use parsers::{batch, channel, descriptor, name};
pub(crate) use steps::step;
pub use steps::{Step, kill_at, stop_at};
