//! Finding a channel, or waiting until there is one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Attachment, Pool, Remote, Subscriber};
use crate::cancel::CancelToken;
use crate::directory::{Directory, check_name};
use crate::error::{Error, ErrorKind};
use crate::files::{ControlFile, PUBLISHER_LOCK, ReadersFile};
use crate::frame::Origin;
use crate::os;
use crate::ring::{Delivery, Ordering, State};
use crate::urls::{self, LinkRequest, Memory, Urls};

/// Time between two checks of a channel that shows no event: its publisher died, or is
/// starting.
const CHANNEL_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest sleep between two checks whether to continue.
const CALLER_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The options of a subscriber that links read.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscriberSettings {
    pub delivery: Delivery,
    pub open_timeout: Option<Duration>,
}

/// Options of a subscriber.
#[derive(Clone, Debug, Default)]
pub struct SubscriberOptions {
    delivery: Delivery,
    directory: Option<PathBuf>,
    open_timeout: Option<Duration>,
    spin: Duration,
    after: Option<Origin>,
    writable: bool,
    pub(super) reconnect: bool,
    urls: Urls,
    pub(super) cancel: CancelToken,
    memory: Option<Memory>,
    /// Begin before the first frame of the channel: the subscriber has waited for it.
    pub(super) from_start: bool,
}

fn interrupted(channel: &str, directory: &Directory) -> Error {
    let directory = directory.path().display();
    Error::new(
        ErrorKind::Interrupted,
        format!("interrupted while waiting for channel {channel} in {directory}"),
    )
}

/// Reason that a channel cannot be attached to yet.
enum NotYet {
    Missing,
    PublisherDied { pid: u32, epoch: u64 },
    Starting,
}

impl SubscriberOptions {
    /// Returns the defaults: newest frames, and no limit on the wait for the channel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the frames to receive.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets the directory of the channel's files, as for the publisher.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the time limit for opening, while there is no live channel. `None` (the default) waits without
    /// limit, and zero does not wait.
    #[must_use]
    pub fn open_timeout(mut self, open_timeout: Option<Duration>) -> Self {
        self.open_timeout = open_timeout;
        self
    }

    /// Starts after this frame, if the frame has the current epoch. With [`Delivery::Every`], later frames
    /// that the ring still holds are received, and the others are counted as dropped. For subscribers that
    /// attach again. Epoch and sequence are those of this machine:
    /// [`Subscriber::epoch`](crate::Subscriber::epoch) and
    /// [`Frame::local_sequence`](crate::Frame::local_sequence).
    #[must_use]
    pub fn after(mut self, after: Option<Origin>) -> Self {
        self.after = after;
        self
    }

    /// Waits for the channel again when its publisher closes it, instead of ending with
    /// [`RecvError::Closed`]; default false.
    ///
    /// A receive call then waits until the channel is published again, or its timeout has passed. Frames held
    /// stay valid. Frames of the new publisher have a new epoch. Those published before the subscriber was
    /// attached again are received with [`Delivery::Every`] if the ring still holds them, and counted as
    /// dropped otherwise. The link of a URL stays connected meanwhile.
    ///
    /// [`RecvError::Closed`]: crate::RecvError::Closed
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Sets the URLs that [`open`](SubscriberOptions::open) accepts instead of a name; default
    /// [`Urls::Safe`].
    #[must_use]
    pub fn urls(mut self, urls: Urls) -> Self {
        self.urls = urls;
        self
    }

    /// Sets the time to poll for a frame before sleeping. Polling saves the wake-up (some 25 µs) and occupies
    /// a core.
    #[must_use]
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Copies each frame into memory of this process, so that [`Frame::bytes_mut`](super::Frame::bytes_mut)
    /// can draw into it. Other subscribers do not see the changes, and the frame occupies no slot. Costs one
    /// copy a frame, into memory that is reused.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Sets the token that cancels waits; default none. See [`CancelToken`].
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Returns the token of [`cancel`](Self::cancel).
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Returns the options that links read.
    #[doc(hidden)]
    pub fn settings(&self) -> SubscriberSettings {
        SubscriberSettings { delivery: self.delivery, open_timeout: self.open_timeout }
    }

    /// Opens the channel in memory. For links.
    #[doc(hidden)]
    #[must_use]
    pub fn memory(mut self, memory: &Memory) -> Self {
        self.memory = Some(memory.clone());
        self
    }

