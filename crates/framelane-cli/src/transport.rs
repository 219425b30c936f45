//! The kinds of addresses that `send` and `receive` know, who can be reached at them, and which options they
//! have.

use std::net::SocketAddr;

use clap::parser::ValueSource;
use clap::{ArgMatches, error::ErrorKind as ClapKind};
use framelane::{Error, ErrorKind};

/// All of them, each as it is written.
const KNOWN: &[&str] = &[
    "tls://HOST:PORT/CHANNEL",
    "tcp://HOST:PORT/CHANNEL",
    "unix:PATH.sock/CHANNEL",
    "legacy-memory:NAME",
    "legacy://HOST:PORT",
];

/// The headings of options in `--help`: options under one of them belong to addresses of these kinds, and to
/// no others.
pub mod headings {
    pub const LINKS: &str = "Options of links (tls://, tcp://, unix:)";
    pub const LEGACY: &str = "Options of legacy";
    pub const LEGACY_MEMORY: &str = "Options of legacy-memory";
    pub const LINKS_AND_LEGACY: &str = "Options of links and of legacy";

    /// Those that an address of this kind has; `None` for an unknown kind.
    pub fn of(scheme: &str) -> Option<&'static [&'static str]> {
        match scheme {
            "tls" | "tcp" | "unix" => Some(&[LINKS, LINKS_AND_LEGACY]),
            "legacy" => Some(&[LEGACY, LINKS_AND_LEGACY]),
            "legacy-memory" => Some(&[LEGACY_MEMORY]),
            _ => None,
        }
    }
}

/// Refuses options that say nothing about the kind of address they are given with: they would be ignored.
///
/// # Errors
/// Wrong usage.
pub fn check_options(command: &mut clap::Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let Some(command) = command.find_subcommand_mut(name) else { return Ok(()) };
    // Not as `requires`, which sees the global --json only behind the subcommand.
    let flag = |id: &str| matches.try_get_one::<bool>(id).ok().flatten() == Some(&true);
    if flag("per_frame") && !flag("json") {
        return Err(command.error(ClapKind::MissingRequiredArgument, "--per-frame needs --json"));
    }
    // Not the address itself: somebody may have put a token into it.
    let Some(scheme) = address_of(matches).map(scheme) else { return Ok(()) };
    let Some(fitting) = headings::of(scheme) else { return Ok(()) };
    let misplaced = command.get_arguments().find_map(|argument| {
        let heading = argument.get_help_heading().filter(|heading| heading.starts_with("Options of "))?;
        let given = matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        (given && !fitting.contains(&heading)).then(|| (argument.get_long().unwrap_or_default(), heading))
    });
    let Some((option, heading)) = misplaced else { return Ok(()) };
    let kinds = heading.trim_start_matches("Options of ");
    let message = format!("--{option} is an option of {kinds}, and has no effect for {scheme}: addresses");
    Err(command.error(ClapKind::ArgumentConflict, message))
}

/// The address that `send` or `receive` was given.
pub fn address_of(matches: &ArgMatches) -> Option<&str> {
    let given = |id| matches.try_get_one::<String>(id).ok().flatten();
    ["source", "target"].into_iter().find_map(given).map(String::as_str)
}

/// What comes before the first colon: it decides which file goes on.
pub fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// The error for an address that no version of this command knows.
pub fn unknown_scheme(url: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected an address of a known kind, found {url:?}"))
        .with_hint(format!(
            "known kinds: {}; the URL comes last in `send CHANNEL URL`, first in `receive URL CHANNEL`",
            KNOWN.join(", ")
        ))
}

/// Refuses the URL of a link where only a channel of this machine makes sense.
pub fn check_local(channel: &str, hint: &str) -> Result<(), Error> {
    match scheme(channel) {
        "tls" | "tcp" | "unix" => Err(Error::new(
            ErrorKind::InvalidName,
            format!("expected the name of a channel here, found the URL {channel:?}"),
        )
        .with_hint(hint)),
        _ => Ok(()),
    }
}

/// Refuses addresses beyond this machine for what is neither encrypted nor authenticated, unless that is
/// wanted.
pub fn check_exposure(addresses: &[SocketAddr], insecure: bool) -> Result<(), Error> {
    // Canonical: ::ffff:127.0.0.1 is this machine too.
    match addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        Some(address) if !insecure => Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "expected an address of this machine only, as 127.0.0.1, found {address}: what travels there is neither \
                 encrypted nor authenticated"
            ),
        )
        .with_hint("add --insecure if all who can reach the network may see and send frames")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_beyond_this_machine_need_a_word() {
        let check = |addresses: &[&str], insecure| {
            let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            check_exposure(&addresses, insecure)
        };
        assert!(check(&["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"], false).is_ok());
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let error = check(&["127.0.0.1:1", address], false).unwrap_err();
            assert!(error.message().contains(address), "{error}");
            assert!(error.hint().unwrap().contains("--insecure"));
            assert!(check(&[address], true).is_ok());
        }
    }
}
