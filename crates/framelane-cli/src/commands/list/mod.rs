//! `framelane list`

use std::process::ExitCode;

use framelane_dashboard::report::Report;

use crate::describe::{ChannelReport, LinkReport, NOT_PUBLISHED, SourceReport, holders_text};
use crate::failure::Failure;
use crate::global::Global;
use crate::latency::human_ns;
use crate::reporter::Reporter;
use crate::table::{columns, human_bytes};

/// List the channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane list
  framelane list --json | jq -r '.channels[].name'
  framelane list --dir /dev/shm/shared

States:
  live       a publisher holds the channel
  stalled    live, but without a new frame for five frame intervals and for a second
  stale      the publisher died; a new one takes over, or `framelane doctor --fix` removes it
  closed     the channel is being removed
  no access  another user owns the channel; `framelane info` shows what to do
  damaged    `framelane info` shows the reason

DROPPED: frames that found no free slot.
These columns are shown if at least one channel has a value:
LINK: the peer of a channel that is received over a link.
SOURCE: the camera or stream of a channel, and while it reconnects, why it was lost.
HELD: the processes that hold slots, if no slot of the channel is free.
In the JSON, \"dropped\" also counts frames that the link skipped, \"link.missed\".")]
pub struct List {}

impl List {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let report = Report::of(global.dir.as_deref())?;
        Reporter::new(global.json).result(&report, || text(&report.channels, global))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(channels: &[ChannelReport], global: &Global) -> String {
    if channels.is_empty() {
        return none(global);
    }
    let heading = [
        "CHANNEL", "STATE", "PID", "SIZE", "FORMAT", "FRAME", "AGE", "DROPPED", "READERS", "SLOTS", "MEMORY",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(channels.iter().map(row));
    let mut add = |heading: &str, cell: &dyn Fn(&ChannelReport) -> Option<String>| {
        let cells: Vec<_> = channels.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            rows[0].push(heading.to_owned());
            rows[1..].iter_mut().zip(cells).for_each(|(row, cell)| row.push(or_dash(cell)));
        }
    };
    add("LINK", &|channel| channel.link.as_ref().map(link));
    add("SOURCE", &|channel| channel.source.as_ref().map(source));
    add("HELD", &|channel| channel.is_starved().then(|| holders_text(channel)));
    columns(&rows)
}

/// The text for a directory without channels.
pub fn none(global: &Global) -> String {
    let directory = framelane::directory(global.dir.as_deref());
    let missing = if directory.exists() { "" } else { ", which does not exist yet" };
    let directory = directory.display();
    format!("no channels in {directory}{missing}; `framelane publish testsrc cam0` creates one")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn row(channel: &ChannelReport) -> Vec<String> {
    vec![
        channel.name.clone(),
        channel.shown_state(),
        or_dash((channel.publisher_pid != 0).then(|| channel.publisher_pid.to_string())),
        or_dash(channel.layout.as_ref().map(|layout| format!("{}x{}", layout.width, layout.height))),
        or_dash(channel.layout.as_ref().map(|layout| layout.format.clone())),
        channel.sequence.to_string(),
        or_dash(channel.newest_age_ns.map(human_ns)),
        channel.without_slot().to_string(),
        channel.subscribers.len().to_string(),
        channel.slots.to_string(),
        human_bytes(channel.memory_bytes),
    ]
}

fn source(source: &SourceReport) -> String {
    match &source.reason {
        Some(reason) if !source.is_receiving() => format!("{} (reconnecting: {reason})", source.name),
        _ => source.name.clone(),
    }
}

fn link(link: &LinkReport) -> String {
    match (link.connected, link.live) {
        (true, true) => link.peer.clone(),
        (true, false) => format!("{} ({NOT_PUBLISHED})", link.peer),
        (false, _) => format!("{} (not connected)", link.peer),
    }
}
