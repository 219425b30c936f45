//! `legacy://HOST[:8081][?quality=90]`

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use framelane::{Error, ErrorKind};

/// Start of an address.
pub const SCHEME: &str = "legacy://";
/// Port of existing programs.
pub const DEFAULT_PORT: u16 = 8081;

const EXAMPLE: &str = "for example legacy://127.0.0.1:8081?quality=90";

/// Address to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or a number; of IPv6 without its brackets.
    host: String,
    port: u16,
    quality: Option<u8>,
}

impl Address {
    /// The host's name or number.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 lets the system choose when listening.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The quality of the JPEGs, 1 to 100, if the address has it.
    pub fn quality(&self) -> Option<u8> {
        self.quality
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Looks the host up: at least one address. Blocks as long as the system's resolver does.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let host = &self.host;
        let found = (host.as_str(), self.port).to_socket_addrs().map(Vec::from_iter);
        let reason = match found {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => "no address".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::new(
            ErrorKind::NotFound,
            format!("expected a host that has an address, found {host:?}: {reason}"),
        )
        .with_hint("check the host's name, or give its number"))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { host, port, quality } = self;
        if host.contains(':') {
            write!(f, "{SCHEME}[{host}]:{port}")?;
        } else {
            write!(f, "{SCHEME}{host}:{port}")?;
        }
        quality.map_or(Ok(()), |quality| write!(f, "?quality={quality}"))
    }
}

fn wrong(found: &str, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected {expected}, found {found:?}")).with_hint(EXAMPLE)
}

/// Host and port; of `[::1]:8081` without the brackets.
fn host_and_port(text: &str) -> Result<(&str, Option<&str>), Error> {
    if let Some(rest) = text.strip_prefix('[') {
        let bracketed = rest.split_once(']').filter(|(_, after)| after.is_empty() || after.starts_with(':'));
        let (host, after) = bracketed.ok_or_else(|| wrong(text, "a host as in [::1]:8081"))?;
        // Text within brackets that is no number would lose its brackets.
        let host =
            host.contains(':').then_some(host).ok_or_else(|| wrong(text, "an IPv6 number in brackets"))?;
        return Ok((host, after.strip_prefix(':')));
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err(wrong(text, "an IPv6 number in brackets, as in [::1]:8081"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

impl FromStr for Address {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidOption`], which names the part that is wrong.
    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong(text, &format!("an address that begins with {SCHEME}")))?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        let is_odd = |character: char| {
            character.is_whitespace() || character.is_control() || "/[]@".contains(character)
        };
        if host.is_empty() || host.contains(is_odd) {
            return Err(wrong(host, "a host's name or number"));
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| {
            // Digits only: `parse` takes a sign too.
            let port = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
            port.ok_or_else(|| wrong(place, "a port from 0 to 65535 after the host"))
        })?;
        let mut address = Address { host: host.to_owned(), port, quality: None };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let Some(("quality", value)) = option.split_once('=') else {
                return Err(wrong(option, "quality="));
            };
            if address.quality.is_some() {
                return Err(wrong(option, "quality= once"));
            }
            let quality = value.parse().ok().filter(|quality| (1..=100).contains(quality));
            address.quality =
                Some(quality.ok_or_else(|| wrong(value, "quality to be a number from 1 to 100"))?);
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_without_a_port_is_that_of_the_programs_at_hand() {
        let address: Address = "legacy://127.0.0.1".parse().unwrap();
        assert_eq!((address.host(), address.port(), address.quality()), ("127.0.0.1", 8081, None));
        assert_eq!(address.resolve().unwrap(), [SocketAddr::from(([127, 0, 0, 1], 8081))]);
        let address: Address = "legacy://[::1]:9000?quality=75".parse().unwrap();
        assert_eq!((address.host(), address.port(), address.quality()), ("::1", 9000, Some(75)));
        assert_eq!(address.to_string(), "legacy://[::1]:9000?quality=75");
        assert_eq!("legacy://camera/".parse::<Address>().unwrap().host(), "camera");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("tls://a", "legacy://"),
            ("legacy:a", "legacy://"),
            ("legacy://", "host"),
            ("legacy://:8081", "host"),
            ("legacy://user@a", "host"),
            ("legacy://a b", "host"),
            ("legacy://a/b", "host"),
            ("legacy://::1", "brackets"),
            ("legacy://[::1", "[::1]:8081"),
            ("legacy://[::1]8081", "[::1]:8081"),
            ("legacy://[a]", "brackets"),
            ("legacy://a:", "port"),
            ("legacy://a:65536", "port"),
            ("legacy://a:+1", "port"),
            ("legacy://a?quality=0", "quality"),
            ("legacy://a?quality=101", "quality"),
            ("legacy://a?size=4x4", "quality="),
            ("legacy://a?quality=90&quality=10", "quality= once"),
            ("legacy://a?quality=90&quality=90", "quality= once"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.message().contains(named), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn an_address_comes_back_as_it_was(
            host in "[A-Za-z0-9_.-]{1,20}|[0-9a-f:]{1,8}:[0-9a-f]{0,4}", port: u16, quality in prop::option::of(1_u8..=100),
        ) {
            let address = Address { host, port, quality };
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,60}") {
            if let Ok(address) = format!("{SCHEME}{text}").parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
