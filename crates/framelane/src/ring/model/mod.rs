//! The ring under loom: every interleaving, every value that the memory model allows, within the bounds of
//! each model.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p framelane --release --lib --target-dir target/loom`;
//! `FRAMELANE_DEPTH=deep` raises the bounds. Each model prints how many executions it has explored.
//!
//! The payload of a slot is a loom cell: a write concurrent with a read fails the model. The futex is a mutex
//! with a condition variable: a lost wake-up is a deadlock, which loom reports. The lock that proves a reader
//! alive is a mutex.

mod lease;
mod life;
mod sleep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};

use super::reader::{Lease, Next, lease, newest, next, prepare_wait, release};
use super::sync::{AtomicU32, Ordering};
use super::words::{Control, Delivery, Entry, Readers, is_frame, pin_of};
use super::writer::{blocked, claim, prepare_block, publish, unblock};

struct Payload(UnsafeCell<u64>);
// SAFETY: the cell is only reached through loom, which reports a race instead of having one.
unsafe impl Sync for Payload {}

/// One generation of slots.
struct Ring {
    table: Vec<Entry>,
    payloads: Vec<Payload>,
    /// 1: the file has its name. Readers that have not mapped it by the time it loses it never will.
    named: AtomicU32,
}

struct Channel {
    control: Control,
    readers: Readers,
    /// Generation 1 and those after it.
    rings: Vec<Ring>,
    wake_futex: (Mutex<()>, Condvar),
    freed_futex: (Mutex<()>, Condvar),
}

impl Channel {
    fn new(slots: usize) -> Arc<Self> {
        Self::with_rings(slots, 1)
    }

    fn with_rings(slots: usize, rings: usize) -> Arc<Self> {
        let ring = |_| Ring {
            table: (0..slots).map(|_| Entry::default()).collect(),
            payloads: (0..slots).map(|_| Payload(UnsafeCell::new(0))).collect(),
            named: AtomicU32::new(1),
        };
        Arc::new(Channel {
            control: Control::default(),
            readers: Readers::default(),
            rings: (0..rings).map(ring).collect(),
            wake_futex: (Mutex::new(()), Condvar::new()),
            freed_futex: (Mutex::new(()), Condvar::new()),
        })
    }

    fn futex_wait(futex: &(Mutex<()>, Condvar), word: &AtomicU32, seen: u32) {
        let guard = futex.0.lock().unwrap();
        if word.load(Ordering::SeqCst) == seen {
            drop(futex.1.wait(guard).unwrap());
        }
    }

    fn futex_wake(futex: &(Mutex<()>, Condvar)) {
        drop(futex.0.lock().unwrap());
        futex.1.notify_all();
    }

    fn ring(&self, generation: u64) -> &Ring {
        &self.rings[generation as usize - 1]
    }

    /// Claims any slot but the newest, writes `sequence` into it and publishes; false when none is free.
    fn try_publish(&self, generation: u64, sequence: u64, lossless: bool) -> bool {
        let ring = self.ring(generation);
        let (newest_sequence, newest_slot) = newest(&self.control);
        let in_newest_ring = self.control.generation.load(Relaxed) == generation;
        for (slot, entry) in ring.table.iter().enumerate() {
            if newest_sequence != 0 && in_newest_ring && slot == newest_slot {
                continue;
            }
            let found = entry.version.load(Ordering::Relaxed);
            // The publisher keeps its own account: a slot that was claimed and not published holds nothing.
            let published = if is_frame(found) { found } else { 0 };
            if lossless && blocked(&self.readers, published) != 0 {
                continue;
            }
            if claim(&self.readers, &entry.version, published, pin_of(generation, slot)).is_ok() {
                // SAFETY: loom checks that no one else reads or writes the cell now.
                ring.payloads[slot].0.with_mut(|payload| unsafe { *payload = sequence });
                // The same, for one that reads it without a right to.
                entry.size_bytes.store(sequence, Ordering::Relaxed);
                let frame = (sequence, slot);
                if publish(&self.control, &self.readers, &entry.version, generation, frame) != 0 {
                    Self::futex_wake(&self.wake_futex);
                }
                return true;
            }
        }
        false
    }

