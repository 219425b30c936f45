//! The interface of peers: scenarios use no other.

use crate::scenario::Scenarios;

/// Setup of one run, the same for publisher and readers.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Names the channel; differs from run to run.
    pub channel: String,
    /// Readers of the run.
    pub readers: usize,
    /// The wait of a reader.
    pub wait: Wait,
    /// True: frames at a fixed rate, whole and with their times. False: as fast as possible, with the stamp
    /// only.
    pub paced: bool,
    /// The sizes and limits of the scenario file.
    pub scenarios: Scenarios,
}

/// The wait of a reader for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleeps until the publisher wakes it.
    Sleep,
    /// Polls. A peer whose wake-up is a separate call skips that call.
    Poll,
}

/// A way to hand frames from one process to others.
pub trait Peer {
    /// The name in the tables.
    fn name(&self) -> &'static str;

    /// The publishing end, made before any reader.
    fn sender(&self, setup: &Setup) -> Box<dyn Sender>;

    /// A reader, in a separate process.
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
