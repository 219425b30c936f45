//! Limits on what peers use: memory, encoders and pixels, for one client and for all clients together.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use framelane::{Error, ErrorKind};

use crate::fault::Fault;

/// A quantity that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Memory,
    Encoders,
    Pixels,
}

/// The amounts in use of one quantity.
#[derive(Debug)]
pub(crate) struct Budget {
    quantity: Quantity,
    most_in_all: u64,
    most_of_one: u64,
    /// The option that raises the limits.
    option: &'static str,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    in_all: u64,
    /// No entry is 0.
    of: HashMap<String, u64>,
}

/// An amount that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// `None` for what several clients use together. It counts in all only.
    client: Option<String>,
    counts_in_all: bool,
    amount: u64,
}

/// Which limit was reached.
#[derive(Debug)]
pub(crate) struct Exceeded {
    error: Error,
    /// True if other clients may make room.
    in_all: bool,
}

impl Exceeded {
    /// Ends the link. The client tries again when others may make room.
    pub(crate) fn into_fault(self) -> Fault {
        if self.in_all { Fault::passing(self.error) } else { Fault::lasting(self.error) }
    }
}

impl Budget {
    /// A limit in all. One client may use at most half of it.
    pub(crate) fn new(quantity: Quantity, most_in_all: u64, option: &'static str) -> Arc<Self> {
        Self::with_limits(quantity, (most_in_all, most_in_all.div_ceil(2)), option)
    }

    /// A limit of a program that has one peer.
    pub(crate) fn of_one_peer(quantity: Quantity, most: u64, option: &'static str) -> Arc<Self> {
        Self::with_limits(quantity, (most, most), option)
    }

    fn with_limits(quantity: Quantity, (in_all, of_one): (u64, u64), option: &'static str) -> Arc<Self> {
        let used = Mutex::default();
        Arc::new(Budget { quantity, most_in_all: in_all, most_of_one: of_one, option, used })
    }

    /// Most of what one client may use.
    pub(crate) fn most_of_one(&self) -> u64 {
        self.most_of_one
    }

    /// A share of one client, which is 0 at first. It counts in all too.
    pub(crate) fn share_of(self: &Arc<Self>, client: &str) -> Share {
        self.share(Some(client.to_owned()), true)
    }

    fn share(self: &Arc<Self>, client: Option<String>, counts_in_all: bool) -> Share {
        Share { budget: self.clone(), client, counts_in_all, amount: 0 }
    }

    /// The part that one client has in what several use together. It does not count in all.
    pub(crate) fn part_of(self: &Arc<Self>, client: &str) -> Share {
        self.share(Some(client.to_owned()), false)
    }

    /// A share of what several clients use together.
    pub(crate) fn common(self: &Arc<Self>) -> Share {
        self.share(None, true)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exceeded(&self, client: Option<&str>, wanted: u64) -> Exceeded {
        let (most, whose) = match client {
            Some(client) => (self.most_of_one, format!("for {client}")),
            None => (self.most_in_all, "for all clients".to_owned()),
        };
        let amount = |number| Amount(self.quantity, number);
        let message = format!("expected at most {} {whose}, found {}", amount(most), amount(wanted));
        let (kind, less) = match self.quantity {
            Quantity::Memory => (ErrorKind::NoSpace, "use smaller frames or fewer slots"),
            Quantity::Encoders => (ErrorKind::TooManySubscribers, "ask for the same codec and size"),
            Quantity::Pixels => (ErrorKind::FrameTooLarge, "use a smaller size"),
        };
        let hint = format!("{less}, or raise {}", self.option);
        Exceeded { error: Error::new(kind, message).with_hint(hint), in_all: client.is_none() }
    }
}

impl Share {
    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    /// Changes the amount. A smaller amount is always possible.
    ///
    /// # Errors
    /// The limit that a larger amount exceeds. The amount stays as it was then.
    pub(crate) fn set(&mut self, amount: u64) -> Result<(), Exceeded> {
        if amount == self.amount {
            return Ok(());
        }
        let budget = &self.budget;
        let mut used = budget.used();
        let changed = |before: u64| (before - self.amount).saturating_add(amount);
        let of_client = self.client.as_ref().map(|client| {
            let before = used.of.get(client).copied().unwrap_or(0);
            (client, changed(before))
        });
        if amount > self.amount {
            if let Some((client, wanted)) = of_client
                && wanted > budget.most_of_one
            {
                return Err(budget.exceeded(Some(client), wanted));
            }
            if self.counts_in_all && changed(used.in_all) > budget.most_in_all {
                return Err(budget.exceeded(None, changed(used.in_all)));
            }
        }
        match of_client {
            Some((client, 0)) => drop(used.of.remove(client)),
            Some((client, wanted)) => drop(used.of.insert(client.clone(), wanted)),
            None => {}
        }
        if self.counts_in_all {
            used.in_all = changed(used.in_all);
        }
        drop(used);
        self.amount = amount;
        Ok(())
    }

