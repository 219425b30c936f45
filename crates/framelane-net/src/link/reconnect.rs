//! Links that this side opens, and opens again after a loss.

use std::sync::Arc;
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, Publisher, Subscriber, SubscriberOptions};
use ring::rand::{SecureRandom, SystemRandom};

use super::backoff::Backoff;
use super::connect::connect;
use super::incoming::{Limits, Line, ReceiveStatistics, Receiving};
use super::outgoing::{self, Means, SendStatistics, Terms};
use super::resume::{self, Kept, known};
use crate::budget::{Budget, Quantity, Share};
use crate::coder;
use crate::fault::Fault;
use crate::proto::{Direction, Sink};
use crate::time::machine;
use crate::turns::Turns;
use crate::url::LinkUrl;

/// A connection that lasted as long as this was useful: the next attempt follows soon.
const LASTED: Duration = Duration::from_secs(2);
/// The longest sleep between two checks of the cancel token.
const CALLER_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Events of a link while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent<'e, P> {
    /// The link is connected, and both sides have agreed on its terms.
    Connected,
    /// The connection was lost. The next attempt starts after `wait`.
    #[non_exhaustive]
    Lost {
        /// Cause.
        error: &'e Error,
        /// Time until the next attempt.
        wait: Duration,
    },
    /// Progress, after every frame and several times a second.
    Progress(&'e P),
}

/// Behaviour of [`receive`] and [`send`] when the channel closes at its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenClosed {
    /// Waits until the channel is published again. The link stays connected.
    #[default]
    Wait,
    /// Returns.
    Return,
}

/// Options of [`receive`].
#[derive(Clone, Debug, Default)]
pub struct ReceiveOptions {
    when_closed: WhenClosed,
    cancel: CancelToken,
}

impl ReceiveOptions {
    /// Options with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the behaviour when the channel closes on the other machine. Default [`WhenClosed::Wait`].
    #[must_use]
    pub fn when_closed(mut self, when_closed: WhenClosed) -> Self {
        self.when_closed = when_closed;
        self
    }

    /// Ends [`receive`] when `cancel` is cancelled or its check returns true.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }
}

/// Options of [`send`].
#[derive(Clone, Debug)]
pub struct SendOptions {
    subscriber: SubscriberOptions,
    count: Option<u64>,
    when_closed: WhenClosed,
    cancel: CancelToken,
}

impl SendOptions {
    /// Options with the defaults. `subscriber` is how the channel was subscribed to: after a break, frames
    /// that the other machine does not have are read again.
    pub fn new(subscriber: SubscriberOptions) -> Self {
        SendOptions { subscriber, count: None, when_closed: WhenClosed::Return, cancel: CancelToken::new() }
    }

    /// Ends [`send`] after `count` frames. Default: no limit.
    #[must_use]
    pub fn count(mut self, count: Option<u64>) -> Self {
        self.count = count;
        self
    }

    /// Sets the behaviour when the channel closes on this machine. Default [`WhenClosed::Return`].
    #[must_use]
    pub fn when_closed(mut self, when_closed: WhenClosed) -> Self {
        self.when_closed = when_closed;
        self
    }

    /// Ends [`send`] when `cancel` is cancelled or its check returns true.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }
}

/// Attempts to connect again after a connection, and their times.
struct Tries {
    backoff: Backoff,
    begun: Instant,
}

impl Tries {
    fn new() -> Self {
        Tries { backoff: Backoff::new(), begun: Instant::now() }
    }

    fn wait(&mut self) -> Duration {
        if self.begun.elapsed() >= LASTED {
            self.backoff.reset();
        }
        let mut random = [0; 8];
        // Without random numbers all clients connect at the same time, with no other effect.
        let _ = SystemRandom::new().fill(&mut random);
        self.backoff.next(u64::from_le_bytes(random))
    }
}

fn go_on(cancel: &CancelToken) -> Result<(), Fault> {
    if cancel.ends_wait() { Err(Fault::stopped()) } else { Ok(()) }
}

