//! A network device whose packets a process reads and writes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// The largest packet, as on Ethernet.
pub const PACKET_BYTES: usize = 1500;

/// The far end of a TUN device. The device goes with it.
pub struct Tun(File);

impl Tun {
    /// Makes a device of this name in the network namespace of the calling thread.
    pub fn new(name: &str) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        let mut name_bytes = [0; libc::IFNAMSIZ];
        assert!(name.len() < name_bytes.len(), "a zero behind it");
        for (to, from) in name_bytes.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        let mut request = libc::ifreq {
            ifr_name: name_bytes,
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
        };
        // SAFETY: the descriptor is open, and the request is a whole `ifreq` with a name that ends in a zero
        // and the flags set, which is what TUNSETIFF reads; it writes the name back into the same variable,
        // which lives on.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Tun(file)) }
    }

    /// The next packet that the host has sent, if there is one; as much of it as there is room for.
    pub fn receive(&self, packet: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(packet) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Delivers a packet to the host.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.0).write(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
