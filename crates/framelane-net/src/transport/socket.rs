//! TCP and Unix sockets, as they are.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown, sockopt,
};

use super::Transport;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        // Messages are whole when they are written: nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        tune(&stream, stream.peer_addr()?.ip().to_canonical().is_loopback());
        Ok(Socket(stream.into()))
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        Socket(stream.into())
    }

    /// The user of the process at the other end of a Unix socket, as the kernel knows it: of a server, the
    /// one that listens.
    pub(crate) fn peer_uid(&self) -> io::Result<u32> {
        Ok(sockopt::socket_peercred(&self.0)?.uid.as_raw())
    }

    /// Sends some of the pieces, without waiting. `more`: others follow at once.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room.
    pub(super) fn send_now(&self, pieces: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more_flag(more);
        loop {
            match sendmsg(&self.0, pieces, &mut SendAncillaryBuffer::default(), flags) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Waits until there is room.
    ///
    /// # Errors
    /// `WouldBlock` when there was none within `timeout`.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> io::Result<()> {
        self.wait(PollFlags::OUT, timeout)
    }

    fn wait(&self, flags: PollFlags, timeout: Duration) -> io::Result<()> {
        wait(self.0.as_fd(), flags, timeout)
    }
}

/// Sets congestion control that keeps frames moving on lossy paths, and costs nothing on others. Systems
/// without it are left as they are.
fn tune(stream: &TcpStream, is_loopback: bool) {
    // A lost packet is no reason to halve the rate, as other algorithms do: measured with 1 % loss and 60 ms,
    // six times the frames (`docs/between-machines.md`). Within a machine, where it may be the system's
    // choice for everything, its pacing only makes each frame wait: without it 1.25 times the frames, each
    // there in three quarters of the time.
    let algorithm = if is_loopback { "reno" } else { "bbr" };
    let _ = sockopt::set_tcp_congestion(stream, algorithm);
}

/// Waits until a descriptor is ready; a signal ends the wait as its time does.
fn wait(fd: BorrowedFd<'_>, flags: PollFlags, timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
    match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn more_flag(more: bool) -> SendFlags {
    if more { SendFlags::MORE } else { SendFlags::empty() }
}

impl Transport for Socket {
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut waited = false;
        loop {
            match recv(&self.0, &mut *bytes, RecvFlags::DONTWAIT) {
                Ok((_, len)) => return Ok(len),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !waited => {
                    self.wait(PollFlags::IN, timeout)?;
                    waited = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&self, bytes: &[u8], more: bool, timeout: Duration) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more_flag(more);
        let mut waited = false;
        loop {
            match send(&self.0, bytes, flags) {
                Ok(len) => return Ok(len),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !waited => {
                    self.wait(PollFlags::OUT, timeout)?;
                    waited = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut(&self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}
