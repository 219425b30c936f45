//! The command line.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::arguments;
use crate::commands::{self, Command};
use crate::failure::{self, Failure};
use crate::global::Global;
use crate::transport;

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
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Reads the arguments. `--loop 2` is taken as `--loop=2` when it is wrong as it stands: `--loop` alone is
/// right too, so that what follows may be the source or a channel called 2.
pub fn parse_arguments(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    parse_as_they_are(&arguments).or_else(|error| match joined_loop(&arguments) {
        Some(joined) if error.kind() == ClapKind::UnknownArgument => parse_as_they_are(&joined),
        _ => Err(error),
    })
}

fn parse_as_they_are(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    transport::check_options(&mut command, &matches)?;
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
pub fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
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
