//! The commands, one folder for each: options, run and output.

mod bench;
mod dashboard;
mod doctor;
mod identity;
mod info;
mod list;
mod publish;
mod receive;
mod run;
mod send;
mod serve;
mod subscribe;
mod top;
#[cfg(feature = "view")]
mod view;

use std::process::ExitCode;
use std::time::Duration;

use crate::failure::Failure;
use crate::global::Global;
use crate::signals::Stop;

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Publish a file, a stream, a camera, standard input or a test pattern
    Publish(Box<publish::Publish>),
    /// Measure a channel, or write its frames to standard output
    Subscribe(subscribe::Subscribe),
    /// Run a Python function on each frame and publish the boxes that it finds
    Run(run::Run),
    /// Send a channel's frames to another machine or to an old program
    Send(Box<send::Send>),
    /// Publish the frames of another machine or of an old program
    Receive(Box<receive::Receive>),
    /// Offer this machine's channels to other machines
    Serve(serve::Serve),
    /// List the channels
    List(list::List),
    /// Show the state of a channel
    Info(info::Info),
    /// Watch all channels: rates, readers, links
    Top(top::Top),
    /// Show channels in a window, with boxes
    #[cfg(feature = "view")]
    View(view::View),
    /// Show all channels in a browser: pictures, boxes, latencies, metrics
    Dashboard(dashboard::Dashboard),
    /// Find and remove files that a crash left; check the space for channels
    Doctor(doctor::Doctor),
    /// Create keys and certificates; define which clients may connect
    Identity(identity::Identity),
    /// Measure the latency between processes on this machine
    Bench(bench::Bench),
    /// A reader of `bench`
    #[command(hide = true)]
    BenchReader(bench::BenchReader),
}

impl Command {
    /// Runs the command. Returns its exit code.
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        match self {
            Command::Publish(publish) => publish.run(global, stop),
            Command::Subscribe(subscribe) => subscribe.run(global, stop),
            Command::Run(run) => run.run(global, stop),
            Command::Send(send) => send.run(global, stop),
            Command::Receive(receive) => receive.run(global, stop),
            Command::Serve(serve) => serve.run(global, stop),
            Command::List(list) => list.run(global),
            Command::Info(info) => info.run(global),
            Command::Top(top) => top.run(global, stop),
            #[cfg(feature = "view")]
            Command::View(view) => view.run(global, stop),
            Command::Dashboard(dashboard) => dashboard.run(global, stop),
            Command::Doctor(doctor) => doctor.run(global),
            Command::Identity(identity) => identity.run(global),
            Command::Bench(bench) => bench.run(global, stop),
            Command::BenchReader(reader) => reader.run(global, stop),
        }
    }

    /// Returns the contradiction among the options, if there is one.
    pub fn conflict(&self, global: &Global) -> Option<String> {
        match self {
            Command::Serve(serve) => serve.conflict(),
            Command::Subscribe(subscribe) => subscribe.conflict(global),
            _ => None,
        }
    }

    /// Returns whether the command reads or makes keys and tokens, regardless of its arguments.
    pub fn has_keys(&self) -> bool {
        matches!(self, Command::Serve(_) | Command::Identity(_) | Command::Dashboard(_))
    }

    /// Returns the time from a signal to a forced end. `None` for commands that have to clean up.
    pub fn grace(&self) -> Option<Duration> {
        match self {
            Command::Publish(_)
            | Command::Run(_)
            | Command::Send(_)
            | Command::Receive(_)
            | Command::Serve(_)
            | Command::Dashboard(_)
            | Command::Bench(_)
            | Command::Doctor(_) => None,
            _ => Some(Duration::from_secs(2)),
        }
    }
}
