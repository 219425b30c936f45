//! Channels that clients send to: the sender of each, and its remains after a lost connection.
//!
//! A client whose connection has broken connects again, often before the server has noticed. So a new
//! connection of the same client ends the old one and takes its publisher. The publisher is kept for a while
//! without a connection, and its subscribers stay attached.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Origin, Publisher, PublisherOptions};

use crate::budget::{Budget, Share};
use crate::fault::{Ended, Fault};
use crate::link::incoming::ReceiveStatistics;
use crate::origins::{MOST_OWNERS, Origins};
use crate::transport::Transport;

/// Time limit for the end of a client's old connection.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Part of that in which the old connection can send its client the reason. A client without the reason would
/// connect again, and end this connection in turn.
const TELL: Duration = Duration::from_secs(1);

pub(super) struct HeldChannels {
    reconnect_grace: Duration,
    /// Channels that one owner may leave behind; all owners together may leave `most_in_all`.
    most_of_one: usize,
    most_in_all: usize,
    memory: Arc<Budget>,
    channels: Mutex<HashMap<String, State>>,
    /// Notified when a connection has returned its channel.
    returned: Condvar,
}

enum State {
    Busy { owner: String, replaced: Arc<Ended>, stream: Arc<dyn Transport> },
    Idle { owner: String, held: Box<HeldChannel>, since: Instant },
}

/// A channel that a client sends to, with the state that outlives its connection.
pub(super) struct HeldChannel {
    pub(super) publisher: Publisher,
    pub(super) received: ReceiveStatistics,
    /// Shared memory of the channel.
    pub(super) ring: Share,
    /// The epochs that clients have used.
    pub(super) origins: Origins,
    /// The newest frame that a dead process left. Its client is unknown.
    inherited: Option<Origin>,
    /// The newest frames of other owners. A number that an owner invents does not affect the frames of
    /// another.
    others: Vec<(String, Option<Origin>)>,
}

impl HeldChannel {
    /// Returns whether a frame was published, by this process or by the one before it.
    fn has_frames(&self) -> bool {
        self.received.frames > 0 || self.publisher.inherited().is_some()
    }

    /// Returns true if the last frame now belongs to a dead process. Only a client that knows its epoch may
    /// learn its number.
    pub(super) fn inherit(&mut self, newest_of_client: Option<Origin>) -> bool {
        let known_epoch = newest_of_client.map(|newest| newest.epoch);
        if self.received.last.is_none() && self.inherited.map(|last| last.epoch) == known_epoch {
            self.received.last = self.inherited.take();
        } else {
            return false;
        }
        self.received.last.is_some()
    }

    /// Goes from one owner to another, whose memory is counted for `account`.
    fn hand_over(&mut self, from: &str, to: &str, account: &str) -> Result<(), Fault> {
        if from == to {
            return Ok(());
        }
        self.ring.hand_over(account).map_err(crate::budget::Exceeded::into_fault)?;
        let at = self.others.iter().position(|(owner, _)| owner == to);
        let next = at.and_then(|at| self.others.remove(at).1);
        if self.others.len() == MOST_OWNERS {
            self.others.remove(0);
        }
        self.others.push((from.to_owned(), std::mem::replace(&mut self.received.last, next)));
        self.origins.hand_over(from, to);
        // The frames of another client are those of another publisher.
        self.received.life = None;
        self.publisher.end_life();
        Ok(())
    }
}

/// A connection that a newer one of the same client can end.
pub(super) struct Claim<'i> {
    held_channels: &'i HeldChannels,
    channel: String,
    owner: String,
    /// `None` only while it is being given back.
    held: Option<Box<HeldChannel>>,
    pub(super) replaced: Arc<Ended>,
    /// True if the channel stays, so that the client can continue it.
    pub(super) stays: bool,
}

