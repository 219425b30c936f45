//! The state of a publisher's link and source, next to its frames.

use super::Publisher;
use crate::link::{self, LinkStatus};
use crate::ring::{self, Ordering::Relaxed};
use crate::source::{self, SourceStatus};

impl Publisher {
    /// Publishes the state of the source of this channel, next to its frames. Makes no system call but for
    /// the clock.
    pub fn set_source(&mut self, source: &SourceStatus) {
        source::write(self.source_words(), source);
    }

    /// Says how the link is that feeds this channel. Makes no system call.
    pub fn set_link(&mut self, link: &LinkStatus) {
        link::write(self.control_words(), link);
    }

    /// Marks the frames so far as those of a previous publisher. Subscribers that open the channel later
    /// start with the next frame.
    ///
    /// For links, when the publisher on the other machine ended or was replaced. Does nothing in a forked
    /// child.
    pub fn end_life(&mut self) {
        if self.is_forked() {
            return;
        }
        let control = self.control_words();
        // Relaxed: a subscriber that opens the channel meanwhile may begin before or after.
        control.epoch_after.store(ring::newest(control).0, Relaxed);
    }
}