/// Returns false if the token ended the sleep.
fn sleep(time: Duration, cancel: &CancelToken) -> bool {
    let until = Instant::now() + time;
    loop {
        if cancel.ends_wait() {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(CALLER_POLL_INTERVAL));
    }
}

/// Receives the channel behind `url` into `publisher`, over as many connections as it takes.
///
/// Blocks until the token of the options ends it, and checks the token several times a second. With
/// [`WhenClosed::Return`], also returns when the channel closes on the other machine. The channel of
/// `publisher` stays open, so its subscribers stay attached while the link is down.
///
/// # Errors
/// Errors that a retry cannot fix: the server refuses the client, or is not the server that the URL names, or
/// frames are above the limit.
pub fn receive(
    url: &LinkUrl,
    publisher: &mut Publisher,
    options: &ReceiveOptions,
    events: &mut dyn FnMut(LinkEvent<'_, ReceiveStatistics>),
) -> Result<ReceiveStatistics, Error> {
    let mut received = ReceiveStatistics { last: publisher.inherited(), ..ReceiveStatistics::default() };
    received.link.peer = url.to_string();
    publisher.set_link(&received.link);
    let memory = Budget::of_one_peer(Quantity::Memory, url.options.max_memory, "max-memory=");
    let mut ring = memory.share_of(&received.link.peer);
    ring.set(publisher.ring_bytes()).map_err(|exceeded| exceeded.into_fault().error)?;
    let mut tries = Tries::new();
    loop {
        tries.begun = Instant::now();
        let memory = (&memory, &mut ring);
        let result = receive_once(url, publisher, options, &mut received, memory, events);
        let mut lost = |error: &Error, wait| events(LinkEvent::Lost { error, wait });
        match next_step(url, result, &mut tries, &options.cancel, &mut lost)? {
            Next::Again => {}
            Next::End => return Ok(received),
        }
    }
}

fn receive_once(
    url: &LinkUrl,
    publisher: &mut Publisher,
    ReceiveOptions { when_closed, cancel }: &ReceiveOptions,
    received: &mut ReceiveStatistics,
    (memory, ring): (&Arc<Budget>, &mut Share),
    events: &mut dyn FnMut(LinkEvent<'_, ReceiveStatistics>),
) -> Result<(), Fault> {
    let mut connected = connect(url, Direction::Receive, received.last, &mut || go_on(cancel))?;
    tracing::info!(%url, direction = "receive", "link connected");
    events(LinkEvent::Connected);
    let options = &url.options;
    let mut sink = Sink::new(Instant::now(), options.delivery, received.last, options.idle_timeout);
    sink.clock.compare_machines(machine(), connected.welcome.machine);
    sink.clock.add(Instant::now(), connected.times);
    sink.begin_missed(received.missed);
    if received.frames == 0 {
        // What a dead process has left in the ring may be of another server.
        sink.doubt_last();
    }
    let receiving = Receiving {
        messages: &mut connected.messages,
        publisher,
        origins: None,
        codec: connected.codec,
        limits: Limits {
            max_bytes: options.max_bytes,
            max_pixels: options.max_pixels,
            ring,
            buffers: memory.share_of(&received.link.peer),
            turns: Turns::new().of(&received.link.peer),
        },
        ends_with_channel: *when_closed == WhenClosed::Return,
        line: Line {
            stream: &*connected.stream,
            peer: &url.address.to_string(),
            sink,
            idle_timeout: options.idle_timeout,
            received,
            watch: &mut |received| {
                events(LinkEvent::Progress(received));
                go_on(cancel)
            },
        },
    };
    receiving.run()
}

/// Sends the channel of `subscriber` to `url`, over as many connections as necessary, until the channel is
/// closed here, or the count of frames was sent, and the peer has all of them. Also returns when the token of
/// the options ends it.
///
/// The subscriber's delivery should be that of the URL's options: until there is a connection it represents
/// the link, so that a publisher that waits for its readers waits for this one.
///
/// Blocks. `events` and the check of the token are called from this thread and from one other.
///
/// # Errors
/// As for [`receive`]; and when the connection fails after the channel was closed: its last frames may be
/// missing there.
pub fn send(
    url: &LinkUrl,
    subscriber: Subscriber,
    options: &SendOptions,
    events: &(dyn Fn(LinkEvent<'_, SendStatistics>) + Sync),
) -> Result<SendStatistics, Error> {
    let channel = subscriber.channel().to_owned();
    let mut kept = Some(Kept::new(subscriber));
    let mut total = SendStatistics::default();
    let mut tries = Tries::new();
    loop {
        tries.begun = Instant::now();
        let result = send_once(url, &channel, options, &mut kept, &mut total, events);
        let mut lost = |error: &Error, wait| events(LinkEvent::Lost { error, wait });
        match next_step(url, result, &mut tries, &options.cancel, &mut lost)? {
            Next::Again => {}
            Next::End => return Ok(total),
        }
    }
}

fn send_once(
    url: &LinkUrl,
    channel: &str,
    sending: &SendOptions,
    kept: &mut Option<Kept>,
    total: &mut SendStatistics,
    events: &(dyn Fn(LinkEvent<'_, SendStatistics>) + Sync),
) -> Result<(), Fault> {
    // A restarted server names the last frame of the channel only to a client that knows its epoch.
    let sent = kept.as_ref().map(Kept::last);
    let mut connected = connect(url, Direction::Send, sent, &mut || go_on(&sending.cancel))?;
    tracing::info!(%url, direction = "send", "link connected");
    events(LinkEvent::Connected);
    let options = &url.options;
    let subscriber = sending.subscriber.clone().delivery(options.delivery);
    let last = known(connected.welcome.last).filter(|last| resume::may_be(&subscriber, channel, *last));
    if let Some(kept) = kept {
        let lost = kept.go_back(&subscriber, last);
        total.frames = total.frames.saturating_sub(lost);
    }
    let terms = Terms {
        channel: channel.to_owned(),
        subscriber,
        max_milli_fps: options.max_milli_fps(),
        max_payload: connected.welcome.max_payload,
        last,
        idle_timeout: options.idle_timeout,
        ends_with_channel: sending.when_closed == WhenClosed::Return,
        count: sending.count.map(|count| count.saturating_sub(total.frames)),
    };
    let before = total.clone();
    let sum = |sent: &SendStatistics| SendStatistics {
        frames: before.frames + sent.frames,
        skipped: before.skipped + sent.skipped,
        bytes: before.bytes + sent.bytes,
        live: sent.live,
    };
    let watch = |sent: &SendStatistics| {
        events(LinkEvent::Progress(&sum(sent)));
        go_on(&sending.cancel)
    };
    let peer = url.address.to_string();
    let coder = coder::Member::alone(connected.codec, options.size)?;
    let mut means = Means { coder, copies: None };
    let result =
        outgoing::run(&*connected.stream, &mut connected.messages, &peer, &terms, kept, &mut means, &watch);
    let (result, sent) = match result {
        Ok(sent) => (Ok(()), sent),
        Err((fault, sent)) => (Err(fault), sent),
    };
    *total = sum(&sent);
    events(LinkEvent::Progress(total));
    result
}

enum Next {
    Again,
    End,
}

fn next_step(
    url: &LinkUrl,
    result: Result<(), Fault>,
    tries: &mut Tries,
    cancel: &CancelToken,
    lost: &mut dyn FnMut(&Error, Duration),
) -> Result<Next, Error> {
    let closed = || {
        tracing::info!(%url, "link closed");
        Ok(Next::End)
    };
    match result {
        Ok(()) => closed(),
        Err(_) if cancel.ends_wait() => closed(),
        Err(fault) if fault.try_again => {
            let wait = tries.wait();
            tracing::warn!(%url, error = %fault.error, retry_in = ?wait, "link lost");
            lost(&fault.error, wait);
            if sleep(wait, cancel) { Ok(Next::Again) } else { closed() }
        }
        Err(fault) => {
            tracing::error!(%url, error = %fault.error, "link failed");
            Err(fault.error)
        }
    }
}
