//! Verifiers of certificates, for `rustls`.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, OtherError};

use super::certificate::Details;
use super::fingerprint::Fingerprint;

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reason that a server was not trusted, with the certificate that was found, which `rustls` does not report.
#[derive(Debug)]
pub(super) enum Distrust {
    /// Another certificate than the named one.
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
pub(super) struct ExactServer {
    pub expected: Fingerprint,
    pub provider: Arc<CryptoProvider>,
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

/// Accepts any certificate that is valid now, from a peer that proves possession of its key.
#[derive(Debug)]
pub(super) struct AnyClient {
    pub provider: Arc<CryptoProvider>,
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
