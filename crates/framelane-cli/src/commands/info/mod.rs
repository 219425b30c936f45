//! `framelane info`

use std::process::ExitCode;

use crate::describe::{ChannelReport, SubscriberReport, holders_text, link_text, source_text};
use crate::failure::Failure;
use crate::global::Global;
use crate::latency::human_ns;
use crate::reporter::Reporter;
use crate::table::{columns, counted, human_bytes};
use crate::transport::check_local;

/// Show the state of a channel.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane info cam0
  framelane info cam0/detections
  framelane info cam0 --json | jq .layout
  framelane info cam0 --json | jq .link.round_trip_ns

link: the peer of a channel that `receive` publishes, the number of connections, the shortest recent \
round trip, how far the peer's clock is ahead of this machine's, and the latency of the newest frame \
from its capture to its publication here. Frames that the link skipped (for example with --max-fps) \
are \"missed\". In the JSON, \"dropped\" includes them: \"dropped\" less \"link.missed\" frames found no \
free slot. \"link.live\" is true while the channel has a publisher at the peer.

source: the camera or stream of a channel, without secrets. It shows whether frames arrive or it \
reconnects, for how long, and why it was lost.")]
pub struct Info {
    /// The channel's name
    channel: String,
}

impl Info {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        check_local(
            &self.channel,
            "run `framelane receive URL`, then `framelane info` with its channel; or measure with \
             `framelane subscribe URL`",
        )?;
        let report = ChannelReport::new(&framelane::status(global.dir.as_deref(), &self.channel)?);
        Reporter::new(global.json).result(&report, || text(&report))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(channel: &ChannelReport) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("channel", channel.name.clone());
    row(
        "state",
        match &channel.damage {
            Some(why) => format!("{}: {why}", channel.state),
            None => channel.shown_state(),
        },
    );
    row("publisher", format!("process {}, epoch {}", channel.publisher_pid, channel.epoch));
    if let Some(link) = &channel.link {
        row("link", link_text(link));
    }
    if let Some(source) = &channel.source {
        row("source", source_text(source));
    }
    match &channel.layout {
        None => row("frames", "none yet".to_owned()),
        Some(layout) => {
            row("frames", format!("{}x{} {}", layout.width, layout.height, layout.format));
            let plane = |plane: &crate::describe::PlaneReport| {
                format!("at {} with stride {}", plane.offset_bytes, plane.stride_bytes)
            };
            let planes: Vec<_> = layout.planes.iter().map(plane).collect();
            row("layout", format!("{} bytes; planes {}", layout.size_bytes, planes.join(", ")));
            row("color", channel.color.color.to_string());
        }
    }
    let age = channel.newest_age_ns.map(|ns| format!(", published {} ago", human_ns(ns)));
    row("newest", format!("frame {}{}", channel.sequence, age.unwrap_or_default()));
    row("dropped", format!("{} found no free slot", counted(channel.without_slot(), "frame")));
    row(
        "ring",
        format!(
            "{} slots, backpressure {}, generation {}, {}",
            channel.slots,
            channel.backpressure,
            channel.generation,
            human_bytes(channel.memory_bytes)
        ),
    );
    if !channel.holders.is_empty() {
        let full = if channel.is_starved() { ": no slot is free" } else { "" };
        row("held slots", format!("{}{full}", holders_text(channel)));
    }
    row("subscribers", channel.subscribers.len().to_string());
    let mut text = columns(&rows);
    if !channel.subscribers.is_empty() {
        let heading = ["  #", "PID", "DELIVERY", "FRAME", "BEHIND", "LEASES", "RECEIVED", "DROPPED"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(
            channel.subscribers.iter().map(|subscriber| subscriber_row(subscriber, channel.sequence)),
        );
        text = format!("{text}\n{}", columns(&rows));
    }
    text
}

fn subscriber_row(subscriber: &SubscriberReport, newest: u64) -> Vec<String> {
    vec![
        format!("  {}", subscriber.index),
        subscriber.pid.to_string(),
        subscriber.delivery.to_owned(),
        subscriber.cursor.to_string(),
        newest.saturating_sub(subscriber.cursor).to_string(),
        subscriber.leases.to_string(),
        subscriber.received.to_string(),
        subscriber.dropped.to_string(),
    ]
}
