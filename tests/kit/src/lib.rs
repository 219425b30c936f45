//! Directories, processes, deadlines and skips for the tests of all crates.
//!
//! The kit depends on no framelane crate, so that the core's tests can use it too.

mod deadline;
mod events;
mod limit;
mod place;
mod running;
mod skip;

pub use deadline::{Deadline, deadline, wait_until};
pub use events::{Collector, Events};
pub use limit::Limit;
pub use place::{Place, files_in, program};
pub use running::{Running, finish_all};
pub use skip::skip;
