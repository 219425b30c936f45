//! The options of a link.

use std::path::PathBuf;
use std::time::Duration;

use framelane::{Delivery, Error, ErrorKind, Urls};
use framelane_codec::Codec;

use super::invalid;
use crate::security::{ServerTrust, Token};

/// Time after which a silent peer is disconnected, by default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest: where no frames go, each side is heard of every second, if nothing is in the way.
pub(crate) const LEAST_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Default of every ring: one frame is the newest, one is being written, four can be leased.
const SLOTS: usize = 6;
/// The largest frame unless another limit is given: 8K in four bytes a pixel fits.
pub(super) const MAX_BYTES: u64 = 160 << 20;
/// Six slots of such frames fit.
const MAX_MEMORY: u64 = 1 << 30;
/// 8192x4096.
const MAX_PIXELS: u64 = 32 << 20;

/// Options of a link, apart from its address. Every field is an option of the URL too.
#[derive(Clone, Debug)]
#[non_exhaustive]
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

    /// Returns the limit as in the link protocol.
    pub(crate) fn max_milli_fps(&self) -> u32 {
        self.max_fps.map_or(0, |fps| ((fps * 1000.0).round() as u32).max(1))
    }
}

/// Returns true if an option of a URL weakens the link, names a file with a secret, or raises the limit of
/// frames.
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
pub(super) fn check_trust(name: &str, value: &str, urls: Urls) -> Result<(), Error> {
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
