//! Options of `receive` that every transport has.

use framelane::{Backpressure, Error, ErrorKind, Publisher, redact};

use crate::global::Global;
use crate::parse;

/// Options of every transport.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Source: tls://HOST[:7420]/CHANNEL, tcp://HOST[:7420]/CHANNEL, unix:PATH.sock/CHANNEL,
    /// legacy-memory:NAME[?size=1920x1080&streams=1&index=0&opencv=auto&owner=UID] or legacy://HOST[:8081]
    #[arg(value_name = "URL")]
    pub source: String,
    /// Name of the local channel [default for links: the remote name]
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Slots of the ring, 2 to 128
    #[arg(long, default_value = "6", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: u8,
    /// Permissions of the channel's files; 660 lets the group subscribe
    #[arg(long, default_value = "600", value_parser = parse::permissions)]
    permissions: u32,
    /// Allow other machines without encryption and authentication (tcp://, legacy)
    #[arg(long)]
    pub insecure: bool,
}

impl Options {
    /// Returns the name of the channel, where it must be given.
    pub fn channel(&self) -> Result<&str, Error> {
        self.channel.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOption,
                "expected the name of a channel after the address, found none",
            )
            .with_hint(format!("as in `framelane receive {} cam0`", redact::url(&self.source)))
        })
    }

    /// Creates the channel.
    pub fn create(
        &self,
        global: &Global,
        channel: &str,
        backpressure: Backpressure,
    ) -> Result<Publisher, Error> {
        global
            .publisher()
            .slots(self.slots.into())
            .backpressure(backpressure)
            .permissions(self.permissions)
            .create(channel)
    }
}
