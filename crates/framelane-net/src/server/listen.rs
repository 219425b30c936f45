//! Listeners of a server.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use framelane::internals::folder::{Folder, Found};
use framelane::{Error, ErrorKind};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::link::connect::{connect_unix, insecure};
use crate::transport::Socket;
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
    /// Errors of the next calls of [`Listener::accept`], which a test cannot cause otherwise.
    #[cfg(test)]
    pub(super) failures: std::sync::Mutex<Vec<i32>>,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// The name of a Unix socket, which is removed when the listener ends.
#[derive(Debug)]
struct SocketFile {
    folder: Folder,
    name: OsString,
    found: Found,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.folder.remove(&self.name, &self.found);
    }
}

/// A connection that was accepted.
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
    /// [`ErrorKind::PermissionDenied`] for an address beyond this machine without TLS, unless `insecure` was
    /// asked for; those of the system.
    pub(super) fn bind(address: &Address, allow_insecure: bool) -> Result<Self, Error> {
        let failed = |error| {
            let made = Error::from_io(format!("listening on {address}"), error);
            match made.kind() {
                ErrorKind::PermissionDenied => {
                    made.with_hint("use a port above 1023, or a path that you may write to")
                }
                _ if matches!(address, Address::Unix(_)) => made.with_hint(
                    "give a path in a folder that you may write to, with no file of that name; `ss -lxp` \
                     shows who listens",
                ),
                _ if made.message().contains("in use") => {
                    made.with_hint("end the other program (`ss -ltnp` shows it), or listen on another port")
                }
                _ => made,
            }
        };
        let (host, port, secure) = match address {
            Address::Unix(path) => {
                let (folder, name) = Folder::of(path).map_err(|error| error.context(address))?;
                if let Some(found) = folder.find(&name).map_err(failed)? {
                    // The name goes to the new socket.
                    found.check_own(path.display())?;
                }
                let (listener, file) = bind_unix(folder, name).map_err(failed)?;
                let socket = ListeningSocket::Unix { listener, _file: file };
                return Ok(Listener::new(socket, false, address.clone()));
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
        Ok(Listener::new(ListeningSocket::Tcp(listener), secure, address))
    }

    fn new(socket: ListeningSocket, secure: bool, address: Address) -> Self {
        Listener {
            socket,
            secure,
            address,
            #[cfg(test)]
            failures: std::sync::Mutex::default(),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix { listener, .. } => listener.as_fd(),
        }
    }

    /// Accepts a connection within `timeout`.
    ///
    /// # Errors
    /// Those of the system, for want of descriptors for example: the next call may do better.
    pub(super) fn accept(&self, timeout: Duration) -> io::Result<Option<Guest>> {
        #[cfg(test)]
        if let Some(code) = self.failures.lock().unwrap().pop() {
            return Err(io::Error::from_raw_os_error(code));
        }
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
                    // A client that has reset its connection meanwhile must not make others wait.
                    let Ok(socket) = Socket::tcp(stream) else { return Ok(None) };
                    Ok(Guest { socket, ip: Some(ip), name: format!("{address}") })
                }
                Err(error) => Err(error),
            },
            ListeningSocket::Unix { listener, .. } => listener.accept().map(|(stream, _)| Guest {
                socket: Socket::unix(stream),
                ip: None,
                name: "this machine".to_owned(),
            }),
        };
        match accepted {
            Ok(guest) => Ok(Some(guest)),
            // The client disconnected before it was accepted.
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

/// A socket of mode 0600. One of this user that a dead server has left is replaced.
fn bind_unix(folder: Folder, name: OsString) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(found) = folder.find(&name)? {
        if !found.is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of that name, which is no socket",
            ));
        }
        let is_served = match connect_unix(&folder.fixed_path(&name)) {
            Ok(_) => true,
            // So many wait there that there is no room for one more.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_served {
            return Err(in_use());
        }
        folder.remove(&name, &found);
    }
    // Under another name until it is ready, and listening only once no other user can connect. A random one:
    // another user cannot take it first.
    let mut random = [0; 8];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system returns no random numbers"))?;
    let unfinished = OsString::from(format!(".framelane-{:016x}.sock", u64::from_le_bytes(random)));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets the mode of the socket that is bound to it: unix(7) of Linux.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(folder.fixed_path(&unfinished))?)?;
    let found = folder.find(&unfinished)?.ok_or(io::ErrorKind::NotFound)?;
    let mut file = SocketFile { folder, name: unfinished, found };
    listen(&socket, BACKLOG)?;
    file.folder.rename_new(&file.name, &name).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => in_use(),
        _ => error,
    })?;
    file.name = name;
    Ok((socket.into(), file))
}

fn in_use() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "the socket is in use by another program")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink};
    use std::path::Path;

    use super::*;

    fn listen_at(path: &Path) -> Result<Listener, Error> {
        Listener::bind(&Address::Unix(path.to_owned()), false)
    }

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.sock");
        (place, path)
    }

    #[test]
    fn socket_is_private_and_removed_at_the_end() {
        let (place, path) = place();
        let listener = listen_at(&path).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert!(listen_at(&path).unwrap_err().message().contains("in use"));
        drop(listener);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn socket_of_a_dead_server_is_replaced() {
        let (_place, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _listener = listen_at(&path).unwrap();
        connect_unix(&path).unwrap();
    }

    #[test]
    fn file_that_took_the_name_of_a_socket_stays() {
        let (place, path) = place();
        let listener = listen_at(&path).unwrap();
        fs::rename(&path, place.path().join("moved")).unwrap();
        fs::write(&path, "another program's").unwrap();
        drop(listener);
        assert_eq!(fs::read(&path).unwrap(), b"another program's");
    }

    #[test]
    fn file_named_after_the_process_stays_when_a_socket_is_made() {
        let (_place, path) = place();
        let mut guessed = path.clone().into_os_string();
        guessed.push(format!(".{}", std::process::id()));
        fs::write(&guessed, "another program's").unwrap();
        let _listener = listen_at(&path).unwrap();
        assert_eq!(fs::read(&guessed).unwrap(), b"another program's");
    }

    #[test]
    fn socket_in_a_folder_that_moved_is_removed_there() {
        let place = tempfile::tempdir().unwrap();
        let (before, after) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir(&before).unwrap();
        let listener = listen_at(&before.join("x.sock")).unwrap();
        fs::rename(&before, &after).unwrap();
        fs::create_dir(&before).unwrap();
        fs::write(before.join("x.sock"), "").unwrap();
        drop(listener);
        assert!(before.join("x.sock").exists() && !after.join("x.sock").exists());
    }

    #[test]
    fn dead_socket_of_another_user_is_refused_and_stays() {
        let (_place, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        if chown(&path, Some(65534), None).is_err() {
            framelane_test_kit::skip("root", "only root can give files away");
            return;
        }
        let error = listen_at(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("user 65534"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn socket_behind_a_link_of_another_user_is_refused() {
        let (place, _) = place();
        let (target, link) = (place.path().join("target"), place.path().join("link"));
        fs::create_dir(&target).unwrap();
        symlink(&target, &link).unwrap();
        listen_at(&link.join("x.sock")).unwrap();
        if std::os::unix::fs::lchown(&link, Some(65534), None).is_err() {
            framelane_test_kit::skip("root", "only root can give files away");
            return;
        }
        let error = listen_at(&link.join("x.sock")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }
}
