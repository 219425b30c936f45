//! What the crate's own tests reach inside it for: built only with `--cfg framelane_testing`, never by a user.

mod steps;

pub(crate) use steps::step;
pub use steps::{Step, kill_at, stop_at};
