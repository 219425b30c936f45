//! Where a link leads, and how: `tls://HOST[:7420]/CHANNEL?OPTIONS`, `tcp://…`,
//! `unix:PATH.sock/CHANNEL?OPTIONS`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use framelane::{Delivery, Error, ErrorKind, Urls};
use framelane_codec::Codec;

use crate::security::{ServerTrust, Token};

/// The port when none is named.
pub const DEFAULT_PORT: u16 = 7420;
/// How long the other side may be silent unless another time is given.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest: where no frames go, each side is heard of every second, if nothing is in the way.
pub(crate) const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// As of every ring: one frame is the newest, one is coming, four can be held.
const SLOTS: usize = 6;
/// The largest frame unless another limit is given: 8K in four bytes a pixel fits.
const MAX_BYTES: u64 = 160 << 20;
/// Six slots of such frames fit.
const MAX_MEMORY: u64 = 1 << 30;
/// 8192x4096.
const MAX_PIXELS: u64 = 32 << 20;

/// An address that can be listened on or connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TLS 1.3 over TCP.
    Tls {
        /// A name or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// TCP, readable by whoever is on the way.
    Tcp {
        /// A name or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket; its file's permissions say who may connect.
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

/// What is said of a link beside where it leads. Every field is an option of the URL too.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// `codec=`: how frames are carried.
    pub codec: Codec,
    /// `delivery=newest` or `every`.
    pub delivery: Delivery,
    /// `size=WIDTHxHEIGHT`: scaled to this by the sender.
    pub size: Option<(u32, u32)>,
    /// `max-fps=`: at most so many frames a second.
    pub max_fps: Option<f64>,
    /// `fingerprint=sha256:…` or `ca=FILE`: which server is meant.
    pub trust: Option<ServerTrust>,
    /// `token-file=FILE`; else `$FRAMELANE_TOKEN`.
    pub token: Option<Token>,
    /// `certificate=DIRECTORY`: the folder with our own client certificate and its key.
    pub certificate: Option<PathBuf>,
    /// `insecure=1`: without TLS beyond this machine.
    pub insecure: bool,
    /// `server-uid=UID`: a user, besides this one and root, whose server is trusted at a Unix socket.
    pub server_uid: Option<u32>,
    /// `idle-timeout=SECONDS`: a peer that sends nothing for this time is disconnected.
    pub idle_timeout: Duration,
    /// `max-bytes=`: the largest frame that is taken.
    pub max_bytes: u64,
    /// `max-memory=`: the most memory in bytes that frames from the link use here, shared memory included.
    /// Default 1 GiB.
    pub max_memory: u64,
    /// `max-pixels=`: the largest frame in pixels that is decoded. Default 33,554,432, which is 8192x4096.
    pub max_pixels: u64,
    /// `slots=`: of the ring that a subscriber of a URL receives into; two more than the frames that it holds
    /// at once.
    pub slots: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            codec: Codec::Raw,
            delivery: Delivery::Newest,
            size: None,
            max_fps: None,
            trust: None,
            token: None,
            certificate: None,
            insecure: false,
            server_uid: None,
            idle_timeout: IDLE_TIMEOUT,
            max_bytes: MAX_BYTES,
            max_memory: MAX_MEMORY,
            max_pixels: MAX_PIXELS,
            slots: SLOTS,
        }
    }
}

/// A channel on another machine.
#[derive(Clone, Debug)]
pub struct LinkUrl {
    /// The machine.
    pub address: Address,
    /// The channel there.
    pub channel: String,
    /// How.
    pub options: LinkOptions,
}

/// Without the options: what there is to know of those is not for everybody's eyes.
impl fmt::Display for LinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.channel)
    }
}

