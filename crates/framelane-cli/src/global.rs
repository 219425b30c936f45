//! Options of every command.

use std::path::PathBuf;

use framelane::{PublisherOptions, SubscriberOptions, Urls};

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Directory of the channels, the same for both sides [default: $FRAMELANE_DIR, else
    /// /dev/shm/framelane-<uid>]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
    /// Report in JSON, errors too (on standard error)
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// Options of a publisher in the directory that was named.
    pub fn publisher(&self) -> PublisherOptions {
        // The user typed the URL.
        let options = PublisherOptions::new().urls(Urls::Trusted);
        match &self.dir {
            Some(directory) => options.directory(directory),
            None => options,
        }
    }

    /// The note about a wait for a channel: its directory, and the command that ends the wait.
    pub fn waiting_for(&self, channel: &str) -> String {
        match self.place_of(channel) {
            place if place.is_empty() => format!("waiting for channel {channel}"),
            place => format!(
                "waiting for channel {channel}{place} (`framelane publish SOURCE {channel}` there starts its \
                 publisher)"
            ),
        }
    }

    /// The directory of a local channel, as it follows "waiting". Empty for the URL of a channel on another
    /// machine.
    pub fn place_of(&self, channel: &str) -> String {
        let is_url = channel.contains(':');
        match framelane::directory(self.dir.as_deref()) {
            _ if is_url => String::new(),
            directory => format!(" in {}", directory.display()),
        }
    }

    /// Options of a subscriber in the directory that was named.
    pub fn subscriber(&self) -> SubscriberOptions {
        // The user typed the URL.
        let options = SubscriberOptions::new().urls(Urls::Trusted);
        match &self.dir {
            Some(directory) => options.directory(directory),
            None => options,
        }
    }
}
