//! Turns for decoding. A small payload can take as much time as a whole picture, and one client may send over
//! many connections. Turns leave processors to the other clients.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::fault::Fault;
use crate::transport::END_POLL_INTERVAL;

/// The clients that decode now.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Frames of one client that are decoded at once.
    most_of_one: usize,
    /// Frames of each client. No entry is 0.
    decoding: Mutex<HashMap<String, usize>>,
    changed: Condvar,
}

/// The turns of one client.
#[derive(Debug)]
pub(crate) struct ClientTurns {
    turns: Arc<Turns>,
    client: String,
}

/// A frame is decoded until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'t>(&'t ClientTurns);

impl Turns {
    /// One client decodes on at most half of the processors, and on one at least.
    pub(crate) fn new() -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_limit((processors / 2).max(1))
    }

    pub(crate) fn with_limit(most_of_one: usize) -> Arc<Self> {
        Arc::new(Turns { most_of_one, decoding: Mutex::default(), changed: Condvar::new() })
    }

    pub(crate) fn of(self: &Arc<Self>, client: &str) -> ClientTurns {
        ClientTurns { turns: self.clone(), client: client.to_owned() }
    }

    fn decoding(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.decoding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientTurns {
    /// Waits for a turn. Asks `keep` several times a second whether to continue.
    ///
    /// # Errors
    /// Those of `keep`.
    pub(crate) fn take(&self, keep: &mut dyn FnMut() -> Result<(), Fault>) -> Result<Turn<'_>, Fault> {
        let turns = &*self.turns;
        let mut decoding = turns.decoding();
        loop {
            let of_client = decoding.get(&self.client).copied().unwrap_or(0);
            if of_client < turns.most_of_one {
                decoding.insert(self.client.clone(), of_client + 1);
                return Ok(Turn(self));
            }
            let waited = turns.changed.wait_timeout(decoding, END_POLL_INTERVAL);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            keep()?;
            decoding = turns.decoding();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let ClientTurns { turns, client } = self.0;
        let mut decoding = turns.decoding();
        match decoding.get_mut(client) {
            Some(of_client) if *of_client > 1 => *of_client -= 1,
            _ => drop(decoding.remove(client)),
        }
        turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_without_a_turn_waits_and_others_decode() {
        let turns = Turns::with_limit(2);
        let (one, other) = (turns.of("a"), turns.of("b"));
        let go_on = &mut || Ok(());
        let first = one.take(go_on).unwrap();
        let _second = one.take(go_on).unwrap();
        // Not even asked: there is no wait.
        let _of_other = other.take(&mut || unreachable!()).unwrap();
        let stopped = one.take(&mut || Err(Fault::stopped())).unwrap_err();
        assert_eq!(stopped.error.kind(), Fault::stopped().error.kind());
        let mut first = Some(first);
        let _third = one
            .take(&mut || {
                drop(first.take());
                Ok(())
            })
            .unwrap();
        assert!(first.is_none());
    }

    #[test]
    fn clients_that_decode_nothing_take_no_memory() {
        let turns = Turns::with_limit(1);
        for name in ["a", "b", "a"] {
            drop(turns.of(name).take(&mut || Ok(())).unwrap());
        }
        assert!(turns.decoding().is_empty());
    }
}
