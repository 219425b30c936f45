//! The receiver's side of a connection, and where it comes from.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::patience::{lost, patiently, prepare};
use super::protocol::{ANSWER, FrameBuffer};

/// How often a caller who waits for a sender is asked whether to go on.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A frame that takes this many times the idle timeout yields to another sender, even if its bytes arrive
/// steadily.
const SLOW: u32 = 6;

/// A port where senders connect. They are served one at a time; others wait in the system's queue.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens at the first address that can be had.
    ///
    /// # Errors
    /// The last address's, when none can be had.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let failed = |error| {
            Error::from_io(format!("listening at {}", list(addresses)), error)
                .with_hint("choose a port that is free, and an address of this machine")
        };
        let listener = TcpListener::bind(addresses).map_err(failed)?;
        // A sender may leave between the look for it and the call that would give it.
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Listener(listener))
    }

    /// Where it listens, with the port that the system chose if it was to.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        self.0.local_addr().map_err(|error| Error::from_io("asking where a socket listens", error))
    }

    /// Waits for the next sender; `None` when `keep_going`, asked a few times a second, says no.
    ///
    /// `patience`: how long it may give no byte in the middle of a frame. `max_bytes`: the largest JPEG.
    ///
    /// # Errors
    /// Whatever the system says, of one sender or of all: it is worth another try.
    pub fn accept(
        &self,
        patience: Duration,
        max_bytes: usize,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Incoming>, Error> {
        while keep_going() {
            if !self.is_somebody_waiting(&LOOK) {
                continue;
            }
            match self.0.accept() {
                Ok((stream, peer)) => return Incoming::new(stream, peer, patience, max_bytes).map(Some),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(Error::from_io("accepting a connection", error)),
            }
        }
        Ok(None)
    }

    fn is_somebody_waiting(&self, time: &Timespec) -> bool {
        let mut sockets = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut sockets, Some(time)).is_ok_and(|ready| ready > 0)
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// A connection from a sender.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    peer: String,
    buffer: FrameBuffer,
    patience: Duration,
}

impl Incoming {
    fn new(stream: TcpStream, peer: SocketAddr, patience: Duration, max_bytes: usize) -> Result<Self, Error> {
        stream.set_nonblocking(false).map_err(|error| Error::from_io("setting up a connection", error))?;
        prepare(&stream, patience)?;
        Ok(Incoming { stream, peer: peer.to_string(), buffer: FrameBuffer::new(max_bytes), patience })
    }

    /// The sender's address.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Waits for the next JPEG, valid until the next call; `None` when the sender has closed the connection between frames.
    ///
    /// Between frames a sender may be silent as long as it likes, unless somebody waits at the `listener`.
    ///
    /// # Errors
    /// When the sender is lost, sends what is no frame, or `keep_going` says no
    /// ([`Interrupted`](ErrorKind::Interrupted)). The connection is of no more use then.
    pub fn next(
        &mut self,
        listener: &Listener,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<&[u8]>, Error> {
        let Incoming { stream, peer, buffer, patience } = self;
        let mut silent_since = Instant::now();
        let mut frame_since: Option<Instant> = None;
        loop {
            let room = buffer.room();
            let read = if keep_going() {
                patiently(*patience, keep_going, || stream.read(room))
            } else {
                Err(io::ErrorKind::Interrupted.into())
            };
            match read {
                Ok(0) if buffer.is_between_frames() => return Ok(None),
                Ok(0) => {
                    return Err(lost(&io::ErrorKind::UnexpectedEof.into(), *patience, peer, &after(buffer)));
                }
                Ok(count) => {
                    silent_since = Instant::now();
                    let since = *frame_since.get_or_insert(silent_since);
                    if since.elapsed() > *patience * SLOW
                        && listener.is_somebody_waiting(&Timespec::default())
                    {
                        let message = format!(
                            "{peer} has sent {} in {} s, and another sender waits",
                            buffer.progress(),
                            since.elapsed().as_secs()
                        );
                        return Err(Error::new(ErrorKind::Timeout, message)
                            .with_hint("give slow senders a port of their own, or a longer --patience"));
                    }
                    if buffer.advance(count).map_err(|error| error.context(&*peer))? {
                        return Ok(Some(self.buffer.jpeg()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && buffer.is_between_frames() => {
                    if listener.is_somebody_waiting(&Timespec::default()) {
                        let message = format!(
                            "{peer} has sent nothing for {} s, and another sender waits",
                            silent_since.elapsed().as_secs()
                        );
                        return Err(Error::new(ErrorKind::Timeout, message)
                            .with_hint("end senders that are not in use, or give each a port of its own"));
                    }
                }
                Err(error) => return Err(lost(&error, *patience, peer, &after(buffer))),
            }
        }
    }

    /// Tells the sender that its frame has been taken.
    ///
    /// # Errors
    /// When the sender is lost.
    pub fn answer(&mut self, keep_going: &mut dyn FnMut() -> bool) -> Result<(), Error> {
        let Incoming { stream, peer, patience, .. } = self;
        let mut sent = 0;
        while sent < ANSWER.len() {
            match patiently(*patience, keep_going, || stream.write(&ANSWER[sent..])) {
                Ok(count) => sent += count,
                Err(error) => return Err(lost(&error, *patience, peer, "while it was answered")),
            }
        }
        Ok(())
    }
}

fn after(buffer: &FrameBuffer) -> String {
    format!("after {}", buffer.progress())
}
