//! Going on where a connection was lost.

use std::collections::VecDeque;
use std::time::Duration;

use framelane::{Delivery, Origin, Subscriber, SubscriberOptions};

/// The most slots that a ring can have.
const MOST_SLOTS: usize = 128;

/// Returns the newest frame of a channel that the peer has; `None` when it has no part of the channel. (It
/// may have no frame of an epoch yet.)
pub(crate) fn known((epoch, sequence): (u64, u64)) -> Option<Origin> {
    (epoch != 0).then_some(Origin { epoch, sequence })
}

/// A subscriber that is kept from one connection to the next, with the newest frames that were sent: their
/// origin, and their number in the channel.
pub(crate) struct Kept {
    pub(crate) subscriber: Subscriber,
    sent: VecDeque<(Origin, u64)>,
    /// The frame whose sending has begun last.
    begun: Option<u64>,
}

impl Kept {
    pub(crate) fn new(subscriber: Subscriber) -> Self {
        Kept { subscriber, sent: VecDeque::new(), begun: None }
    }

    /// Before a frame is sent.
    pub(crate) fn begin(&mut self, local_sequence: u64) {
        self.begun = Some(local_sequence);
    }

    /// Returns the local sequence of the last frame whose sending has begun, or 0.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.unwrap_or(0)
    }

    /// Returns the last frame that was sent, or none of the channel's epoch.
    pub(crate) fn last(&self) -> Origin {
        let nothing_yet = Origin { epoch: self.subscriber.epoch(), sequence: 0 };
        self.sent.back().map_or(nothing_yet, |(origin, _)| *origin)
    }

    /// When all of a frame was sent.
    pub(crate) fn note(&mut self, origin: Origin) {
        let Some(sequence) = self.begun else { return };
        if self.sent.len() == MOST_SLOTS {
            self.sent.pop_front();
        }
        self.sent.push_back((origin, sequence));
    }

    /// The connection is lost: until the arrived frames are known, a publisher that waits keeps all others.
    pub(crate) fn hold(&mut self) {
        let oldest = self.sent.front().map(|(_, sequence)| *sequence).or(self.begun);
        if let (Delivery::Every, Some(oldest)) = (self.subscriber.delivery(), oldest) {
            self.subscriber.rewind(oldest - 1);
        }
    }

    /// Goes back to the frames that were lost with a connection: after `last`, the newest frame that the peer
    /// has. Returns the number of sent frames that have not arrived; it is unknown for a server that does not
    /// know the channel.
    pub(crate) fn go_back(&mut self, options: &SubscriberOptions, last: Option<Origin>) -> u64 {
        let arrived = last.and_then(|last| self.sent.iter().rposition(|(origin, _)| *origin == last));
        if self.subscriber.delivery() == Delivery::Newest {
            // The newest one once more, if it is still the newest; its arrival is checked when the subscriber
            // receives it again.
            if let Some(newest) = self.begun {
                self.subscriber.rewind(newest - 1);
            }
        } else if let Some(at) = arrived {
            self.subscriber.rewind(self.sent[at].1);
        } else if let Some(last) = last {
            let position = behind(options, self.subscriber.channel(), last);
            if let Some(here) = position.filter(|here| here.epoch == self.subscriber.epoch()) {
                self.subscriber.rewind(here.sequence);
            }
        } else if let Some((_, newest)) = self.sent.back() {
            // The peer has restarted the channel.
            self.subscriber.rewind(*newest);
        }
        let Some(at) = arrived else { return 0 };
        let lost = self.sent.len() - (at + 1);
        self.sent.truncate(at + 1);
        lost as u64
    }
}

/// Returns whether the channel may have had the frame `last`, which the peer claims to have. Another sender,
/// or the peer itself, may have made its number up. A claim that cannot be checked is believed.
pub(crate) fn may_be(options: &SubscriberOptions, channel: &str, last: Origin) -> bool {
    let newest = options
        .clone()
        .delivery(Delivery::Newest)
        .after(None)
        .open_timeout(Some(Duration::ZERO))
        .open(channel);
    let newest = newest.ok().and_then(|mut newest| newest.recv_timeout(Duration::ZERO).ok());
    newest.is_none_or(|newest| {
        let newest = newest.origin();
        newest.epoch != last.epoch || last.sequence <= newest.sequence
    })
}

