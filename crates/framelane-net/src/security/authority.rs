//! Servers that are known by an authority: the rules of the web, and the limits that the authority's own
//! certificate sets.

use std::path::Path;
use std::sync::Arc;

use framelane::{Error, ErrorKind};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, RootCertStore};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Details, Validity};
use super::files;
use super::fingerprint::Fingerprint;
use super::verifier::{Distrust, signatures_of_tls13};

/// Trusts chain, time, name and purpose as the web does, with the authorities of a file.
///
/// webpki takes only name and key from the certificate of an authority. Its dates and its path length are
/// checked here.
#[derive(Debug)]
pub(super) struct KnownAuthority {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    authorities: Vec<Authority>,
}

#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    validity: Validity,
    /// The most authorities between this one and a server; `None`: any number.
    path_len: Option<usize>,
}

impl KnownAuthority {
    /// Reads the authorities of a PEM file.
    pub(super) fn load(path: &Path, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let text = files::read_public(path, "the file of authorities")?;
        let damaged = |found: String| {
            Error::new(
                ErrorKind::Damaged,
                format!("{}: expected certificates of authorities in PEM, found {found}", path.display()),
            )
            .with_hint(
                "give the file that `framelane identity ca` has made, or that your authority publishes",
            )
        };
        let (mut roots, mut authorities) = (RootCertStore::empty(), Vec::new());
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|error| damaged(error.to_string()))?;
            authorities.push(Authority::read(&certificate).map_err(&damaged)?);
            roots.add(certificate).map_err(|error| damaged(error.to_string()))?;
        }
        if authorities.is_empty() {
            return Err(damaged("none".to_owned()));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        Ok(KnownAuthority { verifier, provider, authorities })
    }

    /// Looks for a chain to an authority that is valid now and allows a chain of this length.
    fn check_limits(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let valid: Vec<_> =
            self.authorities.iter().filter(|authority| authority.validity.check(now).is_ok()).collect();
        let anchors: Vec<_> = valid.iter().map(|authority| authority.anchor.clone()).collect();
        let is_short = |path: &VerifiedPath<'_>| {
            let len = path.intermediate_certificates().count();
            let fits = |authority: &&Authority| {
                authority.anchor == *path.anchor() && authority.path_len.is_none_or(|most| len <= most)
            };
            let found = valid.iter().any(fits);
            if found { Ok(()) } else { Err(webpki::Error::PathLenConstraintViolated) }
        };
        let checked = certificate.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&is_short),
        );
        if checked.is_ok() {
            return Ok(());
        }
        if let (true, Some(first)) = (valid.is_empty(), self.authorities.first()) {
            first.validity.check(now)?;
        }
        Err(Distrust::PathTooLong { found: Fingerprint::of(end_entity) }.into_error())
    }
}

impl Authority {
    /// Reads the certificate of an authority. The error names what was found instead.
    fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let anchor =
            webpki::anchor_from_trusted_cert(certificate).map_err(|error| error.to_string())?.to_owned();
        let details = Details::read(certificate).map_err(|error| error.message().to_owned())?;
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let constraints = parsed.basic_constraints().map_err(|error| error.to_string())?;
        let usage = parsed.key_usage().map_err(|error| error.to_string())?;
        // Certificates of version 1 have neither.
        let may_sign = constraints.as_ref().is_none_or(|constraints| constraints.value.ca)
            && usage.is_none_or(|usage| usage.value.key_cert_sign());
        if !may_sign {
            return Err(
                "the certificate of a server or a client, which is given with --fingerprint".to_owned()
            );
        }
        let path_len = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        Ok(Authority {
            anchor,
            validity: details.validity,
            path_len: path_len.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        })
    }
}

impl ServerCertVerifier for KnownAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = verified.map_err(|error| match error {
            // A bad signature here is that of the chain: an authority of the same name has another key.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Distrust::UnknownAuthority { found: Fingerprint::of(end_entity) }.into_error(),
            other => other,
        })?;
        self.check_limits(end_entity, intermediates, now)?;
        Ok(verified)
    }

    signatures_of_tls13!();
}
