//! Channels that clients send to: who sends to each, and what stays of it when a connection is lost.
//!
//! A client whose connection has broken comes again, often before the server has noticed: so a new connection of the same
//! client ends the old one and takes its publisher. The publisher is kept for a while without a connection, and its
//! subscribers stay attached.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Publisher, PublisherOptions};

use crate::channel_io::Ended;
use crate::incoming::Received;
use crate::stream::Stream;

/// How long the old connection of a client may take to end.
const HAND_OVER: Duration = Duration::from_secs(5);

pub(super) struct Inboxes {
    linger: Duration,
    channels: Mutex<HashMap<String, State>>,
    /// Told when a publisher has come back.
    returned: Condvar,
}

enum State {
    Busy { owner: String, replaced: Arc<Ended>, stream: Arc<dyn Stream> },
    Idle { inbox: Box<Inbox>, since: Instant },
}

/// What a connection has while it sends.
pub(super) struct Inbox {
    pub(super) publisher: Publisher,
    pub(super) received: Received,
}

/// A connection that a newer one of the same client can end.
pub(super) struct Claim<'i> {
    inboxes: &'i Inboxes,
    channel: String,
    /// `None` only while it is being given back.
    inbox: Option<Box<Inbox>>,
    pub(super) replaced: Arc<Ended>,
    /// Whether the channel stays, for the client to come again.
    pub(super) stays: bool,
}

impl Inboxes {
    pub(super) fn new(linger: Duration) -> Self {
        Inboxes { linger, channels: Mutex::default(), returned: Condvar::new() }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel's publisher, for `owner`, made with `options` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::ChannelBusy`] when another client sends to the channel; else as [`PublisherOptions::create`].
    pub(super) fn claim(
        &self,
        channel: &str,
        owner: &str,
        stream: &Arc<dyn Stream>,
        options: &PublisherOptions,
    ) -> Result<Claim<'_>, Error> {
        let deadline = Instant::now() + HAND_OVER;
        let mut channels = self.channels();
        let inbox = loop {
            match channels.entry(channel.to_owned()) {
                Entry::Vacant(_) => {
                    let publisher = options.create(channel)?;
                    let received = Received { last: publisher.inherited(), ..Received::default() };
                    break Box::new(Inbox { publisher, received });
                }
                Entry::Occupied(entry) => match entry.get() {
                    State::Idle { .. } => {
                        let State::Idle { inbox, .. } = entry.remove() else {
                            unreachable!("just looked at")
                        };
                        break inbox;
                    }
                    State::Busy { owner: other, .. } if other != owner => {
                        return Err(Error::new(
                            ErrorKind::ChannelBusy,
                            format!("another client, {other}, sends to channel {channel}"),
                        )
                        .with_remedy("end that one, or send to a channel of another name"));
                    }
                    State::Busy { replaced, stream, .. } => {
                        replaced.set();
                        stream.shut();
                    }
                },
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::ChannelBusy,
                    "an older connection of this client has not ended",
                ));
            }
            channels = self.returned.wait_timeout(channels, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        let replaced = Arc::new(Ended::default());
        let state =
            State::Busy { owner: owner.to_owned(), replaced: replaced.clone(), stream: stream.clone() };
        channels.insert(channel.to_owned(), state);
        Ok(Claim { inboxes: self, channel: channel.to_owned(), inbox: Some(inbox), replaced, stays: true })
    }

    /// Closes channels whose client has been away for too long.
    pub(super) fn expire(&self, now: Instant) {
        self.channels().retain(|_, state| match state {
            State::Idle { since, .. } => now.duration_since(*since) < self.linger,
            State::Busy { .. } => true,
        });
    }
}

impl Claim<'_> {
    pub(super) fn inbox(&mut self) -> &mut Inbox {
        self.inbox.as_mut().expect("given back only when this is dropped")
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut channels = self.inboxes.channels();
        channels.remove(&self.channel);
        if let Some(inbox) = self.inbox.take()
            && self.stays
        {
            channels.insert(self.channel.clone(), State::Idle { inbox, since: Instant::now() });
        }
        drop(channels);
        self.inboxes.returned.notify_all();
    }
}
