//! `framelane list`

use std::process::ExitCode;

use framelane::{ChannelState, ChannelStatus, ErrorKind};

use crate::describe::{ChannelReport, LinkReport, NOT_PUBLISHED, SourceReport};
use crate::failure::{Failure, print_json, print_line};
use crate::global::Global;
use crate::latency::human_ns;
use crate::table::{columns, human_bytes};

/// List the channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane list
  framelane list --json | jq -r '.channels[].name'
  framelane list --dir /dev/shm/shared

States: live (a publisher holds it), stale (its publisher died; a new one takes it over, or
`framelane doctor --fix` removes it), closed (being removed), no access (another user's;
`framelane info` says what to do), damaged (`framelane info` says why).
DROPPED: frames that found no free slot.
These columns are shown if at least one channel has a value:
LINK: the peer of a channel that is received over a link.
SOURCE: the camera or stream of a channel, and while it reconnects, why it was lost.
HELD: the processes that hold slots, if no slot of the channel is free.
In the JSON, \"dropped\" also counts frames that the link skipped, \"link.missed\".")]
pub struct List {}

#[derive(serde::Serialize)]
struct Report {
    directory: String,
    channels: Vec<ChannelReport>,
}

impl List {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let channels = channels(global)?;
        if global.json {
            let directory = framelane::directory(global.dir.as_deref()).display().to_string();
            print_json(&Report { directory, channels })?;
        } else if channels.is_empty() {
            print_line(&none(global))?;
        } else {
            let heading = [
                "CHANNEL", "STATE", "PID", "SIZE", "FORMAT", "FRAME", "AGE", "DROPPED", "READERS", "SLOTS",
                "MEMORY",
            ];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(channels.iter().map(row));
            if channels.iter().any(|channel| channel.link.is_some()) {
                let links = channels.iter().map(|channel| channel.link.as_ref().map_or("-".to_owned(), link));
                let cells = std::iter::once("LINK".to_owned()).chain(links);
                rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
            }
            if channels.iter().any(|channel| channel.source.is_some()) {
                let sources =
                    channels.iter().map(|channel| channel.source.as_ref().map_or("-".to_owned(), source));
                let cells = std::iter::once("SOURCE".to_owned()).chain(sources);
                rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
            }
            if channels.iter().any(ChannelReport::is_starved) {
                let held = channels.iter().map(|channel| match channel.is_starved() {
                    true => channel.holders_text(),
                    false => "-".to_owned(),
                });
                let cells = std::iter::once("HELD".to_owned()).chain(held);
                rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
            }
            print_line(&columns(&rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What to say when there are no channels, with the place that was looked at.
pub fn none(global: &Global) -> String {
    let directory = framelane::directory(global.dir.as_deref());
    let missing = if directory.exists() { "" } else { ", which does not exist yet" };
    let directory = directory.display();
    format!("no channels in {directory}{missing}; `framelane publish testsrc cam0` makes one")
}

/// All channels, by name.
pub fn channels(global: &Global) -> Result<Vec<ChannelReport>, Failure> {
    let report = |status: &ChannelStatus| {
        let report = ChannelReport::new(status);
        match refused(global, status) {
            true => report.without_access(),
            false => report,
        }
    };
    Ok(framelane::list(global.dir.as_deref())?.iter().map(report).collect())
}

/// True if the system denies access to a channel that may be healthy. `list` reports both as damage, in
/// words only.
fn refused(global: &Global, status: &ChannelStatus) -> bool {
    matches!(status.state, ChannelState::Damaged(_))
        && framelane::status(global.dir.as_deref(), &status.name)
            .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn row(channel: &ChannelReport) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        channel.name.clone(),
        channel.state.replace('_', " "),
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
