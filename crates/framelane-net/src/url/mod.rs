//! Address and options of a link: `tls://HOST[:7420]/CHANNEL?OPTIONS`, `tcp://…`,
//! `unix:PATH.sock/CHANNEL?OPTIONS`.

mod address;
mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use framelane::{Error, ErrorKind, Urls};

use crate::security::ServerTrust;

use address::socket_end;
pub use address::{Address, DEFAULT_PORT};
pub(crate) use options::LEAST_IDLE_TIMEOUT;
pub use options::LinkOptions;
use options::check_trust;

fn invalid(what: impl fmt::Display, found: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected {what}, found {found:?}"))
}

/// A channel on another machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkUrl {
    /// The machine.
    pub address: Address,
    /// The channel there.
    pub channel: String,
    /// Options of the link.
    pub options: LinkOptions,
}

/// Without the options, which other users should not see.
impl fmt::Display for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.channel)
    }
}

/// Splits into the address, the channel and the options.
fn split(text: &str) -> Result<(&str, &str, &str), Error> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let missing = || {
        invalid("the name of a channel at the end of the URL", path)
            .with_hint("as in tls://camera.example:7420/cam0 or unix:/run/framelane.sock/cam0")
    };
    if path.starts_with("unix:") {
        let end = socket_end(path).filter(|end| *end < path.len()).ok_or_else(|| {
            invalid("a socket whose name ends in .sock, then a channel", path)
                .with_hint("as in unix:/run/framelane.sock/cam0")
        })?;
        let (address, channel) = path.split_at(end);
        let channel = &channel[1..];
        return if channel.is_empty() { Err(missing()) } else { Ok((address, channel, query)) };
    }
    let start = path.find("://").map_or(0, |at| at + 3);
    let slash = path[start..].find('/').ok_or_else(missing)? + start;
    let channel = &path[slash + 1..];
    if channel.is_empty() { Err(missing()) } else { Ok((&path[..slash], channel, query)) }
}

/// Checks the name of a channel in a URL, where options may have got into it.
fn check_channel(channel: &str) -> Result<(), Error> {
    let Some((at, sign)) = channel.char_indices().find(|(_, c)| matches!(c, '&' | '=')) else {
        return framelane::check_name(channel);
    };
    // The text after it is not repeated: it may be a secret.
    let name = &channel[..at];
    Err(Error::new(
        ErrorKind::InvalidName,
        format!("expected the name of a channel at the end of the URL, found {sign:?} in it, after {name:?}"),
    )
    .with_hint(
        "the options of a URL begin with ?, with & between them, as in tls://HOST/cam0?codec=lz4&delivery=every",
    ))
}

/// Refuses an option that is given twice, or against another one: which of them counts must not depend on
/// their order.
fn check_once(name: &str, given: &[&str]) -> Result<(), Error> {
    let trust = ["fingerprint", "ca"];
    let clashes = |other: &str| other == name || (trust.contains(&other) && trust.contains(&name));
    let Some(other) = given.iter().find(|other| clashes(other)) else { return Ok(()) };
    let found = if *other == name { format!("{name}= twice") } else { format!("{other}= and {name}=") };
    Err(Error::new(
        ErrorKind::InvalidOption,
        format!("expected each option of a URL once, and one of fingerprint= and ca=, found {found}"),
    )
    .with_hint(format!("remove one {name}= or {other}= from the URL")))
}

impl FromStr for LinkUrl {
    type Err = Error;

    /// Reads a URL as [`LinkUrl::parse`] does with [`Urls::Safe`].
    fn from_str(text: &str) -> Result<Self, Error> {
        LinkUrl::parse(text, Urls::Safe)
    }
}

/// The value of an option in a URL.
pub(crate) fn given<'u>(url: &'u str, option: &str) -> Option<&'u str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').find_map(|part| part.strip_prefix(option)?.strip_prefix('='))
}

impl LinkUrl {
    /// Reads a URL, and the token file that it names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] and [`ErrorKind::InvalidName`] for what is no URL, for unknown options
    /// and those given twice, and for options that `urls` does not allow. Those of the token file.
    pub fn parse(text: &str, urls: Urls) -> Result<Self, Error> {
        if urls == Urls::Refuse {
            return Err(Error::new(ErrorKind::InvalidOption, "expected no URL, found one")
                .with_hint("give the name of a channel of this machine"));
        }
        let (address, channel, query) = split(text)?;
        check_channel(channel)?;
        let mut options = LinkOptions::default();
        let mut given: Vec<&str> = Vec::new();
        for assignment in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = assignment.split_once('=').unwrap_or((assignment, "1"));
            check_once(name, &given)?;
            check_trust(name, value, urls)?;
            options.set(name, value)?;
            given.push(name);
        }
        let url = LinkUrl { address: address.parse()?, channel: channel.to_owned(), options };
        url.check()?;
        Ok(url)
    }

    /// Refuses options that this address ignores. Call it again when options were added to those of the URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for a fingerprint, an authority or a certificate without TLS, a token on
    /// a Unix socket, and a server's user without one.
    pub fn check(&self) -> Result<(), Error> {
        let options = &self.options;
        let is_unix = matches!(self.address, Address::Unix(_));
        let misplaced = |option: &str, scheme: &str, why: &str| {
            // The user who sets it expects to be protected by it.
            let error = Error::new(
                ErrorKind::InvalidOption,
                format!("expected {scheme} with the option {option}, found {}, {why}", self.address),
            );
            Err(error.with_hint(format!("use {scheme} in the address, or remove {option}")))
        };
        let tls_only = match (&options.trust, &options.certificate) {
            (Some(ServerTrust::Fingerprint(_)), _) => Some("fingerprint"),
            (Some(ServerTrust::Ca(_)), _) => Some("ca"),
            (None, Some(_)) => Some("certificate"),
            (None, None) => None,
        };
        match tls_only {
            Some(option) if !matches!(self.address, Address::Tls { .. }) => {
                misplaced(option, "tls://", "where nothing would be checked")
            }
            _ if is_unix && options.token.is_some() => {
                misplaced("token-file", "tls://", "where the user of each side is checked instead of a token")
            }
            _ if !is_unix && options.server_uid.is_some() => {
                misplaced("server-uid", "unix:", "where no user is known")
            }
            _ => Ok(()),
        }
    }
}
