//! The sending end of a link: from a channel's leases straight into the stream.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use framelane::{Delivery, Error, ErrorKind, Frame, FrameInfo, Origin, RecvError, SubscriberOptions};

use crate::budget::{Exceeded, Share};
use crate::channel_io::{Ended, Fault, Inbox, LOOK, flush, write_all};
use crate::coder::{self, Coded};
use crate::proto::{ChannelState, FrameHead, Message, Ready, Reply, Source};
use crate::resume::{self, Kept};
use crate::stream::Stream;
use crate::time::{monotonic_ns, realtime_ns};

/// How long a frame is sent straight from its slot. What has not gone by then is copied, and the slot is
/// given back: a receiver that is slow costs memory here, not slots of the channel.
const LEASE: Duration = Duration::from_millis(20);

/// How soon it is noticed that nothing more is heard.
const HEAR: Duration = Duration::from_millis(10);

/// What a link sends, and how.
pub(crate) struct Terms {
    pub channel: String,
    pub subscriber: SubscriberOptions,
    pub max_milli_fps: u32,
    /// The longest payload that the other side takes.
    pub max_payload: u64,
    /// What the other side has already.
    pub last: Option<Origin>,
    pub idle_timeout: Duration,
    /// Whether the link ends when the channel is closed; else it waits for the channel to come again.
    pub ends_with_channel: bool,
    /// Ends after so many frames as if the channel was closed then.
    pub count: Option<u64>,
}

/// The encoder of a link, and its memory for copies.
pub(crate) struct Means<'c> {
    pub coder: coder::Member<'c>,
    /// Memory for the copy of a frame that the receiver takes slowly. `None`: without a limit.
    pub copies: Option<Share>,
}

/// What has happened on a sending link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames sent.
    pub frames: u64,
    /// Frames that were left out because the other side was slower, or wanted fewer.
    pub skipped: u64,
    /// Bytes of frames sent.
    pub bytes: u64,
    /// Whether somebody publishes the channel.
    pub live: bool,
}

/// Asked now and then: whether to go on. Told how far it is.
pub(crate) type Watch<'w> = &'w (dyn Fn(&Sent) -> Result<(), Fault> + Sync);

/// Sends the channel's frames until it ends. `kept` is a subscriber of the channel from before: what it has
/// not received yet is sent even when the channel is closed by now. It is given back when the connection
/// fails.
///
/// # Errors
/// Why it has ended; `Ok` when the channel was closed and the link ends with it.
pub(crate) fn run(
    stream: &dyn Stream,
    inbox: &mut Inbox,
    peer: &str,
    terms: &Terms,
    kept: &mut Option<Kept>,
    means: &mut Means<'_>,
    watch: Watch<'_>,
) -> Result<Sent, (Fault, Sent)> {
    let source = Source::new(Instant::now(), terms.max_milli_fps, terms.idle_timeout);
    let link = Link {
        stream,
        peer,
        terms,
        watch,
        source: Mutex::new(source),
        changed: Condvar::new(),
        unsent: Mutex::default(),
        ping: Mutex::new(None),
        ended: Ended::default(),
        done: Ended::default(),
    };
    std::thread::scope(|scope| {
        let hears = scope.spawn(|| {
            let fault = link.hear(inbox);
            link.ended.set();
            link.changed.notify_all();
            fault
        });
        let mut sender = Sender {
            link: &link,
            sent: Sent::default(),
            last: terms.last,
            life: None,
            kept,
            means,
            overcounted: 0,
            in_frame: false,
        };
        let ran = sender.run();
        // With a count the channel may go on, and another connection may bring what is missing.
        let closed = ran.is_ok() && !sender.has_sent_all();
        let result = ran.and_then(|()| sender.close());
        let sent = sender.sent;
        if let Err(fault) = &result
            && fault.error.kind() != ErrorKind::Io
            && !sender.in_frame
        {
            // Why it ends, as far as that can still be said: within a frame it would be taken for its last
            // pixels.
            let refusal = fault.refusal();
            let until = Instant::now() + LOOK;
            let mut unsent = lock(&link.unsent);
            Message::Refused(refusal).encode(&mut unsent);
            let _ = link.write(&mut unsent, false, &mut || {
                if Instant::now() < until { Ok(()) } else { Err(Fault::stopped()) }
            });
        }
        stream.shut();
        // What has come before is still heard, and explains the broken stream that the writer has met.
        let until = Instant::now() + LOOK;
        while !link.ended.is_set() && Instant::now() < until {
            let source = lock(&link.source);
            let _ = link.changed.wait_timeout(source, HEAR);
        }
        link.ended.set();
        let heard = hears
            .join()
            .unwrap_or_else(|_| Fault::lasting(Error::new(ErrorKind::Internal, "a thread has panicked")));
        let fault = match result {
            Ok(()) if link.done.is_set() => return Ok(sent),
            Ok(()) => heard,
            Err(fault)
                if matches!(fault.error.kind(), ErrorKind::Io | ErrorKind::Closed) && !heard.is_stop() =>
            {
                heard
            }
            Err(fault) => fault,
        };
        Err((if closed { not_taken(terms, fault) } else { fault }, sent))
    })
}

