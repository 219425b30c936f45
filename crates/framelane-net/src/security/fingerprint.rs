//! The name of a certificate: the SHA-256 of its bytes.

use std::fmt;
use std::str::FromStr;

use framelane::{Error, ErrorKind};
use ring::digest;

/// The SHA-256 of a certificate in DER, which identifies it in files and on command lines.
///
/// It is no secret. `Display` writes `sha256:` and 64 hexadecimal digits; `FromStr` also takes what `openssl
/// x509 -fingerprint -sha256` prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Fingerprint(sha256(certificate))
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(hash: [u8; 32]) -> Self {
        Fingerprint(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = ["sha256:", "sha256 fingerprint="].iter().find_map(|start| lower.strip_prefix(start));
        let digits: String = digits.unwrap_or(&lower).chars().filter(|&c| c != ':').collect();
        from_hex(&digits).map(Fingerprint).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOption,
                format!("expected sha256: and 64 hexadecimal digits, found {}", quoted(text)),
            )
            .with_hint("copy the fingerprint that `framelane identity show` prints on the other machine")
        })
    }
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes of exactly `2 * N` hexadecimal digits.
pub(super) fn from_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

/// A text in a message, cut short: an invalid text may be a whole file.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

    #[test]
    fn fingerprints_are_read_in_every_usual_form() {
        let expected: Fingerprint = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(expected.as_bytes()[..3], [0, 1, 2]);
        assert_eq!(expected.to_string(), format!("sha256:{HEX}"));
        let pairs: Vec<_> = HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        let colons = pairs.join(":").to_uppercase();
        for text in [HEX, &colons, &format!("SHA256:{colons}"), &format!("sha256 Fingerprint={colons}\n")] {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_refused_and_told_in_few_words() {
        let long = "a".repeat(100_000);
        for text in ["", "sha256:", "sha1:00", &HEX[1..], &HEX.replace('f', "g"), "sha256:é", &long] {
            let error = text.parse::<Fingerprint>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.message().contains("64 hexadecimal digits") && error.message().len() < 600);
        }
    }

    #[test]
    fn a_fingerprint_is_the_sha256_of_the_certificate() {
        let found = Fingerprint::of(b"abc");
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(found.to_string(), expected);
    }
}
