//! The boxes of a channel, by the frames in which they were found.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use framelane::{
    CancelToken, Delivery, DetectionSubscriber, Detections, Origin, RecvError, SubscriberOptions,
};

/// Batches that are kept.
const KEPT: usize = 64;
/// Interval of attempts to open the channel of boxes.
const RETRY: Duration = Duration::from_secs(1);
/// A detector that sent nothing for this time is not waited for.
const SILENCE: Duration = Duration::from_secs(1);
/// Boxes of an earlier frame are shown for this time.
const SHOWN: Duration = Duration::from_secs(1);

/// Receives the boxes of a channel from `CHANNEL/detections`.
pub struct BoxSource {
    options: SubscriberOptions,
    channel: String,
    subscriber: Option<DetectionSubscriber>,
    /// The result of an attempt that runs in a thread. The server of a URL may answer late.
    opening: Option<Receiver<Option<DetectionSubscriber>>>,
    cancel: CancelToken,
    retry_at: Instant,
    last: Option<Instant>,
    recent: VecDeque<(Instant, Detections)>,
}

impl BoxSource {
    /// Returns a source of the boxes of `channel`, which may be a URL. `options` has the directory, and the
    /// URLs that are allowed. Opens nothing yet.
    pub fn new(options: SubscriberOptions, channel: &str) -> Self {
        let cancel = CancelToken::new();
        BoxSource {
            options: options.delivery(Delivery::Every).cancel(cancel.clone()),
            channel: detections_of(channel),
            subscriber: None,
            opening: None,
            cancel,
            retry_at: Instant::now(),
            last: None,
            recent: VecDeque::new(),
        }
    }

    /// Receives all batches that are there. Never blocks. Calls `found` for each.
    pub fn poll(&mut self, mut found: impl FnMut(&Detections)) {
        if self.subscriber.is_none() {
            self.open();
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

    fn open(&mut self) {
        if let Some(opening) = &self.opening {
            match opening.try_recv() {
                Err(TryRecvError::Empty) => return,
                opened => self.subscriber = opened.ok().flatten(),
            }
            self.opening = None;
            return;
        }
        if Instant::now() < self.retry_at {
            return;
        }
        self.retry_at = Instant::now() + RETRY;
        let (options, channel) = (self.options.clone(), self.channel.clone());
        if !channel.contains(':') {
            let options = options.open_timeout(Some(Duration::ZERO));
            self.subscriber = DetectionSubscriber::with_options(options, &channel).ok();
            return;
        }
        let (sender, receiver) = sync_channel(1);
        let open = move || {
            let opened = DetectionSubscriber::with_options(options.open_timeout(None), &channel).ok();
            // The source may be gone.
            let _ = sender.send(opened);
        };
        if std::thread::Builder::new().name("boxes".to_owned()).spawn(open).is_ok() {
            self.opening = Some(receiver);
        }
    }

    /// Returns whether boxes of the next frames can be expected.
    pub fn is_alive(&self) -> bool {
        self.subscriber.is_some() && self.last.is_some_and(|last| last.elapsed() < SILENCE)
    }

    /// Returns whether boxes of this frame, or of a later one, have arrived.
    pub fn has_reached(&self, frame: Origin) -> bool {
        self.recent
            .iter()
            .any(|(_, batch)| batch.frame.epoch == frame.epoch && batch.frame.sequence >= frame.sequence)
    }

    /// Returns the boxes of this frame, or else the newest ones of an earlier frame.
    pub fn of(&self, frame: Origin) -> Option<&Detections> {
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

impl fmt::Debug for BoxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxSource").finish_non_exhaustive()
    }
}

impl Drop for BoxSource {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The channel of the boxes. Options of a URL follow the name.
fn detections_of(channel: &str) -> String {
    match channel.split_once('?') {
        Some((channel, options)) => format!("{channel}/detections?{options}"),
        None => format!("{channel}/detections"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_a_url_keep_its_options() {
        assert_eq!(detections_of("cam0"), "cam0/detections");
        assert_eq!(
            detections_of("tls://h:1/a/cam0?token-file=f&ca=x"),
            "tls://h:1/a/cam0/detections?token-file=f&ca=x"
        );
    }
}
