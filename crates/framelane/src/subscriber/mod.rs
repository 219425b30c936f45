//! Subscribers.

mod attach;
mod frame;
mod open;
mod own;
mod reason;
mod reconnect;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::CancelToken;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, forked};
use crate::files::{self, DataFile, PUBLISHER_LOCK};
use crate::frame::Origin;
use crate::link;
use crate::observer::NO_NEW_FRAME;
use crate::os::{self, Woken};
use crate::ring::{self, Delivery, Lease, Next, Ordering::Relaxed, State};
use crate::step::{Step, step};
use crate::urls;

use attach::Attachment;
pub use frame::Frame;
pub use open::{SubscriberOptions, SubscriberSettings};
use own::{Own, Pool};

/// The longest sleep of a subscriber between two checks whether to continue.
const WAIT_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Number of attempts for frames that are overtaken, before the caller's deadline is checked.
const ATTEMPTS: usize = 64;
/// Rounds without sleep after which the cancel token is asked all the same.
const ROUNDS: u32 = 10_000;

/// Receives the frames of a channel. A channel has up to 64 subscribers.
///
/// Frames are leased, not copied: a [`Frame`] reads straight from shared memory, and does not change until it
/// is dropped. A subscriber holds at most [`Subscriber::max_leases`] of them. Dropping the subscriber leaves
/// its leases valid.
///
/// When the publisher dies, the subscriber waits for a new publisher of the channel, see
/// [`Subscriber::publisher_alive`]. When the publisher closes the channel, the wait ends, unless the
/// subscriber was opened with [`SubscriberOptions::reconnect`].
pub struct Subscriber {
    attachment: Arc<Attachment>,
    directory: Directory,
    data: Option<Arc<DataFile>>,
    delivery: Delivery,
    spin: Duration,
    /// Memory of frames that are copied, to be written to.
    pool: Option<Pool>,
    /// The sequence received last, or the one before where we joined.
    cursor: u64,
    /// The newest frame received.
    farthest: u64,
    received: u64,
    dropped: u64,
    /// True if it has begun behind a frame that it was given.
    resumed: bool,
    remote: Option<Remote>,
    /// Options that the channel is opened again with, when it was closed.
    options: SubscriberOptions,
    /// The channel was closed, and has not been opened again.
    ended: bool,
    /// Frames missed at the end of the channel before this one. The first frame received counts them.
    missed_at_end: u64,
}

/// Source of the frames of a subscriber that was opened by a URL.
struct Remote {
    url: String,
    /// Feeds the local channel.
    link: urls::HeldLink,
}

const TOO_MANY_LEASES: &str = "cannot receive: this subscriber holds as many frames as it may";

/// Reason that no frame was received.
#[non_exhaustive]
#[derive(Debug)]
pub enum RecvError {
    /// The timeout has passed without a new frame. [`Subscriber::explain`] returns the reason.
    Timeout,
    /// The publisher has closed the channel, and all frames were received.
    Closed,
    /// The subscriber holds [`Subscriber::max_leases`] frames: drop or copy one first.
    TooManyLeases,
    /// The caller cancelled the wait.
    Interrupted,
    /// The subscriber was opened before this process was forked.
    Forked,
    /// Shared memory is damaged or cannot be reached.
    Other(Error),
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        let (kind, message) = match error {
            RecvError::Timeout => (ErrorKind::Timeout, NO_NEW_FRAME),
            RecvError::Closed => (ErrorKind::ChannelClosed, "the publisher has closed the channel"),
            RecvError::TooManyLeases => {
                return Error::new(ErrorKind::TooManyLeases, TOO_MANY_LEASES)
                    .with_hint("drop or copy frames before receiving more, or publish with more slots");
            }
            RecvError::Interrupted => (ErrorKind::Interrupted, "interrupted while waiting for a frame"),
            RecvError::Forked => return forked("subscriber"),
            RecvError::Other(error) => return error,
        };
        Error::new(kind, message)
    }
}

