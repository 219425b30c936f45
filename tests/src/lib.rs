//! Tests across processes and languages: what the tests in `tests/` and the programs they start share.

mod camera;
mod channels;
mod hosts;
pub mod language;
pub mod links;
mod pattern;
mod random;
mod samples;
mod tmpfs;

pub use camera::Camera;
pub use channels::{Channels, python};
pub use framelane_test_kit::{Place, Running, finish_all, skip, wait_until};
pub use hosts::{Counts, Host, Hosts, Wire};
pub use pattern::{LARGEST_FRAME, Pattern, SMALLEST_FRAME};
pub use random::Random;
pub use samples::Samples;
pub use tmpfs::on_small_tmpfs;
