//! `framelane list`

use std::process::ExitCode;

use crate::Global;
use crate::describe::ChannelReport;
use crate::failure::{Failure, print_json, print_line};
use crate::latency::human_us;
use crate::table::{columns, human_bytes};

/// List the channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane list
  framelane list --json | jq -r '.channels[].name'
  framelane list --dir /dev/shm/shared

States: live (a publisher holds it), stale (its publisher died; a new one takes it over, or `framelane doctor --fix`
removes it), closed (being removed), damaged (`framelane info` says why).")]
pub struct List {}

#[derive(serde::Serialize)]
struct Report {
    channels: Vec<ChannelReport>,
}

impl List {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let found = framelane::list(global.dir.as_deref())?;
        let channels: Vec<_> = found.iter().map(ChannelReport::new).collect();
        if global.json {
            print_json(&Report { channels })?;
        } else if channels.is_empty() {
            print_line("no channels; `framelane publish testsrc cam0` makes one")?;
        } else {
            let heading = [
                "CHANNEL", "STATE", "PID", "SIZE", "FORMAT", "FRAME", "AGE", "DROPPED", "READERS", "SLOTS",
                "MEMORY",
            ];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(channels.iter().map(row));
            print_line(&columns(&rows))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(channel: &ChannelReport) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        channel.name.clone(),
        channel.state.to_owned(),
        channel.publisher_pid.to_string(),
        or_dash(channel.layout.as_ref().map(|layout| format!("{}x{}", layout.width, layout.height))),
        or_dash(channel.layout.as_ref().map(|layout| layout.format.clone())),
        channel.sequence.to_string(),
        or_dash(channel.newest_age_ns.map(|ns| human_us(ns as f64 / 1000.0))),
        channel.dropped.to_string(),
        channel.subscribers.len().to_string(),
        channel.slots.to_string(),
        human_bytes(channel.memory_bytes),
    ]
}
