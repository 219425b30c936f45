//! The ring under loom: every interleaving, every value that the memory model allows.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p framelane --release --lib --target-dir target/loom`.
//! The payload of a slot is a loom cell: a write beside a read fails the model. The futex is a mutex with a
//! condition variable: a lost wake-up is a deadlock, which loom reports. The lock that proves a reader alive
//! is a mutex.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::reader::{Lease, attach, find, lease, newest, prepare_wait, release};
use super::sync::{AtomicU32, Ordering};
use super::words::{CLAIMING, Control, Entry, Mode, Readers, pin_of};
use super::writer::{blocked, claim, prepare_block, publish, reclaim, unblock};

const GENERATION: u64 = 1;

struct Payload(UnsafeCell<u64>);
// SAFETY: the cell is only reached through loom, which reports a race instead of having one.
unsafe impl Sync for Payload {}

struct Channel {
    control: Control,
    readers: Readers,
    table: Vec<Entry>,
    payloads: Vec<Payload>,
    wake_futex: (Mutex<()>, Condvar),
    freed_futex: (Mutex<()>, Condvar),
}

impl Channel {
    fn new(slots: usize) -> Arc<Self> {
        Arc::new(Channel {
            control: Control::default(),
            readers: Readers::default(),
            table: (0..slots).map(|_| Entry::default()).collect(),
            payloads: (0..slots).map(|_| Payload(UnsafeCell::new(0))).collect(),
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

    /// Claims any slot but the newest, writes `sequence` into it and publishes; false when none is free.
    fn try_publish(&self, sequence: u64, lossless: bool) -> bool {
        let (newest_sequence, newest_slot) = newest(&self.control);
        for slot in 0..self.table.len() {
            if newest_sequence != 0 && slot == newest_slot {
                continue;
            }
            let version = &self.table[slot].version;
            let published = version.load(Ordering::Relaxed);
            if lossless && blocked(&self.readers, published) != 0 {
                continue;
            }
            let pin = pin_of(GENERATION, slot);
            if claim(&self.readers, version, if published >= u64::MAX - 1 { 0 } else { published }, pin)
                .is_ok()
            {
                // SAFETY: loom checks that no one else reads or writes the cell now.
                self.payloads[slot].0.with_mut(|payload| unsafe { *payload = sequence });
                if publish(&self.control, &self.readers, version, sequence, slot) {
                    Self::futex_wake(&self.wake_futex);
                }
                return true;
            }
        }
        false
    }

    /// Sleeps as a reader does, unless something has changed since `seen`.
    fn sleep(&self, reader: usize, seen: u32) {
        let record = &self.readers.records[reader];
        if prepare_wait(&self.control, record, seen) {
            Self::futex_wait(&self.wake_futex, &self.control.wake, seen);
        }
        record.waiting.store(0, Ordering::Relaxed);
    }

    /// Publishes, sleeping until a slot is free that every reader has read.
    fn publish_lossless(&self, sequence: u64) {
        while !self.try_publish(sequence, true) {
            let freed = prepare_block(&self.control, &self.readers);
            if self.try_publish(sequence, true) {
                return unblock(&self.control);
            }
            Self::futex_wait(&self.freed_futex, &self.readers.freed, freed);
            unblock(&self.control);
        }
    }

    /// Leases frame `sequence` in `slot`, reads it under the lease and lets it go.
    fn read(&self, reader: usize, sequence: u64, slot: usize, lossless: bool) -> bool {
        let record = &self.readers.records[reader];
        let pin = pin_of(GENERATION, slot);
        if lease(&record.pins[0], pin, &self.table[slot].version, sequence) == Lease::Gone {
            return false;
        }
        record.cursor.store(sequence, Ordering::Release);
        // SAFETY: loom checks that no one writes the cell now.
        let seen = self.payloads[slot].0.with(|payload| unsafe { *payload });
        assert_eq!(seen, sequence, "a leased frame is the one that was asked for");
        if release(&self.control, &self.readers, &record.pins[0], lossless) {
            Self::futex_wake(&self.freed_futex);
        }
        true
    }
}

fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn pin_against_claim(slots: usize, readers: usize, frames: u64, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::new(slots);
        for reader in 0..readers {
            attach(&channel.readers, reader, Mode::Newest, 0, 0);
        }
        assert!(channel.try_publish(1, false));
        let threads: Vec<_> = (0..readers)
            .map(|reader| {
                let channel = channel.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        let (sequence, slot) = newest(&channel.control);
                        channel.read(reader, sequence, slot, false);
                    }
                })
            })
            .collect();
        for sequence in 2..=frames {
            channel.try_publish(sequence, false);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_pin_and_a_claim_of_one_slot_never_both_succeed() {
    pin_against_claim(2, 1, 4, 3);
}

#[test]
fn two_readers_and_a_claim_never_meet_in_a_slot() {
    pin_against_claim(2, 2, 3, 2);
}

#[test]
fn three_slots_are_as_safe_as_two() {
    pin_against_claim(3, 1, 5, 3);
}

#[test]
fn a_reader_that_goes_to_sleep_is_woken_by_the_next_frame() {
    check(3, || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Mode::Newest, 0, 0);
        let reader = {
            let channel = channel.clone();
            thread::spawn(move || {
                loop {
                    let seen = channel.control.wake_now();
                    let (sequence, slot) = newest(&channel.control);
                    if sequence != 0 {
                        return channel.read(0, sequence, slot, false);
                    }
                    channel.sleep(0, seen);
                }
            })
        };
        assert!(channel.try_publish(1, false));
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_that_sleeps_again_and_again_is_woken_for_every_newest_frame() {
    check(3, || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Mode::Newest, 0, 0);
        let reader = {
            let channel = channel.clone();
            thread::spawn(move || {
                let mut cursor = 0;
                while cursor < 3 {
                    let seen = channel.control.wake_now();
                    let (sequence, slot) = newest(&channel.control);
                    if sequence > cursor {
                        if channel.read(0, sequence, slot, false) {
                            cursor = sequence;
                        }
                        continue;
                    }
                    channel.sleep(0, seen);
                }
            })
        };
        for sequence in 1..=3 {
            // The slot that is not the newest may be pinned by a reader that is late.
            while !channel.try_publish(sequence, false) {
                thread::yield_now();
            }
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_waiting_publisher_is_woken_and_no_frame_is_lost() {
    check(2, || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Mode::Every, 0, 0);
        let reader = {
            let channel = channel.clone();
            thread::spawn(move || {
                let mut cursor = 0;
                while cursor < 3 {
                    let seen = channel.control.wake_now();
                    let (newest_sequence, _) = newest(&channel.control);
                    if let Some((sequence, slot)) = find(channel.table.iter(), cursor, newest_sequence) {
                        assert_eq!(sequence, cursor + 1, "no frame is skipped");
                        assert!(channel.read(0, sequence, slot, true), "no frame is overtaken");
                        cursor = sequence;
                        continue;
                    }
                    channel.sleep(0, seen);
                }
            })
        };
        for sequence in 1..=3 {
            channel.publish_lossless(sequence);
        }
        reader.join().unwrap();
    });
}

#[test]
fn the_end_of_the_only_lease_wakes_a_publisher_that_waits_for_it() {
    check(3, || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Mode::Every, 0, 0);
        assert!(channel.try_publish(1, true));
        let (_, slot) = newest(&channel.control);
        assert!(channel.try_publish(2, true));
        let reader = {
            let channel = channel.clone();
            // One lease and no more: nothing that comes after it could make up for a lost wake-up.
            thread::spawn(move || assert!(channel.read(0, 1, slot, true)))
        };
        channel.publish_lossless(3);
        reader.join().unwrap();
    });
}

#[test]
fn pins_of_the_dead_come_back_and_those_of_their_successor_stay() {
    check(3, || {
        let channel = Channel::new(2);
        let lock = Arc::new(Mutex::new(()));
        assert!(channel.try_publish(1, false));
        let (sequence, slot) = newest(&channel.control);
        {
            // The first reader dies with its pin set: its lock goes, its words stay.
            let _alive = lock.lock().unwrap();
            attach(&channel.readers, 0, Mode::Newest, 0, 0);
            let pin = pin_of(GENERATION, slot);
            lease(&channel.readers.records[0].pins[0], pin, &channel.table[slot].version, sequence);
        }
        assert!(channel.try_publish(2, false));
        let successor = {
            let (channel, lock) = (channel.clone(), lock.clone());
            thread::spawn(move || {
                // Attaching never waits: a record whose lock is taken is passed over.
                if let Ok(_alive) = lock.try_lock() {
                    attach(&channel.readers, 0, Mode::Newest, 0, 0);
                    let (sequence, slot) = newest(&channel.control);
                    channel.read(0, sequence, slot, false);
                }
            })
        };
        for sequence in 3..=4 {
            if !channel.try_publish(sequence, false) {
                if let Ok(_dead) = lock.try_lock() {
                    reclaim(&channel.readers, 0);
                }
                channel.try_publish(sequence, false);
            }
        }
        successor.join().unwrap();
    });
}

#[test]
fn a_claim_taken_back_leaves_the_frame_readable() {
    check(3, || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Mode::Newest, 0, 0);
        attach(&channel.readers, 1, Mode::Newest, 0, 0);
        assert!(channel.try_publish(1, false));
        // Reader 0 holds frame 1 throughout; reader 1 comes while the publisher claims and gives back.
        let (_, slot) = newest(&channel.control);
        let pin = pin_of(GENERATION, slot);
        let pin_word = &channel.readers.records[0].pins[0];
        assert_eq!(lease(pin_word, pin, &channel.table[slot].version, 1), Lease::Held);
        assert!(channel.try_publish(2, false));
        let late = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.read(1, 1, slot, false);
            })
        };
        assert!(!channel.try_publish(3, false), "one slot is newest, the other is pinned");
        late.join().unwrap();
        assert_ne!(channel.table[slot].version.load(Ordering::Relaxed), CLAIMING);
        // SAFETY: loom checks that no one writes the cell now.
        assert_eq!(channel.payloads[slot].0.with(|payload| unsafe { *payload }), 1);
    });
}
