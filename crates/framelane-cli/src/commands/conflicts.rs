//! Refusal of options that are given twice, that contradict each other, or that have no effect. No option
//! wins silently, and an option that protects is never ignored.
//!
//! The table of sources is in framelane-video: programs of every language open sources, and only commands
//! have arguments.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::error::ErrorKind as ClapKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use framelane_net::Address;

use crate::transport::{address_of, headings, scheme};

/// Options of the command line under another name in URLs, or against one.
const AGAINST: [(&str, &str); 3] = [("every", "delivery"), ("fingerprint", "ca"), ("ca", "fingerprint")];

/// Refuses arguments that contradict each other.
///
/// # Errors
/// Wrong usage.
pub fn check(command: &mut Command, matches: &ArgMatches, arguments: &[OsString]) -> Result<(), clap::Error> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let Some(command) = command.find_subcommand_mut(name) else { return Ok(()) };
    let found = twice(arguments).or_else(|| in_url(command, matches)).or_else(|| match name {
        "serve" => of_serve(matches),
        "subscribe" => of_subscribe(matches),
        _ => None,
    });
    match found {
        Some(message) => Err(command.error(ClapKind::ArgumentConflict, message)),
        None => Ok(()),
    }
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// A global option before and after the subcommand: clap takes the last one.
fn twice(arguments: &[OsString]) -> Option<String> {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    let is_dir = |argument: &&OsString| *argument == "--dir" || argument.as_bytes().starts_with(b"--dir=");
    (options.filter(is_dir).count() > 1).then(|| "expected each option once, found --dir twice".to_owned())
}

/// An option that the URL has too. No value is repeated: it may be a secret.
fn in_url(command: &Command, matches: &ArgMatches) -> Option<String> {
    let address = address_of(matches)?;
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let names: Vec<_> =
        query.split('&').map(|part| part.split_once('=').map_or(part, |(name, _)| name)).collect();
    let is_link = headings::of(scheme(address)).is_some_and(|fitting| fitting.contains(&headings::LINKS));
    if is_link && names.contains(&"slots") {
        return Some("slots= in a URL is for its subscribers: give --slots to `receive`".to_owned());
    }
    command.get_arguments().filter(|argument| is_given(matches, argument.get_id().as_str())).find_map(
        |argument| {
            let long = argument.get_long()?;
            let others = AGAINST.into_iter().filter(|(flag, _)| *flag == long).map(|(_, name)| name);
            let name = std::iter::once(long).chain(others).find(|name| names.contains(name))?;
            Some(format!("expected each option once, found --{long} and {name}= in the URL"))
        },
    )
}

fn of_serve(matches: &ArgMatches) -> Option<String> {
    let addresses: Vec<_> = matches.get_many::<Address>("listen")?.collect();
    // Port 0 is another port each time.
    let is_fixed = |address: &Address| match address {
        Address::Tls { port, .. } | Address::Tcp { port, .. } => *port != 0,
        Address::Unix(_) => true,
    };
    let again = addresses
        .iter()
        .enumerate()
        .find(|(index, address)| is_fixed(address) && addresses[..*index].contains(address));
    if let Some((_, address)) = again {
        return Some(format!("expected each address once, found --listen {address} twice"));
    }
    let has = |kind: fn(&Address) -> bool| addresses.iter().any(|address| kind(address));
    let is_tls = |address: &Address| matches!(address, Address::Tls { .. });
    let is_tcp = |address: &Address| matches!(address, Address::Tcp { .. });
    let idle = [
        ("clients", has(is_tls) || has(is_tcp), "tls:// or tcp://: clients of unix: are known by their user"),
        ("identity", has(is_tls), "tls://"),
        ("insecure", has(is_tcp), "tcp://"),
    ];
    let (option, _, schemes) =
        idle.into_iter().find(|(option, is_used, _)| !is_used && is_given(matches, option))?;
    Some(format!("--{option} needs a --listen address with {schemes}"))
}

fn of_subscribe(matches: &ArgMatches) -> Option<String> {
    let is_raw = matches.get_raw("stdout").is_some_and(|mut values| values.any(|value| value == "raw"));
    (is_raw && is_given(matches, "fps"))
        .then(|| "--fps is for the header of y4m, and has no effect with --stdout raw".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::parse_arguments;

    fn error(line: &str) -> Option<String> {
        let arguments = format!("framelane {line}").split_whitespace().map(Into::into).collect();
        parse_arguments(arguments).err().map(|error| error.to_string())
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
            ("send c unix:/a.sock/c?server-uid=1 --server-uid 2", "--server-uid and server-uid="),
            ("receive tls://h/c?slots=9", "give --slots"),
            ("receive tls://h/c?slots=9 --slots 8", "give --slots"),
            ("send c legacy://h?quality=80 --quality 90", "--quality and quality="),
            ("send c legacy-memory:a?opencv=4 --opencv 5", "--opencv and opencv="),
            ("receive legacy-memory:a?opencv=4 cam0 --opencv 5", "--opencv and opencv="),
            ("subscribe cam0 --stdout raw --fps 3", "--fps is for"),
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
