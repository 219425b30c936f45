//! The thread of one channel: receives frames, encodes them, and matches boxes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use framelane::{ErrorKind, Frame, PixelFormat, RecvError, Subscriber, SubscriberOptions, Urls};
use framelane_view::{BoxSource, Hold};

use super::encode::PictureEncoder;
use super::picture::{FrameFacts, Picture};
use super::{Feed, Feeds, Size, locked};
use crate::latency::Hop;

/// Longest wait between two checks for demand.
const POLL: Duration = Duration::from_millis(200);
/// Interval of checks for boxes while a picture waits for its own.
const BOX_POLL: Duration = Duration::from_millis(5);
/// Pause after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// An encoded frame that waits for its boxes.
type Encoded = (FrameFacts, [Option<Vec<u8>>; Size::ALL.len()]);

struct Worker<'f> {
    feeds: &'f Feeds,
    feed: &'f Arc<Feed>,
    encoders: [Option<PictureEncoder>; Size::ALL.len()],
    boxes: BoxSource,
    waiting: Hold<Encoded>,
}

/// Serves the viewers of a channel until the last one has left.
pub(super) fn run(feeds: &Feeds, feed: &Arc<Feed>) {
    let mut options = SubscriberOptions::new().urls(Urls::Refuse);
    if let Some(directory) = &feeds.directory {
        options = options.directory(directory);
    }
    let mut worker = Worker {
        feeds,
        feed,
        encoders: Default::default(),
        boxes: BoxSource::new(options.clone(), &feed.channel),
        waiting: Hold::default(),
    };
    let options = options.reconnect(true).open_timeout(Some(POLL));
    while !worker.ends() {
        match options.open(&feed.channel) {
            Ok(subscriber) => worker.receive(subscriber),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => worker.pause(error.message()),
        }
    }
}

impl Worker<'_> {
    fn ends(&self) -> bool {
        self.feed.end_if_idle(self.feeds.stopped.load(Ordering::SeqCst))
    }

    fn pause(&self, fault: &str) {
        *locked(&self.feed.fault) = Some(fault.to_owned());
        std::thread::sleep(PAUSE);
    }

    /// Receives until an error, or until there is no demand.
    fn receive(&mut self, mut subscriber: Subscriber) {
        let mut check_at = Instant::now();
        loop {
            if Instant::now() >= check_at {
                if !self.feed_is_wanted() {
                    return;
                }
                check_at = Instant::now() + POLL;
            }
            let wait = if self.waiting.is_empty() { POLL } else { BOX_POLL };
            match subscriber.recv_timeout(wait) {
                Ok(frame) => self.take(frame),
                Err(RecvError::Timeout) => {}
                Err(error) => {
                    self.pause(&error.to_string());
                    return;
                }
            }
            let latencies = &self.feed.latencies;
            self.boxes.poll(|batch| latencies.record(Hop::Detect, batch.latency_ns()));
            self.release();
        }
    }

    fn feed_is_wanted(&self) -> bool {
        let measured = locked(&self.feed.measured_until).is_some_and(|until| Instant::now() < until);
        !self.feeds.stopped.load(Ordering::SeqCst) && (measured || self.feed.viewers() > 0)
    }

    /// Encodes a frame in each size that is viewed, and returns its slot.
    fn take(&mut self, frame: Frame) {
        self.feed.latencies.record_frame(&frame);
        if frame.format() == PixelFormat::Detections {
            return;
        }
        let mut jpegs = [None, None];
        for size in Size::ALL {
            if !self.feed.is_viewed(size) {
                continue;
            }
            match self.encode(size, &frame) {
                Ok(jpeg) => {
                    self.feed.outputs[size as usize].encodes.fetch_add(1, Ordering::Relaxed);
                    jpegs[size as usize] = Some(jpeg);
                }
                Err(error) => {
                    *locked(&self.feed.fault) = Some(error.message().to_owned());
                    return;
                }
            }
        }
        if jpegs.iter().all(Option::is_none) {
            return;
        }
        *locked(&self.feed.fault) = None;
        let frame = FrameFacts::of(&frame);
        self.waiting.push(frame.origin, (frame, jpegs));
    }

    fn encode(&mut self, size: Size, frame: &Frame) -> Result<Vec<u8>, framelane::Error> {
        let encoder = match &mut self.encoders[size as usize] {
            Some(encoder) => encoder,
            none => none.insert(PictureEncoder::new(size)?),
        };
        let mut jpeg = Vec::new();
        encoder.encode(frame.layout(), frame.info().color, frame.bytes(), &mut jpeg)?;
        Ok(jpeg)
    }

    /// Publishes the newest picture that need not wait for its boxes any longer. Older ones are skipped.
    fn release(&mut self) {
        let Some((frame, jpegs)) = self.waiting.release(&self.boxes, drop) else { return };
        let boxes = self.boxes.of(frame.origin);
        for (size, jpeg) in Size::ALL.into_iter().zip(jpegs) {
            if let Some(jpeg) = jpeg {
                let picture = Picture::new(&self.feed.channel, size, &frame, boxes, &jpeg);
                self.feed.publish(size, Arc::new(picture));
            }
        }
    }
}