impl From<Error> for RecvError {
    fn from(error: Error) -> Self {
        RecvError::Other(error)
    }
}

impl std::fmt::Display for RecvError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecvError::Timeout => f.write_str(NO_NEW_FRAME),
            RecvError::Closed => f.write_str("the publisher has closed the channel"),
            RecvError::TooManyLeases => f.write_str(TOO_MANY_LEASES),
            RecvError::Interrupted => f.write_str("interrupted while waiting for a frame"),
            RecvError::Forked => forked("subscriber").fmt(f),
            RecvError::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its message is that of this error.
            RecvError::Other(error) => error.source(),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber")
            .field("channel", &self.channel())
            .field("delivery", &self.delivery)
            .field("received", &self.received)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Leases may keep the record in use, but the subscriber receives no more frames: a lossless publisher
        // need not wait.
        self.attachment.stop_receiving();
    }
}

impl Subscriber {
    /// Waits for the channel to appear and subscribes to its newest frames.
    ///
    /// # Errors
    /// The errors of [`SubscriberOptions::open`].
    pub fn open(channel: &str) -> Result<Self, Error> {
        SubscriberOptions::new().open(channel)
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.attachment.channel
    }

    /// Newest or every frame.
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Frames received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Frames skipped so far, by their sequences: received + dropped = the last sequence less the one before
    /// the subscriber attached. After a reconnection: the frames of both channels, without those published
    /// while neither was open.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The epoch of the channel's present publisher on this machine. Over a link that is the link's, not
    /// [`Frame::epoch`].
    pub fn epoch(&self) -> u64 {
        self.attachment.control.words().epoch.load(Relaxed)
    }

    /// Returns the epoch, and the last sequence of previous publishers, as [`Frame::local_sequence`] counts.
    ///
    /// For links. Behind a link the sequence also changes when the publisher on the other machine is
    /// replaced.
    pub fn life_after(&self) -> Origin {
        let words = self.attachment.control.words();
        // Acquire: what is stored before the epoch is seen with it.
        Origin { epoch: words.epoch_now(), sequence: words.epoch_after.load(Relaxed) }
    }

    /// Returns true if a publisher holds the channel now. For a channel of a link: true if the link is
    /// connected and the channel is published on the other machine. Makes a system call.
    pub fn publisher_alive(&self) -> bool {
        if self.remote.is_some()
            && let Some(link) = link::read(self.attachment.control.words())
        {
            return link.connected && link.live;
        }
        !self.ended && self.has_publisher()
    }

    /// Returns true if a process holds the lock of the channel's publisher.
    fn has_publisher(&self) -> bool {
        self.attachment.control.lock.is_locked(PUBLISHER_LOCK).unwrap_or(false)
    }

    /// Continues after the frame with this [`Frame::local_sequence`], which was received before. For relays
    /// that lost some of the frames that they passed on. Frames after it that the ring still has are received
    /// again ([`Delivery::Newest`](crate::Delivery::Newest): the newest of them), and all others are counted
    /// as dropped. Does nothing when no such frame was received yet.
    pub fn rewind(&mut self, sequence: u64) {
        if sequence <= self.farthest && os::fork_count() == self.attachment.forks {
            self.cursor = sequence;
            self.attachment.record().cursor.store(sequence, std::sync::atomic::Ordering::Release);
        }
    }

    /// Waits for a frame that has not been received yet.
    ///
    /// # Errors
    /// All of [`RecvError`] but `Timeout`. `Interrupted` when the token of [`SubscriberOptions::cancel`] ends
    /// the wait.
    pub fn recv(&mut self) -> Result<Frame, RecvError> {
        self.recv_timeout(None)
    }