struct Link<'a> {
    stream: &'a dyn Stream,
    peer: &'a str,
    terms: &'a Terms,
    watch: Watch<'a>,
    source: Mutex<Source>,
    /// Told when `source` has changed, or the link has ended.
    changed: Condvar,
    /// The bytes of messages that have not gone yet. Every write starts with them. The lock is held while a
    /// message and its payload are written. The hearing thread never waits with the lock held, so that the
    /// sending thread gets it at once.
    unsent: Mutex<Vec<u8>>,
    /// A ping without an answer: when it was sent and when it came.
    ping: Mutex<Option<(u64, u64)>>,
    ended: Ended,
    /// The other side has said that it has everything.
    done: Ended,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link<'_> {
    /// Takes what the other side says until the link ends; gives why it did.
    fn hear(&self, inbox: &mut Inbox) -> Fault {
        loop {
            if self.ended.is_set() {
                return Fault::stopped();
            }
            if let Err(fault) = self.answer() {
                return fault;
            }
            let message = match inbox.next(self.stream, self.peer, LOOK) {
                Ok(Some(message)) => message,
                Ok(None) if lock(&self.source).is_gone(Instant::now()) => {
                    return Fault::silent(self.peer, self.terms.idle_timeout);
                }
                Ok(None) => continue,
                Err(fault) => return fault,
            };
            let received_ns = realtime_ns();
            let reply = lock(&self.source).take(Instant::now(), received_ns, &message);
            match reply {
                Ok(Reply::Nothing) => self.changed.notify_all(),
                Ok(Reply::Done) => {
                    self.done.set();
                    return Fault::lost(self.peer);
                }
                Ok(Reply::Pong { ping_sent_ns, received_ns }) => {
                    *lock(&self.ping) = Some((ping_sent_ns, received_ns));
                }
                Err(error) => {
                    let passes = matches!(&message, Message::Refused(refusal) if refusal.try_again);
                    return if passes { Fault::passing(error) } else { Fault::lasting(error) };
                }
            }
        }
    }

    /// Sends unsent bytes and the answer to the last ping as far as that takes no waiting. While the sending
    /// thread writes, it does nothing: that thread answers afterwards. The hearing thread must not wait, or
    /// the other side would seem to be silent.
    fn answer(&self) -> Result<(), Fault> {
        loop {
            let mut unsent = match self.unsent.try_lock() {
                Ok(unsent) => unsent,
                Err(TryLockError::Poisoned(unsent)) => unsent.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            // A newer ping replaces an answer of which nothing has gone.
            let mut ping = None;
            if unsent.is_empty() {
                ping = lock(&self.ping).take();
                let Some((ping_sent_ns, received_ns)) = ping else { return Ok(()) };
                Message::Pong { ping_sent_ns, received_ns, sent_ns: realtime_ns() }.encode(&mut unsent);
            }
            match self.stream.write(&unsent, false, Duration::ZERO) {
                Ok(0) => return Err(Fault::lost(self.peer)),
                Ok(len) => drop(unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(ping) = ping {
                        unsent.clear();
                        lock(&self.ping).get_or_insert(ping);
                    }
                    return Ok(());
                }
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
            match self.stream.flush(Duration::ZERO) {
                Ok(()) => {}
                // The bytes that TLS has taken go with the next message.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
        }
    }

    /// Writes the unsent bytes. Those that have not gone on an error stay.
    fn write(
        &self,
        unsent: &mut Vec<u8>,
        more: bool,
        keep: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !unsent.is_empty() {
            match self.stream.write(unsent, more, LOOK) {
                Ok(0) => return Err(Fault::lost(self.peer)),
                Ok(len) => drop(unsent.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(self.peer, error)),
            }
            if !unsent.is_empty() {
                keep()?;
            }
        }
        if more { Ok(()) } else { flush(self.stream, self.peer, keep) }
    }

    /// Whether the writer should go on.
    fn go_on(&self) -> Result<(), Fault> {
        if self.ended.is_set() {
            return Err(Fault::passing(Error::new(ErrorKind::Closed, "the link has ended")));
        }
        if lock(&self.source).is_gone(Instant::now()) {
            return Err(Fault::silent(self.peer, self.terms.idle_timeout));
        }
        Ok(())
    }
}

struct Sender<'a, 'l, 'c> {
    link: &'a Link<'l>,
    sent: Sent,
    last: Option<Origin>,
    /// The life of the channel in the last LIFE message.
    life: Option<Origin>,
    kept: &'a mut Option<Kept>,
    means: &'a mut Means<'c>,
    /// Frames that the subscriber will count as dropped, and that were sent or counted.
    overcounted: u64,
    /// Whether a part of a frame has gone, and not all of it.
    in_frame: bool,
}

impl Sender<'_, '_, '_> {
    fn go_on(&self) -> Result<(), Fault> {
        self.link.go_on()?;
        (self.link.watch)(&self.sent)
    }

    fn run(&mut self) -> Result<(), Fault> {
        let terms = self.link.terms;
        loop {
            self.say(ChannelState::Waiting);
            self.send_unsent()?;
            let Some(mut channel) = self.open()? else { continue };
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

    /// Says that the channel is closed, and waits until the other side has taken all that was sent before.
    fn close(&self) -> Result<(), Fault> {
        self.say(ChannelState::Closed);
        self.send_unsent()?;
        // Ending the connection now would take what is still on its way back: the system answers the credits
        // that come for it with a reset. The other side says when it has everything; pings are answered by
        // whoever hears them.
        loop {
            match self.go_on() {
                Ok(()) => {}
                Err(_) if self.link.ended.is_set() => return Ok(()),
                Err(fault) => return Err(fault),
            }
            let source = lock(&self.link.source);
            let _ = self.link.changed.wait_timeout(source, LOOK);
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

    /// Waits for the channel; `None` when something is to be looked at first.
    fn open(&mut self) -> Result<Option<Kept>, Fault> {
        let Terms { channel, subscriber, .. } = self.link.terms;
        if let Some(kept) = self.kept.take() {
            return Ok(Some(kept));
        }
        // When every frame is wanted, also those that came while there was no connection, as far as the ring
        // reaches back.
        let last = self.last.filter(|_| subscriber.get_delivery() == Delivery::Every);
        let after = last.and_then(|last| resume::behind(subscriber, channel, last));
        let mut ended = None;
        let opened = subscriber.clone().after(after).open_while(channel, &mut || {
            ended = self.go_on().err();
            ended.is_none()
        });
        if let Some(fault) = ended {
            return Err(fault);
        }
        match opened {
            // A new channel of the same name, which was made and written to before we saw it: all of it came
            // later.
            Ok(new) if after.is_none() && last.is_some_and(|last| last.epoch != new.epoch()) => {
                let all = Some(Origin { epoch: new.epoch(), sequence: 0 });
                let from_start = subscriber.clone().wait(Some(Duration::ZERO)).after(all).open(channel);
                Ok(Some(Kept::new(from_start.unwrap_or(new))))
            }
            Ok(new) => Ok(Some(Kept::new(new))),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            // All records are taken, for example: it may be otherwise later.
            Err(error) => {
                let try_again = error.kind() == ErrorKind::TooManySubscribers;
                Err(Fault::private(error, try_again))
            }
        }
    }

    fn has_sent_all(&self) -> bool {
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
            let mut ended = None;
            let received = channel.subscriber.recv_while(Some(LOOK), &mut || {
                ended = self.go_on().err();
                ended.is_none()
            });
            if let Some(fault) = ended {
                return Err(fault);
            }
            let frame = match received {
                Ok(frame) => frame,
                Err(RecvError::Timeout | RecvError::Interrupted) => {
                    self.go_on()?;
                    // It may have died, and come again, without a frame in between.
                    self.say_whether_live(channel.subscriber.publisher_alive());
                    // No frame from before this life is left to be sent.
                    self.say_life(life);
                    continue;
                }
                Err(RecvError::Closed) => return Ok(()),
                Err(error) => return Err(Fault::passing(error.into())),
            };
            let origin = frame.origin();
            // Until the first one is sent nothing is left out: it has to be the newest then.
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
                let Some(coded) = self.code(channel, frame)? else { continue };
                if coded.epoch == life.epoch && coded.local_sequence > life.sequence {
                    self.say_life(life);
                }
                channel.begin(coded.local_sequence);
                self.send_coded(&coded)?;
                sent_to = coded.local_sequence;
                coded.origin
            } else {
                if local_sequence > life.sequence {
                    self.say_life(life);
                }
                channel.begin(local_sequence);
                self.send_frame(frame)?;
                sent_to = local_sequence;
                origin
            };
            channel.note(origin);
            self.last = Some(origin);
            self.sent.frames += 1;
        }
    }

    /// The payload of this frame or of one near it. `None`: the newest frame is to be received again.
    fn code(&mut self, channel: &mut Kept, frame: Frame) -> Result<Option<std::sync::Arc<Coded>>, Fault> {
        let (epoch, sequence) = (channel.subscriber.epoch(), frame.local_sequence());
        let keyframe = lock(&self.link.source).take_keyframe();
        let Sender { link, means, sent, .. } = self;
        let coded = means.coder.code(frame, epoch, keyframe, &mut || {
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
                Ready::At(due) => due.saturating_duration_since(now).min(LOOK),
                Ready::NoCredit => LOOK,
            };
            source = self.link.changed.wait_timeout(source, nap).unwrap_or_else(PoisonError::into_inner).0;
            drop(source);
            self.go_on()?;
            source = lock(&self.link.source);
        }
    }

    /// Sends a frame as it is, from its slot.
    fn send_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let until = Instant::now() + LEASE;
        let (layout, info) = (frame.layout().clone(), frame.info().clone());
        let payload_bytes = layout.size_bytes() as u64;
        if let Some(copies) = &mut self.means.copies {
            copies.need(payload_bytes).map_err(Exceeded::into_fault)?;
        }
        let head = FrameHead {
            origin: frame.origin(),
            layout,
            info: FrameInfo { origin: None, ..info },
            standalone: true,
            coded: false,
            sent_ns: realtime_ns(),
            sent_monotonic_ns: monotonic_ns(),
        };
        self.send_payload(head, payload_bytes, |sender, unsent| sender.write_leased(unsent, frame, until))
    }

    fn send_coded(&mut self, coded: &Coded) -> Result<(), Fault> {
        let head = FrameHead {
            origin: coded.origin,
            layout: coded.layout.clone(),
            info: FrameInfo { origin: None, ..coded.info.clone() },
            standalone: coded.standalone,
            coded: true,
            sent_ns: realtime_ns(),
            sent_monotonic_ns: monotonic_ns(),
        };
        self.send_payload(head, coded.bytes.len() as u64, |sender, unsent| {
            sender.write_with_payload(unsent, &coded.bytes)
        })
    }

    fn send_payload(
        &mut self,
        head: FrameHead,
        payload_bytes: u64,
        write: impl FnOnce(&Self, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        lock(&self.link.source).sent(Instant::now());
        let (max_payload, size_bytes) = (self.link.terms.max_payload, head.layout.size_bytes());
        if payload_bytes > max_payload || size_bytes as u64 > max_payload {
            return Err(Fault::lasting(
                Error::new(
                    ErrorKind::FrameTooLarge,
                    format!("a frame of {size_bytes} bytes; the receiver takes at most {max_payload}"),
                )
                .with_hint("raise max-bytes on the receiving side, or send a smaller size="),
            ));
        }
        let mut unsent = lock(&self.link.unsent);
        Message::Frame(Box::new(head), payload_bytes).encode(&mut unsent);
        self.in_frame = true;
        write(self, &mut unsent)?;
        self.in_frame = false;
        drop(unsent);
        self.sent.bytes += payload_bytes;
        self.link.answer()
    }

    /// Sends the unsent bytes, which end with the frame's head, and its payload.
    fn write_with_payload(&self, unsent: &mut Vec<u8>, payload: &[u8]) -> Result<(), Fault> {
        self.link.write(unsent, true, &mut || self.go_on())?;
        write_all(self.link.stream, payload, false, self.link.peer, &mut || self.go_on())
    }

    /// The same with a payload from its slot, for as long as the lease may last. The rest goes from a copy
    /// then, which is all of the payload when the receiver does not even take the head.
    fn write_leased(&self, unsent: &mut Vec<u8>, frame: Frame, until: Instant) -> Result<(), Fault> {
        let (stream, peer) = (self.link.stream, self.link.peer);
        let mut at = 0;
        while at < frame.bytes().len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let rest = frame.bytes()[at..].to_vec();
                drop(frame);
                return self.write_with_payload(unsent, &rest);
            }
            let is_head = !unsent.is_empty();
            let bytes = if is_head { unsent.as_slice() } else { &frame.bytes()[at..] };
            match stream.write(bytes, is_head, left) {
                Ok(0) => return Err(Fault::lost(peer)),
                Ok(len) if is_head => drop(unsent.drain(..len)),
                Ok(len) => at += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(peer, error)),
            }
            self.link.go_on()?;
        }
        drop(frame);
        // Of a frame without bytes there is the head alone.
        self.link.write(unsent, false, &mut || self.go_on())
    }
}

/// The connection has failed after the channel was closed. It is not begun again: whoever waits for the end
/// of a channel that is gone is told at once, and not when a server comes back that may be gone as well.
fn not_taken(terms: &Terms, fault: Fault) -> Fault {
    if fault.is_stop() {
        return fault;
    }
    let what = format!("channel {} is closed here, and its last frames may be missing there", terms.channel);
    let error = fault.error.context(what).with_hint("check the server and the network, and send them again");
    Fault { error, try_again: false, ..fault }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
