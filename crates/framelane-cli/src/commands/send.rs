//! `framelane send`

use std::process::ExitCode;
use std::time::Duration;

use framelane::Subscriber;

use super::send_memory;
use super::urls::{scheme, unknown_scheme};
use crate::Global;
use crate::failure::Failure;
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;

/// How long to wait for a frame before looking whether it is time to end.
pub const LOOK: Duration = Duration::from_millis(500);

/// Send a channel's frames to a program that does not speak framelane.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane send cam0 legacy-memory:ShareMedia
      keeps the newest frame in the named mapping that old programs read
  framelane send cam0 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2'
      the third of four areas, each for frames of 1280x720
  framelane send cam0 legacy-memory:ShareMedia --fit keep
      frames as they are, with their own size and type in the header

Old readers take 1920x1080 BGR pixels without a look at the header: by default every frame is made
so (or of the ?size=). The format has no lock: a reader can see a frame half written;
docs/migrating-from-sharememory.md shows the way out. Waits for the channel, goes on when its
publisher dies and comes back, ends when the channel closes. The mapping is removed at the end if
this command has made it and it has one stream; it is made anew when it goes away meanwhile.")]
pub struct Send {
    /// The channel's name
    pub channel: String,
    /// Where to: legacy-memory:NAME[?size=1920x1080&streams=1&index=0]
    #[arg(value_name = "URL")]
    pub target: String,
    /// scale: to BGR pixels of the size in the URL; keep: as they are, if they fit
    #[arg(long, default_value = "scale")]
    pub fit: Fit,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Wait for the channel at most this long; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub timeout: Option<Duration>,
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
            _ => Err(unknown_scheme(&self.target).into()),
        }
    }

    /// Subscribes to the channel, waiting as long as was asked for.
    pub fn open(&self, global: &Global, notes: &Notes, stop: &Stop) -> Result<Subscriber, Failure> {
        let options = global.subscriber().wait(self.timeout);
        let mut told = false;
        Ok(options.open_while(&self.channel, &mut || {
            if !std::mem::replace(&mut told, true) {
                notes.say(&format!("waiting for channel {}", self.channel));
            }
            !stop.is_set()
        })?)
    }
}
