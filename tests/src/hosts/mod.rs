//! Hosts on one machine: network namespaces, joined by emulated cables that delay, lose and queue packets,
//! and that can be cut.
//!
//! Each host is a namespace with one device, a TUN. A thread of this process holds its other end, and carries
//! IP packets from host to host as [`Wire`] defines. [`pipe`] is its model of time, loss and queues, without
//! input or output. The kernel's netem is not used: many kernels lack it, its seed cannot be set everywhere,
//! and on the sender's device it shares its queue with TCP, so that its drops are not the drops of a router.
//! This emulation is the same on each machine and reports the fate of each packet. Devices do not merge or
//! split segments here (no GRO, no TSO), so each loss is a packet of 1,500 bytes, as on a real cable.
//!
//! Namespaces have no names. They exist while a descriptor in this process or a process in them exists. To
//! inspect one by hand: `nsenter --net=/proc/PID/ns/net`, with a process in it.

mod carrier;
mod namespace;
mod pipe;
mod tun;

use std::ffi::OsStr;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Index;
use std::process::{Command, Stdio};

use carrier::Carrier;
use framelane_test_kit::skip;
use namespace::Namespace;
pub use pipe::{Counts, Wire};

/// The device's name in each host.
const DEVICE: &str = "wire";
/// Room in the device for what comes while the carrying thread does not run: what is dropped is for the pipes
/// to say.
const DEVICE_QUEUE_PACKETS: u32 = 10_000;

/// Two or more hosts, all connected with each other.
pub struct Hosts {
    // Before the hosts: its devices go first.
    carrier: Carrier,
    hosts: Vec<Host>,
}

impl Hosts {
    /// Creates hosts, with a cable between any two.
    ///
    /// # Panics
    /// If it cannot. [`Hosts::permitted`] checks the permission.
    pub fn new(count: usize, wire: Wire) -> Self {
        assert!((1..=200).contains(&count), "their addresses differ in the last byte");
        let made: Vec<_> = (0..count).map(Host::new).collect();
        let made: Result<Vec<_>, String> = made.into_iter().collect();
        let (hosts, devices) = made.unwrap_or_else(|error| panic!("{error}")).into_iter().unzip();
        Hosts { carrier: Carrier::start(devices, wire), hosts }
    }

    /// The same as [`Hosts::new`], or `None` and a skipped test if hosts cannot be created.
    ///
    /// # Panics
    /// The same as for [`Hosts::new`].
    pub fn unless_skipped(count: usize, wire: Wire) -> Option<Self> {
        match Hosts::permitted() {
            Ok(()) => Some(Hosts::new(count, wire)),
            Err(reason) => {
                skip("network-namespaces", reason);
                None
            }
        }
    }

    /// Checks that hosts can be created here.
    ///
    /// # Errors
    /// The cause, and a hint.
    pub fn permitted() -> Result<(), String> {
        Host::new(0).map(drop)
    }

    /// Changes all links, also for packets that wait for their turn. Packets in flight arrive as they would
    /// have.
    pub fn set_wire(&self, wire: Wire) {
        self.carrier.change(|_, _, pipe| pipe.set(wire));
    }

    /// Changes the cable between two hosts, in both directions.
    pub fn set_wire_between(&self, one: usize, other: usize, wire: Wire) {
        self.carrier.change_between(one, other, |pipe| pipe.set(wire));
    }

    /// Cuts all cables: all packets vanish silently, also those in flight.
    pub fn partition(&self) {
        self.carrier.change(|_, _, pipe| pipe.cut());
    }

    /// Cuts the cable between two hosts, in both directions.
    pub fn partition_between(&self, one: usize, other: usize) {
        self.carrier.change_between(one, other, pipe::Pipe::cut);
    }

    /// Joins what was cut.
    pub fn heal(&self) {
        self.carrier.change(|_, _, pipe| pipe.join());
    }

    /// Counts of the packets from one host to another.
    pub fn counts(&self, from: usize, to: usize) -> Counts {
        self.carrier.counts(from, to)
    }
}

impl Index<usize> for Hosts {
    type Output = Host;

    fn index(&self, index: usize) -> &Host {
        &self.hosts[index]
    }
}

/// One host.
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
    /// True if the system has IPv6.
    address_v6: Option<Ipv6Addr>,
}

impl Host {
    fn new(index: usize) -> Result<(Self, tun::Tun), String> {
        let namespace = Namespace::new().map_err(|error| {
            format!(
                "making network namespaces is not permitted ({error}); run as root, or under `unshare \
                 --map-root-user`"
            )
        })?;
        let tun = namespace.run(|| tun::Tun::new(DEVICE)).map_err(|error| {
            format!("making a TUN device failed ({error}); /dev/net/tun must be there, readable and writable")
        })?;
        let address = address(index);
        let mut host = Host { namespace, address, address_v6: None };
        host.configure(&format!(
            "link set lo up\naddress add {address}/24 dev {DEVICE}\n\
             link set {DEVICE} mtu {} txqueuelen {DEVICE_QUEUE_PACKETS} up\n",
            tun::PACKET_BYTES
        ))?;
        let v6 = address_v6(index);
        // Ready at once: no other host can have the address.
        let has_v6 = host.configure(&format!("address add {v6}/64 dev {DEVICE} nodad\n"));
        host.address_v6 = has_v6.is_ok().then_some(v6);
        Ok((host, tun))
    }

    fn configure(&self, batch: &str) -> Result<(), String> {
        let mut ip = self.command("ip", &["-batch", "-"]);
        let started = ip.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut process = started.map_err(|error| {
            format!("the command ip could not be run ({error}); install the package iproute2")
        })?;
        // When it ended early, what it says of that is what counts.
        let _ = process.stdin.take().expect("a pipe").write_all(batch.as_bytes());
        let output = process.wait_with_output().map_err(|error| format!("ip: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "ip could not set a namespace up: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ))
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its IPv6 address; the test is skipped where the system has no IPv6.
    pub fn address_v6_unless_skipped(&self) -> Option<Ipv6Addr> {
        if self.address_v6.is_none() {
            skip("ipv6", "the system has no IPv6");
        }
        self.address_v6
    }

    /// A program that will run on this host.
    pub fn command(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(program.as_ref());
        command.args(arguments);
        command
    }

    /// Runs `work` on this host, on a separate thread, and waits for its end. Sockets that are created there
    /// stay on this host, also when other threads use them.
    ///
    /// # Panics
    /// If `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }
}

fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, index as u8 + 1)
}

fn address_v6(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, index as u16 + 1)
}

/// The host with this address.
fn index_of(address: IpAddr) -> Option<usize> {
    let last = match address {
        IpAddr::V4(address) => usize::from(address.octets()[3]),
        IpAddr::V6(address) => usize::from(address.segments()[7]),
    };
    let index = last.checked_sub(1).filter(|index| *index < 200)?;
    (address == self::address(index) || address == address_v6(index)).then_some(index)
}
