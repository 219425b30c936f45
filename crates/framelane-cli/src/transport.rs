//! Transports of `send` and `receive`: their URLs, their options, and the peers that can reach them.

use std::net::SocketAddr;

use clap::error::ErrorKind as ClapKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use framelane::{Error, ErrorKind};

/// All forms of URLs.
const URLS: &[&str] = &[
    "tls://HOST:PORT/CHANNEL",
    "tcp://HOST:PORT/CHANNEL",
    "unix:PATH.sock/CHANNEL",
    "legacy-memory:NAME",
    "legacy://HOST:PORT",
];

/// The carrier of frames to or from another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The link protocol, over TLS, TCP or a Unix socket.
    Link,
    /// One frame in a named mapping.
    LegacyMemory,
    /// JPEGs over TCP.
    LegacySocket,
}

use Transport::{LegacyMemory, LegacySocket, Link};

/// Options that only some transports have: the id of the group (that of the struct with these options), its
/// name in messages, and the transports.
const GROUPS: [(&str, &str, &[Transport]); 6] = [
    ("link", "links (tls://, tcp://, unix:)", &[Link]),
    ("receive-link", "links (tls://, tcp://, unix:)", &[Link]),
    ("DeliveryArgs", "links (tls://, tcp://, unix:)", &[Link]),
    ("network", "links and of legacy", &[Link, LegacySocket]),
    ("legacy", "legacy", &[LegacySocket]),
    ("legacy-memory", "legacy-memory", &[LegacyMemory]),
];

/// Options under another name in URLs, or options that an option in the URL contradicts.
const AGAINST: [(&str, &str); 3] = [("every", "delivery"), ("fingerprint", "ca"), ("ca", "fingerprint")];

impl Transport {
    /// The transport of a URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for an unknown scheme.
    pub fn of(url: &str) -> Result<Self, Error> {
        match scheme(url) {
            "tls" | "tcp" | "unix" => Ok(Link),
            "legacy-memory" => Ok(LegacyMemory),
            "legacy" => Ok(LegacySocket),
            _ => {
                let message = format!("expected an address of a known kind, found {url:?}");
                let hint = format!(
                    "use one of {}. The URL is last in `send CHANNEL URL` and first in `receive URL CHANNEL`",
                    URLS.join(", ")
                );
                Err(Error::new(ErrorKind::InvalidOption, message).with_hint(hint))
            }
        }
    }
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// Refuses options of `send` and `receive` that the transport of the URL does not have, and options that are
/// in the URL too.
///
/// # Errors
/// Wrong usage. No error repeats the URL or a value: both may contain secrets.
pub fn check_options(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name @ ("send" | "receive"), matches)) = matches.subcommand() else { return Ok(()) };
    let Some(command) = command.find_subcommand_mut(name) else { return Ok(()) };
    let url = matches.get_one::<String>(if name == "send" { "target" } else { "source" });
    let Some((url, transport)) = url.and_then(|url| Some((url, Transport::of(url).ok()?))) else {
        return Ok(());
    };
    match misplaced(command, matches, url, transport).or_else(|| in_url(command, matches, url, transport)) {
        Some(message) => Err(command.error(ClapKind::ArgumentConflict, message)),
        None => Ok(()),
    }
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
}

fn misplaced(command: &Command, matches: &ArgMatches, url: &str, transport: Transport) -> Option<String> {
    let scheme = scheme(url);
    if is_given(matches, "insecure") && !["tcp", "legacy"].contains(&scheme) {
        return Some(format!(
            "--insecure is an option of tcp:// and of legacy, and has no effect for {scheme}: addresses"
        ));
    }
    command.get_groups().find_map(|group| {
        let (_, kind, transports) = GROUPS.iter().find(|(id, ..)| group.get_id() == *id)?;
        let id = group.get_args().find(|id| is_given(matches, id.as_str()))?;
        let option = command.get_arguments().find(|argument| argument.get_id() == id)?.get_long()?;
        (!transports.contains(&transport))
            .then(|| format!("--{option} is an option of {kind}, and has no effect for {scheme}: addresses"))
    })
}

fn in_url(command: &Command, matches: &ArgMatches, url: &str, transport: Transport) -> Option<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let names: Vec<_> =
        query.split('&').map(|part| part.split_once('=').map_or(part, |(name, _)| name)).collect();
    if transport == Link && names.contains(&"slots") {
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

/// Refuses the URL of a link if only a local channel makes sense.
pub fn check_local(channel: &str, hint: &str) -> Result<(), Error> {
    match Transport::of(channel) {
        Ok(Link) => Err(Error::new(
            ErrorKind::InvalidName,
            format!("expected the name of a channel here, found the URL {channel:?}"),
        )
        .with_hint(hint)),
        _ => Ok(()),
    }
}

/// Refuses addresses of other machines for a transport without encryption and authentication, unless
/// `insecure`.
pub fn check_exposure(addresses: &[SocketAddr], insecure: bool) -> Result<(), Error> {
    // Canonical: ::ffff:127.0.0.1 is this machine too.
    match addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        Some(address) if !insecure => Err(Error::new(
            ErrorKind::InvalidOption,
            format!(
                "expected an address of this machine only, as 127.0.0.1, found {address}: the connection is neither \
                 encrypted nor authenticated"
            ),
        )
        .with_hint("add --insecure if every party on the network may see and send frames")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_option_of_a_transport_is_in_a_known_group() {
        for name in ["send", "receive"] {
            let mut command = Cli::command();
            let command = command.find_subcommand_mut(name).unwrap();
            let is_known = |id: &str| GROUPS.iter().any(|(group, ..)| *group == id);
            let grouped: Vec<_> = command
                .get_groups()
                .filter(|group| is_known(group.get_id().as_str()))
                .flat_map(|group| group.get_args().cloned())
                .collect();
            let of_transport = command.get_arguments().filter(|argument| {
                argument.get_help_heading().is_some_and(|text| text.starts_with("Options of"))
            });
            let missing: Vec<_> =
                of_transport.map(|argument| argument.get_id()).filter(|id| !grouped.contains(id)).collect();
            assert!(!grouped.is_empty() && missing.is_empty(), "{name}: {missing:?}");
        }
    }

    #[test]
    fn address_of_another_machine_requires_insecure() {
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
