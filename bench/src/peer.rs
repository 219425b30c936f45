//! What every peer must do, and nothing more: the scenarios know no other interface.

use crate::scenario::Scenarios;

/// How one run is set up, the same for publisher and readers.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Names the channel; differs from run to run.
    pub channel: String,
    /// Readers of the run.
    pub readers: usize,
    /// How a reader waits.
    pub wait: Wait,
    /// Whether frames come one at a time, whole and with their times; else as fast as they can, stamp only.
    pub paced: bool,
    /// The sizes and limits of the scenario file.
    pub scenarios: Scenarios,
}

/// How a reader waits for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleeps until the publisher wakes it.
    Sleep,
    /// Looks again and again; a peer whose wake-up is a call of its own leaves that call out.
    Poll,
}

/// A way to hand frames from one process to others.
pub trait Peer {
    /// As it stands in the tables.
    fn name(&self) -> &'static str;

    /// The publishing end, made before any reader.
    fn sender(&self, setup: &Setup) -> Box<dyn Sender>;

    /// A reading end, in a process of its own.
    fn receiver(&self, setup: &Setup) -> Box<dyn Receiver>;
}

/// Publishes frames of [`crate::scenario::Frame::bytes`].
pub trait Sender {
    /// Borrows a buffer that the readers will read, has `fill` write it, publishes it and wakes the readers.
    fn publish(&mut self, fill: &mut dyn FnMut(&mut [u8]));
}

/// Takes the newest frame.
pub trait Receiver {
    /// Waits for a frame that has not been seen yet and shows it without a copy.
    fn receive(&mut self, look: &mut dyn FnMut(&[u8]));
}
