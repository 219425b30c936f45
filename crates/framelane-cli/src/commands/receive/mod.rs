//! `framelane receive`

mod link;
mod memory;
mod options;
mod pictures;
mod socket;

use std::process::ExitCode;

use self::link::ReceiveLinkOptions;
use self::memory::MemoryOptions;
use self::options::Options;
use self::socket::{NetworkOptions, SocketOptions};
use crate::failure::Failure;
use crate::global::Global;
use crate::link_options::LinkOptions;
use crate::signals::Stop;
use crate::transport::Transport;

/// Publish the frames of another machine or of an old program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane receive tls://camera.example:7420/cam0 --fingerprint sha256:…
      from a machine that runs `framelane serve`, into channel cam0; the token is in $FRAMELANE_TOKEN
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

Links: reconnects when either side restarts, in any order. Subscribers of the local channel stay \
attached. The remote channel may be created later.

legacy-memory: The format has no counter and no lock. Each poll compares a sixteenth of the rows, so a \
change is found within 16 polls. It is published if it is known to be a whole frame: either the \
threads that may write slept or did other work, or the next frame started at the top. A frame of a \
writer that is not visible here (in another container) is also published after --settle-ms without a \
change. Two equal frames in a row are one frame. Waits while the mapping does not exist. A few type \
codes mean different types in OpenCV 4 and 5: --opencv selects the version.

legacy: Serves one sender at a time. Others wait until it disconnects, and those that have sent bytes \
are next. JPEGs become bgr8, or gray8 if they are gray, rotated by their EXIF orientation. A frame is \
answered when it is published. An invalid JPEG is answered, skipped, logged and counted. A sender that \
violates the format is disconnected, and the channel stays open.")]
pub struct Receive {
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
    #[command(flatten)]
    receive_link: ReceiveLinkOptions,
}

impl Receive {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let Receive { options, memory, socket, network, link, receive_link } = self;
        match Transport::of(&options.source)? {
            Transport::LegacyMemory => memory::run(options, memory, global, stop)?,
            Transport::LegacySocket => socket::run(options, socket, network, global, stop)?,
            Transport::Link => {
                let (size, idle_timeout) = (receive_link.size, network.idle_timeout);
                let link = link.link(&options.source, size, idle_timeout, options.insecure)?;
                link::run(options, receive_link, &link, global, stop)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