/// Returns the position to continue from: after `last`, the frame that the peer already has. `None` when the
/// channel is empty.
///
/// In a channel that is itself fed by a link, frames have other numbers than those of their first publisher,
/// so the ring is searched for the frame. If the ring no longer has it, all frames in the ring are later.
pub(crate) fn behind(options: &SubscriberOptions, channel: &str, last: Origin) -> Option<Origin> {
    let open = |after: Origin| {
        options.clone().open_timeout(Some(Duration::ZERO)).after(Some(after)).open(channel).ok()
    };
    let epoch = open(last)?.epoch();
    if epoch == last.epoch {
        return Some(last);
    }
    let mut all = open(Origin { epoch, sequence: 0 })?;
    let mut before_all = None;
    for _ in 0..MOST_SLOTS {
        let Ok(frame) = all.recv_timeout(Duration::ZERO) else { break };
        // Of the present epoch, also a frame of a publisher that has died: that is where numbers are looked
        // for.
        let here = Origin { epoch, sequence: frame.local_sequence() };
        if frame.origin() == last {
            return Some(here);
        }
        before_all.get_or_insert(Origin { sequence: here.sequence - 1, ..here });
    }
    before_all
}

#[cfg(test)]
mod tests {
    use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions};

    use super::*;

    #[test]
    fn relay_resumes_after_the_named_frame_or_with_all_frames() {
        let directory = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
        let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
        for sequence in 101..=104 {
            let info = FrameInfo::default().with_origin(Origin { epoch: 7, sequence });
            publisher.send(&layout, &info, &[0]).unwrap();
        }
        let options = SubscriberOptions::new().directory(directory.path()).delivery(Delivery::Every);
        let epoch = publisher.epoch();
        let behind = |last| behind(&options, "cam0", last);
        assert_eq!(behind(Origin { epoch: 7, sequence: 102 }), Some(Origin { epoch, sequence: 2 }));
        assert_eq!(behind(Origin { epoch: 7, sequence: 90 }), Some(Origin { epoch, sequence: 0 }));
        // A connection that broke within the first frame of an epoch: all of it must still be sent.
        let nothing_yet = known((epoch, 0)).unwrap();
        assert_eq!(behind(nothing_yet), Some(nothing_yet));
        assert_eq!(known((0, 0)), None);
        // Its own numbers need no search.
        assert_eq!(behind(Origin { epoch, sequence: 3 }), Some(Origin { epoch, sequence: 3 }));
        publisher.close();
        assert_eq!(behind(Origin { epoch: 7, sequence: 102 }), None);
    }

    #[test]
    fn frames_lost_with_a_connection_are_received_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut publisher =
            PublisherOptions::new().directory(directory.path()).slots(16).create("cam0").unwrap();
        let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
        for (delivery, again) in [(Delivery::Every, 3..=6), (Delivery::Newest, 6..=6)] {
            let options = SubscriberOptions::new().directory(directory.path()).delivery(delivery);
            let mut kept = Kept::new(options.open("cam0").unwrap());
            let first = publisher.sequence() + 1;
            let origin = |number: u64| Origin { epoch: publisher.epoch(), sequence: first - 1 + number };
            let (second, sixth) = (origin(2), origin(6));
            for _ in 0..6 {
                publisher.send(&layout, &FrameInfo::default(), &[0]).unwrap();
                let frame = kept.subscriber.recv().unwrap();
                kept.begin(frame.local_sequence());
                kept.note(frame.origin());
            }
            assert_eq!(kept.go_back(&options, Some(sixth)), 0);
            assert_eq!(kept.go_back(&options, Some(second)), 4);
            for number in again {
                let frame = kept.subscriber.recv_timeout(Duration::ZERO).unwrap();
                assert_eq!(frame.local_sequence(), first - 1 + number);
            }
        }
    }
}
