//! What both sides demand of a TLS connection.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use framelane::{Error, ErrorKind};
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DistinguishedName, OtherError, ServerConfig};

use super::authority::KnownAuthority;
use super::certificate::Details;
use super::fault::certificate_fault;
use super::fingerprint::Fingerprint;
use super::identity::Identity;

/// What is spoken inside TLS (ALPN). A server for something else refuses it, as ours refuses a browser.
pub const ALPN: &[u8] = b"framelane";

/// Which server a client talks to.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// The one with exactly this certificate, whatever its name.
    Fingerprint(Fingerprint),
    /// Any whose certificate is for the name in the address and comes from an authority in this PEM file.
    Ca(PathBuf),
}

/// What a server does: TLS 1.3 only, and a client that shows a certificate must hold its key.
///
/// A certificate is asked for and not required. It must be within its time; whose it is, the
/// [`AccessList`](super::AccessList) says. No session is resumed, because a resumed one would skip all of
/// that.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when the server's own certificate is not valid today.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    check_own(identity, "the server's certificate")?;
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

/// What a client does: TLS 1.3 only, to the server that it trusts, with its own certificate if it has one.
///
/// # Errors
/// When the file of authorities cannot be read or holds none; [`ErrorKind::InvalidOption`] when the client's
/// own certificate is not valid today.
pub fn client_config(
    trust: &ServerTrust,
    certificate: Option<&Identity>,
) -> Result<Arc<ClientConfig>, Error> {
    if let Some(identity) = certificate {
        check_own(identity, "the client's certificate")?;
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

/// The fingerprint of what the other side has shown and proved to hold; rustls has it after the handshake.
pub fn peer_fingerprint(certificates: Option<&[CertificateDer<'_>]>) -> Option<Fingerprint> {
    certificates?.first().map(Fingerprint::of)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Our own certificate must be valid now: better told here than by everybody who connects.
pub(super) fn check_own(identity: &Identity, whose: &str) -> Result<(), Error> {
    let checked = identity.validity().check(UnixTime::now());
    checked.map_err(|error| certificate_fault(whose, &error).into_error(ErrorKind::InvalidOption))
}

fn unusable(error: rustls::Error) -> Error {
    Error::new(ErrorKind::InternalFailure, format!("TLS 1.3 cannot be set up: {error}"))
        .with_hint("report this")
}

/// Why a server was not trusted, with what `rustls` leaves out: the certificate that was found.
#[derive(Debug)]
pub(super) enum Distrust {
    /// Another certificate than the one that was named.
    WrongCertificate { expected: Fingerprint, found: Fingerprint },
    /// A certificate that no known authority has signed.
    UnknownAuthority { found: Fingerprint },
    /// A certificate that is signed by an authority below one whose certificate does not allow that.
    PathTooLong { found: Fingerprint },
}

impl Distrust {
    pub(super) fn into_error(self) -> rustls::Error {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::WrongCertificate { expected, found } => write!(f, "expected {expected}, found {found}"),
            Distrust::UnknownAuthority { found } => write!(f, "{found} is of an unknown authority"),
            Distrust::PathTooLong { found } => write!(f, "{found} is of an authority that may not sign"),
        }
    }
}

impl std::error::Error for Distrust {}

/// Methods of a verifier that check signatures with the algorithms of its `provider`, in TLS 1.3 only.
macro_rules! signatures_of_tls13 {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &rustls::pki_types::CertificateDer<'_>,
            _signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            // Never met, since TLS 1.2 is neither offered nor built in.
            Err(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.provider.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}
pub(super) use signatures_of_tls13;

/// Trusts one certificate. TLS proves that the server holds its key; its time is checked, its name is not.
#[derive(Debug)]
struct ExactServer {
    expected: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        if found != self.expected {
            return Err(Distrust::WrongCertificate { expected: self.expected, found }.into_error());
        }
        check_time(end_entity, now).map(|()| ServerCertVerified::assertion())
    }

    signatures_of_tls13!();
}

/// Takes any certificate within its time, from whoever proves to hold its key.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check_time(end_entity, now).map(|()| ClientCertVerified::assertion())
    }

    signatures_of_tls13!();
}

fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let details = Details::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(details.validity.check(now)?)
}
