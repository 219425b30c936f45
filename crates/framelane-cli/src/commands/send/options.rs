//! Options of `send` that several transports have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{CancelToken, Subscriber, SubscriberOptions};

use crate::failure::Failure;
use crate::global::Global;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// The longest wait for a frame between two checks for a stop signal.
pub const STOP_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Options of every transport.
#[derive(Debug, clap::Args)]
pub struct Options {
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
    /// Allow other machines without encryption and authentication (tcp://, legacy)
    #[arg(long)]
    pub insecure: bool,
}

/// Options of links and of `legacy:`.
#[derive(Debug, clap::Args)]
#[group(id = "network")]
#[command(next_help_heading = "Options of links and of legacy")]
pub struct NetworkOptions {
    /// Scale to this size [default: the frame's own]
    #[arg(long, value_name = "WxH", value_parser = parse::size)]
    pub size: Option<(u32, u32)>,
    /// Reconnect when the receiver accepts and sends nothing for this time [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub idle_timeout: Option<Duration>,
}

impl Options {
    /// Subscribes to the channel, and waits up to `--open-timeout` for it.
    pub fn subscribe(
        &self,
        global: &Global,
        options: SubscriberOptions,
        reporter: &Reporter,
        stop: &Stop,
    ) -> Result<Subscriber, Failure> {
        let (reporter, text) = (reporter.clone(), global.waiting_for(&self.channel));
        let first = AtomicBool::new(true);
        let waiting = CancelToken::with_check(move || {
            if first.swap(false, Ordering::Relaxed) {
                reporter.note(&text);
            }
            false
        });
        let cancel = CancelToken::any([waiting, stop.token()]);
        let mut subscriber = options.open_timeout(self.open_timeout).cancel(cancel).open(&self.channel)?;
        subscriber.set_cancel_token(stop.token());
        Ok(subscriber)
    }
}
