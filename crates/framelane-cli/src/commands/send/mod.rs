//! `framelane send`

mod encoder;
mod link;
mod memory;
mod options;
mod skips;
mod socket;

use std::process::ExitCode;

use self::memory::MemoryOptions;
use self::options::{NetworkOptions, Options};
use self::socket::SocketOptions;
use crate::failure::Failure;
use crate::global::Global;
use crate::link_options::LinkOptions;
use crate::signals::Stop;
use crate::transport::Transport;

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

Waits for the channel, continues with the next publisher after a crash, and ends when the channel closes. \
With --reconnect it does not end then, but waits until the channel is published again.

Links: sends the newest frame when the receiver has room for one. Frames in between are skipped and \
counted. --every sends all frames. Reconnects when either side restarts.

legacy-memory: Old readers expect 1920x1080 BGR pixels and do not read the header. So each frame is \
converted to that, or to the ?size= of the URL. The format has no lock, and a reader can see a \
half-written frame: docs/migrating-from-sharememory.md shows how to avoid that. A mapping that this \
command created is removed at the end, if it has one stream. If it disappears earlier, it is created \
again. A mapping of another user is refused, unless the URL names that user (owner=UID).

legacy: sends the newest frame when the receiver has answered the previous one. Older frames are \
skipped and counted. Reconnects if the receiver disconnects, stalls, or sends a wrong answer.")]
pub struct Send {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    memory: MemoryOptions,
    #[command(flatten)]
    socket: SocketOptions,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    link: LinkOptions,
}

impl Send {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let Send { options, memory, socket, network, link } = self;
        match Transport::of(&options.target)? {
            Transport::LegacyMemory => memory::run(options, memory, global, stop)?,
            Transport::LegacySocket => socket::run(options, socket, network, global, stop)?,
            Transport::Link => {
                let link =
                    link.link(&options.target, network.size, network.idle_timeout, options.insecure)?;
                link::run(options, &link, global, stop)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
