//! Limits on the number of connections: in all, and of one client or one network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(super) struct Limits {
    total: usize,
    of_one: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// No entry is 0: there are at most as many entries as connections.
    of: HashMap<Origin, usize>,
}

/// The party that a connection counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    /// A Unix socket.
    Here,
    /// Until the client is authenticated.
    Network(IpAddr),
    Client(String),
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Counted<'l> {
    limits: &'l Limits,
    origin: Origin,
}

/// The part of an address that one customer of a network has: all of an IPv4 address, and the first 64 bits
/// of an IPv6 address.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Limits {
    pub(super) fn new(total: usize, of_one: usize) -> Self {
        Limits { total, of_one, counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection from this address (`None`: over a Unix socket).
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Result<Counted<'_>, String> {
        let origin = address.map_or(Origin::Here, |address| Origin::Network(network_of(address)));
        let mut counts = self.counts();
        if counts.total >= self.total {
            return Err(format!("there are {} connections already, which is the limit", self.total));
        }
        counts.add(&origin, self.of_one)?;
        counts.total += 1;
        Ok(Counted { limits: self, origin })
    }
}

impl Counts {
    fn add(&mut self, origin: &Origin, most: usize) -> Result<(), String> {
        let of = self.of.entry(origin.clone()).or_default();
        if *of < most {
            *of += 1;
            return Ok(());
        }
        let whose = match origin {
            Origin::Here => "this machine".to_owned(),
            Origin::Network(address @ IpAddr::V6(_)) => format!("the network {address}/64"),
            Origin::Network(_) => "this address".to_owned(),
            Origin::Client(name) => format!("client {name}"),
        };
        Err(format!("{whose} has {most} connections already, which is the limit"))
    }

    fn remove(&mut self, origin: &Origin) {
        match self.of.get_mut(origin) {
            Some(of) if *of > 1 => *of -= 1,
            _ => drop(self.of.remove(origin)),
        }
    }
}

impl Counted<'_> {
    /// Counts the connection for an authenticated client, and no longer for its network.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn count_for(&mut self, client: &str) -> Result<(), String> {
        let origin = Origin::Client(client.to_owned());
        let mut counts = self.limits.counts();
        counts.add(&origin, self.limits.of_one)?;
        counts.remove(&self.origin);
        self.origin = origin;
        Ok(())
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
        counts.total -= 1;
        counts.remove(&self.origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_only_while_they_are_open() {
        let limits = Limits::new(3, 2);
        let [a, b]: [Option<IpAddr>; 2] = [Some([10, 0, 0, 1].into()), None];
        let first = limits.admit(a).unwrap();
        let second = limits.admit(a).unwrap();
        assert!(limits.admit(a).unwrap_err().contains("this address has 2"));
        let third = limits.admit(b).unwrap();
        assert!(limits.admit(b).unwrap_err().contains("there are 3"));
        drop(first);
        drop(limits.admit(a).unwrap());
        drop((second, third));
        let counts = limits.counts.lock().unwrap();
        assert_eq!((counts.total, counts.of.len()), (0, 0));
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_together() {
        let limits = Limits::new(9, 2);
        let admit = |address: &str| limits.admit(Some(address.parse().unwrap()));
        let _held = [admit("2001:db8::1"), admit("2001:db8::ffff:0:1")].map(Result::unwrap);
        let refused = admit("2001:db8:0:0:8000::").unwrap_err();
        assert_eq!(refused, "the network 2001:db8::/64 has 2 connections already, which is the limit");
        admit("2001:db8:0:1::1").unwrap();
        // IPv4 addresses count one by one, in either form.
        let _held = [admit("10.0.0.1"), admit("::ffff:10.0.0.1")].map(Result::unwrap);
        assert!(admit("10.0.0.1").is_err());
        admit("::ffff:10.0.0.2").unwrap();
    }

    #[test]
    fn known_clients_do_not_count_for_their_network() {
        let limits = Limits::new(9, 2);
        let address = Some([10, 0, 0, 1].into());
        let mut held: Vec<_> = (0..2).map(|_| limits.admit(address).unwrap()).collect();
        held.iter_mut().for_each(|counted| counted.count_for("lab").unwrap());
        let mut third = limits.admit(address).unwrap();
        let refused = third.count_for("lab").unwrap_err();
        assert_eq!(refused, "client lab has 2 connections already, which is the limit");
        drop((held, third));
        let counts = limits.counts();
        assert_eq!((counts.total, counts.of.len()), (0, 0));
    }
}
