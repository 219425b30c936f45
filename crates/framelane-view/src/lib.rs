//! Channels for people to look at: a window, and what matches boxes to the frames in which they were found.
//!
//! [`BoxSource`] receives the boxes of a channel, [`Hold`] keeps frames for a short time until their boxes
//! arrive. `view` shows channels in a window of X11 or Wayland, without a GPU. It is part of the feature
//! `window`, which is on by default.

mod boxes;
mod hold;

#[cfg(feature = "window")]
mod canvas;
#[cfg(feature = "window")]
mod channel;
#[cfg(feature = "window")]
mod event;
#[cfg(feature = "window")]
mod geometry;
#[cfg(feature = "window")]
mod image;
#[cfg(feature = "window")]
mod keys;
#[cfg(feature = "window")]
mod meter;
#[cfg(feature = "window")]
mod options;
#[cfg(feature = "window")]
mod overlay;
#[cfg(feature = "window")]
mod samples;
#[cfg(feature = "window")]
mod snapshot;
#[cfg(feature = "window")]
mod tile;
#[cfg(feature = "window")]
mod window;

pub use boxes::BoxSource;
#[cfg(feature = "window")]
pub use event::{Latency, ViewEvent, ViewSummary};
pub use hold::Hold;
#[cfg(feature = "window")]
pub use options::{BoxMode, ViewOptions};
#[cfg(feature = "window")]
pub use window::view;