impl HeldChannels {
    /// Channels stay for `reconnect_grace`; of one owner so many, and so many in all.
    pub(super) fn new(
        reconnect_grace: Duration,
        most_of_one: usize,
        most_in_all: usize,
        memory: Arc<Budget>,
    ) -> Self {
        let (channels, returned) = (Mutex::default(), Condvar::new());
        HeldChannels { reconnect_grace, most_of_one, most_in_all, memory, channels, returned }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel's publisher, for `owner`, made with `options` if there is none. Its memory is counted for
    /// `account`.
    ///
    /// # Errors
    /// [`ErrorKind::ChannelBusy`] when another client sends to the channel, and the limit that the memory of
    /// its channel exceeds; else as [`PublisherOptions::create`].
    pub(super) fn claim(
        &self,
        channel: &str,
        (owner, account): (&str, &str),
        stream: &Arc<dyn Transport>,
        options: &PublisherOptions,
    ) -> Result<Claim<'_>, Fault> {
        let begun = Instant::now();
        let mut channels = self.channels();
        let held = loop {
            match channels.entry(channel.to_owned()) {
                Entry::Vacant(_) => {
                    let mut publisher = options.create(channel).map_err(private)?;
                    let mut ring = self.memory.share_of(account);
                    if ring.set(publisher.ring_bytes()).is_err() {
                        // The ring of a dead process is above the limits. It is removed with its publisher.
                        drop(publisher);
                        publisher = options.create(channel).map_err(private)?;
                    }
                    break Box::new(HeldChannel {
                        origins: Origins::new(publisher.epoch()),
                        inherited: publisher.inherited(),
                        ring,
                        publisher,
                        received: ReceiveStatistics::default(),
                        others: Vec::new(),
                    });
                }
                Entry::Occupied(entry) => match entry.get() {
                    State::Idle { .. } => {
                        let State::Idle { owner: before, mut held, since } = entry.remove() else {
                            unreachable!("just looked at")
                        };
                        if let Err(fault) = held.hand_over(&before, owner, account) {
                            let idle = State::Idle { owner: before, held, since };
                            channels.insert(channel.to_owned(), idle);
                            return Err(fault);
                        }
                        break held;
                    }
                    State::Busy { owner: other, .. } if other != owner => {
                        return Err(private(
                            Error::new(
                                ErrorKind::ChannelBusy,
                                format!("another client, {other}, sends to channel {channel}"),
                            )
                            .with_hint("end that one, or send to a channel of another name"),
                        ));
                    }
                    State::Busy { replaced, stream, .. } => {
                        replaced.set();
                        if begun.elapsed() >= TELL {
                            stream.shut();
                        }
                    }
                },
            }
            let left = HAND_OVER.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(private(Error::new(
                    ErrorKind::ChannelBusy,
                    "an older connection of this client has not ended",
                )));
            }
            channels = self
                .returned
                .wait_timeout(channels, left.min(TELL))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        };
        let replaced = Arc::new(Ended::default());
        let state =
            State::Busy { owner: owner.to_owned(), replaced: replaced.clone(), stream: stream.clone() };
        channels.insert(channel.to_owned(), state);
        let (channel, owner) = (channel.to_owned(), owner.to_owned());
        Ok(Claim { held_channels: self, channel, owner, held: Some(held), replaced, stays: true })
    }

    /// Closes channels whose client has been away for too long.
    pub(super) fn expire(&self, now: Instant) {
        self.channels().retain(|_, state| match state {
            State::Idle { since, .. } => now.duration_since(*since) < self.reconnect_grace,
            State::Busy { .. } => true,
        });
    }
}

impl Claim<'_> {
    pub(super) fn held(&mut self) -> &mut HeldChannel {
        self.held.as_mut().expect("given back only when this is dropped")
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut channels = self.held_channels.channels();
        channels.remove(&self.channel);
        if let Some(held) = self.held.take()
            && self.stays
            && held.has_frames()
        {
            make_room(&mut channels, Some(&self.owner), self.held_channels.most_of_one);
            make_room(&mut channels, None, self.held_channels.most_in_all);
            let idle = State::Idle { owner: self.owner.clone(), held, since: Instant::now() };
            channels.insert(self.channel.clone(), idle);
        }
        drop(channels);
        self.held_channels.returned.notify_all();
    }
}

fn private(error: Error) -> Fault {
    let try_again = error.kind() == ErrorKind::ChannelBusy;
    Fault::private(error, try_again)
}

/// Closes the oldest channel without a connection, of this owner or of any, when their number has reached the
/// limit. Otherwise a client that sends to one channel after the other would make a server keep them all.
fn make_room(channels: &mut HashMap<String, State>, of: Option<&str>, most: usize) {
    let left = channels.iter().filter_map(|(channel, state)| match state {
        State::Idle { owner, since, .. } if of.is_none_or(|of| of == owner) => Some((*since, channel)),
        _ => None,
    });
    let mut left: Vec<_> = left.collect();
    if left.len() >= most {
        left.sort();
        let first = left[0].1.clone();
        channels.remove(&first);
    }
}
