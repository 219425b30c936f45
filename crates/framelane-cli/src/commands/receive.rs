//! `framelane receive`

use std::process::ExitCode;

use framelane::{Error, Publisher};

use super::receive_memory;
use super::urls::{scheme, unknown_scheme};
use crate::Global;
use crate::failure::Failure;
use crate::parse;
use crate::signals::Stop;

/// Publish the frames of a program that does not speak framelane.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane receive legacy-memory:ShareMedia cam0
      publishes each frame that an old program puts into the named mapping
  framelane receive 'legacy-memory:ShareMedia?size=1280x720&streams=4&index=2' cam2
      the third of four areas, each for frames of 1280x720

The format has no counter and no lock. Changes are found by comparing: a sixteenth of the rows at
each look, all of them within 16 looks. A frame is read until two reads, --settle-ms apart, agree:
one that is being written is not published. One whose writer pauses half-way for longer looks
complete, and is published torn: the format cannot tell. A writer that changes a few rows only, and
that faster than 16 looks, loses frames: --looks makes that rarer. Two equal frames in a row are one
frame here. Waits for the mapping, and again when it goes away.")]
pub struct Receive {
    /// Where from: legacy-memory:NAME[?size=1920x1080&streams=1&index=0]
    #[arg(value_name = "URL")]
    pub source: String,
    /// The channel's name
    pub channel: String,
    /// Looks a second
    #[arg(long, default_value = "120", value_name = "N", value_parser = parse::fps)]
    pub looks: f64,
    /// Time between the two reads of a frame that must agree: the longer, the longer may a writer pause half-way
    #[arg(long, default_value = "2", value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub settle_ms: u64,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Slots of the ring, 2 to 128
    #[arg(long, default_value = "6", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    pub slots: u8,
    /// Permissions of the channel's files: 600 only this user, 660 the group too
    #[arg(long, default_value = "600", value_parser = parse::permissions)]
    pub mode: u32,
}

impl Receive {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        match scheme(&self.source) {
            "legacy-memory" => receive_memory::run(self, global, stop),
            _ => Err(unknown_scheme(&self.source).into()),
        }
    }

    /// Makes the channel.
    pub fn create(&self, global: &Global) -> Result<Publisher, Error> {
        global.publisher().slots(self.slots.into()).mode(self.mode).create(&self.channel)
    }
}