fn invalid(what: impl fmt::Display, found: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected {what}, found {found:?}"))
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
            // Whatever stands before it would be in lists of processes and in logs.
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

/// Where the path of a Unix socket ends, and the channel's name begins if there is one.
fn socket_end(path: &str) -> Option<usize> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let inside = path.find(&format!("{SOCKET_SUFFIX}/")).map(|at| at + SOCKET_SUFFIX.len());
    inside.or_else(|| path.ends_with(SOCKET_SUFFIX).then_some(path.len()))
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
    // What comes after it is not repeated: it may be a secret.
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

/// Whether an option of a URL weakens the link, names a file with a secret, or raises the limit of frames.
fn needs_trust(name: &str, value: &str) -> bool {
    match name {
        "insecure" => !matches!(value, "0" | "false"),
        "token-file" | "certificate" | "server-uid" => true,
        "max-bytes" => is_above(value, MAX_BYTES),
        "max-memory" => is_above(value, MAX_MEMORY),
        "max-pixels" => is_above(value, MAX_PIXELS),
        _ => false,
    }
}

fn is_above(value: &str, most: u64) -> bool {
    value.parse().is_ok_and(|value: u64| value > most)
}

/// Refuses an option that only a trusted URL may have. Its value is not repeated.
fn check_trust(name: &str, value: &str, urls: Urls) -> Result<(), Error> {
    if urls == Urls::Trusted || !needs_trust(name, value) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidOption,
        format!("expected a URL without {name}=, which only a trusted URL may have, found it"),
    )
    .with_hint(
        "if you trust the source of the URL, allow it: urls=\"trusted\" in Python, Urls::Trusted in Rust and C++, \
         FRAMELANE_URLS_TRUSTED in C. A token can also be given in FRAMELANE_TOKEN",
    ))
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

