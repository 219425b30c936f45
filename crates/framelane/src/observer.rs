//! The state of a channel for the user of a publisher or subscriber, and the reason why nothing arrives.

use std::time::Duration;

use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::link::LinkStatus;
use crate::os;
use crate::status::{ChannelState, ChannelStatus, all_held, look, status};

pub(crate) const NO_NEW_FRAME: &str = "no new frame within the time given";

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
        if self.directory.is_in_memory() {
            return look(&self.directory, &self.channel, &[]);
        }
        status(Some(self.directory.path()), &self.channel)
    }

    /// Same as [`Subscriber::publisher_alive`](crate::Subscriber::publisher_alive).
    pub fn publisher_alive(&self) -> bool {
        self.status().is_ok_and(|found| match &found.link {
            Some(link) if self.is_remote => link.connected && link.live,
            _ => found.state == ChannelState::Live,
        })
    }

    /// Same as [`Subscriber::epoch`](crate::Subscriber::epoch). `None` when the channel cannot be read.
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
            return timeout();
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

/// Observed state of a channel on which no frame arrives.
pub(crate) struct Seen {
    pub pid: u32,
    pub alive: bool,
    pub link: Option<LinkStatus>,
    pub slots: usize,
    pub held_slots: usize,
    pub age: Option<Duration>,
}

impl Seen {
    /// The reason why nothing arrives, and the hint. `starved` is the error of a ring without a free slot.
    pub(crate) fn reason(&self, starved: impl FnOnce() -> Error) -> (String, String) {
        let pid = self.pid;
        if !self.alive {
            return (
                format!("its publisher (process {pid}) ended without closing it"),
                "start the publisher again; this subscriber then continues".to_owned(),
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

/// The error of a call that received nothing in time, without a reason.
pub(crate) fn timeout() -> Error {
    Error::new(ErrorKind::Timeout, NO_NEW_FRAME)
}

pub(crate) fn no_new_frame(
    channel: &str,
    waited: Option<Duration>,
    (reason, hint): (String, String),
) -> Error {
    let within = waited.map(within).unwrap_or_default();
    let fault = format!("no new frame on channel {channel}{within}: {reason}");
    Error::new(ErrorKind::Timeout, fault).with_hint(hint)
}

/// The time that a call waited, to the millisecond.
pub(crate) fn within(waited: Duration) -> String {
    format!(" within {} s", (waited.as_secs_f64() * 1e3).round() / 1e3)
}

pub(crate) fn age(published_ns: u64) -> Duration {
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
