//! The side that receives frames: its credits, the frames that it accepts, and the source's clock.

use std::time::{Duration, Instant};

use framelane::{Delivery, Error, Origin};

use super::clock::Clock;
use super::frame_head::FrameHead;
use super::message::{ChannelState, Message};
use super::violation;
use super::window::Window;

/// Interval of pings to the source.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Decision about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Publish it, after so many skipped frames.
    New { missed: u32 },
    /// Ignore it: it arrived before, or cannot be decoded without a missing frame.
    PassOver,
}

#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) clock: Clock,
    window: Window,
    idle_timeout: Duration,
    begun: u64,
    /// Frames that have arrived completely, published or not.
    done: u64,
    granted: u64,
    /// Everything up to here was taken, or counted as missed.
    last: Option<Origin>,
    /// The frame whose payload is coming.
    coming: Option<Origin>,
    last_heard: Instant,
    next_ping: Instant,
    missed: u64,
    state: ChannelState,
    needs_keyframe: bool,
    ask_keyframe: bool,
    /// True if the source may never have given the number `last` to a frame.
    doubts_last: bool,
}

impl Sink {
    /// `last` is the newest frame that is here already.
    pub(crate) fn new(
        now: Instant,
        delivery: Delivery,
        last: Option<Origin>,
        idle_timeout: Duration,
    ) -> Self {
        Sink {
            clock: Clock::new(now),
            window: Window::new(delivery),
            idle_timeout,
            begun: 0,
            done: 0,
            granted: 0,
            last,
            coming: None,
            last_heard: now,
            next_ping: now,
            missed: 0,
            state: ChannelState::Waiting,
            needs_keyframe: true,
            ask_keyframe: false,
            doubts_last: false,
        }
    }

    /// Lets the next frame decide whether `last` was right, which may be the number of another publisher:
    /// one from before this program's start, or one before the present life of the channel. A source that is
    /// sent a `last` which it knows sends only later frames.
    pub(crate) fn doubt_last(&mut self) {
        self.doubts_last = true;
    }

    /// Handles a message that is no frame; `now_ns` is its arrival, on `CLOCK_REALTIME`.
    ///
    /// # Errors
    /// When a source does not send such a message, and what it refuses.
    pub(crate) fn take(&mut self, now: Instant, now_ns: u64, message: &Message) -> Result<(), Error> {
        self.last_heard = now;
        match *message {
            Message::Pong { ping_sent_ns, received_ns, sent_ns } => {
                self.clock.add(now, [ping_sent_ns, received_ns, sent_ns, now_ns]);
                Ok(())
            }
            Message::State(state) => {
                self.state = state;
                Ok(())
            }
            Message::Life(_) | Message::Unknown => Ok(()),
            Message::Refused(ref refusal) => Err(refusal.clone().into_error()),
            ref other => Err(violation(format_args!("a sender of frames does not send {}", other.name()))),
        }
    }

    /// Decides about a frame whose head has arrived; its payload follows in any case.
    ///
    /// # Errors
    /// When it was sent without a credit.
    pub(crate) fn arrival(&mut self, now: Instant, head: &FrameHead) -> Result<Arrival, Error> {
        self.last_heard = now;
        self.begun += 1;
        if self.begun > self.granted {
            return Err(violation("a frame was sent without a credit"));
        }
        if self.needs_keyframe && !head.standalone {
            return Ok(Arrival::PassOver);
        }
        let Origin { epoch, sequence } = head.origin;
        let disputed = std::mem::take(&mut self.doubts_last);
        let missed = match self.last {
            // Numbers continue after a take-over of the publisher, and start again with a new channel.
            Some(last) if sequence > last.sequence => sequence - last.sequence - 1,
            Some(last) if disputed && epoch == last.epoch && sequence < last.sequence => 0,
            Some(last) if epoch == last.epoch => return Ok(Arrival::PassOver),
            _ => 0,
        };
        self.needs_keyframe = false;
        // Until it is here as a whole it can still be lost, and then be sent again.
        self.last = Some(Origin { epoch, sequence: sequence - 1 });
        self.coming = Some(head.origin);
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        self.missed += u64::from(missed);
        Ok(Arrival::New { missed })
    }

