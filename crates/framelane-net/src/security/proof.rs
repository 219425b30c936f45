//! Proof of a token without sending it: both sides show that they know it, and neither learns anything it can
//! use elsewhere.
//!
//! The exchange is that of SCRAM (RFC 5802) with SHA-256. A token has 256 random bits, so nothing is
//! stretched or salted. `spec/link.md` defines every byte.

use std::fmt;
use std::str::FromStr;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use framelane::{Error, ErrorKind};

use super::fingerprint::{from_hex, hex, sha256};
use super::token::Token;

/// 32 random bytes, new for each connection.
pub(crate) type Nonce = [u8; 32];
/// The public part of a token: names the client to the server. All zeros: no token.
pub(crate) type TokenId = [u8; 16];
/// A proof. All zeros: none.
pub(crate) type Proof = [u8; 32];

/// The value of a token id, nonce or proof that is absent.
pub(crate) fn is_none(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// A new nonce.
///
/// # Errors
/// [`ErrorKind::SystemFailure`] when the system returns no random numbers.
pub(crate) fn nonce() -> Result<Nonce, Error> {
    let mut nonce = [0; 32];
    SystemRandom::new().fill(&mut nonce).map_err(|_| {
        Error::new(ErrorKind::SystemFailure, "cannot make a nonce: the system returns no random numbers")
            .with_hint("check that this process may call getrandom (a sandbox may forbid it)")
    })?;
    Ok(nonce)
}

/// The facts of one connection that every proof covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transcript {
    pub client_nonce: Nonce,
    pub server_nonce: Nonce,
    pub token_id: TokenId,
    /// Of TLS: its exporter. Without TLS: zeros.
    pub binding: [u8; 32],
}

impl Transcript {
    /// The HMAC of a label, this transcript, and the request, in that order.
    fn sign(&self, key: &[u8], label: &str, request: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        context.update(label.as_bytes());
        for part in [&self.client_nonce[..], &self.server_nonce, &self.token_id, &self.binding, request] {
            context.update(part);
        }
        let mut signature = [0; 32];
        signature.copy_from_slice(context.sign().as_ref());
        signature
    }
}

const CLIENT: &str = "framelane link client";
const SERVER: &str = "framelane link server";

/// Derives a key or the id from a token.
fn derive(token: &Token, label: &str) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes());
    let mut derived = Zeroizing::new([0; 32]);
    derived.copy_from_slice(hmac::sign(&key, label.as_bytes()).as_ref());
    derived
}

fn client_key(token: &Token) -> Zeroizing<[u8; 32]> {
    derive(token, "framelane token client key")
}

fn server_key(token: &Token) -> Zeroizing<[u8; 32]> {
    derive(token, "framelane token server key")
}

impl Token {
    /// The public part.
    pub(crate) fn id(&self) -> TokenId {
        let derived = derive(self, "framelane token id");
        let mut id = [0; 16];
        id.copy_from_slice(&derived[..16]);
        id
    }

    /// Returns whether the server has proved that it knows this token.
    pub(crate) fn accepts(&self, transcript: &Transcript, proof: &Proof) -> bool {
        transcript.sign(&*server_key(self), SERVER, &[]).ct_eq(proof).into()
    }

    /// The client's proof, which covers its request.
    pub(crate) fn prove(&self, transcript: &Transcript, request: &[u8]) -> Proof {
        let key = client_key(self);
        let signature = transcript.sign(&sha256(&*key), CLIENT, request);
        xor(&key, &signature)
    }
}

fn xor(one: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|at| one[at] ^ other[at])
}