    /// Waits for the channel and subscribes.
    ///
    /// A URL instead of a name receives the frames of a channel on another machine (see `framelane-net`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`]; [`ErrorKind::NotFound`] when there is no channel with a live publisher
    /// within the time given; [`ErrorKind::PermissionDenied`]; [`ErrorKind::IncompatibleVersion`];
    /// [`ErrorKind::Damaged`]; [`ErrorKind::TooManySubscribers`]; [`ErrorKind::Interrupted`] when the token
    /// of [`cancel`](Self::cancel) ends the wait.
    pub fn open(&self, channel: &str) -> Result<Subscriber, Error> {
        if urls::is_url(channel) {
            let mut opened = None;
            let mut attach = |memory: &Memory, name: &str| {
                let options = self.clone().memory(memory).open_timeout(Some(Duration::ZERO));
                opened = Some(options.open(name)?);
                Ok(())
            };
            let request = LinkRequest {
                urls: self.urls,
                delivery: self.delivery,
                reconnect: self.reconnect,
                open_timeout: self.open_timeout,
                cancel: self.cancel.clone(),
            };
            let links = urls::links(channel, self.urls)?;
            let link = links.subscribe(channel, &request, &mut attach)?;
            let mut subscriber = opened.expect("a link attaches before it begins");
            subscriber.remote = Some(Remote { url: channel.to_owned(), link: urls::HeldLink::new(link) });
            return Ok(subscriber);
        }
        check_name(channel)?;
        let mut directory = self.place()?;
        // Made when the first look was in vain, and followed by another look: what appears in between is not
        // missed. (The kernel takes milliseconds to end a watch.)
        let mut watch = None;
        let deadline = os::deadline(self.open_timeout);
        // The epoch of a publisher that was seen dead: its successor begins another one.
        let mut dead_epoch = None;
        loop {
            let not_yet = match self.attach(&directory, channel, dead_epoch)? {
                Ok(subscriber) => return Ok(subscriber),
                Err(not_yet) => not_yet,
            };
            if let NotYet::PublisherDied { epoch, .. } = not_yet {
                dead_epoch = Some(epoch);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(self.not_found(channel, &directory, &not_yet));
            }
            if self.cancel.is_cancelled() {
                return Err(interrupted(channel, &directory));
            }
            if !directory.is_here() {
                directory = self.place()?;
                watch = None;
            }
            let watched = watch.is_some();
            let watch = watch.get_or_insert_with(|| os::Watch::new(directory.path()));
            if !watched {
                continue;
            }
            let nap = if matches!(not_yet, NotYet::Missing) && watch.is_ok() {
                CALLER_POLL_INTERVAL
            } else {
                CHANNEL_POLL_INTERVAL
            };
            let nap = left.map_or(nap, |left| left.min(nap));
            match watch {
                Ok(watch) => {
                    watch.wait(nap).map_err(|error| Error::from_io("waiting for the channel", error))?
                }
                // No inotify instances left (a limit of the system): look again now and then.
                Err(_) => std::thread::sleep(nap),
            }
            if self.cancel.ends_wait() {
                return Err(interrupted(channel, &directory));
            }
        }
    }

    fn place(&self) -> Result<Directory, Error> {
        match &self.memory {
            Some(memory) => Ok(memory.0.clone()),
            None => Directory::resolve(self.directory.as_deref()),
        }
    }

    fn attach(
        &self,
        directory: &Directory,
        channel: &str,
        dead_epoch: Option<u64>,
    ) -> Result<Result<Subscriber, NotYet>, Error> {
        let control = match ControlFile::open(&directory.control(channel), false) {
            Ok(control) => control,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(NotYet::Missing)),
            Err(error) => return Err(error),
        };
        let words = control.words();
        let channel_id = words.channel_id.load(Ordering::Relaxed);
        let alive = control.lock.is_locked(PUBLISHER_LOCK);
        let alive = alive.map_err(|error| Error::from_io(format!("channel {channel}"), error))?;
        if words.state_now() == State::Closed as u32 {
            return Ok(Err(NotYet::Missing));
        }
        if !alive {
            let (pid, epoch) = (words.publisher_pid.load(Ordering::Relaxed), words.epoch_now());
            return Ok(Err(NotYet::PublisherDied { pid, epoch }));
        }
        if words.state_now() != State::Live as u32 || dead_epoch == Some(words.epoch_now()) {
            return Ok(Err(NotYet::Starting));
        }
        let readers = match ReadersFile::open(&directory.readers(channel), channel_id) {
            Ok(readers) => readers,
            // Closed meanwhile, and perhaps created again.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(NotYet::Starting)),
            Err(_) if words.state_now() == State::Closed as u32 => return Ok(Err(NotYet::Missing)),
            Err(error) => return Err(error),
        };
        let after = match self.from_start {
            true => {
                Some(Origin { epoch: words.epoch_now(), sequence: words.epoch_after.load(Ordering::Relaxed) })
            }
            false => self.after,
        };
        let (attachment, cursor) = Attachment::new(channel, control, readers, self.delivery, after)?;
        let mut subscriber = Subscriber {
            attachment: Arc::new(attachment),
            directory: directory.clone(),
            data: None,
            delivery: self.delivery,
            spin: self.spin,
            pool: self.writable.then(Pool::default),
            cursor,
            farthest: cursor,
            received: 0,
            dropped: 0,
            resumed: after.is_some(),
            remote: None,
            options: self.clone().after(None),
            ended: false,
            missed_at_end: 0,
        };
        // Mapped now: the first frame comes faster, and existing frames outlive the channel's end. A fault
        // appears again, and is reported, when a frame is received.
        let generation = subscriber.attachment.control.words().generation_now();
        subscriber.data = subscriber.open_data(generation).unwrap_or(None);
        Ok(Ok(subscriber))
    }

    fn not_found(&self, channel: &str, directory: &Directory, not_yet: &NotYet) -> Error {
        let directory = directory.path().display();
        // In milliseconds. Empty when the caller did not wait.
        let waited = match self.open_timeout.map_or(0, |limit| (limit.as_secs_f64() * 1e3).round() as u64) {
            0 => String::new(),
            ms => format!(" (waited {:?})", Duration::from_millis(ms)),
        };
        match not_yet {
            NotYet::PublisherDied { pid, .. } => Error::new(
                ErrorKind::NotFound,
                format!("the publisher of channel {channel} in {directory}, process {pid}, has died"),
            )
            .with_hint("start the publisher again; it takes the channel over"),
            _ => Error::new(
                ErrorKind::NotFound,
                format!("there is no channel {channel} in {directory}{waited}"),
            )
            .with_hint(format!(
                "start its publisher (`framelane publish testsrc {channel}` creates one), or see `framelane list`; \
                 both sides need the same FRAMELANE_DIR"
            )),
        }
    }
}
