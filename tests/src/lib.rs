//! Tests across processes and languages: what the tests in `tests/` and the programs they start share.

mod camera;
mod hosts;
pub mod language;
pub mod links;
mod pattern;
mod process;
mod random;
mod samples;
mod tmpfs;

pub use camera::Camera;
pub use hosts::{Counts, Host, Hosts, Wire};
pub use pattern::{LARGEST_FRAME, Pattern, SMALLEST_FRAME};
pub use process::{Child, Place, python, wait_until};
pub use random::Random;
pub use samples::Samples;
pub use tmpfs::on_small_tmpfs;
