//! A limit on the lines about each party: a flood from one fills no disk and hides no line about another.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Parties that are counted one by one in a period.
const PARTIES: usize = 1024;
/// Parties that are named in the sums of a period.
const NAMED: usize = 10;

/// The network of a client: an IPv4 address, an IPv6 network of 64 bits, or this machine.
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

/// The subject of a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// A client that has proved its name.
    Client(String),
    Network(Network),
}

impl Party {
    /// The client, or the network of its peer if the client is not known.
    pub fn of(client: Option<&str>, peer: &str) -> Self {
        match client {
            Some(client) => Party::Client(client.to_owned()),
            None => Party::Network(Network::of(peer)),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Client(name) => write!(f, "client {name}"),
            Party::Network(network) => network.fmt(f),
        }
    }
}

/// Lines that were counted and not logged.
#[derive(Debug, PartialEq, Eq)]
pub struct More {
    pub count: u64,
    /// `None`: of several parties.
    pub party: Option<Party>,
}

/// The numbers of a [`LineLimit`].
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub period: Duration,
    /// Lines about one party in a period.
    pub each: u64,
    /// Lines about all parties in a period.
    pub in_all: u64,
}

/// Refused connections.
pub const REFUSALS: Rate = Rate { period: Duration::from_secs(1), each: 20, in_all: 200 };
/// Accepted connections. One client may open all that it may have at once (`--max-per-address`), and all
/// clients may return at once after an outage (`--max-connections`).
pub const CONNECTIONS: Rate = Rate { period: Duration::from_secs(10), each: 64, in_all: 512 };

/// Counts the lines of a period.
pub struct LineLimit {
    rate: Rate,
    since: Instant,
    logged: u64,
    of: HashMap<Party, u64>,
    /// About parties that found no room.
    others: u64,
}

impl LineLimit {
    pub fn new(rate: Rate, now: Instant) -> Self {
        LineLimit { rate, since: now, logged: 0, of: HashMap::new(), others: 0 }
    }

    /// Counts one line, and returns whether it is logged.
    pub fn is_logged(&mut self, party: Party) -> bool {
        if self.of.len() >= PARTIES && !self.of.contains_key(&party) {
            self.others += 1;
            return false;
        }
        let count = self.of.entry(party).or_default();
        *count += 1;
        if *count > self.rate.each {
            return false;
        }
        if self.logged >= self.rate.in_all {
            // Not among those that are logged, so among those that are summed up.
            *count -= 1;
            self.others += 1;
            return false;
        }
        self.logged += 1;
        true
    }

    /// Returns the lines that were not logged in a period that is over.
    pub fn end_period(&mut self, now: Instant) -> Vec<More> {
        if now.duration_since(self.since) < self.rate.period {
            return Vec::new();
        }
        self.since = now;
        self.end()
    }

    /// Returns the lines that were not logged since the last sum: the parties with the most lines by name.
    pub fn end(&mut self) -> Vec<More> {
        let each = self.rate.each;
        let over = self.of.drain().filter(|(_, count)| *count > each);
        let mut over: Vec<_> = over.map(|(party, count)| (count - each, party)).collect();
        over.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let unnamed = over.split_off(over.len().min(NAMED));
        let others = unnamed.iter().map(|(count, _)| count).sum::<u64>() + self.others;
        let named = over.into_iter();
        let mut sums: Vec<_> = named.map(|(count, party)| More { count, party: Some(party) }).collect();
        if others > 0 {
            sums.push(More { count: others, party: None });
        }
        (self.logged, self.others) = (0, 0);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(lines: &mut LineLimit, peer: &str, count: u64) -> u64 {
        (0..count).filter(|_| lines.is_logged(Party::of(None, peer))).count() as u64
    }

    #[test]
    fn flood_of_one_address_hides_no_other() {
        let now = Instant::now();
        let mut lines = LineLimit::new(REFUSALS, now);
        assert_eq!(refuse(&mut lines, "203.0.113.9:1", 1000), REFUSALS.each);
        assert_eq!(refuse(&mut lines, "[::ffff:203.0.113.9]:2", 5), 0, "the same address");
        assert_eq!(refuse(&mut lines, "192.0.2.1:1", 2), 2);
        assert_eq!(refuse(&mut lines, "this machine", 1), 1);
        assert!(lines.end_period(now).is_empty());
        let sums = lines.end_period(now + REFUSALS.period);
        let party = Some(Party::of(None, "203.0.113.9:7"));
        assert_eq!(sums, [More { count: 1005 - REFUSALS.each, party }]);
        assert_eq!(sums[0].party.as_ref().unwrap().to_string(), "203.0.113.9");
        assert_eq!(refuse(&mut lines, "203.0.113.9:1", 1), 1, "in the next period");
    }

    #[test]
    fn flood_of_one_client_hides_no_other_of_its_address() {
        let mut lines = LineLimit::new(CONNECTIONS, Instant::now());
        let mut connect = |client: Option<&str>, count| {
            (0..count).filter(|_| lines.is_logged(Party::of(client, "192.0.2.1:1"))).count() as u64
        };
        assert_eq!(connect(Some("loop"), 1000), CONNECTIONS.each);
        assert_eq!((connect(Some("lab"), 1), connect(None, 1)), (1, 1));
        let sums = lines.end();
        let party = Some(Party::Client("loop".to_owned()));
        assert_eq!(sums, [More { count: 1000 - CONNECTIONS.each, party }]);
        assert_eq!(sums[0].party.as_ref().unwrap().to_string(), "client loop");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let mut lines = LineLimit::new(REFUSALS, Instant::now());
        let logged: u64 = (0..100).map(|host| refuse(&mut lines, &format!("[2001:db8::{host}]:1"), 1)).sum();
        assert_eq!(logged, REFUSALS.each);
        assert_eq!(refuse(&mut lines, "[2001:db8:0:1::1]:1", 1), 1, "another network");
        assert_eq!(lines.end()[0].party.as_ref().unwrap().to_string(), "2001:db8::/64");
    }

    #[test]
    fn flood_of_many_addresses_is_bounded_and_counted() {
        let mut lines = LineLimit::new(REFUSALS, Instant::now());
        let mut logged = 0;
        for number in 0..100_000_u32 {
            logged += refuse(&mut lines, &format!("{}:1", std::net::Ipv4Addr::from_bits(number)), 1);
        }
        assert_eq!((logged, lines.of.len()), (REFUSALS.in_all, PARTIES));
        let sums = lines.end();
        assert!(sums.len() <= NAMED + 1);
        assert_eq!(sums.iter().map(|more| more.count).sum::<u64>(), 100_000 - logged);
    }
}