    /// Records received bytes of a frame.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Records that a frame with its payload has arrived, whether it was published or skipped.
    pub(crate) fn frame_done(&mut self, now: Instant) {
        self.last_heard = now;
        self.last = self.coming.take().or(self.last);
        self.done += 1;
        self.window.arrived(now);
    }

    /// A frame that is here as a whole had no place: it is to be sent again, by the next connection.
    pub(crate) fn not_taken(&mut self, origin: Origin) {
        self.last = Some(Origin { epoch: origin.epoch, sequence: origin.sequence - 1 });
    }

    /// A frame could not be decoded: none can before the next that needs no other.
    pub(crate) fn cannot_decode(&mut self) {
        self.missed += 1;
        self.ask_keyframe |= !self.needs_keyframe;
        self.needs_keyframe = true;
    }

    /// Returns the next message to send, if there is one; call it until it returns `None`.
    pub(crate) fn next_message(&mut self, now: Instant, now_ns: u64) -> Option<Message> {
        // Before the first credit: the answer then arrives before the first frame, whose times need it.
        if now >= self.next_ping {
            self.next_ping = now + PING_EVERY;
            return Some(Message::Ping { sent_ns: now_ns });
        }
        let allowed = self.done + self.window.frames(self.clock.idle_round_trip());
        if allowed > self.granted {
            self.granted = allowed;
            return Some(Message::Credit(allowed));
        }
        std::mem::take(&mut self.ask_keyframe).then_some(Message::Keyframe)
    }

    /// When [`Sink::next_message`] has something again at the latest.
    pub(crate) fn next_due(&self) -> Instant {
        self.next_ping
    }

