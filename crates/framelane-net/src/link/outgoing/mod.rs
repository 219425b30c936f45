//! The sending end of a link: from a channel's leases straight into the stream.
//!
//! Two threads serve a connection: one reads the messages of the receiver ([`link`]), the other one sends
//! ([`sender`], and [`frames`] for a single frame).

mod frames;
mod link;
mod sender;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Origin, SubscriberOptions};

use crate::budget::Share;
use crate::coder;
use crate::fault::{Ended, Fault};
use crate::link::resume::Kept;
use crate::messages::MessageReader;
use crate::proto::{Message, Source};
use crate::transport::{END_POLL_INTERVAL, Transport};

use link::Link;
use sender::Sender;

/// Interval at which the end of the receiving thread is noticed.
const HEAR: Duration = Duration::from_millis(10);

/// Terms of a link that sends.
pub(crate) struct Terms {
    pub channel: String,
    pub subscriber: SubscriberOptions,
    pub max_milli_fps: u32,
    /// The longest payload that the peer accepts.
    pub max_payload: u64,
    /// The newest frame that the peer has.
    pub last: Option<Origin>,
    pub idle_timeout: Duration,
    /// True if the link ends when the channel is closed; else it waits for the channel to be published again.
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

/// Statistics of a sending link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendStatistics {
    /// Frames sent.
    pub frames: u64,
    /// Frames that were skipped because the receiver was slower, or requested fewer.
    pub skipped: u64,
    /// Bytes of frames sent.
    pub bytes: u64,
    /// True while the channel has a publisher.
    pub live: bool,
}

/// Called with the statistics a few times a second and for each frame. An error ends the link.
pub(crate) type Watch<'w> = &'w (dyn Fn(&SendStatistics) -> Result<(), Fault> + Sync);

/// Sends the channel's frames until it ends. `kept` is a subscriber of the channel from before: what it has
/// not received yet is sent even when the channel is closed by now. It is given back when the connection
/// fails.
///
/// # Errors
/// Why it has ended; `Ok` when the channel was closed and the link ends with it.
pub(crate) fn run(
    stream: &dyn Transport,
    messages: &mut MessageReader,
    peer: &str,
    terms: &Terms,
    kept: &mut Option<Kept>,
    means: &mut Means<'_>,
    watch: Watch<'_>,
) -> Result<SendStatistics, (Fault, SendStatistics)> {
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
            let fault = link.hear(messages);
            link.ended.set();
            link.changed.notify_all();
            fault
        });
        let mut sender = Sender {
            link: &link,
            sent: SendStatistics::default(),
            last: terms.last,
            life: None,
            kept,
            means,
            overcounted: 0,
            in_frame: false,
        };
        let ran = sender.run();
        // With a count the channel may continue, and another connection may bring the missing frames.
        let closed = ran.is_ok() && !sender.has_sent_all();
        let result = ran.and_then(|()| sender.close());
        let sent = sender.sent;
        if let Err(fault) = &result
            && fault.error.kind() != ErrorKind::SystemFailure
            && !sender.in_frame
        {
            // The reason of the end. Within a frame, the receiver would take it for pixels.
            let refusal = fault.refusal();
            let until = Instant::now() + END_POLL_INTERVAL;
            let mut unsent = lock(&link.unsent);
            Message::Refused(refusal).encode(&mut unsent);
            let _ = link.write(&mut unsent, false, &mut || {
                if Instant::now() < until { Ok(()) } else { Err(Fault::stopped()) }
            });
        }
        stream.shut();
        // Messages that arrived before are still read, and explain the broken stream that the writer has met.
        let until = Instant::now() + END_POLL_INTERVAL;
        while !link.ended.is_set() && Instant::now() < until {
            let source = lock(&link.source);
            let _ = link.changed.wait_timeout(source, HEAR);
        }
        link.ended.set();
        let heard = hears.join().unwrap_or_else(|_| {
            Fault::lasting(Error::new(ErrorKind::InternalFailure, "a thread has panicked"))
        });
        let fault = match result {
            Ok(()) if link.done.is_set() => return Ok(sent),
            Ok(()) => heard,
            Err(fault)
                if matches!(fault.error.kind(), ErrorKind::SystemFailure | ErrorKind::ChannelClosed)
                    && !heard.is_stop() =>
            {
                heard
            }
            Err(fault) => fault,
        };
        Err((if closed { not_taken(terms, fault) } else { fault }, sent))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a connection that failed after the channel was closed. The link does not reconnect: a caller
/// that waits for the end gets the error at once, because the server may never return.
fn not_taken(terms: &Terms, fault: Fault) -> Fault {
    if fault.is_stop() {
        return fault;
    }
    let what = format!("channel {} closed before the receiver confirmed its last frames", terms.channel);
    let error = fault
        .error
        .context(what)
        .with_hint("check the server and the network, then send the last frames again");
    Fault { error, try_again: false, ..fault }
}

#[cfg(test)]
mod tests;
