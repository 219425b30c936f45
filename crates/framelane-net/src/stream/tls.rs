//! TLS over a socket.
//!
//! The state of a TLS connection is one, but it is touched for short moments only: bytes are read from and written to
//! the socket outside its lock, so that a writer that waits for room holds up no reader.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::Connection;
use rustls::pki_types::CertificateDer;

use super::{Socket, Stream};

/// Plain bytes encrypted at a time: several records, and little enough to stay in the cache.
const CHUNK_BYTES: usize = 128 << 10;
/// Encrypted bytes read at a time.
const READ_BYTES: usize = 256 << 10;

pub(crate) struct Tls {
    socket: Socket,
    connection: Mutex<Connection>,
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
}

/// Encrypted bytes that the socket has not taken yet.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
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
    /// Shakes hands; until `deadline`, whatever the other side does.
    ///
    /// # Errors
    /// Those of the socket, and what TLS finds wrong, as the inner error.
    pub(crate) fn shake_hands(
        socket: Socket,
        mut connection: Connection,
        deadline: Instant,
    ) -> io::Result<Self> {
        // Bounded all the same: `write` takes a chunk at a time and empties it.
        connection.set_buffer_limit(None);
        let incoming = Incoming { bytes: vec![0; READ_BYTES].into(), range: 0..0 };
        let tls = Tls {
            socket,
            connection: Mutex::new(connection),
            outgoing: Mutex::default(),
            incoming: Mutex::new(incoming),
        };
        while lock(&tls.connection).is_handshaking() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tls.flush(left).or_else(not_yet)?;
            if !lock(&tls.connection).is_handshaking() {
                break;
            }
            if let Err(error) = tls.take_in(left) {
                // The alert that says why goes out as far as it can.
                let _ = tls.flush(Duration::ZERO);
                not_yet(error)?;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        tls.flush(left)?;
        Ok(tls)
    }

    /// What the other side has shown, and proved to hold the key of.
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

    fn send_pending(&self, outgoing: &mut Outgoing, more: bool, timeout: Duration) -> io::Result<()> {
        while outgoing.sent < outgoing.bytes.len() {
            outgoing.sent += self.socket.write(&outgoing.bytes[outgoing.sent..], more, timeout)?;
        }
        outgoing.bytes.clear();
        outgoing.sent = 0;
        Ok(())
    }
}

/// Time that has passed is no fault while there is some left.
fn not_yet(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

impl Stream for Tls {
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        loop {
            match lock(&self.connection).reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.take_in(timeout)?;
        }
    }

    fn write(&self, bytes: &[u8], more: bool, timeout: Duration) -> io::Result<usize> {
        let mut outgoing = lock(&self.outgoing);
        self.send_pending(&mut outgoing, more, timeout)?;
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let taken = {
            let mut connection = lock(&self.connection);
            let taken = connection.writer().write(chunk)?;
            while connection.wants_write() {
                connection.write_tls(&mut outgoing.bytes)?;
            }
            taken
        };
        // What cannot go now goes with the next bytes, or with `flush`.
        self.send_pending(&mut outgoing, more, Duration::ZERO).or_else(not_yet)?;
        Ok(taken)
    }

    fn flush(&self, timeout: Duration) -> io::Result<()> {
        let mut outgoing = lock(&self.outgoing);
        {
            let mut connection = lock(&self.connection);
            while connection.wants_write() {
                connection.write_tls(&mut outgoing.bytes)?;
            }
        }
        self.send_pending(&mut outgoing, false, timeout)
    }

    fn shut(&self) {
        lock(&self.connection).send_close_notify();
        if let Ok(mut outgoing) = self.outgoing.try_lock() {
            let mut connection = lock(&self.connection);
            while connection.wants_write() && connection.write_tls(&mut outgoing.bytes).is_ok() {}
            drop(connection);
            let _ = self.send_pending(&mut outgoing, false, Duration::ZERO);
        }
        self.socket.shut();
    }
}
