//! The `framelane` command: live video frames through shared memory, from a terminal.
//!
//! One file for each command in `commands`; shared code is in this folder. Results go to standard
//! output, notes, progress and errors to standard error.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod describe;
mod failure;
mod frames;
mod latency;
mod notes;
mod parse;
mod signals;
mod table;
mod terminal;
mod y4m;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use framelane::{PublisherOptions, SubscriberOptions, Urls};

use commands::Command;
use failure::Failure;
use signals::Stop;

/// Live video frames between processes and between languages, at memory speed.
#[derive(Debug, Parser)]
#[command(
    name = "framelane",
    version,
    max_term_width = 110,
    after_help = "Examples:
  framelane publish testsrc cam0            a test pattern on channel cam0
  framelane publish film.mp4 cam0 --loop    a file, again and again
  framelane subscribe cam0                  frame rate, latency, drops
  framelane subscribe cam0 --stdout y4m | ffplay -
  framelane run cam0 detect.py              boxes from a Python function, on cam0/detections
  framelane serve --listen tls://0.0.0.0:7420      offer all channels to other machines
  framelane receive 'tls://HOST:7420/cam0?fingerprint=sha256:…'
                                            a channel of another machine, as cam0 here
  framelane receive tcp://127.0.0.1:7420/cam0 cam1 --codec h264
                                            as cam1, compressed on the way
  framelane send cam0 legacy-memory:ShareMedia     to programs that read an old named mapping
  framelane list                            all channels
  framelane top                             all channels, live: rates, readers, links
  framelane doctor --fix                    remove files that a crash left

Exit codes: 0 done, 1 error, 2 wrong usage, 130 ended by Ctrl-C, 143 ended by SIGTERM."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Directory of the channels, the same for both sides [default: $FRAMELANE_DIR, else
    /// /dev/shm/framelane-<uid>]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Report in JSON, errors too (on standard error)
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// Options of a publisher in the directory that was named.
    fn publisher(&self) -> PublisherOptions {
        // The user has typed the URL.
        let options = PublisherOptions::new().urls(Urls::Trusted);
        match &self.dir {
            Some(directory) => options.directory(directory),
            None => options,
        }
    }

    /// What to say of a wait for a channel: where it is looked for, and what ends the wait.
    fn waiting_for(&self, channel: &str) -> String {
        match self.place_of(channel) {
            place if place.is_empty() => format!("waiting for channel {channel}"),
            place => format!(
                "waiting for channel {channel}{place} (`framelane publish SOURCE {channel}` there starts its publisher)"
            ),
        }
    }

    /// The directory of a local channel, as it follows "waiting". Empty for the URL of a channel on another
    /// machine.
    fn place_of(&self, channel: &str) -> String {
        let is_url = channel.contains(':');
        match framelane::directory(self.dir.as_deref()) {
            _ if is_url => String::new(),
            directory => format!(" in {}", directory.display()),
        }
    }

    /// Options of a subscriber in the directory that was named.
    fn subscriber(&self) -> SubscriberOptions {
        // The user has typed the URL.
        let options = SubscriberOptions::new().urls(Urls::Trusted);
        match &self.dir {
            Some(directory) => options.directory(directory),
            None => options,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    arguments::hide(&arguments);
    let cli = match parse_arguments(arguments.clone()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    if cli.command.has_keys() || arguments::have_secrets(&arguments) {
        arguments::forbid_core_dumps();
    }
    framelane_net::register_url_schemes();
    let stop = match Stop::install(cli.command.grace()) {
        Ok(stop) => stop,
        Err(error) => return failure::report(&error, cli.global.json),
    };
    let result = cli.command.run(&cli.global, &stop);
    if let Some(code) = stop.exit_code() {
        // Whatever ended early for the signal's sake is not an error of its own.
        return ExitCode::from(code);
    }
    match result {
        Ok(code) => code,
        Err(failure) => failure::report(&failure, cli.global.json),
    }
}

/// Reads the arguments. `--loop 2` is taken as `--loop=2` when it is wrong as it stands: `--loop` alone is
/// right too, so that what follows may be the source or a channel called 2.
fn parse_arguments(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    parse_as_they_are(&arguments).or_else(|error| match joined_loop(&arguments) {
        Some(joined) if error.kind() == ClapKind::UnknownArgument => parse_as_they_are(&joined),
        _ => Err(error),
    })
}

fn parse_as_they_are(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    commands::check_options(&mut command, &matches)?;
    commands::check_conflicts(&mut command, &matches, arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The arguments with `--loop N` made `--loop=N`, if there is one.
fn joined_loop(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let is_count = |text: &str| text == "forever" || text.parse::<u32>().is_ok();
    let at = arguments
        .windows(2)
        .position(|pair| pair[0] == "--loop" && pair[1].to_str().is_some_and(is_count))?;
    let mut joined = arguments.to_vec();
    let count = joined.remove(at + 1);
    joined[at].push("=");
    joined[at].push(count);
    Some(joined)
}

/// Help, the version, or wrong usage: clap has the words for all of them, with the secrets of the arguments
/// hidden.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ClapKind::DisplayHelp | ClapKind::DisplayVersion | ClapKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let hidden = |text: String| {
        let pairs = arguments.iter().zip(arguments::hidden(arguments));
        pairs.filter(|(argument, hidden)| *argument != hidden).fold(text, |text, (argument, hidden)| {
            text.replace(&*argument.to_string_lossy(), &hidden.to_string_lossy())
        })
    };
    if !is_help && arguments.iter().any(|argument| argument == "--json") {
        let text = hidden(error.render().to_string());
        let said = text.split("\n\nUsage:").next().and_then(|text| text.split("\n\nFor more").next());
        let words: Vec<_> = said.unwrap_or_default().split_whitespace().collect();
        let message = words.join(" ");
        let message = message.trim_start_matches("error: ");
        let error = framelane::Error::new(framelane::ErrorKind::InvalidOption, message)
            .with_hint("see `framelane --help`, or --help of the command");
        failure::report(&Failure::from(error), true);
    } else if is_help {
        // A closed terminal is no reason to fail in another way.
        let _ = error.print();
    } else {
        let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let rendered = error.render();
        let text = if colored { rendered.ansi().to_string() } else { rendered.to_string() };
        let _ = write!(std::io::stderr(), "{}", hidden(text));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, parse_arguments};

    #[test]
    fn the_options_of_all_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn loop_takes_its_count_with_or_without_an_equals_sign() {
        let read = |line: &str| {
            let cli =
                parse_arguments(line.split(' ').map(Into::into).collect()).map_err(|e| e.to_string())?;
            Ok::<_, String>(format!("{:?}", cli.command))
        };
        for line in [
            "framelane publish a.mp4 cam0 --loop 2",
            "framelane publish --loop 2 a.mp4 cam0",
            "framelane publish a.mp4 --loop 2 cam0 --json",
        ] {
            assert_eq!(read(line), read("framelane publish a.mp4 cam0 --loop=2"), "{line}");
        }
        // Right as they stand, so left alone.
        assert_eq!(read("framelane publish a.mp4 --loop 2"), read("framelane publish a.mp4 2 --loop"),);
        assert!(read("framelane publish a.mp4 cam0 --loop 0").unwrap_err().contains("1 or more"));
        assert!(read("framelane publish a.mp4 cam0 --loop x").is_err());
    }
}
