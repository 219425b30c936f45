//! `framelane send`

mod encoder;
mod link;
mod memory;
mod socket;

use std::process::ExitCode;
use std::time::Duration;

use framelane::{Subscriber, SubscriberOptions};
use framelane_legacy::memory::OpenCv;

pub use self::link::lost;
use crate::failure::Failure;
use crate::global::Global;
use crate::link_options::LinkArgs;
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::transport::{headings, scheme, unknown_scheme};

/// The longest wait for a frame between two checks for a stop signal.
pub const STOP_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Send a channel's frames to another machine or to an old program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane send cam0/detections tls://camera.example:7420/cam0/detections --fingerprint sha256:…
      to a machine where `framelane serve` runs; the token is in $FRAMELANE_TOKEN
  framelane send cam0 'tls://hub.example/lab/cam0?ca=hub.pem' --codec h264:4M --max-fps 15
      coded, for a narrow link
  framelane send cam0 legacy-memory:ShareMedia
      keeps the newest frame in the named mapping that old programs read
  framelane send cam0 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2'
      the third of four areas, each for frames of 1280x720
  framelane send cam0 legacy-memory:ShareMedia --fit keep
      unchanged frames, with their own size and type in the header
  framelane send cam0 'legacy://127.0.0.1:8081?quality=80'
      JPEGs to an old program that listens there and answers each
  framelane send cam0 legacy://10.0.0.5:8081 --size 1280x720 --insecure
      to another machine: neither encrypted nor authenticated

Waits for the channel, continues with the next publisher after a crash, and ends when the channel closes.
With --reconnect it does not end then, but waits until the channel is published again.

Links: sends the newest frame when the receiver has room for one. Frames in between are skipped and
counted. --every sends all frames. Reconnects when either side restarts.

legacy-memory: Old readers expect 1920x1080 BGR pixels and do not read the header. So each frame is
converted to that, or to the ?size= of the URL. The format has no lock, and a reader can see a
half-written frame: docs/migrating-from-sharememory.md shows how to avoid that. A mapping that this
command created is removed at the end, if it has one stream. If it disappears earlier, it is created
again. A mapping of another user is refused, unless the URL names that user (owner=UID).

legacy: sends the newest frame when the receiver has answered the previous one. Older frames are
skipped and counted. Reconnects if the receiver disconnects, stalls, or sends a wrong answer.")]
pub struct Send {
    /// The channel's name
    pub channel: String,
    /// Target: tls://HOST[:7420]/CHANNEL, tcp://HOST[:7420]/CHANNEL, unix:PATH.sock/CHANNEL,
    /// legacy-memory:NAME[?size=1920x1080&streams=1&index=0&opencv=4&owner=UID] or
    /// legacy://HOST[:8081][?quality=90]
    #[arg(value_name = "URL")]
    pub target: String,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Wait for the channel, and for the receiver, at most this long; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub open_timeout: Option<Duration>,
    /// Wait for the channel again after it closes
    #[arg(long)]
    pub reconnect: bool,
    /// Allow other machines without encryption and authentication
    #[arg(long)]
    pub insecure: bool,
    /// scale: to BGR pixels of the URL's ?size=; keep: unchanged, if they fit
    #[arg(long, default_value = "scale", help_heading = headings::LEGACY_MEMORY)]
    pub fit: Fit,
    /// OpenCV version of the type codes, 4 or 5 [default: the URL's ?opencv=, else 4]
    #[arg(long, value_name = "VERSION", help_heading = headings::LEGACY_MEMORY)]
    pub opencv: Option<OpenCv>,
    #[command(flatten)]
    pub stream: socket::StreamOptions,
    #[command(flatten)]
    pub link: LinkArgs,
}

/// What becomes of frames that old readers do not expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fit {
    Scale,
    Keep,
}

impl Send {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        match scheme(&self.target) {
            "legacy-memory" => memory::run(self, global, stop),
            "legacy" => socket::run(self, global, stop),
            "tls" | "tcp" | "unix" => link::run(self, global, stop),
            _ => Err(unknown_scheme(&self.target).into()),
        }
    }

    /// Subscribes to the channel, waiting as long as was asked for.
    pub fn open(
        &self,
        global: &Global,
        options: SubscriberOptions,
        notes: &Notes,
        stop: &Stop,
    ) -> Result<Subscriber, Failure> {
        let options = options.open_timeout(self.open_timeout);
        let mut told = false;
        Ok(options.open_while(&self.channel, &mut || {
            if !std::mem::replace(&mut told, true) {
                notes.say(&global.waiting_for(&self.channel));
            }
            !stop.is_set()
        })?)
    }
}
