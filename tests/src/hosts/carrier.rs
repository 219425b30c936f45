//! The thread that carries packets between the hosts' devices.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::pipe::{Counts, Pipe, Wire};
use super::tun::{PACKET_BYTES, Tun};
use crate::Random;

/// Packets taken from one device before the others have their turn.
const BATCH: usize = 64;

struct Shared {
    state: Mutex<State>,
    /// Written when the state has changed.
    changed: OwnedFd,
}

struct State {
    /// From each host to each: `from * hosts + to`.
    pipes: Vec<Pipe>,
    ended: bool,
}

pub struct Carrier {
    hosts: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Carrier {
    pub fn start(devices: Vec<Tun>, wire: Wire) -> Self {
        let mut random = Random::printed("wires");
        let (hosts, now) = (devices.len(), Instant::now());
        let pipes = (0..hosts * hosts).map(|_| Pipe::new(wire, random.number(), now)).collect();
        let changed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        let shared = Arc::new(Shared { state: Mutex::new(State { pipes, ended: false }), changed });
        let thread = std::thread::Builder::new().name("wires".into()).spawn({
            let shared = Arc::clone(&shared);
            move || carry(&devices, &shared)
        });
        Carrier { hosts, shared, thread: Some(thread.expect("a thread")) }
    }

    pub fn change(&self, change: impl Fn(usize, usize, &mut Pipe)) {
        let mut state = self.shared.lock();
        for (index, pipe) in state.pipes.iter_mut().enumerate() {
            change(index / self.hosts, index % self.hosts, pipe);
        }
        drop(state);
        self.shared.tell();
    }

    pub fn change_between(&self, one: usize, other: usize, change: impl Fn(&mut Pipe)) {
        assert!(one != other && one.max(other) < self.hosts, "two of {} hosts: {one}, {other}", self.hosts);
        self.change(|from, to, pipe| {
            if (from, to) == (one, other) || (from, to) == (other, one) {
                change(pipe);
            }
        });
    }

    pub fn counts(&self, from: usize, to: usize) -> Counts {
        self.shared.lock().pipes[from * self.hosts + to].counts()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.tell();
        let end = self.thread.take().map(JoinHandle::join);
        assert!(matches!(end, Some(Ok(()))) || std::thread::panicking(), "the wires have failed");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        rustix::io::write(&self.changed, &1_u64.to_ne_bytes()).expect("an eventfd that is not full");
    }
}

fn carry(devices: &[Tun], shared: &Shared) {
    let mut next_event = None;
    let mut buffer = [0; PACKET_BYTES];
    loop {
        wait(devices, shared, next_event);
        let mut state = shared.lock();
        if state.ended {
            return;
        }
        for (from, device) in devices.iter().enumerate() {
            for _ in 0..BATCH {
                let Some(len) = device.receive(&mut buffer).expect("a device that is up") else { break };
                // Packets for other addresses are dropped, such as IPv6 router solicitations.
                let to = destination(&buffer[..len]).filter(|to| *to < devices.len() && *to != from);
                if let Some(to) = to {
                    state.pipes[from * devices.len() + to].put(buffer[..len].to_vec(), Instant::now());
                }
            }
        }
        let now = Instant::now();
        for (index, pipe) in state.pipes.iter_mut().enumerate() {
            while let Some(packet) = pipe.take(now) {
                // A host that cannot take it loses it, as a real one would.
                let _ = devices[index % devices.len()].send(&packet);
            }
        }
        next_event = state.pipes.iter().filter_map(Pipe::next_event).min();
    }
}

/// Waits until a host sends, a packet is due, or the network changes.
fn wait(devices: &[Tun], shared: &Shared, until: Option<Instant>) {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let mut polled: Vec<_> = devices.iter().map(|device| PollFd::new(device, PollFlags::IN)).collect();
    polled.push(PollFd::new(&shared.changed, PollFlags::IN));
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => panic!("waiting for packets: {}", io::Error::from(error)),
    }
    // Empty or not: it says only that there is something to look at.
    let _ = rustix::io::read(&shared.changed, &mut [0_u8; 8]);
}

/// The host that an IP packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let address: IpAddr = match packet.first()? >> 4 {
        4 => <[u8; 4]>::try_from(packet.get(16..20)?).ok()?.into(),
        6 => <[u8; 16]>::try_from(packet.get(24..40)?).ok()?.into(),
        _ => return None,
    };
    super::index_of(address)
}