    /// Same as [`Subscriber::recv`], for at most `timeout`. Zero does not wait. `None` waits without limit.
    ///
    /// # Errors
    /// All of [`RecvError`].
    pub fn recv_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Frame, RecvError> {
        let timeout = timeout.into();
        if self.options.reconnect { self.recv_reconnecting(timeout) } else { self.recv_attached(timeout) }
    }

    /// Replaces the token that cancels waits, for example after the old one was cancelled.
    pub fn set_cancel_token(&mut self, cancel: CancelToken) {
        self.options.cancel = cancel;
    }

    /// Returns the token that cancels waits.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.options.cancel
    }

    /// Waits for a frame of the channel that is open now.
    fn recv_attached(&mut self, timeout: Option<Duration>) -> Result<Frame, RecvError> {
        if os::fork_count() != self.attachment.forks {
            return Err(RecvError::Forked);
        }
        let mut deadline = None;
        let mut rounds = 0_u32;
        loop {
            let control = self.attachment.control.words();
            // Read before anything else: every later change also changes this word.
            let seen = control.wake_now();
            let closed = control.state_now() == State::Closed as u32;
            let received = self.try_receive()?;
            self.check_files()?;
            if let Some(frame) = received {
                return Ok(frame);
            }
            if closed {
                return Err(self.closed());
            }
            if rounds == 0 {
                if timeout == Some(Duration::ZERO) {
                    return Err(RecvError::Timeout);
                }
                deadline = os::deadline(timeout);
            }
            let nap = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(RecvError::Timeout),
                Some(left) => left.min(WAIT_POLL_INTERVAL),
                None => WAIT_POLL_INTERVAL,
            };
            if self.options.cancel.is_cancelled() {
                return Err(RecvError::Interrupted);
            }
            let woken = self.sleep(seen, nap);
            rounds = rounds.wrapping_add(1).max(1);
            if woken != Woken::Changed || rounds.is_multiple_of(ROUNDS) {
                if woken == Woken::TimedOut {
                    self.check_presence()?;
                }
                if self.options.cancel.ends_wait() {
                    return Err(RecvError::Interrupted);
                }
            }
        }
    }

    /// The end, with its reason when a link has ended by a fault or another program has removed the channel's
    /// files.
    fn closed(&self) -> RecvError {
        let fault = self.remote.as_ref().and_then(|remote| remote.link.fault());
        let removed = self.attachment.control.words().closed_by.load(Relaxed) == ring::CLOSED_BY_REMOVAL;
        match fault.or_else(|| removed.then(|| self.removed())) {
            Some(fault) => RecvError::Other(fault),
            None => RecvError::Closed,
        }
    }

    fn removed(&self) -> Error {
        files::removed(&self.attachment.channel, &self.directory)
    }

    /// Returns an iterator over the frames until the channel closes. Another error is returned once and ends
    /// it.
    pub fn frames(&mut self) -> impl Iterator<Item = Result<Frame, RecvError>> + '_ {
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            match self.recv() {
                Err(RecvError::Closed) => None,
                result => {
                    failed = result.is_err();
                    Some(result)
                }
            }
        })
    }

    /// Sleeps while the futex word is `seen`.
    fn sleep(&self, seen: u32, nap: Duration) -> Woken {
        let control = self.attachment.control.words();
        if !self.spin.is_zero() {
            let (start, spin) = (Instant::now(), self.spin.min(nap));
            while start.elapsed() < spin {
                if control.wake_now() != seen {
                    return Woken::Changed;
                }
                std::hint::spin_loop();
            }
        }
        let record = self.attachment.record();
        let woken = if ring::prepare_wait(control, record, seen) {
            self.attachment.control.sleep(seen, self.attachment.index, nap)
        } else {
            Woken::Changed
        };
        step(Step::Awake);
        record.waiting.store(0, Relaxed);
        woken
    }

    /// Says so when a file was cut short: what has been read of it since means nothing.
    fn check_files(&self) -> Result<(), Error> {
        let Attachment { channel, control, readers, .. } = &*self.attachment;
        control.check(channel)?;
        readers.check(channel)?;
        match &self.data {
            // Until the publisher has noticed too, and made another.
            Some(data) if data.is_lost() && data.generation == control.words().generation_now() => {
                data.check(channel)
            }
            _ => Ok(()),
        }
    }

    /// Returns an error when the channel's files were removed: no publisher can take it over any more.
    fn check_presence(&self) -> Result<(), RecvError> {
        let Attachment { channel, control, .. } = &*self.attachment;
        if control.lock.is_at(&self.directory.control(channel)) {
            return Ok(());
        }
        let alive = self.has_publisher();
        // A publisher that closes the channel stores that before it removes the files: the remaining frames
        // are received first.
        if control.words().state_now() == State::Closed as u32 {
            return Ok(());
        }
        Err(if alive { RecvError::Other(self.removed()) } else { self.closed() })
    }

    /// The next frame, if there is one now.
    fn try_receive(&mut self) -> Result<Option<Frame>, RecvError> {
        for _ in 0..ATTEMPTS {
            let control = self.attachment.control.words();
            let mapped = self.data.as_ref().map(|data| (data.generation, data.entries()));
            let next = ring::next(control, self.delivery, self.cursor, mapped);
            if next == Next::Nothing {
                return Ok(None);
            }
            let Some(pin) = self.attachment.free_pin(self.max_leases()) else {
                return Err(RecvError::TooManyLeases);
            };
            match (next, &self.data) {
                (Next::Frame { sequence, slot }, Some(data)) => {
                    if let Some(frame) = self.lease(data.clone(), slot, sequence, pin)? {
                        return Ok(Some(frame));
                    }
                }
                (Next::Map(generation), _) => self.data = self.open_data(generation)?,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Maps a generation; `None` when the publisher has already moved on from it, or made none yet.
    fn open_data(&self, generation: u64) -> Result<Option<Arc<DataFile>>, Error> {
        let channel_id = self.attachment.control.words().channel_id.load(Relaxed);
        match DataFile::open(&self.directory, &self.attachment.channel, channel_id, generation) {
            Ok(data) => {
                step(Step::DataMapped);
                Ok(Some(Arc::new(data)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Removed with the channel, and the name is another channel's by now.
            Err(_) if self.attachment.control.words().state_now() == State::Closed as u32 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leases one frame; `None` when it is no longer there.
    fn lease(
        &mut self,
        data: Arc<DataFile>,
        slot: usize,
        sequence: u64,
        pin: usize,
    ) -> Result<Option<Frame>, Error> {
        // A slot that the ring does not have can only come from a damaged head.
        let Some(entry) = data.entry(slot) else { return Ok(None) };
        let record = self.attachment.record();
        step(Step::FrameChosen);
        let pin_value = ring::pin_of(data.generation, slot);
        if ring::lease(&record.pins[pin], pin_value, &entry.version, sequence) == Lease::Gone {
            return Ok(None);
        }
        step(Step::LeaseHeld);
        let mut dropped = sequence - self.cursor - 1;
        if self.received == 0 && !self.resumed && self.delivery == Delivery::Every && self.attachment.waits()
        {
            // Where a lossless channel is joined depends on what the publisher saw first: nothing was lost.
            dropped = 0;
        }
        dropped = dropped.saturating_add(std::mem::take(&mut self.missed_at_end));
        self.cursor = sequence;
        self.farthest = self.farthest.max(sequence);
        self.received += 1;
        self.dropped = self.dropped.saturating_add(dropped);
        record.cursor.store(sequence, std::sync::atomic::Ordering::Release);
        record.received.store(self.received, Relaxed);
        record.dropped.store(self.dropped, Relaxed);
        step(Step::Received);
        let frame = Frame::new(self.attachment.clone(), data, slot, pin, sequence, dropped)?;
        Ok(Some(match &self.pool {
            Some(pool) => frame.into_own(pool),
            None => frame,
        }))
    }
}