    /// Raises the amount to `amount` at least.
    ///
    /// # Errors
    /// As [`Share::set`].
    pub(crate) fn need(&mut self, amount: u64) -> Result<(), Exceeded> {
        self.set(amount.max(self.amount))
    }

    /// Charges another client.
    ///
    /// # Errors
    /// As [`Share::set`], for the other client. This share stays as it was then.
    pub(crate) fn hand_over(&mut self, client: &str) -> Result<(), Exceeded> {
        if self.client.as_deref() == Some(client) {
            return Ok(());
        }
        let mut next = self.budget.part_of(client);
        next.set(self.amount)?;
        // The total stays: it moves from one share to the other.
        self.counts_in_all = false;
        next.counts_in_all = true;
        *self = next;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = self.set(0);
    }
}

/// With its unit.
struct Amount(Quantity, u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.1;
        match self.0 {
            Quantity::Memory if number >= 1 << 20 => {
                write!(f, "{} MiB of memory", number.div_ceil(1 << 20))
            }
            Quantity::Memory => write!(f, "{number} bytes of memory"),
            Quantity::Encoders => write!(f, "{number} encoders"),
            Quantity::Pixels => write!(f, "{number} pixels in encoders"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_beyond_its_half_is_refused_by_name() {
        let budget = Budget::new(Quantity::Memory, 100, "--max-memory");
        let (mut a, mut b) = (budget.share_of("lab"), budget.share_of("lab"));
        a.set(30).unwrap();
        let fault = b.set(21).unwrap_err().into_fault();
        assert_eq!(
            fault.error.message(),
            "expected at most 50 bytes of memory for lab, found 51 bytes of memory"
        );
        assert!(!fault.try_again && fault.error.to_string().contains("--max-memory"));
        b.set(20).unwrap();
        b.need(10).unwrap();
        assert_eq!(b.amount(), 20);
        a.set(10).unwrap();
        drop((a, b));
        let used = budget.used();
        assert_eq!((used.in_all, used.of.len()), (0, 0));
    }

    #[test]
    fn clients_beyond_the_total_are_refused_for_now() {
        let budget = Budget::new(Quantity::Encoders, 3, "--max-encoders");
        let mut shares: Vec<_> = ["a", "b", "c"].map(|client| budget.share_of(client)).into();
        shares.iter_mut().for_each(|share| share.set(1).unwrap());
        let fault = shares[0].set(2).unwrap_err().into_fault();
        assert!(fault.try_again && fault.error.message().contains("for all clients"), "{fault:?}");
    }

    #[test]
    fn common_use_counts_once_in_all_and_for_each_client() {
        let budget = Budget::new(Quantity::Pixels, 100, "--max-pixels");
        let mut common = budget.common();
        common.set(100).unwrap();
        let mut part = budget.part_of("a");
        part.set(50).unwrap();
        assert!(part.set(51).is_err() && common.set(101).is_err());
        assert_eq!(budget.used().in_all, 100);
    }

    #[test]
    fn share_handed_over_counts_for_the_new_client_only() {
        let budget = Budget::new(Quantity::Memory, 100, "--max-memory");
        let (mut share, mut other) = (budget.share_of("a"), budget.share_of("b"));
        share.set(50).unwrap();
        other.set(10).unwrap();
        assert!(share.hand_over("b").is_err());
        other.set(0).unwrap();
        share.hand_over("b").unwrap();
        let used = budget.used();
        assert_eq!((used.in_all, used.of.get("a"), used.of.get("b")), (50, None, Some(&50)));
    }
}