/// The server's part of a token: proves the server to the client and checks the client. It is no token, and
/// cannot be turned into one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Verifier {
    pub(super) id: TokenId,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    pub(super) fn of(token: &Token) -> Self {
        Verifier { id: token.id(), stored_key: sha256(&*client_key(token)), server_key: *server_key(token) }
    }

    pub(super) fn prove(&self, transcript: &Transcript) -> Proof {
        transcript.sign(&self.server_key, SERVER, &[])
    }

    /// Returns whether the client has proved that it knows the token. Takes the same time for every proof.
    pub(super) fn accepts(&self, transcript: &Transcript, request: &[u8], proof: &Proof) -> bool {
        let signature = transcript.sign(&self.stored_key, CLIENT, request);
        let key = Zeroizing::new(xor(proof, &signature));
        sha256(&*key).ct_eq(&self.stored_key).into()
    }

    /// Returns whether two verifiers are of the same token. Takes the same time for every pair.
    pub(super) fn is_of(&self, token: &Token) -> bool {
        let other = Verifier::of(token);
        (self.id.ct_eq(&other.id) & self.stored_key.ct_eq(&other.stored_key)).into()
    }
}

/// The keys are secrets of the server.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", hex(&self.id))
    }
}

const SCHEME: &str = "hmac-sha256";

/// The form of the clients file: `hmac-sha256:ID:STORED_KEY:SERVER_KEY`, in hexadecimal.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{}:{}:{}", hex(&self.id), hex(&self.stored_key), hex(&self.server_key))
    }
}

impl FromStr for Verifier {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<_> = text.split(':').collect();
        let [SCHEME, id, stored, server] = parts[..] else { return Err(()) };
        let keys = (from_hex(id), from_hex(stored), from_hex(server));
        let (Some(id), Some(stored_key), Some(server_key)) = keys else { return Err(()) };
        Ok(Verifier { id, stored_key, server_key })
    }
}

/// A server's proof, made from the token itself.
#[cfg(test)]
pub(crate) fn server_proof(token: &Token, transcript: &Transcript) -> Proof {
    Verifier::of(token).prove(transcript)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(token: &Token) -> Transcript {
        Transcript { client_nonce: [1; 32], server_nonce: [2; 32], token_id: token.id(), binding: [3; 32] }
    }

    #[test]
    fn proofs_of_one_token_convince_both_sides() {
        let token = Token::generate().unwrap();
        let (verifier, transcript) = (Verifier::of(&token), transcript(&token));
        assert!(token.accepts(&transcript, &verifier.prove(&transcript)));
        assert!(verifier.accepts(&transcript, b"request", &token.prove(&transcript, b"request")));
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
    }

    #[test]
    fn proof_of_another_connection_is_refused() {
        let token = Token::generate().unwrap();
        let (verifier, here) = (Verifier::of(&token), transcript(&token));
        let (proof, answer) = (token.prove(&here, b"request"), verifier.prove(&here));
        for changed in [
            Transcript { client_nonce: [9; 32], ..here },
            Transcript { server_nonce: [9; 32], ..here },
            Transcript { token_id: [9; 16], ..here },
            Transcript { binding: [0; 32], ..here },
        ] {
            assert!(!verifier.accepts(&changed, b"request", &proof), "{changed:?}");
            assert!(!token.accepts(&changed, &answer), "{changed:?}");
        }
        assert!(!verifier.accepts(&here, b"another request", &proof));
        assert!(!token.accepts(&here, &proof) && !verifier.accepts(&here, b"", &answer), "reflected");
        for none in [[0; 32], [0xFF; 32]] {
            assert!(!token.accepts(&here, &none) && !verifier.accepts(&here, b"request", &none));
        }
    }

    #[test]
    fn verifier_proves_nothing_as_a_client() {
        let token = Token::generate().unwrap();
        let (verifier, here) = (Verifier::of(&token), transcript(&token));
        // All that the server keeps, used as the client's key.
        for key in [verifier.stored_key, verifier.server_key] {
            let signature = here.sign(&sha256(&key), CLIENT, b"");
            assert!(!verifier.accepts(&here, b"", &xor(&key, &signature)));
        }
        assert!(!format!("{verifier:?}").contains(&hex(&verifier.stored_key)));
    }
}
