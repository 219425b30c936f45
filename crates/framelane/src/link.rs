//! The core's side of links: what a channel says of the link that feeds it, and channels that are named by a
//! URL.
//!
//! The core knows no network. Whoever does (`framelane-net`) installs itself once; from then on a URL stands
//! where a channel's name does.

use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::os;
use crate::publisher::{Publisher, PublisherOptions};
use crate::redact;
use crate::ring::{self, Control, Ordering::Relaxed};
use crate::source::{load_text, store_text};
use crate::subscriber::SubscriberOptions;

/// How the link is that feeds a channel: written by the channel's publisher, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkStatus {
    /// Where it leads, without secrets; at most 128 bytes are kept.
    pub peer: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// Whether somebody publishes the channel on the other side; not known, and so false, while it is not
    /// connected.
    pub live: bool,
    /// How often it was connected.
    pub connections: u32,
    /// Nanoseconds that the other machine's clock is ahead of ours, as estimated on the link.
    pub clock_offset_ns: i64,
    /// The shortest round trip of late, in nanoseconds.
    pub round_trip_ns: u64,
    /// From the capture of the newest frame to its publication here, in nanoseconds of our clock.
    pub latency_ns: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// Frames that were left out on the way. [`ChannelStatus::dropped`](crate::ChannelStatus::dropped) counts
    /// them too.
    pub missed: u64,
}

const CONNECTED: u32 = 1;
const AWAY: u32 = 2;
/// Connected, and nobody publishes the channel there.
const NOT_PUBLISHED: u32 = 3;

impl Publisher {
    /// Says how the link is that feeds this channel. Makes no system call.
    pub fn set_link(&mut self, link: &LinkStatus) {
        write(self.control_words(), link);
    }

    /// Marks the frames so far as those of a publisher that is gone. Subscribers that open the channel later
    /// begin with the next frame.
    ///
    /// For links, when the publisher on the other machine ended or was replaced. Does nothing in a forked
    /// child.
    pub fn end_life(&mut self) {
        if self.is_forked() {
            return;
        }
        let control = self.control_words();
        // Relaxed: a subscriber that opens the channel meanwhile may begin before or after.
        control.epoch_after.store(ring::newest(control).0, Relaxed);
    }
}

pub(crate) fn clear(control: &Control) {
    control.link_state.store(0, Relaxed);
}

fn write(control: &Control, link: &LinkStatus) {
    store_text(&control.link_peer, &redact::url(&link.peer));
    control.link_connections.store(link.connections, Relaxed);
    control.link_clock_offset_ns.store(link.clock_offset_ns.cast_unsigned(), Relaxed);
    control.link_round_trip_ns.store(link.round_trip_ns, Relaxed);
    control.link_latency_ns.store(link.latency_ns, Relaxed);
    control.link_received_bytes.store(link.received_bytes, Relaxed);
    control.link_missed.store(link.missed, Relaxed);
    let state = match (link.connected, link.live) {
        (true, true) => CONNECTED,
        (true, false) => NOT_PUBLISHED,
        (false, _) => AWAY,
    };
    control.link_state.store(state, Relaxed);
}

/// What the publisher has said of its link; `None` for a channel without one.
pub(crate) fn read(control: &Control) -> Option<LinkStatus> {
    let state = control.link_state.load(Relaxed);
    let (connected, live) = match state {
        CONNECTED => (true, true),
        NOT_PUBLISHED => (true, false),
        AWAY => (false, false),
        _ => return None,
    };
    Some(LinkStatus {
        peer: load_text(&control.link_peer),
        connected,
        live,
        connections: control.link_connections.load(Relaxed),
        clock_offset_ns: control.link_clock_offset_ns.load(Relaxed).cast_signed(),
        round_trip_ns: control.link_round_trip_ns.load(Relaxed),
        latency_ns: control.link_latency_ns.load(Relaxed),
        received_bytes: control.link_received_bytes.load(Relaxed),
        missed: control.link_missed.load(Relaxed),
    })
}

/// The URLs that are accepted instead of a channel's name.
///
/// A name may come from elsewhere: a message, a web form, a configuration that others write. A URL in it
/// decides which machine gets the frames, and its options could send them unencrypted or read files with
/// secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Urls {
    /// URLs without options that weaken the link, name files with secrets or raise a limit. The
    /// default.
    #[default]
    Safe,
    /// URLs with every option: for URLs that the program or its user wrote.
    Trusted,
    /// No URLs, only the names of channels of this machine.
    Refuse,
}

