//! Pictures of channels: one subscriber a channel, and one encode for each picture size, for all viewers.

mod encode;
mod picture;
mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::latency::Latencies;
pub(crate) use picture::Picture;

/// Latencies are measured this long after each request of `/metrics`.
const MEASURED_AFTER_SCRAPE: Duration = Duration::from_secs(90);

/// Sizes of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Size {
    /// At most 480 pixels wide and high.
    Tile,
    /// At most 1920 pixels wide and high.
    Full,
}

impl Size {
    pub(crate) const ALL: [Size; 2] = [Size::Tile, Size::Full];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Size::Tile => "tile",
            Size::Full => "full",
        }
    }

    /// The longest side, and the JPEG quality.
    fn settings(self) -> (u32, u8) {
        match self {
            Size::Tile => (480, 80),
            Size::Full => (1920, 85),
        }
    }
}

/// The feeds of all channels.
pub(crate) struct Feeds {
    directory: Option<PathBuf>,
    feeds: Mutex<HashMap<String, Arc<Feed>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    stopped: AtomicBool,
}

/// The feed of one channel.
pub(crate) struct Feed {
    pub(crate) channel: String,
    pub(crate) latencies: Latencies,
    outputs: [Output; Size::ALL.len()],
    measured_until: Mutex<Option<Instant>>,
    /// True while a worker runs. The lock also covers the decision to end it.
    running: Mutex<bool>,
    /// The reason why there are no pictures, while there are none.
    fault: Mutex<Option<String>>,
}

#[derive(Default)]
struct Output {
    viewers: AtomicUsize,
    encodes: AtomicU64,
    newest: Mutex<Option<Arc<Picture>>>,
    listeners: Mutex<Vec<Arc<Notify>>>,
}

/// Demand for the pictures of a channel in one size. The worker ends after the last one is dropped.
pub(crate) struct Viewing {
    feed: Arc<Feed>,
    size: Size,
    notify: Arc<Notify>,
}

impl Feeds {
    pub(crate) fn new(directory: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Feeds {
            directory,
            feeds: Mutex::default(),
            workers: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Begins to view a channel. `notify` is notified of each new picture. Makes some system calls.
    ///
    /// # Errors
    /// As [`framelane::status`], for a channel that does not exist.
    pub(crate) fn view(
        self: &Arc<Self>,
        channel: &str,
        size: Size,
        notify: Arc<Notify>,
    ) -> Result<Viewing, Error> {
        framelane::status(self.directory.as_deref(), channel)?;
        let feed = self.feed(channel);
        let output = &feed.outputs[size as usize];
        locked(&output.listeners).push(notify.clone());
        output.viewers.fetch_add(1, Ordering::SeqCst);
        let viewing = Viewing { feed, size, notify };
        self.start(&viewing.feed)?;
        Ok(viewing)
    }

    /// Measures the latencies of these channels for a while.
    pub(crate) fn measure<'c>(
        self: &Arc<Self>,
        channels: impl Iterator<Item = &'c str>,
    ) -> Result<(), Error> {
        for channel in channels {
            let feed = self.feed(channel);
            *locked(&feed.measured_until) = Some(Instant::now() + MEASURED_AFTER_SCRAPE);
            self.start(&feed)?;
        }
        Ok(())
    }

    /// Returns the feed of a channel, if it was ever viewed or measured.
    pub(crate) fn get(&self, channel: &str) -> Option<Arc<Feed>> {
        locked(&self.feeds).get(channel).cloned()
    }

    /// Forgets feeds of closed channels without a worker.
    pub(crate) fn retain(&self, is_listed: impl Fn(&str) -> bool) {
        locked(&self.feeds).retain(|channel, feed| is_listed(channel) || *locked(&feed.running));
        locked(&self.workers).retain(|worker| !worker.is_finished());
    }

    /// Ends all workers and waits for them.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let workers = std::mem::take(&mut *locked(&self.workers));
        for worker in workers {
            // A panic was already printed.
            let _ = worker.join();
        }
    }

    fn feed(&self, channel: &str) -> Arc<Feed> {
        let mut feeds = locked(&self.feeds);
        feeds.entry(channel.to_owned()).or_insert_with(|| Arc::new(Feed::new(channel))).clone()
    }

    fn start(self: &Arc<Self>, feed: &Arc<Feed>) -> Result<(), Error> {
        let mut running = locked(&feed.running);
        if *running || self.stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (feeds, theirs) = (self.clone(), feed.clone());
        let worker = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || worker::run(&feeds, &theirs))
            .map_err(|error| Error::from_io("cannot start a thread", error))?;
        *running = true;
        locked(&self.workers).push(worker);
        Ok(())
    }
}

impl Feed {
    fn new(channel: &str) -> Self {
        Feed {
            channel: channel.to_owned(),
            latencies: Latencies::new(),
            outputs: Default::default(),
            measured_until: Mutex::default(),
            running: Mutex::new(false),
            fault: Mutex::default(),
        }
    }

    /// Number of viewers.
    pub(crate) fn viewers(&self) -> usize {
        self.outputs.iter().map(|output| output.viewers.load(Ordering::SeqCst)).sum()
    }

    /// Number of encodes so far.
    pub(crate) fn encodes(&self, size: Size) -> u64 {
        self.outputs[size as usize].encodes.load(Ordering::Relaxed)
    }

    /// Returns the reason why there are no pictures.
    pub(crate) fn fault(&self) -> Option<String> {
        locked(&self.fault).clone()
    }

    fn is_viewed(&self, size: Size) -> bool {
        self.outputs[size as usize].viewers.load(Ordering::SeqCst) > 0
    }

    /// Ends the worker unless there is demand. Returns whether it ends.
    fn end_if_idle(&self, stopped: bool) -> bool {
        let mut running = locked(&self.running);
        let measured = locked(&self.measured_until).is_some_and(|until| Instant::now() < until);
        if !stopped && (measured || self.viewers() > 0) {
            return false;
        }
        *running = false;
        // The next viewer must not see an old picture.
        self.outputs.iter().for_each(|output| *locked(&output.newest) = None);
        *locked(&self.fault) = None;
        true
    }

    fn publish(&self, size: Size, picture: Arc<Picture>) {
        let output = &self.outputs[size as usize];
        *locked(&output.newest) = Some(picture);
        locked(&output.listeners).iter().for_each(|listener| listener.notify_one());
    }
}

impl Viewing {
    /// Returns the newest picture.
    pub(crate) fn newest(&self) -> Option<Arc<Picture>> {
        locked(&self.feed.outputs[self.size as usize].newest).clone()
    }

    /// Returns the reason why there are no pictures.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.feed.fault().map(|fault| Error::new(ErrorKind::InvalidFrame, fault))
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let output = &self.feed.outputs[self.size as usize];
        let mut listeners = locked(&output.listeners);
        if let Some(own) = listeners.iter().position(|listener| Arc::ptr_eq(listener, &self.notify)) {
            listeners.swap_remove(own);
        }
        output.viewers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}
