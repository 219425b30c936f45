//! The thread that sends the frames of a channel.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Delivery, ErrorKind, Frame, Origin, RecvError};

use super::link::Link;
use super::{Means, SendStatistics, Terms, lock};
use crate::coder::{Coded, Life};
use crate::fault::Fault;
use crate::link::resume::{self, Kept};
use crate::proto::{ChannelState, Message, Ready};
use crate::transport::END_POLL_INTERVAL;

pub(super) struct Sender<'a, 'l, 'c> {
    pub(super) link: &'a Link<'l>,
    pub(super) sent: SendStatistics,
    pub(super) last: Option<Origin>,
    /// The life of the channel in the last LIFE message.
    pub(super) life: Option<Origin>,
    pub(super) kept: &'a mut Option<Kept>,
    pub(super) means: &'a mut Means<'c>,
    /// Frames that the subscriber will count as dropped, and that were sent or counted.
    pub(super) overcounted: u64,
    /// True if a part of a frame was sent, and not all of it.
    pub(super) in_frame: bool,
}

impl Sender<'_, '_, '_> {
    pub(super) fn go_on(&self) -> Result<(), Fault> {
        self.link.go_on()?;
        (self.link.watch)(&self.sent)
    }

    pub(super) fn run(&mut self) -> Result<(), Fault> {
        let terms = self.link.terms;
        loop {
            self.say(ChannelState::Waiting);
            self.send_unsent()?;
            let mut channel = self.open()?;
            let Terms { channel: name, subscriber, .. } = terms;
            self.last = self.last.filter(|last| resume::may_be(subscriber, name, *last));
            // A connection that breaks here must not take the subscriber along.
            self.sent.live = true;
            self.say(ChannelState::Live);
            let all = self.send_all(&mut channel);
            if all.is_err() || self.has_sent_all() {
                channel.hold();
                *self.kept = Some(channel);
            }
            all?;
            self.sent.live = false;
            if terms.ends_with_channel || self.has_sent_all() {
                return Ok(());
            }
            self.say(ChannelState::Closed);
        }
    }

    /// Reports that the channel is closed, and waits until the peer has received everything sent before.
    pub(super) fn close(&self) -> Result<(), Fault> {
        self.say(ChannelState::Closed);
        self.send_unsent()?;
        // Ending the connection now would discard data in flight: the system answers the credits for it with
        // a reset. The peer confirms when it has everything. The thread that receives pings answers them.
        loop {
            match self.go_on() {
                Ok(()) => {}
                Err(_) if self.link.ended.is_set() => return Ok(()),
                Err(fault) => return Err(fault),
            }
            let source = lock(&self.link.source);
            let _ = self.link.changed.wait_timeout(source, END_POLL_INTERVAL);
        }
    }

    fn say_whether_live(&mut self, live: bool) {
        if std::mem::replace(&mut self.sent.live, live) != live {
            self.say(if live { ChannelState::Live } else { ChannelState::Waiting });
        }
    }

    /// Before the first frame of a life of the channel, and after the last one of the life before.
    fn say_life(&mut self, life: Origin) {
        if self.life.replace(life) != Some(life) {
            self.say_message(&Message::Life(life));
        }
    }

    fn say(&self, state: ChannelState) {
        self.say_message(&Message::State(state));
    }

    /// Queues the message for the next write. Never blocks, since a frame may be leased.
    fn say_message(&self, message: &Message) {
        message.encode(&mut lock(&self.link.unsent));
    }

    /// Sends the unsent bytes. Blocks while the receiver does not read, so no frame may be leased.
    fn send_unsent(&self) -> Result<(), Fault> {
        let mut unsent = lock(&self.link.unsent);
        if !unsent.is_empty() {
            self.link.write(&mut unsent, false, &mut || self.go_on())?;
        }
        drop(unsent);
        self.link.answer()
    }

    /// Waits for the channel.
    fn open(&mut self) -> Result<Kept, Fault> {
        let Terms { channel, subscriber, .. } = self.link.terms;
        if let Some(kept) = self.kept.take() {
            return Ok(kept);
        }
        // With delivery every, also frames that were published without a connection, as far as the ring still
        // has them.
        let last = self.last.filter(|_| subscriber.settings().delivery == Delivery::Every);
        let after = last.and_then(|last| resume::behind(subscriber, channel, last));
        // Ends at each poll, to check the connection.
        let options = subscriber.clone().after(after).cancel(CancelToken::with_check(|| true));
        let deadline =
            subscriber.settings().open_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let opened = loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let opened = options.clone().open_timeout(left).open(channel);
            self.go_on()?;
            match opened {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                opened => break opened,
            }
        };
        match opened {
            // A new channel of the same name, which was created and written to before we saw it: all of its
            // frames are later.
            Ok(new) if after.is_none() && last.is_some_and(|last| last.epoch != new.epoch()) => {
                let all = Some(Origin { epoch: new.epoch(), sequence: 0 });
                let from_start =
                    subscriber.clone().open_timeout(Some(Duration::ZERO)).after(all).open(channel);
                Ok(Kept::new(from_start.unwrap_or(new)))
            }
            Ok(new) => Ok(Kept::new(new)),
            // All records are taken, for example: it may be otherwise later.
            Err(error) => {
                let try_again = error.kind() == ErrorKind::TooManySubscribers;
                Err(Fault::private(error, try_again))
            }
        }
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.link.terms.count.is_some_and(|count| self.sent.frames >= count)
    }

    /// Until the channel is closed.
    fn send_all(&mut self, channel: &mut Kept) -> Result<(), Fault> {
        // `last` may be a number that a client has invented. It concerns frames from before this connection.
        let (mut is_first, before, mut sent_to) = (true, channel.begun(), 0);
        loop {
            // Also when nothing is ever to be waited for.
            self.go_on()?;
            if self.has_sent_all() {
                return Ok(());
            }
            self.send_unsent()?;
            self.wait_until_ready()?;
            let life = channel.subscriber.life_after();
            let frame = match channel.subscriber.recv_timeout(END_POLL_INTERVAL) {
                Ok(frame) => frame,
                Err(RecvError::Timeout | RecvError::Interrupted) => {
                    self.go_on()?;
                    // It may have died, and returned, without a frame in between.
                    self.say_whether_live(channel.subscriber.publisher_alive());
                    // No frame from before this life is left to be sent.
                    self.say_life(life);
                    continue;
                }
                Err(RecvError::Closed) => return Ok(()),
                Err(error) => return Err(Fault::passing(error.into())),
            };
            let origin = frame.origin();
            // Until the first one is sent no frame is skipped: it has to be the newest then.
            let dropped = frame.dropped().saturating_sub(std::mem::take(&mut self.overcounted));
            self.sent.skipped += if self.last.is_some() { dropped } else { 0 };
            // Read after the frame was received, so that it is the frame's or a later one.
            let life = channel.subscriber.life_after();
            // After a break the newest frame may be the one that was sent last.
            let local_sequence = frame.local_sequence();
            let is_old = local_sequence <= before.max(life.sequence);
            let is_again = std::mem::take(&mut is_first) && self.last == Some(origin);
            let is_covered = |last: Origin| last.epoch == origin.epoch && last.sequence >= origin.sequence;
            if local_sequence <= sent_to || is_again || is_old && self.last.is_some_and(is_covered) {
                continue;
            }
            self.say_whether_live(true);
            let origin = if self.means.coder.takes(frame.format()) {
                let epoch = channel.subscriber.epoch();
                let Some(coded) = self.code(channel, frame, epoch)? else { continue };
                if coded.epoch == life.epoch && coded.local_sequence > life.sequence {
                    self.say_life(life);
                }
                // The shared stream may still hold frames of a closed channel. Their local sequences do not
                // apply to this channel.
                let is_here = coded.epoch == epoch;
                if is_here {
                    channel.begin(coded.local_sequence);
                }
                self.send_coded(&coded)?;
                if is_here {
                    sent_to = coded.local_sequence;
                    channel.note(coded.origin);
                }
                coded.origin
            } else {
                if local_sequence > life.sequence {
                    self.say_life(life);
                }
                channel.begin(local_sequence);
                self.send_frame(frame)?;
                sent_to = local_sequence;
                channel.note(origin);
                origin
            };
            self.last = Some(origin);
            self.sent.frames += 1;
        }
    }

    /// The payload of this frame or of one near it. `None`: the newest frame is to be received again.
    fn code(&mut self, channel: &mut Kept, frame: Frame, epoch: u64) -> Result<Option<Arc<Coded>>, Fault> {
        let sequence = frame.local_sequence();
        let life = Life { epoch, is_over: !channel.subscriber.publisher_alive() };
        let keyframe = lock(&self.link.source).take_keyframe();
        let Sender { link, means, sent, .. } = self;
        let coded = means.coder.code(frame, life, keyframe, &mut || {
            link.go_on()?;
            (link.watch)(sent)
        })?;
        let before = |coded: &Coded| coded.epoch != epoch || coded.local_sequence < sequence;
        match &coded {
            Some(coded) if before(coded) => {
                // It was counted as dropped.
                self.sent.skipped = self.sent.skipped.saturating_sub(1);
                channel.subscriber.rewind(sequence - 1);
            }
            Some(coded) if coded.local_sequence > sequence => {
                self.overcounted = coded.local_sequence - sequence;
                self.sent.skipped += if self.last.is_some() { self.overcounted - 1 } else { 0 };
            }
            Some(_) => {}
            None => channel.subscriber.rewind(sequence - 1),
        }
        Ok(coded)
    }

    fn wait_until_ready(&self) -> Result<(), Fault> {
        let mut source = lock(&self.link.source);
        loop {
            let now = Instant::now();
            let nap = match source.ready(now) {
                Ready::Now => return Ok(()),
                Ready::At(due) => due.saturating_duration_since(now).min(END_POLL_INTERVAL),
                Ready::NoCredit => END_POLL_INTERVAL,
            };
            source = self.link.changed.wait_timeout(source, nap).unwrap_or_else(PoisonError::into_inner).0;
            drop(source);
            self.go_on()?;
            source = lock(&self.link.source);
        }
    }
}
