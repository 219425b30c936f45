//! TLS handshakes in memory, and the files of a server.

mod access;
mod folders;
mod handshakes;
mod identities;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use zeroize::Zeroizing;

use super::identity::Made;
use super::{Identity, IdentityOptions, Role};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns a self-signed certificate of the role for `cam.example`, with this validity.
fn made(role: Role, not_before: SystemTime, not_after: SystemTime) -> Made {
    let names = if role == Role::Server { vec!["cam.example".to_owned()] } else { Vec::new() };
    IdentityOptions::new(role, "test").names(names).make(not_before, not_after, None).unwrap()
}

fn identity_of(made: &Made) -> Identity {
    let certificate = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).unwrap();
    Identity::new(vec![certificate], Zeroizing::new(key)).unwrap()
}

fn identity(role: Role) -> Identity {
    identity_of(&made(role, now() - DAY, now() + DAY))
}

fn expired(role: Role) -> Identity {
    identity_of(&made(role, now() - 3 * DAY, now() - DAY))
}

fn not_yet_valid(role: Role) -> Identity {
    identity_of(&made(role, now() + DAY, now() + 3 * DAY))
}

/// Both ends of a connection, with nothing but memory between them.
struct Link {
    client: ClientConnection,
    server: ServerConnection,
}

impl Link {
    fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        Self::to("cam.example", client, server)
    }

    fn to(name: &'static str, client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let name = ServerName::try_from(name).unwrap();
        Link {
            client: ClientConnection::new(client, name).unwrap(),
            server: ServerConnection::new(server).unwrap(),
        }
    }

    /// Carries bytes both ways until there are none; what each side found wrong.
    fn shake_hands(&mut self) -> (Result<(), rustls::Error>, Result<(), rustls::Error>) {
        let (mut client, mut server) = (Ok(()), Ok(()));
        loop {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            let is_quiet = bytes.is_empty();
            take(&mut bytes.as_slice(), &mut server, &mut self.server);
            let mut bytes = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut bytes).unwrap();
            }
            if is_quiet && bytes.is_empty() {
                return (client, server);
            }
            take(&mut bytes.as_slice(), &mut client, &mut self.client);
        }
    }
}

/// Passes bytes to one side; after its first error it reads no more, but its alert is still to be sent.
fn take<D>(
    bytes: &mut &[u8],
    result: &mut Result<(), rustls::Error>,
    side: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
) {
    while result.is_ok() && !bytes.is_empty() {
        side.read_tls(bytes).unwrap();
        *result = side.process_new_packets().map(drop);
    }
}
