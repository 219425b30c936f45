//! `framelane send`

use std::process::ExitCode;
use std::time::Duration;

use framelane::{Subscriber, SubscriberOptions};
use framelane_legacy::memory::OpenCv;

use super::link_options::LinkArgs;
use super::urls::{headings, scheme, unknown_scheme};
use super::{send_link, send_memory, send_stream};
use crate::Global;
use crate::failure::Failure;
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;

/// How long to wait for a frame before looking whether it is time to end.
pub const LOOK: Duration = Duration::from_millis(500);

/// Send a channel's frames to another machine, or to a program that does not speak framelane.
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
      frames as they are, with their own size and type in the header
  framelane send cam0 'legacy://127.0.0.1:8081?quality=80'
      JPEGs to an old program that listens there and answers each
  framelane send cam0 legacy://10.0.0.5:8081 --size 1280x720 --insecure
      to another machine: neither encrypted nor authenticated

Waits for the channel, goes on when its publisher dies and comes back, ends when the channel closes.
With --reconnect it waits for the channel again then.

Links: the newest frame each time the other side has room for one; what comes between is left out
here and counted. Connects again when either side restarts.

legacy-memory: Old readers take 1920x1080 BGR pixels without a look at the header: by default every
frame is made so (or of the ?size=). The format has no lock: a reader can see a frame half written;
docs/migrating-from-sharememory.md shows the way out. The mapping is removed at the end if this
command has made it and it has one stream; it is created again when it disappears meanwhile. A mapping
of another user is refused, unless the address names that user (owner=UID).

legacy: The newest frame, each time when the last one was answered; older ones are skipped, and
counted. Connects again when the receiver goes away, answers something else, or stands still.")]
pub struct Send {
    /// The channel's name
    pub channel: String,
    /// Where to: tls://HOST[:7420]/CHANNEL, tcp://HOST[:7420]/CHANNEL, unix:PATH.sock/CHANNEL, legacy-memory:NAME[?size=1920x1080&streams=1&index=0&opencv=4&owner=UID] or legacy://HOST[:8081][?quality=90]
    #[arg(value_name = "URL")]
    pub target: String,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Wait for the channel, and for the receiver, at most this long; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub timeout: Option<Duration>,
    /// When the channel is closed, wait for it again
    #[arg(long)]
    pub reconnect: bool,
    /// Go beyond this machine without encryption and authentication
    #[arg(long)]
    pub insecure: bool,
    /// scale: to BGR pixels of the size in the URL; keep: as they are, if they fit
    #[arg(long, default_value = "scale", help_heading = headings::LEGACY_MEMORY)]
    pub fit: Fit,
    /// Type codes that the readers have: 4 or 5 [default: the URL's ?opencv=, else 4]
    #[arg(long, value_name = "VERSION", help_heading = headings::LEGACY_MEMORY)]
    pub opencv: Option<OpenCv>,
    #[command(flatten)]
    pub stream: send_stream::StreamOptions,
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
            "legacy-memory" => send_memory::run(self, global, stop),
            "legacy" => send_stream::run(self, global, stop),
            "tls" | "tcp" | "unix" => send_link::run(self, global, stop),
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
        let options = options.wait(self.timeout);
        let mut told = false;
        Ok(options.open_while(&self.channel, &mut || {
            if !std::mem::replace(&mut told, true) {
                notes.say(&global.waiting_for(&self.channel));
            }
            !stop.is_set()
        })?)
    }
}
