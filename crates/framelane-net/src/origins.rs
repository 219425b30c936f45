//! Epochs of the frames that clients send to one channel of a server.
//!
//! An epoch belongs to the first client that uses it on the channel, and is published unchanged. For other
//! clients the server publishes another epoch in its place. A client cannot publish a frame with the number
//! of another client's frame.

use std::collections::VecDeque;

use framelane::Origin;

use crate::time::realtime_ns;

/// Clients of one channel whose epochs and newest frames are remembered.
pub(crate) const MOST_OWNERS: usize = 64;
/// Epochs of one client that are remembered.
const MOST_EPOCHS: usize = 64;

/// The epochs that clients have used on one channel.
#[derive(Debug)]
pub(crate) struct Origins {
    /// The epoch of the channel itself, which belongs to the server.
    channel_epoch: u64,
    /// Of the client that sends now.
    own: Epochs,
    /// Owners other than the present one. The last one in the list sent last.
    others: VecDeque<(String, Epochs)>,
}

#[derive(Debug, Default)]
struct Epochs(VecDeque<Epoch>);

#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// In the frames of the client.
    named: u64,
    /// In the channel of the server.
    published: u64,
}

impl Origins {
    pub(crate) fn new(channel_epoch: u64) -> Self {
        Origins { channel_epoch, own: Epochs::default(), others: VecDeque::new() }
    }

    /// Hands the channel over from one client to another.
    pub(crate) fn hand_over(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        let at = self.others.iter().position(|(owner, _)| owner == to);
        let next = at.and_then(|at| self.others.remove(at)).map(|(_, epochs)| epochs);
        if self.others.len() == MOST_OWNERS {
            self.others.pop_front();
        }
        self.others.push_back((from.to_owned(), std::mem::replace(&mut self.own, next.unwrap_or_default())));
    }

    /// Returns the origin to publish for a frame of the client that sends now.
    pub(crate) fn published(&mut self, origin: Origin) -> Origin {
        // 0 is the channel itself: the frame gets the channel's number.
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

    /// Returns true if the epoch belongs to another client or to the server.
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
    fn client_that_returns_among_many_keeps_its_epoch() {
        let mut origins = Origins::new(9);
        let forged = origin(7);
        assert_eq!(origins.published(forged), forged);
        // As many others as are remembered, of which the first one returns each time.
        let names: Vec<_> = (0..=MOST_OWNERS).map(|number| number.to_string()).collect();
        for pair in names.windows(2) {
            origins.hand_over(&pair[0], &pair[1]);
        }
        origins.hand_over(&names[MOST_OWNERS], &names[0]);
        assert_eq!(origins.published(forged), forged);
        assert_eq!(origins.others.len(), MOST_OWNERS);
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
