//! Whose epochs are whose: what a server publishes for the epoch that a client's frame names.
//!
//! An epoch belongs to the first client that uses it on a channel, and is published as it is. For every
//! other client the server publishes another epoch in its place. So no client can publish a frame under the
//! number of another client's frame.

use std::collections::VecDeque;

use framelane::Origin;

use crate::time::realtime_ns;

/// Owners of one channel whose epochs are remembered.
pub(crate) const MOST_OWNERS: usize = 64;
/// Epochs of one owner that are remembered.
const MOST_EPOCHS: usize = 64;

/// The epochs of one channel.
#[derive(Debug)]
pub(crate) struct Origins {
    /// The epoch of the channel itself, which is the server's.
    channel_epoch: u64,
    own: Epochs,
    others: VecDeque<(String, Epochs)>,
}

#[derive(Debug, Default)]
struct Epochs(VecDeque<Epoch>);

#[derive(Clone, Copy, Debug)]
struct Epoch {
    named: u64,
    published: u64,
}

impl Origins {
    pub(crate) fn new(channel_epoch: u64) -> Self {
        Origins { channel_epoch, own: Epochs::default(), others: VecDeque::new() }
    }

    /// The next frames are those of `to`.
    pub(crate) fn hand_over(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        if self.others.len() == MOST_OWNERS {
            self.others.pop_front();
        }
        self.others.push_back((from.to_owned(), std::mem::take(&mut self.own)));
        if let Some(at) = self.others.iter().position(|(owner, _)| owner == to) {
            self.own = self.others.remove(at).map(|(_, epochs)| epochs).unwrap_or_default();
        }
    }

    /// Returns the origin to publish for a frame of the present owner.
    pub(crate) fn published(&mut self, origin: Origin) -> Origin {
        // 0 stands for the channel itself: the frame gets the channel's number.
        if origin.epoch == 0 {
            return origin;
        }
        let known = self.own.0.iter().find(|epoch| epoch.named == origin.epoch);
        let epoch = known.copied().unwrap_or_else(|| self.add(origin.epoch));
        Origin { epoch: epoch.published, ..origin }
    }

    fn add(&mut self, named: u64) -> Epoch {
        let mut published = named;
        if self.is_taken(named) {
            // Epochs are times, so that those of publishers differ.
            published = realtime_ns();
            while self.is_taken(published) || self.own.publishes(published) {
                published += 1;
            }
        }
        if self.own.0.len() == MOST_EPOCHS {
            self.own.0.pop_front();
        }
        let epoch = Epoch { named, published };
        self.own.0.push_back(epoch);
        epoch
    }

    /// Returns whether another client or the server uses the epoch.
    fn is_taken(&self, epoch: u64) -> bool {
        epoch == self.channel_epoch || self.others.iter().any(|(_, epochs)| epochs.publishes(epoch))
    }
}

impl Epochs {
    fn publishes(&self, epoch: u64) -> bool {
        self.0.iter().any(|known| known.published == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(epoch: u64) -> Origin {
        Origin { epoch, sequence: 3 }
    }

    #[test]
    fn epoch_belongs_to_the_first_client_that_uses_it() {
        let mut origins = Origins::new(9);
        assert_eq!(origins.published(origin(7)), origin(7));
        origins.hand_over("alice", "bob");
        let other = origins.published(origin(7));
        assert!(![7, 9].contains(&other.epoch), "{other:?}");
        assert_eq!(other.sequence, 3);
        assert_eq!(origins.published(origin(7)), other);
        assert_eq!(origins.published(origin(8)), origin(8));
        origins.hand_over("bob", "alice");
        assert_eq!(origins.published(origin(7)), origin(7));
        // The server's epoch for another client.
        assert_ne!(origins.published(other), other);
        origins.hand_over("alice", "bob");
        assert_eq!(origins.published(origin(7)), other);
    }

    #[test]
    fn epoch_of_the_channel_belongs_to_no_client() {
        let mut origins = Origins::new(9);
        assert_ne!(origins.published(origin(9)).epoch, 9);
        assert_eq!(origins.published(origin(0)), origin(0));
    }

    #[test]
    fn invented_epochs_displace_only_those_of_their_client() {
        let mut origins = Origins::new(9);
        assert_eq!(origins.published(origin(7)), origin(7));
        origins.hand_over("alice", "bob");
        for epoch in 100..400 {
            origins.published(origin(epoch));
        }
        assert_eq!(origins.own.0.len(), MOST_EPOCHS);
        assert_ne!(origins.published(origin(7)).epoch, 7);
    }
}
