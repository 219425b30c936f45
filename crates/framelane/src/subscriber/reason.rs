//! Why a subscriber received nothing, in words.

use std::time::Duration;

use super::{RecvError, Subscriber};
use crate::descriptor;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::link::{self, LinkStatus};
use crate::os;
use crate::redact;
use crate::ring::{self, Ordering::Relaxed, PINS};
use crate::status::{ChannelState, ChannelStatus, all_held, held_slots, holders, status};

impl Subscriber {
    /// The error with its reason, as far as this subscriber can see it: whether the publisher is alive, when
    /// it published last, which processes hold the slots.
    ///
    /// `waited` is the timeout of the call, for the message. `From<RecvError>` knows nothing of the channel.
    /// Makes some system calls, and reads `/proc` when slots are used up.
    pub fn explain(&self, error: RecvError, waited: Option<Duration>) -> Error {
        match error {
            RecvError::Timeout => self.silence(waited),
            RecvError::TooManyLeases => self.too_many_leases(),
            error => error.into(),
        }
    }

    /// Frames that this subscriber may hold at a time: the slots of the ring less two, at least 2 and at most
    /// 8.
    ///
    /// The publisher keeps the newest frame in one slot and writes to another: with at most so many leases
    /// one subscriber never stops a channel of four slots or more. Two is what a loop needs that receives a
    /// frame before it drops the last one.
    pub fn max_leases(&self) -> usize {
        self.slots().saturating_sub(2).clamp(2, PINS)
    }

    fn slots(&self) -> usize {
        let announced = self.attachment.control.words().slots.load(Relaxed) as usize;
        self.data.as_ref().map_or(announced, |data| data.slots)
    }

    fn too_many_leases(&self) -> Error {
        let (channel, slots, most) = (self.channel(), self.slots(), self.max_leases());
        let fault = format!(
            "cannot receive: this subscriber holds {most} frames of channel {channel}, the most that one may hold of its {slots} slots"
        );
        let copy = "release frames, or keep copies of them (`frame.copy()`, `array.copy()`)";
        Error::new(ErrorKind::TooManyLeases, fault).with_hint(if most < PINS {
            format!("{copy}, or publish with more slots (`--slots {0}`, `slots={0}`)", slots.max(4) + 1)
        } else {
            format!("{copy}, or open another subscriber")
        })
    }

    /// Returns an observer, which answers while another thread has the subscriber.
    pub fn observer(&self) -> Observer {
        Observer::new(self.channel(), &self.directory, self.remote.is_some())
    }

    fn silence(&self, waited: Option<Duration>) -> Error {
        no_new_frame(self.channel(), waited, self.silence_reason())
    }

    /// The place of the channel: its directory, or the URL that the subscriber was opened with.
    pub(crate) fn place(&self) -> String {
        match &self.remote {
            Some(remote) => redact::url(&remote.url).into_owned(),
            None => format!("{} in {}", self.channel(), self.directory.path().display()),
        }
    }

    /// The reason why nothing arrives, and the hint.
    pub(crate) fn silence_reason(&self) -> (String, String) {
        let (words, readers) = (self.attachment.control.words(), &self.attachment.readers);
        let seen = Seen {
            pid: words.publisher_pid.load(Relaxed),
            alive: self.publisher_alive(),
            link: link::read(words),
            slots: self.slots(),
            held_slots: held_slots(words, readers),
            age: self.newest_age(),
        };
        let starved =
            || all_held(self.channel(), seen.slots, &holders(words, readers, Some(self.attachment.index)));
        seen.reason(starved)
    }

    /// The age of the newest frame of this epoch.
    fn newest_age(&self) -> Option<Duration> {
        let words = self.attachment.control.words();
        let (sequence, slot) = ring::newest(words);
        let data = self.data.as_ref().filter(|data| data.generation == words.generation_now())?;
        let published = descriptor::read(data.entry(slot)?, data.slot_bytes).ok()?.published_ns;
        let of_this_epoch = sequence > words.epoch_after.load(Relaxed);
        of_this_epoch.then(|| age(published))
    }
}

