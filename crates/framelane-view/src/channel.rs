//! The thread of one channel: receives frames, copies the newest, and matches boxes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framelane::{
    CancelToken, Detections, Error, ErrorKind, Frame, Origin, PixelFormat, RecvError, Subscriber,
    SubscriberOptions,
};

use crate::boxes::BoxSource;
use crate::hold::Hold;
use crate::image::Image;
use crate::options::{BoxMode, ViewOptions};

/// Longest wait between two checks of the channel.
const POLL: Duration = Duration::from_millis(200);
/// Interval of checks for boxes while a frame waits for its own.
const BOX_POLL: Duration = Duration::from_millis(5);
/// Pause after an error.
const PAUSE: Duration = Duration::from_millis(500);
/// Most memory of the frames that wait for their boxes.
const MAX_WAITING_BYTES: usize = 256 << 20;
/// Buffers that are kept for the next frames.
const SPARE: usize = 3;

/// State of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not exist, or has no publisher.
    Waiting,
    Live,
    /// With the time since the newest frame, in whole seconds.
    Stalled(Duration),
    /// It is tried again.
    Failed(String),
    /// It cannot exist.
    Refused {
        kind: ErrorKind,
        message: String,
        hint: String,
    },
}

/// Facts of a frame that outlive its lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) origin: Origin,
    pub(crate) timestamp_ns: u64,
    pub(crate) size: (u32, u32),
    pub(crate) format: PixelFormat,
}

/// A frame to be shown.
pub(crate) struct Shown {
    pub(crate) facts: Facts,
    pub(crate) image: Image,
    pub(crate) boxes: Option<Detections>,
}

/// Values that the window takes from the thread of a channel.
pub(crate) struct Inbox {
    pub(crate) state: State,
    pub(crate) frame: Option<Shown>,
    /// Boxes that arrived after their frame, with the frame on which they are drawn.
    pub(crate) late_boxes: Option<(Origin, Detections)>,
    /// Frames since the start.
    pub(crate) received: u64,
    /// Frames of the channel since the start that were not delivered.
    pub(crate) dropped: u64,
    spare: Vec<Image>,
}

/// A channel and its thread. The thread ends when this is dropped.
pub(crate) struct Channel {
    /// The name, or the URL without secrets.
    pub(crate) label: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    /// Both set by the window, read by the thread. They carry no data.
    paused: AtomicBool,
    boxes_shown: AtomicBool,
    cancel: CancelToken,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Channel {
    /// Starts to receive. `wake` is called after each change of the inbox.
    pub(crate) fn start(
        name: &str,
        options: &ViewOptions,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox {
                state: State::Waiting,
                frame: None,
                late_boxes: None,
                received: 0,
                dropped: 0,
                spare: Vec::new(),
            }),
            paused: AtomicBool::new(false),
            boxes_shown: AtomicBool::new(options.show_boxes),
            cancel: CancelToken::new(),
            wake: Box::new(wake),
        });
        let worker = Worker {
            name: name.to_owned(),
            mode: options.boxes,
            directory: options.directory.clone(),
            boxes: BoxSource::new(options.subscriber.clone(), name),
            hold: Hold::default(),
            waiting_bytes: 0,
            on_screen: None,
            drawn: None,
            last_frame: None,
            period: None,
            shared: shared.clone(),
        };
        let options = options.subscriber.clone().cancel(shared.cancel.clone()).reconnect(true);
        let thread = std::thread::Builder::new()
            .name("channel".to_owned())
            .spawn(move || worker.run(&options))
            .map_err(|error| Error::from_io("cannot start a thread", error))?;
        let label = framelane::redact::url(name).into_owned();
        Ok(Channel { label, shared, thread: Some(thread) })
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.shared.inbox()
    }

    /// Returns the memory of a frame that is no longer shown.
    pub(crate) fn recycle(&self, image: Image) {
        self.inbox().recycle(image);
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    pub(crate) fn set_boxes_shown(&self, shown: bool) {
        self.shared.boxes_shown.store(shown, Ordering::Relaxed);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic was already printed.
            let _ = thread.join();
        }
    }
}

impl Inbox {
    fn recycle(&mut self, image: Image) {
        if self.spare.len() < SPARE {
            self.spare.push(image);
        }
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no holder of the lock panics")
    }
}

struct Worker {
    name: String,
    mode: BoxMode,
    directory: Option<PathBuf>,
    boxes: BoxSource,
    hold: Hold<(Facts, Image)>,
    /// Memory of the frames in `hold`.
    waiting_bytes: usize,
    /// The frame that the window has last, and the frame of its boxes.
    on_screen: Option<Origin>,
    drawn: Option<Origin>,
    last_frame: Option<Instant>,
    /// Average interval of frames.
    period: Option<Duration>,
    shared: Arc<Shared>,
}

