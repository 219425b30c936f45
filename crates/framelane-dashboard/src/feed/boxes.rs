//! The boxes of a channel, by the frames in which they were found.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use framelane::{Delivery, DetectionSubscriber, Detections, Origin, RecvError, SubscriberOptions, Urls};

/// Batches that are kept.
const KEPT: usize = 64;
/// Interval of attempts to open the channel of boxes.
const RETRY: Duration = Duration::from_secs(1);
/// A detector that sent nothing for this time is not waited for.
const SILENCE: Duration = Duration::from_secs(1);
/// Boxes of an earlier frame are shown for this time.
const SHOWN: Duration = Duration::from_secs(1);

/// Receives the boxes of a channel from `CHANNEL/detections`.
pub(super) struct BoxSource {
    options: SubscriberOptions,
    channel: String,
    subscriber: Option<DetectionSubscriber>,
    retry_at: Instant,
    last: Option<Instant>,
    recent: VecDeque<(Instant, Detections)>,
}

impl BoxSource {
    pub(super) fn new(directory: Option<PathBuf>, channel: &str) -> Self {
        let mut options = SubscriberOptions::new()
            .delivery(Delivery::Every)
            .urls(Urls::Refuse)
            .open_timeout(Some(Duration::ZERO));
        if let Some(directory) = directory {
            options = options.directory(directory);
        }
        BoxSource {
            options,
            channel: format!("{channel}/detections"),
            subscriber: None,
            retry_at: Instant::now(),
            last: None,
            recent: VecDeque::new(),
        }
    }

    /// Receives all batches that are there. Never blocks. `found` is called for each.
    pub(super) fn poll(&mut self, mut found: impl FnMut(&Detections)) {
        if self.subscriber.is_none() && Instant::now() >= self.retry_at {
            self.retry_at = Instant::now() + RETRY;
            self.subscriber = DetectionSubscriber::with_options(self.options.clone(), &self.channel).ok();
        }
        let Some(subscriber) = &mut self.subscriber else { return };
        // No more than the ring can hold, so that a fast detector cannot keep this loop.
        for _ in 0..KEPT {
            match subscriber.recv_timeout(Duration::ZERO) {
                Ok(batch) => {
                    found(&batch);
                    let now = Instant::now();
                    self.last = Some(now);
                    if self.recent.len() == KEPT {
                        self.recent.pop_front();
                    }
                    self.recent.push_back((now, batch));
                }
                Err(RecvError::Timeout) => return,
                // Closed, damaged, or no detections: the next attempt shows.
                Err(_) => {
                    self.subscriber = None;
                    return;
                }
            }
        }
    }

    /// Returns whether boxes of the next frames can be expected.
    pub(super) fn is_alive(&self) -> bool {
        self.subscriber.is_some() && self.last.is_some_and(|last| last.elapsed() < SILENCE)
    }

    /// Returns whether boxes of this frame, or of a later one, have arrived.
    pub(super) fn has_reached(&self, frame: Origin) -> bool {
        self.recent
            .iter()
            .any(|(_, batch)| batch.frame.epoch == frame.epoch && batch.frame.sequence >= frame.sequence)
    }

    /// Returns the boxes of this frame, or else the newest ones of an earlier frame.
    pub(super) fn of(&self, frame: Origin) -> Option<&Detections> {
        let mut earlier: Option<&(Instant, Detections)> = None;
        for found in self.recent.iter().rev() {
            let id = &found.1.frame;
            if id.epoch != frame.epoch || id.sequence > frame.sequence {
                continue;
            }
            if id.sequence == frame.sequence {
                return Some(&found.1);
            }
            if earlier.is_none_or(|other| other.1.frame.sequence < id.sequence) {
                earlier = Some(found);
            }
        }
        earlier.filter(|(received, _)| received.elapsed() < SHOWN).map(|(_, batch)| batch)
    }
}