/// Describes the channel of a subscriber or publisher while another thread has that object. Each call opens
/// the channel's files.
#[derive(Clone, Debug)]
pub struct Observer {
    channel: String,
    directory: Directory,
    /// A link feeds the channel on behalf of the subscriber.
    is_remote: bool,
}

impl Observer {
    pub(crate) fn new(channel: &str, directory: &Directory, is_remote: bool) -> Self {
        Observer { channel: channel.to_owned(), directory: directory.clone(), is_remote }
    }

    fn status(&self) -> Result<ChannelStatus, Error> {
        status(Some(self.directory.path()), &self.channel)
    }

    /// Same as [`Subscriber::publisher_alive`].
    pub fn publisher_alive(&self) -> bool {
        self.status().is_ok_and(|found| match &found.link {
            Some(link) if self.is_remote => link.connected && link.live,
            _ => found.state == ChannelState::Live,
        })
    }

    /// Same as [`Subscriber::epoch`]. `None` when the channel cannot be read.
    pub fn epoch(&self) -> Option<u64> {
        self.status().ok().map(|found| found.epoch)
    }

    /// Same as [`Publisher::subscribers`](crate::Publisher::subscribers).
    pub fn subscribers(&self) -> usize {
        self.status().map_or(0, |found| found.subscribers.len())
    }

    /// The error of a call that received nothing within `waited`, with its reason. Opens the channel's files.
    pub fn explain_timeout(&self, waited: Option<Duration>) -> Error {
        let Ok(found) = self.status() else {
            return RecvError::Timeout.into();
        };
        let seen = Seen {
            pid: found.publisher_pid,
            alive: found.state == ChannelState::Live,
            link: found.link.clone(),
            slots: found.slots,
            held_slots: found.held_slots,
            age: found.newest_published_ns.map(age),
        };
        let reason = seen.reason(|| all_held(&self.channel, found.slots, &found.holders));
        no_new_frame(&self.channel, waited, reason)
    }
}

/// What can be seen of a channel on which nothing arrives.
struct Seen {
    pid: u32,
    alive: bool,
    link: Option<LinkStatus>,
    slots: usize,
    held_slots: usize,
    age: Option<Duration>,
}

impl Seen {
    /// The reason why nothing arrives, and the hint. `starved` is the error of a ring without a free slot.
    fn reason(&self, starved: impl FnOnce() -> Error) -> (String, String) {
        let pid = self.pid;
        if !self.alive {
            return (
                format!("its publisher (process {pid}) ended without closing it"),
                "start the publisher again; this subscriber goes on by itself".to_owned(),
            );
        }
        if let Some(link) = self.link.as_ref().filter(|link| !link.connected || !link.live) {
            let state = if link.connected { "has no publisher there" } else { "is not connected" };
            return (
                format!("its link to {} {state}", link.peer),
                "check the publisher and the network there; the link reconnects by itself".to_owned(),
            );
        }
        if self.held_slots + 1 >= self.slots {
            let starved = starved();
            return (starved.message().to_owned(), starved.hint().unwrap_or_default().to_owned());
        }
        let reason = match self.age {
            Some(age) => {
                format!("its publisher (process {pid}) published its last frame {} ago", seconds(age))
            }
            None => format!("its publisher (process {pid}) has published no frame yet"),
        };
        (reason, format!("check that process {pid} gets frames from its source, or allow more time"))
    }
}

fn no_new_frame(channel: &str, waited: Option<Duration>, (reason, hint): (String, String)) -> Error {
    let within = waited.map(within).unwrap_or_default();
    let fault = format!("no new frame on channel {channel}{within}: {reason}");
    Error::new(ErrorKind::Timeout, fault).with_hint(hint)
}

/// The time that a call waited, to the millisecond.
pub(crate) fn within(waited: Duration) -> String {
    format!(" within {} s", (waited.as_secs_f64() * 1e3).round() / 1e3)
}

fn age(published_ns: u64) -> Duration {
    Duration::from_nanos(os::monotonic_ns().saturating_sub(published_ns))
}

/// To the millisecond below a second, then as few digits as mean something.
fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        short if short < 1.0 => format!("{:.0} ms", short * 1e3),
        short if short < 10.0 => format!("{short:.1} s"),
        long => format!("{long:.0} s"),
    }
}
