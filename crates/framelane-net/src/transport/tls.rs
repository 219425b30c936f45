//! TLS over a socket.
//!
//! A TLS connection has one state, which is locked for short moments only: no thread waits for the socket
//! with its lock held, so that a writer that waits for room does not block a reader.

use std::io::{self, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::Connection;
use rustls::pki_types::CertificateDer;

use super::{END_POLL_INTERVAL, Socket, Transport};
use crate::security::ALPN;

/// Plain bytes encrypted at a time: several records, and little enough to stay in the cache.
const CHUNK_BYTES: usize = 128 << 10;
/// Encrypted bytes read at a time.
const READ_BYTES: usize = 256 << 10;

pub(crate) struct Tls {
    socket: Socket,
    connection: Mutex<Connection>,
    incoming: Mutex<Incoming>,
}

/// Encrypted bytes that TLS has not taken yet.
struct Incoming {
    bytes: Box<[u8]>,
    range: std::ops::Range<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the connection with its thread; what it left is still only bytes.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tls {
    /// Shakes hands until `deadline`, for any behaviour of the peer. `keep` is called several times a second.
    ///
    /// # Errors
    /// Those of the socket, and what TLS finds wrong, as the inner error. `NoApplicationProtocol` for a peer
    /// that does not name framelane's (ALPN). `Interrupted` once `keep` says false.
    pub(crate) fn shake_hands(
        socket: Socket,
        mut connection: Connection,
        deadline: Instant,
        keep: &mut dyn FnMut() -> bool,
    ) -> io::Result<Self> {
        // Bounded all the same: `write` takes a chunk at a time and empties it.
        connection.set_buffer_limit(None);
        let incoming = Incoming { bytes: vec![0; READ_BYTES].into(), range: 0..0 };
        let tls = Tls { socket, connection: Mutex::new(connection), incoming: Mutex::new(incoming) };
        while lock(&tls.connection).is_handshaking() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !keep() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = left.min(END_POLL_INTERVAL);
            tls.flush(left).or_else(not_yet)?;
            if !lock(&tls.connection).is_handshaking() {
                break;
            }
            if let Err(error) = tls.take_in(left) {
                // Sends the alert with the reason, as far as possible.
                let _ = tls.flush(Duration::ZERO);
                not_yet(error)?;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        tls.flush(left)?;
        // rustls refuses another protocol, and accepts a peer that names none.
        if lock(&tls.connection).alpn_protocol() != Some(ALPN) {
            tls.shut();
            return Err(io::Error::other(rustls::Error::NoApplicationProtocol));
        }
        Ok(tls)
    }

    /// Returns a number that only the two ends of this connection know (RFC 9266): a proof with it is valid
    /// for this connection only.
    pub(crate) fn binding(&self) -> io::Result<[u8; 32]> {
        let exported =
            lock(&self.connection).export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
        exported.map_err(io::Error::other)
    }

    /// Calls a function with the certificates that the peer has proved to hold.
    pub(crate) fn with_peer_certificates<T>(
        &self,
        look: impl FnOnce(Option<&[CertificateDer<'static>]>) -> T,
    ) -> T {
        look(lock(&self.connection).peer_certificates())
    }

    /// Reads from the socket and lets TLS decrypt it.
    fn take_in(&self, timeout: Duration) -> io::Result<()> {
        let mut incoming = lock(&self.incoming);
        let Incoming { bytes, range } = &mut *incoming;
        if range.start == range.end {
            let len = self.socket.read(bytes, timeout)?;
            *range = 0..len;
            if len == 0 {
                // Ended without TLS's own word for it: TLS would call it cut off, and so it is.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut connection = lock(&self.connection);
        let taken = connection.read_tls(&mut &bytes[range.clone()])?;
        range.start += taken;
        connection.process_new_packets().map_err(io::Error::other)?;
        Ok(())
    }

    /// Hands encrypted bytes to the socket until none are left.
    fn send_pending(&self, more: bool, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.send_now(&mut lock(&self.connection), more) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.socket.wait_for_room(deadline.saturating_duration_since(Instant::now()))?;
        }
    }

    /// The same as far as there is room: straight from where TLS has encrypted them.
    fn send_now(&self, connection: &mut Connection, more: bool) -> io::Result<()> {
        let mut room = Room { socket: &self.socket, more };
        while connection.wants_write() {
            connection.write_tls(&mut room)?;
        }
        Ok(())
    }
}

/// The socket as far as it takes bytes at once.
struct Room<'a> {
    socket: &'a Socket,
    more: bool,
}

impl Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.send_now(pieces, self.more)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time that has passed is no fault while there is some left.
fn not_yet(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

impl Transport for Tls {
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + timeout;
        let mut looked = false;
        loop {
            match lock(&self.connection).reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            // A record that arrives byte by byte is not readable for as long as the peer delays it.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && std::mem::replace(&mut looked, true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.take_in(left)?;
        }
    }

    fn write(&self, bytes: &[u8], more: bool, timeout: Duration) -> io::Result<usize> {
        self.send_pending(true, timeout)?;
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let mut connection = lock(&self.connection);
        let taken = connection.writer().write(chunk)?;
        // What cannot go now goes with the next bytes, or with `flush`.
        self.send_now(&mut connection, more || taken < bytes.len()).or_else(not_yet)?;
        Ok(taken)
    }

    fn flush(&self, timeout: Duration) -> io::Result<()> {
        self.send_pending(false, timeout)
    }

    fn shut(&self) {
        let mut connection = lock(&self.connection);
        connection.send_close_notify();
        let _ = self.send_now(&mut connection, false);
        drop(connection);
        self.socket.shut();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::security::{self, Identity, Role, ServerTrust};

    /// The results of a server's and a client's handshake, one of which may name no protocol.
    fn handshake(server_names: bool, client_names: bool) -> [io::Result<Tls>; 2] {
        let directory = tempfile::tempdir().unwrap();
        let options = security::IdentityOptions::new(Role::Server, "test").names(["cam.example".to_owned()]);
        options.create(directory.path()).unwrap();
        let identity = Identity::from_directory(directory.path(), Role::Server).unwrap();
        let mut server = (*security::server_config(&identity).unwrap()).clone();
        let trust = ServerTrust::Fingerprint(identity.fingerprint());
        let mut client = (*security::client_config(&trust, None).unwrap()).clone();
        if !server_names {
            server.alpn_protocols.clear();
        }
        if !client_names {
            client.alpn_protocols.clear();
        }
        let name = ServerName::try_from("cam.example").unwrap();
        let sides: [Connection; 2] = [
            ServerConnection::new(Arc::new(server)).unwrap().into(),
            ClientConnection::new(Arc::new(client), name).unwrap().into(),
        ];
        let (one, other) = UnixStream::pair().unwrap();
        for socket in [&one, &other] {
            socket.set_nonblocking(true).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let shake = |socket, side| Tls::shake_hands(Socket::unix(socket), side, deadline, &mut || true);
        let [server, client] = sides;
        std::thread::scope(|scope| {
            let server = scope.spawn(|| shake(one, server));
            let client = shake(other, client);
            [server.join().unwrap(), client]
        })
    }

    fn has_no_protocol(result: &io::Result<Tls>) -> bool {
        let tls = result.as_ref().err().and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
        tls == Some(&rustls::Error::NoApplicationProtocol)
    }

    #[test]
    fn peer_without_a_protocol_name_is_refused() {
        assert!(handshake(true, true).iter().all(Result::is_ok));
        assert!(has_no_protocol(&handshake(true, false)[0]));
        assert!(has_no_protocol(&handshake(false, true)[1]));
    }
}
