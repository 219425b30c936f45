//! The command line.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::arguments;
use crate::commands::Command;
use crate::failure::{self, Failure};
use crate::global::Global;
use crate::transport;

/// Zero-copy publish/subscribe for live video frames, between processes and between machines.
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
  framelane view cam0                       a window, with boxes
  framelane dashboard                       all channels in a browser, with pictures and boxes
  framelane doctor --fix                    remove files that a crash left

Exit codes: 0 done, 1 error, 2 wrong usage, 130 ended by Ctrl-C, 143 ended by SIGTERM."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Parses the arguments. Refuses options that are given twice, that contradict each other, or that have no
/// effect: no option wins silently, and no option that protects is ignored.
///
/// The table of sources is in framelane-video, because programs of every language open sources.
///
/// # Errors
/// Help, the version, or wrong usage.
pub fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    transport::check_options(&mut command, &matches)?;
    let Some(message) = directory_twice(arguments).or_else(|| cli.command.conflict(&cli.global)) else {
        return Ok(cli);
    };
    let command = command.find_subcommand_mut(matches.subcommand_name().unwrap_or_default());
    Err(command.expect("the command was parsed").error(ClapKind::ArgumentConflict, message))
}

/// A global option before and after the subcommand: clap takes the last one.
fn directory_twice(arguments: &[OsString]) -> Option<String> {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    let is_dir = |argument: &&OsString| *argument == "--dir" || argument.as_bytes().starts_with(b"--dir=");
    (options.filter(is_dir).count() > 1).then(|| "expected each option once, found --dir twice".to_owned())
}

/// Prints help, the version or wrong usage in the words of clap, without the secrets of the arguments.
/// Returns the exit code.
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
        let text = text.split("\n\nUsage:").next().and_then(|text| text.split("\n\nFor more").next());
        let words: Vec<_> = text.unwrap_or_default().split_whitespace().collect();
        let message = words.join(" ");
        let message = message.trim_start_matches("error: ");
        let error = framelane::Error::new(framelane::ErrorKind::InvalidOption, message)
            .with_hint("see `framelane --help`, or --help of the command");
        failure::report(&Failure::from(error), true);
    } else if is_help {
        // A closed terminal is no other failure.
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

    use super::*;

    fn error(line: &str) -> Option<String> {
        let arguments: Vec<_> = format!("framelane {line}").split_whitespace().map(Into::into).collect();
        parse(&arguments).err().map(|error| error.to_string())
    }

    #[test]
    fn options_of_all_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn option_given_twice_or_against_another_is_refused() {
        let print = format!("sha256:{}", "0a".repeat(32));
        for (line, found) in [
            ("--dir a list --dir b", "--dir twice"),
            ("--dir=a list --dir=a", "--dir twice"),
            ("publish testsrc cam0 --live --no-live", "cannot be used with"),
            ("publish testsrc cam0 --no-live --live", "cannot be used with"),
            ("publish testsrc cam0 --size 8x8 --size 9x9", "cannot be used multiple times"),
            ("serve --listen unix:/a.sock --listen unix:/a.sock", "unix:/a.sock twice"),
            ("serve --listen tcp://h:1 --listen tcp://h:1 --anonymous", "twice"),
            ("serve --listen unix:/a.sock --clients f", "--clients needs"),
            ("serve --listen tcp://127.0.0.1:1 --identity d", "--identity needs"),
            ("serve --listen tls://127.0.0.1:1 --insecure", "--insecure needs"),
            ("serve --listen tls://127.0.0.1:1 --anonymous --clients f", "cannot be used with"),
            ("receive tls://h/c?codec=lz4 --codec raw", "--codec and codec= in the URL"),
            ("receive tls://h/c?delivery=newest --every", "--every and delivery="),
            ("receive tls://h/c?max-fps=2 --max-fps 1", "--max-fps and max-fps="),
            (&format!("receive tls://h/c?fingerprint={print} --ca x"), "--ca and fingerprint="),
            (&format!("receive tls://h/c?ca=x --fingerprint {print}"), "--fingerprint and ca="),
            (&format!("receive tls://h/c --fingerprint {print} --ca x"), "cannot be used with"),
            ("receive tls://h/c?certificate=y --certificate x", "--certificate and certificate="),
            ("receive tls://h/c?size=2x2 --size 1x1", "--size and size="),
            ("send c tls://h/c?idle-timeout=3 --idle-timeout 5", "--idle-timeout and idle-timeout="),
            ("send c tcp://h/c?insecure=0 --insecure", "--insecure and insecure="),
            ("send c tcp://h/c?insecure --insecure", "--insecure and insecure="),
            ("send c legacy-memory:a --insecure", "--insecure is an option of tcp:// and of legacy"),
            ("receive legacy-memory:a c --insecure", "--insecure is an option of tcp:// and of legacy"),
            ("send c tls://h/c --insecure", "--insecure is an option of tcp:// and of legacy"),
            ("receive unix:/a.sock/c --insecure", "--insecure is an option of tcp:// and of legacy"),
            ("send c unix:/a.sock/c?server-uid=1 --server-uid 2", "--server-uid and server-uid="),
            ("receive tls://h/c?slots=9", "give --slots"),
            ("receive tls://h/c?slots=9 --slots 8", "give --slots"),
            ("send c legacy://h?quality=80 --quality 90", "--quality and quality="),
            ("send c legacy-memory:a?opencv=4 --opencv 5", "--opencv and opencv="),
            ("receive legacy-memory:a?opencv=4 cam0 --opencv 5", "--opencv and opencv="),
            ("send c legacy://h --every", "--every is an option of links"),
            ("receive legacy://h c --size 1x1", "--size is an option of links"),
            ("subscribe cam0 --stdout raw --fps 3", "--fps is for"),
            ("subscribe cam0 --per-frame", "--per-frame needs --json"),
            ("bench --free --fps 30", "cannot be used with"),
        ] {
            let error = error(line).unwrap_or_else(|| panic!("{line} was accepted"));
            assert!(error.contains(found), "{line}: {error}");
        }
    }

    #[test]
    fn options_that_go_together_are_accepted() {
        for line in [
            "--dir a list --json",
            "run cam0 x.py --labels=--dir --dir a",
            "serve --listen tcp://127.0.0.1:0 --listen tcp://127.0.0.1:0 --anonymous",
            "serve --listen unix:/a.sock --listen tls://h:1 --clients f --identity d",
            "receive tls://h/c?codec=lz4&delivery=every --size 1x1 --slots 9",
            "send c legacy://h?quality=80 --size 2x2",
            "subscribe cam0 --stdout y4m --fps 3",
            "publish testsrc cam0 --ffmpeg-option a=1 --ffmpeg-option b=2",
        ] {
            assert_eq!(error(line), None, "{line}");
        }
    }
}