impl Worker {
    /// Receives until the channel is dropped.
    fn run(mut self, options: &SubscriberOptions) {
        // A link may take long to connect. A local channel shows at once that it does not exist.
        let timeout = (!self.is_url()).then_some(POLL);
        let options = options.clone().open_timeout(timeout);
        while !self.shared.cancel.is_cancelled() {
            let failure = match options.open(&self.name) {
                Ok(subscriber) => self.receive(subscriber),
                Err(error) => error,
            };
            match failure.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::NotFound => self.set_state(State::Waiting),
                kind @ (ErrorKind::InvalidName | ErrorKind::InvalidOption) => {
                    let (message, hint) = (failure.message().to_owned(), failure.advice().to_owned());
                    return self.set_state(State::Refused { kind, message, hint });
                }
                _ => self.fail(failure.message()),
            }
        }
    }

    fn is_url(&self) -> bool {
        self.name.contains(':')
    }

    /// Shows an error and waits for the next attempt.
    fn fail(&mut self, cause: &str) {
        self.set_state(State::Failed(cause.to_owned()));
        let until = Instant::now() + PAUSE;
        while Instant::now() < until && !self.shared.cancel.is_cancelled() {
            std::thread::sleep(PAUSE / 10);
        }
    }

    /// Receives until an error.
    fn receive(&mut self, mut subscriber: Subscriber) -> Error {
        let mut check_at = Instant::now() + POLL;
        loop {
            let wait = if self.hold.is_empty() { POLL } else { BOX_POLL };
            match subscriber.recv_timeout(wait) {
                Ok(frame) => {
                    check_at = Instant::now() + POLL;
                    self.take(frame);
                }
                Err(RecvError::Timeout) => {}
                Err(error) => return error.into(),
            }
            let mut found = false;
            self.boxes.poll(|_| found = true);
            if found {
                self.add_late_boxes();
            }
            self.release();
            if Instant::now() >= check_at {
                check_at = Instant::now() + POLL;
                let state = self.state_without_frames(&subscriber);
                self.set_state(state);
            }
        }
    }

    /// State of a channel that has sent no frame for a while.
    fn state_without_frames(&self, subscriber: &Subscriber) -> State {
        if !subscriber.publisher_alive() {
            return State::Waiting;
        }
        let current = self.shared.inbox().state.clone();
        if matches!(current, State::Failed(_)) {
            return current;
        }
        let stalled = if self.is_url() {
            // The server reports no state: by the frames that have arrived.
            let age = self.last_frame.map_or(Duration::ZERO, |last| last.elapsed());
            let limit = self.period.map(|period| (period * 5).max(Duration::from_secs(1)));
            limit.and_then(|limit| (age > limit).then_some(age))
        } else {
            let status = framelane::status(self.directory.as_deref(), &self.name);
            status.ok().and_then(|status| status.stalled_for())
        };
        stalled.map_or(State::Live, |time| State::Stalled(Duration::from_secs(time.as_secs())))
    }

    fn set_state(&self, state: State) {
        let mut inbox = self.shared.inbox();
        if inbox.state != state {
            inbox.state = state;
            drop(inbox);
            (self.shared.wake)();
        }
    }

    fn holds(&self) -> bool {
        self.mode == BoxMode::Matched && self.shared.boxes_shown.load(Ordering::Relaxed)
    }

    /// Copies a frame and returns its slot.
    fn take(&mut self, frame: Frame) {
        if let Some(last) = self.last_frame.replace(Instant::now()) {
            let interval = last.elapsed();
            self.period = Some(self.period.map_or(interval, |period| (period * 7 + interval) / 8));
        }
        let mut image = {
            let mut inbox = self.shared.inbox();
            inbox.received += 1;
            inbox.dropped += frame.dropped();
            inbox.spare.pop().unwrap_or_default()
        };
        if self.shared.paused.load(Ordering::Relaxed) {
            self.shared.inbox().recycle(image);
            return self.set_state(State::Live);
        }
        let facts = Facts {
            origin: frame.origin(),
            timestamp_ns: frame.timestamp_ns(),
            size: (frame.width(), frame.height()),
            format: frame.format(),
        };
        if let Err(error) = image.copy(&frame) {
            return self.set_state(State::Failed(error.message().to_owned()));
        }
        drop(frame);
        self.set_state(State::Live);
        if !self.holds() {
            return self.show(facts, image);
        }
        self.waiting_bytes += image.capacity_bytes();
        let mut oldest = self.hold.push(facts.origin, (facts, image));
        while let Some((_, image)) = oldest.take() {
            self.waiting_bytes -= image.capacity_bytes();
            self.shared.inbox().recycle(image);
            if self.waiting_bytes > MAX_WAITING_BYTES && self.hold.len() > 1 {
                oldest = self.hold.pop();
            }
        }
    }

    /// Shows the newest frame that need not wait for its boxes any longer.
    fn release(&mut self) {
        let (mut skipped, mut bytes) = (Vec::new(), 0);
        let mut newest = self.hold.release(&self.boxes, |(_, image)| skipped.push(image));
        if !self.holds() {
            while let Some(next) = self.hold.pop() {
                skipped.extend(newest.replace(next).map(|(_, image)| image));
            }
        }
        for image in skipped {
            bytes += image.capacity_bytes();
            self.shared.inbox().recycle(image);
        }
        if let Some((facts, image)) = newest {
            bytes += image.capacity_bytes();
            self.show(facts, image);
        }
        self.waiting_bytes -= bytes;
    }

    /// Passes a frame to the window.
    fn show(&mut self, facts: Facts, image: Image) {
        let boxes = self.boxes.of(facts.origin).cloned();
        self.on_screen = Some(facts.origin);
        self.drawn = boxes.as_ref().map(|batch| Origin::from(&batch.frame));
        let mut inbox = self.shared.inbox();
        if let Some(unseen) = inbox.frame.replace(Shown { facts, image, boxes }) {
            inbox.recycle(unseen.image);
        }
        drop(inbox);
        (self.shared.wake)();
    }

    /// Passes boxes to the window that are better than those with which the frame was shown.
    fn add_late_boxes(&mut self) {
        let Some(origin) = self.on_screen else { return };
        let Some(batch) = self.boxes.of(origin) else { return };
        let found = Some(Origin::from(&batch.frame));
        if self.drawn == found {
            return;
        }
        self.drawn = found;
        self.shared.inbox().late_boxes = Some((origin, batch.clone()));
        (self.shared.wake)();
    }
}
