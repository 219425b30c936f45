//! Requirements of both sides for a TLS connection.

use std::path::PathBuf;
use std::sync::Arc;

use framelane::{Error, ErrorKind};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::authority::KnownAuthority;
use super::fingerprint::Fingerprint;
use super::identity::Identity;
use super::verifier::{AnyClient, ExactServer, provider};

/// Protocol inside TLS (ALPN). Servers and clients of another protocol are refused.
pub(crate) const ALPN: &[u8] = b"framelane";

/// Which server a client talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerTrust {
    /// The server with exactly this certificate, with any name.
    Fingerprint(Fingerprint),
    /// Any server with a certificate for the name in the address, signed by an authority in this PEM file.
    Ca(PathBuf),
}

/// Returns the configuration of a server: TLS 1.3 only, and a client that shows a certificate must hold its
/// key.
///
/// A certificate is requested and not required. It must be valid today; the [`AccessList`](super::AccessList)
/// decides about its owner. No session is resumed, because a resumed one would skip all of that.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when the server's own certificate is not valid today.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    identity.check_valid("the server's certificate")?;
    server_config_unchecked(identity)
}

pub(super) fn server_config_unchecked(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let verifier = Arc::new(AnyClient { provider: provider.clone() });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Returns the configuration of a client: TLS 1.3 only, to the server that it trusts, with its own
/// certificate if it has one.
///
/// # Errors
/// When the file of authorities cannot be read or holds none; [`ErrorKind::InvalidOption`] when the client's
/// own certificate is not valid today.
pub(crate) fn client_config(
    trust: &ServerTrust,
    certificate: Option<&Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    if let Some(identity) = certificate {
        identity.check_valid("the client's certificate")?;
    }
    client_config_unchecked(trust, certificate)
}

pub(super) fn client_config_unchecked(
    trust: &ServerTrust,
    certificate: Option<&Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        ServerTrust::Fingerprint(expected) => {
            Arc::new(ExactServer { expected: *expected, provider: provider.clone() })
        }
        ServerTrust::Ca(path) => Arc::new(KnownAuthority::load(path, provider.clone())?),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns the fingerprint of the certificate that the peer has proved to hold; rustls has it after the
/// handshake.
pub(crate) fn peer_fingerprint(certificates: Option<&[CertificateDer<'_>]>) -> Option<Fingerprint> {
    certificates?.first().map(|certificate| Fingerprint::of(certificate))
}

fn unusable(error: rustls::Error) -> Error {
    Error::new(ErrorKind::InternalFailure, format!("TLS 1.3 cannot be set up: {error}"))
        .with_hint("report this")
}
