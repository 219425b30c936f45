//! `framelane dashboard`

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use framelane_dashboard::{DashboardOptions, token_from_file};
use serde::Serialize;

use crate::failure::Failure;
use crate::global::Global;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// Show all channels in a browser.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane dashboard
      then open http://127.0.0.1:7480/
  framelane dashboard --listen localhost:8000 --token-file ~/.config/framelane/dashboard-token
      on another port, for clients with the token only (the file is created if it does not exist)
  ssh -L 7480:127.0.0.1:7480 HOST
      on another machine: makes the dashboard of HOST available there

For programs, at the same address:
  /metrics                           Prometheus text: frames, drops, latency histograms, links
  /api/channels                      the JSON of `framelane list --json`
  /api/openapi.json                  description of all of these
  /channels/CHANNEL/snapshot.jpg     the newest picture (?size=tile: a small one)
  /channels/CHANNEL/stream.mjpg      pictures as motion JPEG, for OpenCV, ffplay, VLC
  /healthz                           answers while the dashboard runs

The dashboard listens on loopback addresses only. Without --token-file, all users of this machine can \
see the channels. A channel is received and encoded while it is viewed, once for all viewers. \
/metrics measures latencies for 90 s after each request, and receives all channels meanwhile.")]
pub struct Dashboard {
    /// Listen on this loopback address (port 0: a free one)
    #[arg(long, default_value = "127.0.0.1:7480", value_name = "HOST:PORT", value_parser = address)]
    listen: SocketAddr,
    /// Require the token in this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Limit the pages and streams at once
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_clients: u16,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Listening { url: String },
    Stopped,
}

impl Dashboard {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let mut options = DashboardOptions::new(self.listen);
        options.directory.clone_from(&global.dir);
        options.token = self.token_file.as_deref().map(token_from_file).transpose()?;
        options.max_clients = self.max_clients.into();
        options.cancel = stop.token();
        let dashboard = framelane_dashboard::Dashboard::bind(options)?;
        let url = dashboard.url();
        let reporter = Reporter::new(global.json);
        let text = match &self.token_file {
            Some(file) => format!("dashboard at {url}, with the token in {}", file.display()),
            None => format!("dashboard at {url}"),
        };
        reporter.event(&Event::Listening { url }, &text)?;
        dashboard.run()?;
        reporter.json(&Event::Stopped)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = || format!("expected HOST:PORT as in 127.0.0.1:7480, found {text:?}");
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(expected)
}
