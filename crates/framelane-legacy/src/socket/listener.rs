//! The port where senders connect, and the order in which they are served.
//!
//! One sender is served at a time. Connections that wait are taken from the system's queue, so that one that
//! has sent something goes before those that are silent: a flood of silent connections delays no sender with
//! a frame. Of several that have sent something, the one with the most bytes is next. A sender that drips
//! bytes is the last of them.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use framelane::{CancelToken, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest wait between two checks whether to continue.
const CALLER_POLL_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// The most connections that wait here. Above, the oldest silent one is closed.
const MOST_WAITING: usize = 64;
/// The most connections that are taken from the system's queue at a time.
const BURST: usize = 256;

/// A port where senders connect.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// In the order in which they have connected.
    waiting: Vec<(TcpStream, SocketAddr)>,
    closed: u64,
}

impl Listener {
    /// Listens at the first address that is available.
    ///
    /// # Errors
    /// That of the last address, when none is available.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let failed = |error| {
            Error::from_io(format!("listening at {}", list(addresses)), error)
                .with_hint("choose a port that is free, and an address of this machine")
        };
        let socket = TcpListener::bind(addresses).map_err(failed)?;
        // A sender may leave between the poll and the call that would accept it.
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Listener { socket, waiting: Vec::new(), closed: 0 })
    }

    /// The address that it listens at, with the port that the system chose if it was to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.socket.local_addr().map_err(|error| Error::from_io("asking where a socket listens", error))
    }

    /// Silent connections that were closed without service, because too many waited.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// Waits for the next connection; `None` when `cancel` ends the wait.
    pub(super) fn next_connection(
        &mut self,
        cancel: &CancelToken,
    ) -> Result<Option<(TcpStream, SocketAddr)>, Error> {
        while !cancel.ends_wait() {
            if self.waiting.is_empty() {
                self.poll(&CALLER_POLL_INTERVAL);
            }
            self.collect().map_err(|error| Error::from_io("accepting a connection", error))?;
            if let Some(connection) = self.take_next() {
                return Ok(Some(connection));
            }
        }
        Ok(None)
    }

    /// Returns true if another sender waits.
    pub fn is_sender_waiting(&mut self) -> bool {
        // A connection that cannot be accepted waits as well.
        !self.waiting.is_empty() || self.poll(&AT_ONCE)
    }

    fn poll(&self, time: &Timespec) -> bool {
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        poll(&mut sockets, Some(time)).is_ok_and(|ready| ready > 0)
    }

    /// Takes connections from the system's queue.
    fn collect(&mut self) -> io::Result<()> {
        for _ in 0..BURST {
            match self.socket.accept() {
                Ok(connection) => self.waiting.push(connection),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Out of descriptors: those that wait here go first.
                Err(_) if !self.waiting.is_empty() => break,
                Err(error) => return Err(error),
            }
            if self.waiting.len() > MOST_WAITING {
                let silent = self.waiting.iter().position(|(stream, _)| arrived_bytes(stream) == 0);
                self.waiting.remove(silent.unwrap_or(0));
                self.closed += 1;
            }
        }
        Ok(())
    }

    fn take_next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        let bytes = |index: &usize| arrived_bytes(&self.waiting[*index].0);
        // Of equal ones the oldest: `max_by_key` returns the last.
        let next = (0..self.waiting.len()).rev().max_by_key(bytes)?;
        Some(self.waiting.remove(next))
    }
}

/// Bytes that can be read at once.
fn arrived_bytes(stream: &TcpStream) -> u64 {
    rustix::io::ioctl_fionread(stream).unwrap_or(0)
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use std::io::Write;
    use std::time::Duration;

    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    fn listener() -> (Listener, SocketAddr) {
        let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = listener.address().unwrap();
        (listener, address)
    }

    fn next(listener: &mut Listener) -> String {
        let accepted = listener.accept(IDLE_TIMEOUT, 1000, &CancelToken::new()).unwrap().unwrap();
        accepted.peer().to_owned()
    }

    fn local(stream: &TcpStream) -> String {
        stream.local_addr().unwrap().to_string()
    }

    #[test]
    fn sender_with_bytes_is_served_before_silent_ones() {
        let (mut listener, address) = listener();
        let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut drip = TcpStream::connect(address).unwrap();
        drip.write_all(b"1").unwrap();
        let mut sender = TcpStream::connect(address).unwrap();
        sender.write_all(b"100             ").unwrap();
        // Over loopback, what was written is there at once.
        assert_eq!(next(&mut listener), local(&sender));
        assert_eq!(next(&mut listener), local(&drip));
        assert!(listener.is_sender_waiting());
        assert_eq!(listener.closed(), 102 - MOST_WAITING as u64);
        // The oldest were closed, and the oldest that is left comes next.
        assert_eq!(next(&mut listener), local(&silent[listener.closed() as usize]));
    }

    #[test]
    fn connections_that_wait_are_bounded() {
        let (mut listener, address) = listener();
        let mut streams = Vec::new();
        for _ in 0..10 {
            streams.extend((0..50).map(|_| TcpStream::connect(address).unwrap()));
            next(&mut listener);
            assert!(listener.waiting.len() <= MOST_WAITING);
        }
        assert!(listener.closed() > 400);
    }

    #[test]
    fn waiting_for_a_sender_ends_when_asked() {
        let (mut listener, _) = listener();
        let checked = AtomicBool::new(false);
        let cancel = CancelToken::with_check(move || checked.swap(true, Ordering::Relaxed));
        assert!(listener.accept(IDLE_TIMEOUT, 1000, &cancel).unwrap().is_none());
        assert!(!listener.is_sender_waiting());
    }
}