impl LinkOptions {
    /// Sets an option by its name in a URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for an unknown name or a value out of range.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let wrong = |what: &str| invalid(format_args!("{name}= to be {what}"), value);
        match name {
            "codec" => self.codec = value.parse()?,
            "delivery" => self.delivery = value.parse()?,
            "size" => {
                let sides = value.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
                let fits = sides.filter(|(w, h)| (1..=32768).contains(w) && (1..=32768).contains(h));
                self.size = Some(fits.ok_or_else(|| wrong("WIDTHxHEIGHT, as in 1280x720"))?);
            }
            "max-fps" => {
                let fps = value.parse().ok().filter(|fps: &f64| (0.001..=1e6).contains(fps));
                self.max_fps = Some(fps.ok_or_else(|| wrong("frames a second, 0.001 to 1000000"))?);
            }
            "fingerprint" => self.trust = Some(ServerTrust::Fingerprint(value.parse()?)),
            "ca" => self.trust = Some(ServerTrust::Ca(value.into())),
            "token-file" => {
                let token = Token::from_file(value.as_ref());
                // Not the channel: that a file is missing is no reason to wait for one.
                self.token = Some(token.map_err(|error| match error.kind() {
                    ErrorKind::NotFound => Error::new(ErrorKind::InvalidOption, error.message()).with_hint(
                        "give the file that `framelane identity token NAME --out FILE` has written",
                    ),
                    _ => error,
                })?);
            }
            "token" => {
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    "a token does not belong into a URL: lists of processes and logs show it",
                )
                .with_hint(
                    "put it into FRAMELANE_TOKEN, or into a file that only you can read, with token-file=",
                ));
            }
            "certificate" => self.certificate = Some(value.into()),
            "insecure" => {
                self.insecure = match value {
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(wrong("1 or 0")),
                }
            }
            "server-uid" => {
                self.server_uid = Some(value.parse().map_err(|_| wrong("the number of a user"))?);
            }
            "idle-timeout" => {
                let least = LEAST_IDLE_TIMEOUT.as_secs_f64();
                let seconds = value.parse().ok().filter(|seconds| (least..=3600.0).contains(seconds));
                self.idle_timeout =
                    Duration::from_secs_f64(seconds.ok_or_else(|| wrong("2 to 3600 seconds"))?);
            }
            "max-bytes" => {
                let bytes = value.parse().ok().filter(|bytes| (1..=1 << 32).contains(bytes));
                self.max_bytes = bytes.ok_or_else(|| wrong("1 to 4294967296 bytes"))?;
            }
            "max-memory" => {
                let bytes = value.parse().ok().filter(|bytes| *bytes >= 1);
                self.max_memory = bytes.ok_or_else(|| wrong("1 byte or more"))?;
            }
            "max-pixels" => {
                let pixels = value.parse().ok().filter(|pixels| *pixels >= 1);
                self.max_pixels = pixels.ok_or_else(|| wrong("1 pixel or more"))?;
            }
            "slots" => {
                let slots = value.parse().ok().filter(|slots| (2..=128).contains(slots));
                self.slots = slots.ok_or_else(|| wrong("2 to 128"))?;
            }
            _ => {
                return Err(invalid("an option of a link", name).with_hint(
                    "options are codec, delivery, size, max-fps, fingerprint, ca, token-file, certificate, insecure, \
                     server-uid, idle-timeout, max-bytes, max-memory, max-pixels and slots",
                ));
            }
        }
        Ok(())
    }

    /// As the link protocol has it.
    pub(crate) fn max_milli_fps(&self) -> u32 {
        self.max_fps.map_or(0, |fps| ((fps * 1000.0).round() as u32).max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> LinkUrl {
        trusted(text).unwrap()
    }

    fn trusted(text: &str) -> Result<LinkUrl, Error> {
        LinkUrl::parse(text, Urls::Trusted)
    }

    #[test]
    fn urls_are_read_with_their_defaults() {
        let tls = |host: &str, port| Address::Tls { host: host.to_owned(), port };
        assert_eq!(url("tls://camera/cam0").address, tls("camera", 7420));
        assert_eq!(url("tls://10.0.0.2:99/cam0/detections").channel, "cam0/detections");
        assert_eq!(url("tls://[fe80::1%eth0]:7/c").address, tls("fe80::1%eth0", 7));
        assert_eq!(url("tls://[::1]/c").address, tls("::1", 7420));
        assert_eq!(url("tcp://h/c").to_string(), "tcp://h:7420/c");
        let unix = url("unix:/run/x.sock/cam0/left");
        assert_eq!((unix.address, unix.channel.as_str()), (Address::Unix("/run/x.sock".into()), "cam0/left"));
        assert_eq!(url("unix:///run/x.sock/cam0").to_string(), "unix:/run/x.sock/cam0");
    }

    #[test]
    fn displayed_socket_paths_with_leading_slashes_parse_to_themselves() {
        for slashes in 1..8 {
            let text = format!("unix:{}run/x.sock/cam0", "/".repeat(slashes));
            let read = url(&text);
            assert_eq!(url(&read.to_string()).address, read.address, "{text}");
            let address: Address = read.address.to_string().parse().unwrap();
            assert_eq!(address, read.address, "{text}");
        }
    }

    #[test]
    fn options_are_read_and_what_is_wrong_is_named() {
        let options = url(
            "tcp://h/c?codec=jpeg:70&delivery=every&size=640x480&max-fps=12.5&insecure&idle-timeout=2&max-bytes=9",
        )
        .options;
        assert_eq!((options.codec, options.delivery), (Codec::Jpeg { quality: 70 }, Delivery::Every));
        assert_eq!((options.size, options.max_milli_fps()), (Some((640, 480)), 12_500));
        assert_eq!((options.insecure, options.max_bytes), (true, 9));
        for wrong in [
            "codec=x",
            "delivery=x",
            "size=0x1",
            "max-fps=0",
            "insecure=x",
            "idle-timeout=1.9",
            "max-bytes=0",
            "slots=1",
            "x=1",
        ] {
            let error = trusted(&format!("tcp://h/c?{wrong}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{wrong}");
        }
    }

    #[test]
    fn options_that_weaken_need_a_trusted_url() {
        let large = format!("max-bytes={}", MAX_BYTES + 1);
        for option in [
            "insecure",
            "insecure=1",
            "insecure=true",
            "insecure=x",
            "token-file=/etc/shadow",
            "certificate=/root",
            "server-uid=1000",
            &large,
            "max-memory=1073741825",
            "max-pixels=33554433",
        ] {
            let text = format!("tls://h/c?codec=raw&{option}");
            for urls in [Urls::Safe, Urls::Refuse] {
                let error = LinkUrl::parse(&text, urls).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidOption, "{option}");
                assert!(!error.to_string().contains("shadow"), "{error}");
            }
            let error = text.parse::<LinkUrl>().unwrap_err();
            assert!(error.message().contains(option.split('=').next().unwrap()), "{error}");
            assert!(error.hint().unwrap().contains("trusted"), "{error}");
        }
        for option in [
            "insecure=0",
            "insecure=false",
            "max-bytes=1000",
            "max-memory=1000000",
            "delivery=every",
            "slots=9",
            "ca=x",
        ] {
            assert!(format!("tls://h/c?{option}").parse::<LinkUrl>().is_ok(), "{option}");
        }
        assert_eq!(url("unix:/x.sock/c?server-uid=1000").options.server_uid, Some(1000));
        assert!(trusted("tls://h/c?server-uid=1000").is_err());
    }

    #[test]
    fn secrets_are_refused_where_everybody_sees_them_and_not_repeated() {
        for text in ["tls://h/c?token=framelane_secret_of_somebody", "tls://secret:secret@h/c"] {
            let error = text.parse::<LinkUrl>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.hint().unwrap().contains("token-file"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for text in [
            "",
            "cam0",
            "tls://",
            "tls://h",
            "tls://h/",
            "tls:///c",
            "tls://h:x/c",
            "tls://h:70000/c",
            "http://h/c",
            "tls://[::1/c",
            "tls://[::1]x/c",
            "tls://::1/c",
            "unix:",
            "unix:/run/x/cam0",
            "unix:/run/x.sock",
            "unix:/run/x.sock/",
            "tls://h/cam 0",
        ] {
            let error = text.parse::<LinkUrl>().unwrap_err();
            assert!(error.hint().is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn a_socket_that_no_url_can_name_is_no_address() {
        for text in [
            "unix:/run/x",
            "unix:/run/x.sock/y",
            "unix:/run/x.sock/y.sock",
            "unix:/run/x?y.sock",
            "unix:/x.sock?",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{text}");
            assert!(error.message().contains(".sock"), "{text}: {error}");
        }
        for text in ["unix:/run/x.sock", "unix:x.sock", "unix:/x.socket/y.sock"] {
            assert_eq!(url(&format!("{text}/cam0")).address, text.parse().unwrap());
        }
    }

    #[test]
    fn options_twice_or_against_each_other_are_refused() {
        let print = format!("fingerprint=sha256:{}", "0a".repeat(32));
        for query in [format!("{print}&ca=x"), format!("ca=x&{print}"), "codec=raw&codec=raw".to_owned()] {
            let error = format!("tls://h/c?{query}").parse::<LinkUrl>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.message().contains("expected each option of a URL once"), "{error}");
        }
        assert!("tls://h/c?ca=x&codec=raw&delivery=every".parse::<LinkUrl>().is_ok());
    }

    #[test]
    fn options_of_tls_are_refused_where_there_is_none() {
        let print = format!("fingerprint=sha256:{}", "0a".repeat(32));
        for option in [print.as_str(), "ca=ca.crt", "certificate=keys"] {
            let name = option.split('=').next().unwrap();
            for address in ["tcp://127.0.0.1", "unix:/x.sock"] {
                let error = trusted(&format!("{address}/c?{option}")).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidOption);
                assert!(error.message().contains(&format!("option {name}")), "{error}");
                assert!(error.hint().unwrap().contains("tls://"), "{error}");
            }
            let mut link = url(&format!("tls://h/c?{option}"));
            link.address = url("tcp://h/c").address;
            assert!(link.check().is_err());
        }
    }

    #[test]
    fn options_that_do_not_begin_with_a_question_mark_are_told_of_and_not_repeated() {
        for text in [
            "tls://h/cam0&token=secret",
            "tls://h/cam0=secret?codec=x",
            "unix:/x.sock/cam0&a=secret?token=secret",
        ] {
            let error = text.parse::<LinkUrl>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.message().contains("\"cam0\"") && !error.to_string().contains("secret"), "{error}");
            assert!(error.hint().unwrap().contains("begin with ?"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_url_or_an_error(text in ".{0,60}", scheme in "(tls://|tcp://|unix:)?") {
            if let Ok(url) = format!("{scheme}{text}").parse::<LinkUrl>() {
                let again: LinkUrl = url.to_string().parse().unwrap();
                prop_assert_eq!(again.address, url.address);
                prop_assert_eq!(again.channel, url.channel);
            }
        }
    }
}
