//! The side that sends frames: when it may, and what it answers.

use std::time::{Duration, Instant};

use framelane::Error;

use super::message::{ChannelState, Message};
use super::violation;

/// Credits beyond what was sent that no sink can want.
const MOST_CREDITS: u64 = 4096;

/// Permission to send a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Now,
    /// Not before this moment: the sink wants fewer frames a second.
    At(Instant),
    /// The sink has enough frames in flight.
    NoCredit,
}

/// Reaction to a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    /// Answer with a pong, and the time at which it goes.
    Pong {
        ping_sent_ns: u64,
        received_ns: u64,
    },
    /// The sink has taken everything, and ends.
    Done,
}

#[derive(Debug)]
pub(crate) struct Source {
    allowed: u64,
    sent: u64,
    interval: Duration,
    due: Instant,
    last_heard: Instant,
    idle_timeout: Duration,
    keyframe: bool,
}

impl Source {
    /// `max_milli_fps` as in the hello. A peer that sends nothing for `idle-timeout` is disconnected.
    pub(crate) fn new(now: Instant, max_milli_fps: u32, idle_timeout: Duration) -> Self {
        let interval = match max_milli_fps {
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(1000.0 / f64::from(rate)),
        };
        Source { allowed: 0, sent: 0, interval, due: now, last_heard: now, idle_timeout, keyframe: true }
    }

    /// Handles a message of the sink; `received_ns` is its arrival, on `CLOCK_REALTIME`.
    ///
    /// # Errors
    /// When a sink does not send such a message.
    pub(crate) fn take(&mut self, now: Instant, received_ns: u64, message: &Message) -> Result<Reply, Error> {
        self.last_heard = now;
        match *message {
            Message::Credit(total) => {
                if total > self.sent + MOST_CREDITS {
                    return Err(violation(format_args!(
                        "expected at most {MOST_CREDITS} credits, found {}",
                        total - self.sent
                    )));
                }
                self.allowed = self.allowed.max(total);
                Ok(Reply::Nothing)
            }
            Message::Ping { sent_ns } => Ok(Reply::Pong { ping_sent_ns: sent_ns, received_ns }),
            Message::Keyframe => {
                self.keyframe = true;
                Ok(Reply::Nothing)
            }
            Message::State(ChannelState::Closed) => Ok(Reply::Done),
            Message::Life(_) | Message::Unknown => Ok(Reply::Nothing),
            Message::Refused(ref refusal) => Err(refusal.clone().into_error()),
            ref other => Err(violation(format_args!("a receiver does not send {}", other.name()))),
        }
    }

    pub(crate) fn ready(&self, now: Instant) -> Ready {
        if self.sent >= self.allowed {
            Ready::NoCredit
        } else if now < self.due {
            Ready::At(self.due)
        } else {
            Ready::Now
        }
    }

    /// A frame was sent, at the moment when it was ready.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent += 1;
        // From the moment when it was due: a little late each time is not slower on average. But no burst
        // after a pause.
        self.due = (self.due + self.interval).max(now);
    }

    /// Returns true if the next frame has to be a keyframe. The request is cleared.
    pub(crate) fn take_keyframe(&mut self) -> bool {
        std::mem::take(&mut self.keyframe)
    }

    /// Returns true if the sink has been silent for too long. (It pings every second.)
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        now.duration_since(self.last_heard) > self.idle_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn frames_go_as_credits_allow() {
        let now = Instant::now();
        let mut source = Source::new(now, 0, IDLE_TIMEOUT);
        assert_eq!(source.ready(now), Ready::NoCredit);
        source.take(now, 0, &Message::Credit(2)).unwrap();
        source.sent(now);
        source.sent(now);
        assert_eq!(source.ready(now), Ready::NoCredit);
        // Late or repeated grants take nothing back.
        source.take(now, 0, &Message::Credit(1)).unwrap();
        source.take(now, 0, &Message::Credit(3)).unwrap();
        assert_eq!(source.ready(now), Ready::Now);
        assert!(source.take(now, 0, &Message::Credit(u64::MAX)).is_err());
    }

    #[test]
    fn rate_limit_holds_on_average_and_permits_no_burst() {
        let start = Instant::now();
        let mut source = Source::new(start, 10_000, IDLE_TIMEOUT);
        source.take(start, 0, &Message::Credit(4000)).unwrap();
        // Offered 30 a second for ten seconds, each checked a little late; then none; then again.
        let mut sent = 0;
        for step in 0..300 {
            let now = start + Duration::from_micros(33_333 * step + step % 5 * 1000);
            if source.ready(now) == Ready::Now {
                source.sent(now);
                sent += 1;
            }
        }
        assert!((98..=101).contains(&sent), "{sent}");
        let later = start + Duration::from_secs(60);
        let burst = (0..10).filter(|_| {
            let ready = source.ready(later) == Ready::Now;
            if ready {
                source.sent(later);
            }
            ready
        });
        assert!(burst.count() <= 2);
    }

    #[test]
    fn silent_receiver_is_disconnected_and_a_pinging_one_is_not() {
        let start = Instant::now();
        let mut source = Source::new(start, 0, IDLE_TIMEOUT);
        let reply = source.take(start + IDLE_TIMEOUT, 77, &Message::Ping { sent_ns: 5 }).unwrap();
        assert_eq!(reply, Reply::Pong { ping_sent_ns: 5, received_ns: 77 });
        assert!(!source.is_gone(start + 2 * IDLE_TIMEOUT));
        assert!(source.is_gone(start + 2 * IDLE_TIMEOUT + Duration::from_nanos(1)));
    }
}
