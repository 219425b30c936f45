//! Options of links.

use std::path::PathBuf;
use std::time::Duration;

use framelane::{Error, Urls};
use framelane_codec::Codec;
use framelane_net::LinkUrl;
use framelane_net::security::{Fingerprint, ServerTrust, Token};

use crate::delivery::DeliveryArgs;
use crate::parse;

/// Default time after which a silent peer of `legacy:` is disconnected.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of links. Each equals the option of the same name in the URL.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of links (tls://, tcp://, unix:)")]
pub struct LinkOptions {
    #[command(flatten)]
    delivery: DeliveryArgs,
    #[command(flatten)]
    of_link: OfLink,
}

// Separate, because clap leaves the group of a struct with flattened options empty.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "link")]
#[command(next_help_heading = "Options of links (tls://, tcp://, unix:)")]
struct OfLink {
    /// Codec: raw, lz4, jpeg[:QUALITY] or h264[:BITRATE], as in jpeg:80 or h264:4M [default: raw]
    #[arg(long, value_name = "CODEC", value_parser = parse::codec)]
    codec: Option<Codec>,
    /// Limit the frames a second, at the sender
    #[arg(long, value_name = "N", value_parser = parse::fps)]
    max_fps: Option<f64>,
    /// Fingerprint of the server's certificate, from `framelane identity show` on the server: sha256:…
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// PEM file of authorities; one of them must have signed the server's certificate, for the URL's host
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    ca: Option<PathBuf>,
    /// File with this client's token, readable only by you [default: $FRAMELANE_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Directory with this client's certificate, from `framelane identity client`
    #[arg(long, value_name = "DIRECTORY")]
    certificate: Option<PathBuf>,
    /// Also accept a server of this user at a Unix socket [default: only your own and root's]
    #[arg(long, value_name = "UID")]
    server_uid: Option<u32>,
}

impl LinkOptions {
    /// Returns the link to a URL, with these options and those of the URL. No option is in both, because
    /// [`check_options`](crate::transport::check_options) refuses that.
    pub fn link(
        &self,
        url: &str,
        size: Option<(u32, u32)>,
        idle_timeout: Option<Duration>,
        insecure: bool,
    ) -> Result<LinkUrl, Error> {
        // The user typed it.
        let mut link = LinkUrl::parse(url, Urls::Trusted)?;
        let (options, of_link) = (&mut link.options, &self.of_link);
        options.codec = of_link.codec.unwrap_or(options.codec);
        options.delivery = self.delivery.given().unwrap_or(options.delivery);
        options.max_fps = of_link.max_fps.or(options.max_fps);
        options.size = size.or(options.size);
        if let Some(idle_timeout) = idle_timeout {
            options.set("idle-timeout", &idle_timeout.as_secs_f64().to_string())?;
        }
        if let Some(fingerprint) = of_link.fingerprint {
            options.trust = Some(ServerTrust::Fingerprint(fingerprint));
        } else if let Some(ca) = &of_link.ca {
            options.trust = Some(ServerTrust::Ca(ca.clone()));
        }
        if let Some(file) = &of_link.token_file {
            options.token = Some(Token::from_file(file)?);
        }
        if of_link.certificate.is_some() {
            options.certificate.clone_from(&of_link.certificate);
        }
        options.server_uid = of_link.server_uid.or(options.server_uid);
        options.insecure |= insecure;
        link.check()?;
        Ok(link)
    }
}