    /// Returns true if the source has been silent for too long. (It answers pings.)
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        now.duration_since(self.last_heard) > self.idle_timeout
    }

    /// Up to where everything was taken or counted.
    pub(crate) fn last(&self) -> Option<Origin> {
        self.last
    }

    /// Goes on counting where an earlier connection has ended.
    pub(crate) fn begin_missed(&mut self, missed: u64) {
        self.missed = missed;
    }

    /// Returns the number of frames that the link skipped.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    pub(crate) fn state(&self) -> ChannelState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use framelane::{FrameInfo, Layout, PixelFormat};

    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    fn head(epoch: u64, sequence: u64, standalone: bool) -> FrameHead {
        FrameHead {
            origin: Origin { epoch, sequence },
            layout: Layout::packed(PixelFormat::Gray8, 1, 1).unwrap(),
            info: FrameInfo::default(),
            standalone,
            coded: false,
            sent_ns: 0,
            sent_monotonic_ns: 0,
        }
    }

    /// A sink with credits out for more frames than a test sends.
    fn sink(last: Option<Origin>) -> (Sink, Instant) {
        let now = Instant::now();
        let mut sink = Sink::new(now, Delivery::Every, last, IDLE_TIMEOUT);
        assert_eq!(sink.next_message(now, 5), Some(Message::Ping { sent_ns: 5 }));
        assert_eq!(sink.next_message(now, 5), Some(Message::Credit(8)));
        assert_eq!(sink.next_message(now, 0), None);
        (sink, now)
    }

    #[test]
    fn sink_accepts_no_repeated_or_older_frame_and_counts_gaps() {
        let (mut sink, now) = sink(Some(Origin { epoch: 5, sequence: 10 }));
        let mut arrival = |epoch, sequence| {
            let arrival = sink.arrival(now, &head(epoch, sequence, true)).unwrap();
            sink.frame_done(now);
            arrival
        };
        assert_eq!(arrival(5, 10), Arrival::PassOver, "the last one of the link before");
        assert_eq!(arrival(5, 9), Arrival::PassOver);
        assert_eq!(arrival(5, 14), Arrival::New { missed: 3 });
        assert_eq!(arrival(6, 15), Arrival::New { missed: 0 }, "taken over: numbers go on");
        assert_eq!(arrival(7, 1), Arrival::New { missed: 0 }, "a new channel: they start again");
        assert_eq!(arrival(7, 1), Arrival::PassOver);
        assert_eq!(arrival(7, u64::MAX), Arrival::New { missed: u32::MAX });
        assert_eq!(sink.missed(), 3 + u64::from(u32::MAX));
    }

    #[test]
    fn forged_number_from_before_does_not_silence_the_source() {
        let forged = Origin { epoch: 5, sequence: u64::MAX };
        let (mut sink, now) = sink(Some(forged));
        sink.doubt_last();
        assert_eq!(sink.arrival(now, &head(5, 7, true)).unwrap(), Arrival::New { missed: 0 });
        sink.frame_done(now);
        assert_eq!(sink.arrival(now, &head(5, 7, true)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(5, 9, true)).unwrap(), Arrival::New { missed: 1 });
    }

    #[test]
    fn frame_that_is_here_from_before_is_not_taken_twice() {
        let (mut sink, now) = sink(Some(Origin { epoch: 5, sequence: 7 }));
        sink.doubt_last();
        assert_eq!(sink.arrival(now, &head(5, 7, true)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(5, 6, true)).unwrap(), Arrival::PassOver);
    }

    #[test]
    fn truncated_frame_can_be_resent_and_is_counted_once() {
        let (mut first, now) = sink(Some(Origin { epoch: 5, sequence: 10 }));
        assert_eq!(first.arrival(now, &head(5, 13, true)).unwrap(), Arrival::New { missed: 2 });
        let (mut second, now) = sink(first.last());
        assert_eq!(second.arrival(now, &head(5, 13, true)).unwrap(), Arrival::New { missed: 0 });
        let (mut third, now) = sink(second.last());
        assert_eq!(third.arrival(now, &head(5, 15, true)).unwrap(), Arrival::New { missed: 2 }, "13 and 14");
    }

    #[test]
    fn undecodable_frames_are_skipped_until_a_keyframe() {
        let (mut sink, now) = sink(None);
        assert_eq!(sink.arrival(now, &head(1, 1, false)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(1, 2, true)).unwrap(), Arrival::New { missed: 0 });
        sink.frame_done(now);
        sink.cannot_decode();
        sink.cannot_decode();
        let due: Vec<_> = std::iter::from_fn(|| sink.next_message(now, 0)).collect();
        assert_eq!(due, [Message::Credit(9), Message::Keyframe]);
        assert_eq!(sink.arrival(now, &head(1, 3, false)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(1, 4, true)).unwrap(), Arrival::New { missed: 1 });
    }

    #[test]
    fn repeated_keyframe_does_not_stand_for_the_next_one() {
        let (mut sink, now) = sink(Some(Origin { epoch: 1, sequence: 5 }));
        assert_eq!(sink.arrival(now, &head(1, 5, true)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(1, 6, false)).unwrap(), Arrival::PassOver);
        assert_eq!(sink.arrival(now, &head(1, 7, true)).unwrap(), Arrival::New { missed: 1 });
    }

    #[test]
    fn a_frame_without_a_credit_ends_the_link() {
        let (mut sink, now) = sink(None);
        for number in 1..=8 {
            sink.arrival(now, &head(1, number, true)).unwrap();
        }
        assert!(sink.arrival(now, &head(1, 9, true)).is_err());
    }

    #[test]
    fn silent_source_is_pinged_each_second_then_disconnected() {
        let (mut sink, start) = sink(None);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sink.next_message(at(1), 7), Some(Message::Ping { sent_ns: 7 }));
        assert_eq!(sink.next_message(at(1), 7), None);
        assert!(!sink.is_gone(at(10)));
        let pong = Message::Pong { ping_sent_ns: 100, received_ns: 1150, sent_ns: 1150 };
        sink.take(at(5), 200, &pong).unwrap();
        assert_eq!((sink.clock.peer_ahead_ns(), sink.clock.round_trip_ns()), (1000, 100));
        assert_eq!(sink.clock.to_ours_ns(5000), 4000);
        assert!(!sink.is_gone(at(15)));
        assert!(sink.is_gone(at(16)));
    }
}
