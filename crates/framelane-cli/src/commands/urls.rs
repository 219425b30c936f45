//! The kinds of addresses that `send` and `receive` know, and who can be reached at them.

use std::net::SocketAddr;

use framelane::{Error, ErrorKind};

/// All of them, each as it is written.
const KNOWN: &[&str] = &[
    "tls://HOST:PORT/CHANNEL",
    "tcp://HOST:PORT/CHANNEL",
    "unix:PATH.sock/CHANNEL",
    "legacy-memory:NAME",
    "legacy://HOST:PORT",
];

/// What comes before the first colon: it decides which file goes on.
pub fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// The error for an address that no version of this command knows.
pub fn unknown_scheme(url: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected an address of a known kind, found {url:?}"))
        .with_remedy(format!(
            "known kinds: {}; the URL comes last in `send CHANNEL URL`, first in `receive URL CHANNEL`",
            KNOWN.join(", ")
        ))
}

/// Refuses the URL of a link where only a channel of this machine makes sense.
pub fn check_local(channel: &str, remedy: &str) -> Result<(), Error> {
    match scheme(channel) {
        "tls" | "tcp" | "unix" => Err(Error::new(
            ErrorKind::InvalidName,
            format!("expected the name of a channel here, found the URL {channel:?}"),
        )
        .with_remedy(remedy)),
        _ => Ok(()),
    }
}

/// Refuses addresses beyond this machine for what is neither encrypted nor authenticated, unless that is wanted.
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
        .with_remedy("add --insecure if all who can reach the network may see and send frames")),
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
            assert!(error.remedy().unwrap().contains("--insecure"));
            assert!(check(&[address], true).is_ok());
        }
    }
}
