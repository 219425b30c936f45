//! The receiver's side of a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, ErrorKind};

use super::idle_timeout::{lost, prepare, until_idle};
use super::listener::Listener;
use super::protocol::{ANSWER, FrameBuffer};

/// A frame that takes this many times the idle timeout yields to another sender, even if its bytes arrive
/// steadily.
const SLOW: u32 = 6;

/// A connection from a sender.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    peer: String,
    buffer: FrameBuffer,
    idle_timeout: Duration,
}

impl Listener {
    /// Waits for the next sender; `None` when `cancel` ends the wait.
    ///
    /// `idle_timeout`: how long the sender may send nothing in the middle of a frame. `max_bytes`: the
    /// largest JPEG.
    ///
    /// # Errors
    /// Those of the system, of one sender or of all: another try may succeed.
    pub fn accept(
        &mut self,
        idle_timeout: Duration,
        max_bytes: usize,
        cancel: &CancelToken,
    ) -> Result<Option<Incoming>, Error> {
        let Some((stream, peer)) = self.next_connection(cancel)? else { return Ok(None) };
        Incoming::new(stream, peer, idle_timeout, max_bytes).map(Some)
    }
}

impl Incoming {
    fn new(
        stream: TcpStream,
        peer: SocketAddr,
        idle_timeout: Duration,
        max_bytes: usize,
    ) -> Result<Self, Error> {
        stream.set_nonblocking(false).map_err(|error| Error::from_io("setting up a connection", error))?;
        prepare(&stream, idle_timeout)?;
        Ok(Incoming { stream, peer: peer.to_string(), buffer: FrameBuffer::new(max_bytes), idle_timeout })
    }

    /// The sender's address.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Waits for the next JPEG, valid until the next call; `None` when the sender has closed the connection
    /// between frames.
    ///
    /// Between frames a sender may be silent without limit, unless another sender waits at the `listener`.
    ///
    /// # Errors
    /// When the sender is lost, sends bytes that are no frame, or `cancel` ends the wait
    /// ([`Interrupted`](ErrorKind::Interrupted)). The connection is unusable then.
    pub fn next(&mut self, listener: &mut Listener, cancel: &CancelToken) -> Result<Option<&[u8]>, Error> {
        let Incoming { stream, peer, buffer, idle_timeout } = self;
        let mut silent_since = Instant::now();
        let mut frame_since: Option<Instant> = None;
        loop {
            let room = buffer.room();
            let read = if !cancel.ends_wait() {
                until_idle(*idle_timeout, cancel, || stream.read(room))
            } else {
                Err(io::ErrorKind::Interrupted.into())
            };
            match read {
                Ok(0) if buffer.is_between_frames() => return Ok(None),
                Ok(0) => {
                    return Err(lost(
                        &io::ErrorKind::UnexpectedEof.into(),
                        *idle_timeout,
                        peer,
                        &after(buffer),
                    ));
                }
                Ok(count) => {
                    silent_since = Instant::now();
                    let since = *frame_since.get_or_insert(silent_since);
                    if since.elapsed() > *idle_timeout * SLOW && listener.is_sender_waiting() {
                        let seconds = since.elapsed().as_secs();
                        let message = format!("{peer} has sent {} in {seconds} s", buffer.progress());
                        return Err(yields(
                            message,
                            "give slow senders a separate port, or a longer --idle-timeout",
                        ));
                    }
                    if buffer.advance(count).map_err(|error| error.context(&*peer))? {
                        return Ok(Some(self.buffer.jpeg()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && buffer.is_between_frames() => {
                    if listener.is_sender_waiting() {
                        let message =
                            format!("{peer} has sent nothing for {} s", silent_since.elapsed().as_secs());
                        return Err(yields(
                            message,
                            "end senders that are not in use, or give each a separate port",
                        ));
                    }
                }
                Err(error) => return Err(lost(&error, *idle_timeout, peer, &after(buffer))),
            }
        }
    }

    /// The reason to disconnect a sender of broken pictures: the last good one is older than the idle
    /// timeout, and another sender waits. Its lengths may be right, so that nothing else disconnects it.
    pub fn yields_after(&self, without_picture: Duration, listener: &mut Listener) -> Option<Error> {
        (without_picture > self.idle_timeout && listener.is_sender_waiting()).then(|| {
            let seconds = without_picture.as_secs();
            let message = format!("{} has sent no picture for {seconds} s", self.peer);
            yields(message, "check what the sender sends")
        })
    }

    /// Confirms to the sender that its frame was received.
    ///
    /// # Errors
    /// When the sender is lost.
    pub fn answer(&mut self, cancel: &CancelToken) -> Result<(), Error> {
        let Incoming { stream, peer, idle_timeout, .. } = self;
        let mut sent = 0;
        while sent < ANSWER.len() {
            match until_idle(*idle_timeout, cancel, || stream.write(&ANSWER[sent..])) {
                Ok(count) => sent += count,
                Err(error) => return Err(lost(&error, *idle_timeout, peer, "while it was answered")),
            }
        }
        Ok(())
    }
}

fn after(buffer: &FrameBuffer) -> String {
    format!("after {}", buffer.progress())
}

/// The error for a sender that others do not wait for any longer.
fn yields(message: String, hint: &str) -> Error {
    Error::new(ErrorKind::Timeout, format!("{message}, and another sender waits")).with_hint(hint)
}
