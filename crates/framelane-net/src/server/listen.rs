//! Where clients come in.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use framelane::{Error, ErrorKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::connect::{connect_unix, insecure};
use crate::stream::Socket;
use crate::url::Address;

/// Connections that may wait at a Unix socket to be taken.
const BACKLOG: i32 = 128;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: ListeningSocket,
    pub(super) secure: bool,
    /// With the port that the system has given when 0 was asked for.
    pub(super) address: Address,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Who has come in.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) socket: Socket,
    /// `None` over a Unix socket.
    pub(super) ip: Option<IpAddr>,
    /// For messages.
    pub(super) name: String,
}

impl Listener {
    /// # Errors
    /// [`ErrorKind::Permission`] for an address beyond this machine without TLS, unless `insecure` was asked for; those of
    /// the system.
    pub(super) fn bind(address: &Address, allow_insecure: bool) -> Result<Self, Error> {
        let failed = |error| {
            let made = Error::from_io(format!("listening on {address}"), error);
            match made.kind() {
                ErrorKind::Permission => {
                    made.with_hint("use a port above 1023, or a path that you may write to")
                }
                _ if matches!(address, Address::Unix(_)) => made.with_hint(
                    "give a path in a folder that you may write to, with no file of that name; `ss -lxp` shows who listens",
                ),
                _ if made.message().contains("in use") => {
                    made.with_hint("end the other program (`ss -ltnp` shows it), or listen on another port")
                }
                _ => made,
            }
        };
        let (host, port, secure) = match address {
            Address::Unix(path) => {
                let listener = bind_unix(path).map_err(failed)?;
                let socket = ListeningSocket::Unix(listener, path.clone());
                return Ok(Listener { socket, secure: false, address: address.clone() });
            }
            Address::Tcp { host, port } => (host, *port, false),
            Address::Tls { host, port } => (host, *port, true),
        };
        let found: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs().map_err(failed)?.collect();
        if !secure && !allow_insecure && !found.iter().all(|address| address.ip().is_loopback()) {
            return Err(insecure(address));
        }
        let listener = TcpListener::bind(&found[..]).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let host = host.clone();
        let address = if secure { Address::Tls { host, port } } else { Address::Tcp { host, port } };
        Ok(Listener { socket: ListeningSocket::Tcp(listener), secure, address })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(listener, _) => listener.as_fd(),
        }
    }

    /// Whoever comes within `timeout`.
    ///
    /// # Errors
    /// Those of the system, for want of descriptors for example: the next call may do better.
    pub(super) fn accept(&self, timeout: Duration) -> io::Result<Option<Guest>> {
        let timeout =
            Timespec::try_from(timeout).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::from_borrowed_fd(self.fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let accepted = match &self.socket {
            ListeningSocket::Tcp(listener) => match listener.accept() {
                Ok((stream, address)) => {
                    let ip = address.ip().to_canonical();
                    // Whoever has reset the connection meanwhile must not make the others wait.
                    let Ok(socket) = Socket::tcp(stream) else { return Ok(None) };
                    Ok(Guest { socket, ip: Some(ip), name: format!("{address}") })
                }
                Err(error) => Err(error),
            },
            ListeningSocket::Unix(listener, _) => listener.accept().map(|(stream, _)| Guest {
                socket: Socket::unix(stream),
                ip: None,
                name: "this machine".to_owned(),
            }),
        };
        match accepted {
            Ok(guest) => Ok(Some(guest)),
            // Gone again before we came to it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListeningSocket::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket of mode 0600. One that a dead server has left is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        let is_served = match connect_unix(path) {
            Ok(_) => true,
            // So many wait there that there is no room for one more.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_served {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "the socket is in use by another program"));
        }
        let is_socket = std::fs::symlink_metadata(path)
            .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
        if !is_socket {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name, which is no socket",
            ));
        }
        std::fs::remove_file(path)?;
    }
    // Under another name until it is ready, and listening only once nobody else can connect.
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let _ = std::fs::remove_file(&unfinished);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(&unfinished)?)?;
    let ready = std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| Ok(listen(&socket, BACKLOG)?))
        .and_then(|()| std::fs::rename(&unfinished, path));
    if let Err(error) = ready {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(socket.into())
}
