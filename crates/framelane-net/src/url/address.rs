//! The address of a server.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use framelane::{Error, ErrorKind};

use super::invalid;

/// The port when none is named.
pub const DEFAULT_PORT: u16 = 7420;

/// An address that can be listened on or connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// TLS 1.3 over TCP.
    Tls {
        /// A name or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// TCP without encryption.
    Tcp {
        /// A name or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket. The permissions of its file decide which users may connect.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Address::Tls { host, port } => ("tls", host, port),
            Address::Tcp { host, port } => ("tcp", host, port),
            // The parser removes one leading `//`, so a path that begins with it needs another.
            Address::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                return write!(f, "unix://{}", path.display());
            }
            Address::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Takes `tls://HOST[:PORT]`, `tcp://HOST[:PORT]` and `unix:PATH.sock`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let hint = "as in tls://camera.example:7420, tcp://127.0.0.1:7420, tls://[::1]:7420 or unix:/run/framelane.sock";
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(invalid("the path of a socket after unix:", text).with_hint(hint))
            } else if socket_end(path) != Some(path.len()) {
                Err(invalid("a path whose last part, and no other, ends in .sock, and without a ?", text)
                    .with_hint("as in unix:/run/framelane.sock; the URLs of clients cannot name others"))
            } else {
                Ok(Address::Unix(path.into()))
            };
        }
        let wrong = |what: &str| invalid(what, text).with_hint(hint);
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("an address with tls://, tcp:// or unix:"))?;
        if rest.contains('@') {
            // Text before it would be in process lists and in logs.
            return Err(Error::new(ErrorKind::InvalidOption, "an address has no user or password in it")
                .with_hint("give the token in FRAMELANE_TOKEN, or in a file with token-file="));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| wrong("a ] after an IPv6 address"))?;
                (
                    host,
                    port.strip_prefix(':').map_or_else(|| port.is_empty().then_some(None), |p| Some(Some(p))),
                )
            }
            None => match rest.rsplit_once(':') {
                Some((host, port)) => (host, Some(Some(port))),
                None => (rest, Some(None)),
            },
        };
        let port = match port {
            Some(None) => DEFAULT_PORT,
            Some(Some(port)) => port.parse().map_err(|_| wrong("a port of 0 to 65535"))?,
            None => return Err(wrong("a port after the ]")),
        };
        let fits = !host.is_empty() && !host.contains(['/', '?', '[', ']', ' ']) && host.is_ascii();
        if !fits || (host.contains(':') && !rest.starts_with('[')) {
            return Err(wrong("the name or the address of a machine"));
        }
        let host = host.to_owned();
        match scheme {
            "tls" => Ok(Address::Tls { host, port }),
            "tcp" => Ok(Address::Tcp { host, port }),
            _ => Err(wrong("an address with tls://, tcp:// or unix:")),
        }
    }
}

/// The end of the file name of a Unix socket in a URL: where the channel's name begins must be clear.
const SOCKET_SUFFIX: &str = ".sock";

/// Returns the end of a Unix socket's path, after which the channel's name starts if there is one.
pub(super) fn socket_end(path: &str) -> Option<usize> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let inside = path.find(&format!("{SOCKET_SUFFIX}/")).map(|at| at + SOCKET_SUFFIX.len());
    inside.or_else(|| path.ends_with(SOCKET_SUFFIX).then_some(path.len()))
}
