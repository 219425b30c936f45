//! Functions for the fuzzer: all parsers of untrusted text in this module.

use super::clients::parse;
use super::{Fingerprint, Patterns, Token};

/// Reads any bytes as a clients file, patterns, a fingerprint, a token and a certificate, and checks what was
/// read.
pub fn parse_security(bytes: &[u8]) {
    let certificate = rustls::pki_types::CertificateDer::from(bytes);
    let details = super::certificate::Details::read(&certificate);
    std::hint::black_box(details.is_ok());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(clients) = parse(text) {
        let names: std::collections::HashSet<_> = clients.iter().map(|client| &client.name).collect();
        assert_eq!(names.len(), clients.len());
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, "cam0"));
    if let Ok(patterns) = first.parse::<Patterns>() {
        assert_eq!(patterns.to_string(), first);
        let is_matched = patterns.matches(rest);
        assert!(!is_matched || !(rest.is_empty() || rest.contains("..") && rest.contains("/../")));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().ok(), Some(fingerprint));
    }
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.expose().len(), 74);
    }
}
