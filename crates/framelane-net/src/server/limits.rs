//! How many connections there may be, and how many from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(super) struct Limits {
    total: usize,
    per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// No entry is 0: as many as there are connections.
    of: HashMap<Option<IpAddr>, usize>,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Counted<'l> {
    limits: &'l Limits,
    address: Option<IpAddr>,
}

impl Limits {
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Limits { total, per_address, counts: Mutex::default() }
    }

    /// Counts one more from this address (`None`: this machine, over a Unix socket); `Err` says which limit is reached.
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Result<Counted<'_>, String> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.total {
            return Err(format!("there are {} connections already, which is the limit", self.total));
        }
        let of = counts.of.get(&address).copied().unwrap_or(0);
        if of >= self.per_address {
            return Err(format!(
                "this address has {} connections already, which is the limit",
                self.per_address
            ));
        }
        counts.of.insert(address, of + 1);
        counts.total += 1;
        Ok(Counted { limits: self, address })
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        match counts.of.get_mut(&self.address) {
            Some(of) if *of > 1 => *of -= 1,
            _ => {
                counts.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_while_they_last_and_nothing_is_kept_of_those_that_have_ended() {
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
}
