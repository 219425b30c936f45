//! URLs instead of channel names, and the links that they open.
//!
//! The core knows no network. `framelane-net` registers itself once. From then on, a URL can replace a
//! channel name.

use std::sync::OnceLock;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::os;
use crate::ring::Delivery;

/// The URLs that are accepted instead of a channel's name.
///
/// A name may come from elsewhere: a message, a web form, a configuration that others write. A URL in it
/// decides which machine gets the frames, and its options could send them unencrypted or read files with
/// secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

/// A link that runs as long as this lives. Dropping it ends the link within a few seconds, after the data in
/// flight was sent.
pub trait Link: Send + Sync {
    /// Returns the error that ended it, if it has ended by itself.
    fn fault(&self) -> Option<Error>;

    /// Time that a closing publisher may still wait for the link to take its newest frame. The first call
    /// starts it.
    fn grace(&self) -> Duration;
}

/// A handle's link. In a forked child it is left alone: its threads are the parent's, and a lock that one of
/// them held stays locked there.
pub(crate) struct HeldLink {
    /// `None` only while this is dropped.
    link: Option<Box<dyn Link>>,
    forks: u64,
}

impl HeldLink {
    pub(crate) fn new(link: Box<dyn Link>) -> Self {
        HeldLink { link: Some(link), forks: os::fork_count() }
    }

    pub(crate) fn fault(&self) -> Option<Error> {
        self.link.as_ref().filter(|_| os::fork_count() == self.forks)?.fault()
    }

    pub(crate) fn grace(&self) -> Duration {
        let link = self.link.as_ref().filter(|_| os::fork_count() == self.forks);
        link.map_or(Duration::ZERO, |link| link.grace())
    }
}

impl Drop for HeldLink {
    fn drop(&mut self) {
        if os::fork_count() != self.forks {
            std::mem::forget(self.link.take());
        }
    }
}

/// Memory for the channel between a handle and its link. Only this process can open the channel, and it ends
/// with the process.
#[derive(Clone, Debug)]
pub struct Memory(pub(crate) Directory);

impl Memory {
    /// Makes memory without a channel.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] on Linux without `/proc`. Errors of the system.
    pub fn new() -> Result<Self, Error> {
        Directory::in_memory().map(Memory)
    }
}

/// Options of a subscriber of a URL.
#[derive(Clone, Debug)]
pub struct LinkRequest {
    /// URLs that are accepted.
    pub urls: Urls,
    /// Newest or every frame.
    pub delivery: Delivery,
    /// Waits for the channel again when it is closed.
    pub reconnect: bool,
    /// Time limit for opening. `None`: no limit.
    pub open_timeout: Option<Duration>,
    /// Ends the wait for the link.
    pub cancel: CancelToken,
}

/// Attaches the end of a link to its side of a channel: the memory, and the channel's name in it.
pub type Attach<'a> = dyn FnMut(&Memory, &str) -> Result<(), Error> + 'a;

/// Opens links for URLs.
pub trait Links: Send + Sync {
    /// Makes a channel in memory, has `attach` subscribe to it, then connects and receives into it. Waits as
    /// `request` specifies. In this order, not even the first frame is missed.
    ///
    /// # Errors
    /// Those of `attach`.
    /// Of the URL and of connecting; [`ErrorKind::NotFound`] when there is no such channel in time;
    /// [`ErrorKind::Interrupted`] when the token of the options ends the wait.
    fn subscribe(
        &self,
        url: &str,
        request: &LinkRequest,
        attach: &mut Attach<'_>,
    ) -> Result<Box<dyn Link>, Error>;

    /// Has `attach` publish a channel in memory, then connects and sends it.
    ///
    /// # Errors
    /// Those of `attach`. Of the URL and of connecting, when it is known that trying again would not help.
    fn publish(&self, url: &str, urls: Urls, attach: &mut Attach<'_>) -> Result<Box<dyn Link>, Error>;
}

static LINKS: OnceLock<&'static dyn Links> = OnceLock::new();

/// Registers the implementation that opens URLs instead of channel names in this process. `framelane_net`
/// calls it. Only the first call has an effect.
pub fn register_url_schemes(links: &'static dyn Links) {
    let _ = LINKS.set(links);
}

/// Returns true if this is a URL and not a channel's name, which has no colon.
pub(crate) fn is_url(channel: &str) -> bool {
    channel.contains("://") || channel.starts_with("unix:")
}

/// Returns the object that opens links.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when no scheme was registered.
/// [`ErrorKind::InvalidName`] when URLs are refused.
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
