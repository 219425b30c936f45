//! A reader's pin against the publisher's claim of the same slot.

use loom::thread;

use super::super::reader::{attach, is_intact};
use super::*;

/// Readers of the newest frame take two leases each, while the publisher continues to frame `frames`.
fn pin_against_claim(slots: usize, readers: usize, frames: u64, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::new(slots);
        for reader in 0..readers {
            attach(&channel.readers, reader, Delivery::Newest, 0, 0);
        }
        assert!(channel.try_publish(1, 1, false));
        let threads: Vec<_> = (0..readers)
            .map(|reader| {
                let channel = channel.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        channel.read_newest(reader);
                    }
                })
            })
            .collect();
        for sequence in 2..=frames {
            channel.try_publish(1, sequence, false);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // No reader holds a slot any more, including readers whose lease was refused.
        let pins = channel.readers.records.iter().flat_map(|record| &record.pins);
        assert!(pins.into_iter().all(|pin| pin.load(Ordering::Relaxed) == 0));
    });
}

#[test]
fn a_pin_and_a_claim_of_one_slot_never_both_succeed() {
    pin_against_claim(2, 1, 4, by_depth(3, 5));
}

#[test]
fn two_readers_and_a_claim_never_meet_in_a_slot() {
    pin_against_claim(2, 2, 3, by_depth(2, 3));
}

#[test]
fn three_slots_are_as_safe_as_two() {
    pin_against_claim(3, 1, 5, by_depth(3, 4));
}

#[test]
fn two_readers_of_three_slots_are_as_safe() {
    pin_against_claim(3, 2, by_depth(3, 4), 2);
}

#[test]
fn reader_attaching_during_a_claim_is_seen_or_sees_the_claim() {
    check(by_depth(3, 5), || {
        let channel = Channel::new(2);
        assert!(channel.try_publish(1, 1, false));
        let reader = {
            let channel = channel.clone();
            thread::spawn(move || {
                attach(&channel.readers, 0, Delivery::Newest, 0, 0);
                channel.read_newest(0);
            })
        };
        for sequence in 2..=3 {
            channel.try_publish(1, sequence, false);
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_claim_taken_back_leaves_the_frame_readable() {
    check(by_depth(3, 5), || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Delivery::Newest, 0, 0);
        attach(&channel.readers, 1, Delivery::Newest, 0, 0);
        assert!(channel.try_publish(1, 1, false));
        // Reader 0 holds frame 1 throughout; reader 1 attaches while the publisher claims the slot and
        // restores it.
        let (_, slot) = newest(&channel.control);
        let version = &channel.ring(1).table[slot].version;
        assert_eq!(lease(&channel.readers.records[0].pins[0], pin_of(1, slot), version, 1), Lease::Held);
        assert!(channel.try_publish(1, 2, false));
        let late = {
            let channel = channel.clone();
            thread::spawn(move || {
                channel.read(1, 1, (1, slot), false);
            })
        };
        assert!(!channel.try_publish(1, 3, false), "one slot is newest, the other is pinned");
        late.join().unwrap();
        assert_eq!(version.load(Ordering::Relaxed), 1);
        // It can still be leased: the version is the frame's own.
        assert!(channel.read(1, 1, (1, slot), false));
    });
}

#[test]
fn reader_with_a_cleared_pin_detects_an_overwritten_frame() {
    check(by_depth(3, 5), || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Delivery::Newest, 0, 0);
        assert!(channel.try_publish(1, 1, false));
        let (_, slot) = newest(&channel.control);
        let pin_word = &channel.readers.records[0].pins[0];
        assert_eq!(lease(pin_word, pin_of(1, slot), &channel.ring(1).table[slot].version, 1), Lease::Held);
        let reader = {
            let channel = channel.clone();
            thread::spawn(move || {
                let entry = &channel.ring(1).table[slot];
                // Not the cell: the publisher may write to it meanwhile, and that is what must be noticed.
                let payload = entry.size_bytes.load(Ordering::Relaxed);
                if is_intact(&entry.version, 1) {
                    assert_eq!(payload, 1, "what was read was the frame");
                }
            })
        };
        assert!(channel.try_publish(1, 2, false));
        // While the pin exists, the slot is claimed and restored. Then another process clears the pin.
        assert!(!channel.try_publish(1, 3, false));
        pin_word.store(0, Ordering::Relaxed);
        assert!(channel.try_publish(1, 3, false));
        reader.join().unwrap();
    });
}