    /// Publishes, sleeping until a slot is free that every reader has read.
    fn publish_lossless(&self, sequence: u64) {
        while !self.try_publish(1, sequence, true) {
            let freed = prepare_block(&self.control, &self.readers);
            if self.try_publish(1, sequence, true) {
                return unblock(&self.control);
            }
            Self::futex_wait(&self.freed_futex, &self.readers.freed, freed);
            unblock(&self.control);
        }
    }

    /// Leases frame `sequence` in `slot`, reads it under the lease and releases it.
    fn read(&self, reader: usize, generation: u64, (sequence, slot): (u64, usize), lossless: bool) -> bool {
        let record = &self.readers.records[reader];
        let ring = self.ring(generation);
        let pin = pin_of(generation, slot);
        if lease(&record.pins[0], pin, &ring.table[slot].version, sequence) == Lease::Gone {
            return false;
        }
        record.cursor.store(sequence, Ordering::Release);
        // SAFETY: loom checks that no one writes the cell now.
        let seen = ring.payloads[slot].0.with(|payload| unsafe { *payload });
        assert_eq!(seen, sequence, "a leased frame is the one that was asked for");
        if release(&self.control, &self.readers, &record.pins[0], lossless) {
            Self::futex_wake(&self.freed_futex);
        }
        true
    }

    /// Leases and reads the newest frame, if it is there.
    fn read_newest(&self, reader: usize) -> bool {
        self.read(reader, 1, newest(&self.control), false)
    }
}

/// A reader as the subscriber is: what it has mapped and received.
struct Reader {
    channel: Arc<Channel>,
    index: usize,
    delivery: Delivery,
    lossless: bool,
    mapped: Option<u64>,
    cursor: u64,
}

impl Reader {
    fn new(channel: &Arc<Channel>, index: usize, delivery: Delivery, lossless: bool) -> Self {
        Reader { channel: channel.clone(), index, delivery, lossless, mapped: None, cursor: 0 }
    }

    /// The next frame's number, if there is a frame now.
    fn try_receive(&mut self) -> Option<u64> {
        // Each turn, but for the last, follows a change by the publisher.
        loop {
            let channel = &self.channel;
            let mapped = self.mapped.map(|generation| (generation, channel.ring(generation).table.iter()));
            match next(&channel.control, self.delivery, self.cursor, mapped) {
                Next::Nothing => return None,
                Next::Frame { sequence, slot } => {
                    let generation = self.mapped.expect("a frame of what is mapped");
                    if channel.read(self.index, generation, (sequence, slot), self.lossless) {
                        self.cursor = sequence;
                        return Some(sequence);
                    }
                }
                Next::Map(generation) => {
                    let found =
                        generation != 0 && channel.ring(generation).named.load(Ordering::Acquire) == 1;
                    self.mapped = found.then_some(generation);
                }
            }
            loom::thread::yield_now();
        }
    }

    /// Waits for a frame, as the subscriber does; checks that numbers only grow.
    fn receive(&mut self) -> u64 {
        loop {
            let seen = self.channel.control.wake_now();
            let last = self.cursor;
            if let Some(sequence) = self.try_receive() {
                assert!(sequence > last, "frames come in order");
                return sequence;
            }
            self.sleep(seen);
        }
    }

    /// Sleeps, unless something has changed since `seen`.
    fn sleep(&self, seen: u32) {
        let record = &self.channel.readers.records[self.index];
        if prepare_wait(&self.channel.control, record, seen) {
            Channel::futex_wait(&self.channel.wake_futex, &self.channel.control.wake, seen);
        }
        record.waiting.store(0, Ordering::Relaxed);
    }
}

/// Returns the bound of a model: for `make test`, or with `FRAMELANE_DEPTH=deep`.
fn by_depth<T>(quick: T, deep: T) -> T {
    if std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep") { deep } else { quick }
}

/// Explores the model; threads are preempted at most so many times in an execution.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let counted = executions.clone();
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let name = std::thread::current().name().map(|name| name.rsplit("::").next().unwrap_or(name).to_owned());
    println!(
        "model: {}: {} executions, at most {preemptions} preemptions",
        name.unwrap_or_default(),
        executions.load(Relaxed)
    );
}
