//! How many clients were refused, by network: a flood from one does not hide what others did.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Refusals of one network that are logged one by one in a second.
const EACH: u64 = 20;
/// The same of all networks: a flood from many must not fill a disk.
const IN_ALL: u64 = 200;
/// Networks that are counted one by one in a second.
const NETWORKS: usize = 1024;
/// Networks that are named in the sums of a second.
const NAMED: usize = 10;

/// Where a client comes from: an IPv4 address, an IPv6 network of 64 bits, or this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(Option<IpAddr>);

impl Network {
    /// That of a peer as servers write it.
    pub fn of(peer: &str) -> Self {
        let ip = peer.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical());
        Network(ip.map(|ip| match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(IpAddr::V4(ip)) => ip.fmt(f),
            Some(IpAddr::V6(ip)) => write!(f, "{ip}/64"),
            None => f.write_str("this machine"),
        }
    }
}

/// Refusals that were counted and not logged.
#[derive(Debug, PartialEq, Eq)]
pub struct More {
    pub count: u64,
    /// `None`: of several networks.
    pub network: Option<String>,
}

/// Counts the refusals of a second.
pub struct Refusals {
    since: Instant,
    logged: u64,
    of: HashMap<Network, u64>,
    /// Of networks that found no room.
    others: u64,
}

impl Refusals {
    pub fn new(now: Instant) -> Self {
        Refusals { since: now, logged: 0, of: HashMap::new(), others: 0 }
    }

    /// Counts one, and returns whether it is logged.
    pub fn is_logged(&mut self, network: Network) -> bool {
        if self.of.len() >= NETWORKS && !self.of.contains_key(&network) {
            self.others += 1;
            return false;
        }
        let count = self.of.entry(network).or_default();
        *count += 1;
        if *count > EACH {
            return false;
        }
        if self.logged >= IN_ALL {
            // Not among those that are logged, so among those that are summed up.
            *count -= 1;
            self.others += 1;
            return false;
        }
        self.logged += 1;
        true
    }

    /// When the second is over: what was not logged in it.
    pub fn end_second(&mut self, now: Instant) -> Vec<More> {
        if now.duration_since(self.since) < SECOND {
            return Vec::new();
        }
        self.since = now;
        self.end()
    }

    /// What was not logged since the last sum; the networks with the most refusals by name.
    pub fn end(&mut self) -> Vec<More> {
        let over = self.of.drain().filter(|(_, count)| *count > EACH);
        let mut over: Vec<_> = over.map(|(network, count)| (count - EACH, network)).collect();
        over.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let others = over.iter().skip(NAMED).map(|(count, _)| count).sum::<u64>() + self.others;
        let named = over.iter().take(NAMED);
        let mut sums: Vec<_> = named
            .map(|(count, network)| More { count: *count, network: Some(network.to_string()) })
            .collect();
        if others > 0 {
            sums.push(More { count: others, network: None });
        }
        (self.logged, self.others) = (0, 0);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(refusals: &mut Refusals, peer: &str, count: u64) -> u64 {
        (0..count).filter(|_| refusals.is_logged(Network::of(peer))).count() as u64
    }

    #[test]
    fn flood_of_one_address_hides_no_other() {
        let now = Instant::now();
        let mut refusals = Refusals::new(now);
        assert_eq!(refuse(&mut refusals, "203.0.113.9:1", 1000), EACH);
        assert_eq!(refuse(&mut refusals, "[::ffff:203.0.113.9]:2", 5), 0, "the same address");
        assert_eq!(refuse(&mut refusals, "192.0.2.1:1", 2), 2);
        assert_eq!(refuse(&mut refusals, "this machine", 1), 1);
        assert!(refusals.end_second(now).is_empty());
        let sums = refusals.end_second(now + SECOND);
        assert_eq!(sums, [More { count: 1005 - EACH, network: Some("203.0.113.9".to_owned()) }]);
        assert_eq!(refuse(&mut refusals, "203.0.113.9:1", 1), 1, "in the next second");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let mut refusals = Refusals::new(Instant::now());
        let logged: u64 =
            (0..100).map(|host| refuse(&mut refusals, &format!("[2001:db8::{host}]:1"), 1)).sum();
        assert_eq!(logged, EACH);
        assert_eq!(refuse(&mut refusals, "[2001:db8:0:1::1]:1", 1), 1, "another network");
        assert_eq!(refusals.end()[0].network.as_deref(), Some("2001:db8::/64"));
    }

    #[test]
    fn flood_of_many_addresses_is_bounded_and_counted() {
        let mut refusals = Refusals::new(Instant::now());
        let mut logged = 0;
        for number in 0..100_000_u32 {
            logged += refuse(&mut refusals, &format!("{}:1", std::net::Ipv4Addr::from_bits(number)), 1);
        }
        assert_eq!((logged, refusals.of.len()), (IN_ALL, NETWORKS));
        let sums = refusals.end();
        assert!(sums.len() <= NAMED + 1);
        assert_eq!(sums.iter().map(|more| more.count).sum::<u64>(), 100_000 - logged);
    }
}
