//! Authentication and access of clients and servers.
//!
//! Both sides speak TLS 1.3. A client knows its server by the fingerprint of its certificate, or by an
//! authority that has signed it ([`ServerTrust`]). A server knows its clients by a certificate or by a token,
//! which both sides prove to know without sending it. Names and rights of clients are in the clients file
//! ([`AccessList`]).
//!
//! Nothing here opens a socket. Keys and tokens are never in a message, in `Debug` or in an argument.

mod access;
mod authority;
mod certificate;
mod clients;
mod fault;
mod files;
mod fingerprint;
mod identity;
mod patterns;
mod proof;
#[cfg(any(test, framelane_testing))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod token;
pub(crate) mod user;
mod verifier;

pub use access::{AccessList, Grant};
pub use certificate::Validity;
pub use clients::{Client, ClientsFile};
pub(crate) use fault::{tls_error, tls_error_of_client};
pub use files::read_secret_file;
pub use fingerprint::Fingerprint;
pub use identity::{Identity, IdentityOptions, Role, config_directory};
pub use patterns::Patterns;
#[cfg(test)]
pub(crate) use proof::server_proof;
pub(crate) use proof::{Nonce, Proof, TokenId, Transcript, is_none, nonce};
pub use tls::ServerTrust;
pub(crate) use tls::{ALPN, client_config, peer_fingerprint, server_config};
pub use token::{TOKEN_VARIABLE, Token};