crate::names::names!(Urls, "urls": Safe = "safe", Trusted = "trusted", Refuse = "refuse");

/// A link that runs as long as this lives. Dropping it ends the link, once what is on its way has been sent,
/// within a few seconds.
pub trait Link: Send + Sync {
    /// Why it has ended by itself, if it has.
    fn fault(&self) -> Option<Error>;

    /// How much longer whoever closes the channel may wait for the link to take its newest frame; the first
    /// call begins the end.
    fn grace(&self) -> Duration;
}

/// A handle's link. In a forked child it is left alone: its threads are the parent's, and a lock that one of
/// them held stays locked there.
pub(crate) struct Held {
    /// `None` only while this is dropped.
    link: Option<Box<dyn Link>>,
    forks: u64,
}

impl Held {
    pub(crate) fn new(link: Box<dyn Link>) -> Self {
        Held { link: Some(link), forks: os::fork_count() }
    }

    pub(crate) fn fault(&self) -> Option<Error> {
        self.link.as_ref().filter(|_| os::fork_count() == self.forks)?.fault()
    }

    pub(crate) fn grace(&self) -> Duration {
        let link = self.link.as_ref().filter(|_| os::fork_count() == self.forks);
        link.map_or(Duration::ZERO, |link| link.grace())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if os::fork_count() != self.forks {
            std::mem::forget(self.link.take());
        }
    }
}

/// Opens links for the URLs that are given in place of a channel's name.
pub trait Links: Send + Sync {
    /// Makes a local channel, has `attach` subscribe to it, then connects and receives into it; waits as
    /// `options` say. (In this order, so that not even the first frame is missed.)
    ///
    /// # Errors
    /// Those of `attach`.
    /// Of the URL and of connecting; [`ErrorKind::NotFound`] when there is no such channel in time;
    /// [`ErrorKind::Interrupted`] once `keep_waiting` says false.
    fn subscribe(
        &self,
        url: &str,
        options: &SubscriberOptions,
        attach: &mut dyn FnMut(&str) -> Result<(), Error>,
        keep_waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Box<dyn Link>, Error>;

    /// The name of a local channel for a publisher of this URL.
    ///
    /// # Errors
    /// Of the URL.
    fn local_name(&self, url: &str, options: &PublisherOptions) -> Result<String, Error>;

    /// Connects, and sends what is published on the local channel.
    ///
    /// # Errors
    /// Of the URL and of connecting, when it is known that trying again would not help.
    fn publish(&self, url: &str, local: &str, options: &PublisherOptions) -> Result<Box<dyn Link>, Error>;
}

static LINKS: OnceLock<&'static dyn Links> = OnceLock::new();

/// Registers the implementation that opens URLs instead of channel names in this process. `framelane_net`
/// calls it. Only the first call has an effect.
pub fn register_url_schemes(links: &'static dyn Links) {
    let _ = LINKS.set(links);
}

/// Whether this is a URL and not a channel's name, which has no colon.
pub(crate) fn is_url(channel: &str) -> bool {
    channel.contains("://") || channel.starts_with("unix:")
}

/// Who opens links.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when nobody does; [`ErrorKind::InvalidName`] when URLs are refused.
pub(crate) fn links(url: &str, urls: Urls) -> Result<&'static dyn Links, Error> {
    if urls == Urls::Refuse {
        // The URL is not repeated: it may hold a secret.
        return Err(Error::new(
            ErrorKind::InvalidName,
            "expected the name of a channel, found a URL, which this program refuses",
        )
        .with_hint(
            "run `framelane receive URL CHANNEL` or `framelane send CHANNEL URL`, and give the name CHANNEL",
        ));
    }
    LINKS.get().copied().ok_or_else(|| {
        let scheme = url.split(':').next().unwrap_or_default();
        Error::new(
            ErrorKind::InvalidOption,
            format!("expected the name of a channel, found a URL ({scheme}:), and this program has no links"),
        )
        .with_hint(
            "call framelane_net::register_url_schemes() first (crate framelane-net), or run `framelane receive URL CHANNEL` \
             and name that channel",
        )
    })
}
