//! `framelane receive`

mod link;
mod memory;
mod pictures;
mod socket;

use std::process::ExitCode;
use std::time::Duration;

use framelane::{Backpressure, Error, ErrorKind, Publisher, redact};
use framelane_legacy::memory::OpenCv;

use crate::failure::Failure;
use crate::global::Global;
use crate::link_options::LinkArgs;
use crate::parse;
use crate::signals::Stop;
use crate::transport::{headings, scheme, unknown_scheme};

/// Publish the frames of another machine or of an old program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane receive tls://camera.example:7420/cam0 --fingerprint sha256:…
      from a machine where `framelane serve` runs, into channel cam0; the token is in $FRAMELANE_TOKEN
  framelane receive 'tls://camera.example/cam0?ca=lab.pem' lab/cam0 --codec jpeg:80 --max-fps 10
      under another name, coded, ten frames a second at most
  framelane receive legacy-memory:ShareMedia cam0
      publishes each frame that an old program writes into the named mapping
  framelane receive 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2' cam2
      the third of four areas, each for frames of 1280x720
  framelane receive legacy://127.0.0.1:8081 cam0
      listens for an old program that sends JPEGs and waits for an answer to each one
  framelane receive legacy://0.0.0.0:8081 cam0 --insecure
      for programs on other machines: neither encrypted nor authenticated

Links: reconnects when either side restarts, in any order. Subscribers of the local channel stay
attached. The remote channel may be created later.

legacy-memory: The format has no counter and no lock. Each poll compares a sixteenth of the rows, so a
change is found within 16 polls. It is published if it is known to be a whole frame: either the
threads that may write slept or did other work, or the next frame started at the top. A frame of a
writer that is not visible here (in another container) is also published after --settle-ms without a
change. Two equal frames in a row are one frame. Waits while the mapping does not exist. A few type
codes mean different types in OpenCV 4 and 5: --opencv selects the version.

legacy: Serves one sender at a time. Others wait until it disconnects, and those that have sent bytes
are next. JPEGs become bgr8, or gray8 if they are gray, rotated by their EXIF orientation. A frame is
answered when it is published. An invalid JPEG is answered, skipped, logged and counted. A sender that
violates the format is disconnected, and the channel stays open.")]
pub struct Receive {
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
    pub slots: u8,
    /// Permissions of the channel's files; 660 lets the group subscribe
    #[arg(long, default_value = "600", value_parser = parse::permissions)]
    pub permissions: u32,
    /// Allow other machines without encryption and authentication
    #[arg(long)]
    pub insecure: bool,
    /// Polls of the mapping per second
    #[arg(
        long, default_value = "120", value_name = "N", value_parser = parse::fps,
        help_heading = headings::LEGACY_MEMORY
    )]
    pub poll_rate: f64,
    /// Publish after this time without a change, if no writer is visible
    #[arg(
        long, default_value = "200", value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000),
        help_heading = headings::LEGACY_MEMORY
    )]
    pub settle_ms: u64,
    /// OpenCV version of the type codes: 4, 5 or auto [default: the URL's ?opencv=, else auto]
    #[arg(long, value_name = "VERSION", help_heading = headings::LEGACY_MEMORY)]
    pub opencv: Option<OpenCv>,
    #[command(flatten)]
    pub stream: socket::StreamOptions,
    #[command(flatten)]
    pub link: LinkArgs,
    /// Scale to this size at the sender
    #[arg(long, value_name = "WxH", value_parser = parse::size, help_heading = headings::LINKS)]
    pub size: Option<(u32, u32)>,
    /// Wait at most this long for the remote channel; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, help_heading = headings::LINKS)]
    pub open_timeout: Option<Duration>,
    /// End when the remote channel closes, instead of waiting for it
    #[arg(long, help_heading = headings::LINKS)]
    pub once: bool,
}

impl Receive {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        match scheme(&self.source) {
            "legacy-memory" => memory::run(self, global, stop),
            "legacy" => socket::run(self, global, stop),
            "tls" | "tcp" | "unix" => link::run(self, global, stop),
            _ => Err(unknown_scheme(&self.source).into()),
        }
    }

    /// The name of the channel, where it must be given.
    pub fn channel(&self) -> Result<&str, Error> {
        self.channel.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOption,
                "expected the name of a channel after the address, found none",
            )
            .with_hint(format!("as in `framelane receive {} cam0`", redact::url(&self.source)))
        })
    }

    /// Makes the channel.
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
