//! The sender's side of a connection.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use framelane::{CancelToken, Error, ErrorKind};
use rustix::net::RecvFlags;

use super::idle_timeout::{lost, prepare, until_idle};
use super::protocol::{Answers, length_line};

/// Time limit for connecting to one address, so that the next one is tried soon.
const CONNECT: Duration = Duration::from_secs(3);
/// Number of bytes that existing programs read of an answer.
const READ_BYTES: usize = 32;

/// A connection to a receiver.
#[derive(Debug)]
pub struct Outgoing {
    stream: TcpStream,
    peer: String,
    answers: Answers,
    idle_timeout: Duration,
}

impl Outgoing {
    /// Connects to the first address that answers. Blocks for at most 3 seconds an address.
    ///
    /// `idle_timeout`: how long the receiver may take no byte, or give none, before it counts as lost.
    ///
    /// # Errors
    /// The last address's, when none answers.
    pub fn connect(addresses: &[SocketAddr], idle_timeout: Duration) -> Result<Self, Error> {
        let mut failed = Error::new(ErrorKind::NotFound, "expected an address to connect to, found none");
        for address in addresses {
            match TcpStream::connect_timeout(address, CONNECT) {
                Ok(stream) => {
                    prepare(&stream, idle_timeout)?;
                    let (peer, answers) = (address.to_string(), Answers::default());
                    return Ok(Outgoing { stream, peer, answers, idle_timeout });
                }
                Err(error) => failed = Error::from_io(format!("connecting to {address}"), error),
            }
        }
        Err(failed.with_hint("start the receiver, or check host and port"))
    }

    /// The receiver's address.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends a frame and waits for its answer.
    ///
    /// Checks `cancel` a few times a second while no byte moves.
    ///
    /// # Errors
    /// When the receiver is lost, or sends another answer, or `cancel` ends the wait
    /// ([`Interrupted`](ErrorKind::Interrupted)). The connection is unusable then.
    pub fn send(&mut self, jpeg: &[u8], cancel: &CancelToken) -> Result<(), Error> {
        let Outgoing { stream, peer, answers, idle_timeout } = self;
        let line = length_line(jpeg.len());
        let mut sent = 0;
        while sent < line.len() + jpeg.len() {
            // Both in one call: a line that travels alone costs the receiver a wake-up.
            let parts = [
                IoSlice::new(line.get(sent..).unwrap_or(&[])),
                IoSlice::new(&jpeg[sent.saturating_sub(line.len())..]),
            ];
            match until_idle(*idle_timeout, cancel, || stream.write_vectored(&parts)) {
                Ok(0) => {
                    return Err(lost(
                        &io::ErrorKind::UnexpectedEof.into(),
                        *idle_timeout,
                        peer,
                        "while a frame was sent",
                    ));
                }
                Ok(count) => sent += count,
                Err(error) => {
                    let doing = format!("when it had taken {sent} bytes of a frame of {} bytes", jpeg.len());
                    return Err(lost(&error, *idle_timeout, peer, &doing));
                }
            }
        }
        let mut bytes = [0; READ_BYTES];
        loop {
            let doing = |answers: &Answers| format!("when it had given {}", answers.progress());
            match until_idle(*idle_timeout, cancel, || stream.read(&mut bytes)) {
                Ok(0) => {
                    return Err(lost(
                        &io::ErrorKind::UnexpectedEof.into(),
                        *idle_timeout,
                        peer,
                        &doing(answers),
                    ));
                }
                Ok(count) => {
                    let complete = answers.take(&bytes[..count]).map_err(|error| error.context(&*peer))?;
                    if complete > 1 || (complete == 1 && answers.has_begun()) {
                        let message = format!("{peer}: expected one answer to a frame, found more");
                        return Err(Error::new(ErrorKind::Damaged, message)
                            .with_hint("check the receiver: it answers once for each frame"));
                    }
                    if complete == 1 {
                        return Ok(());
                    }
                }
                Err(error) => return Err(lost(&error, *idle_timeout, peer, &doing(answers))),
            }
        }
    }

    /// Returns true if the receiver has closed the connection, as far as is known. Does not wait.
    pub fn is_gone(&self) -> bool {
        let mut byte = [0];
        match rustix::net::recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, count)) => count == 0,
            Err(error) => !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
        }
    }
}
