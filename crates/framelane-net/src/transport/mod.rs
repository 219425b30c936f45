//! Bytes both ways, from two threads at a time, with or without TLS.
//!
//! One thread reads while another writes, and neither waits for longer than its time limit. So a thread that
//! is asked to end ends, and a lost peer is noticed.

mod socket;
mod tls;

use std::io;
use std::time::Duration;

pub(crate) use socket::Socket;
pub(crate) use tls::Tls;

/// The longest wait between two checks for the end of a link.
pub(crate) const END_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A connection. One thread may read while another writes. Neither may be done by two threads at a time.
pub(crate) trait Transport: Send + Sync {
    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when none have come within `timeout`.
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize>;

    /// Takes some bytes to be sent. `more`: others follow at once.
    ///
    /// # Errors
    /// `WouldBlock` when none could be taken within `timeout`.
    fn write(&self, bytes: &[u8], more: bool, timeout: Duration) -> io::Result<usize>;

    /// Hands what was taken to the system.
    ///
    /// # Errors
    /// `WouldBlock` when not all bytes could be passed on within `timeout`; the rest is kept.
    fn flush(&self, timeout: Duration) -> io::Result<()>;

    /// Ends both directions; threads that read or write return.
    fn shut(&self);
}
