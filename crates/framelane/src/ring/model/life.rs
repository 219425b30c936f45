//! Rings and publishers that start and end, and readers that die.

use loom::thread;

use super::super::reader::attach;
use super::super::writer::{notify, reclaim};
use super::*;

/// A reader that continues through two rings: the first one's file loses its name when the second has a
/// frame.
fn a_new_ring(delivery: Delivery, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::with_rings(2, 2);
        attach(&channel.readers, 0, delivery, 0, 0);
        let mut reader = Reader::new(&channel, 0, delivery, false);
        let reader = thread::spawn(move || while reader.receive() < 3 {});
        assert!(channel.try_publish(1, 1, false));
        for sequence in 2..=3 {
            while !channel.try_publish(2, sequence, false) {
                thread::yield_now();
            }
            channel.ring(1).named.store(0, Ordering::Release);
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_of_the_newest_frame_follows_to_a_new_ring() {
    a_new_ring(Delivery::Newest, by_depth(3, 4));
}

#[test]
fn a_reader_of_every_frame_follows_to_a_new_ring() {
    a_new_ring(Delivery::Every, by_depth(3, 4));
}

#[test]
fn lease_on_an_old_ring_stays_whole_while_the_new_is_written() {
    check(by_depth(3, 4), || {
        let channel = Channel::with_rings(2, 2);
        attach(&channel.readers, 0, Delivery::Newest, 0, 0);
        assert!(channel.try_publish(1, 1, false));
        let holder = {
            let channel = channel.clone();
            thread::spawn(move || {
                // Slot 0 of either ring has the same number; the generation distinguishes their pins.
                channel.read(0, 1, (1, 0), false);
            })
        };
        // A frame more in the old ring, which may take nothing from the holder; then the new one.
        channel.try_publish(1, 2, false);
        for sequence in 3..=4 {
            assert!(
                channel.try_publish(2, sequence, false),
                "pins on the old ring do not count in the new one"
            );
        }
        holder.join().unwrap();
    });
}

/// A publisher dies at some point of frame 3; the next one takes over, with a new ring.
///
/// A reader sleeps and wakes through all of it, another one holds frame 1. `died_at` is the progress of frame
/// 3: 0 slot claimed, 1 number given, 2 version stored, 3 head stored, 4 wake changed and no reader woken.
fn take_over(died_at: usize) {
    check(by_depth(2, 3), move || {
        let channel = Channel::with_rings(3, 2);
        attach(&channel.readers, 0, Delivery::Every, 0, 0);
        attach(&channel.readers, 1, Delivery::Newest, 0, 0);
        assert!(channel.try_publish(1, 1, false));
        let (_, held_slot) = newest(&channel.control);
        let held = &channel.readers.records[1].pins[0];
        let version = &channel.ring(1).table[held_slot].version;
        assert_eq!(lease(held, pin_of(1, held_slot), version, 1), Lease::Held);
        assert!(channel.try_publish(1, 2, false));
        let mut reader = Reader::new(&channel, 0, Delivery::Every, false);
        let reader = thread::spawn(move || {
            let mut received = vec![reader.receive()];
            while *received.last().expect("one") < 4 {
                received.push(reader.receive());
            }
            received
        });
        // The last stores of the dead publisher. The slot is the one that is neither newest nor held.
        let slot = (0..3)
            .find(|&slot| slot != held_slot && slot != newest(&channel.control).1)
            .expect("three slots");
        let dying = &channel.ring(1).table[slot].version;
        let die = || {
            claim(&channel.readers, dying, 0, pin_of(1, slot)).expect("no reader holds it");
            // SAFETY: loom checks that no one else reads or writes the cell now.
            channel.ring(1).payloads[slot].0.with_mut(|payload| unsafe { *payload = 3 });
            if died_at >= 1 {
                channel.control.given.store(3, Ordering::Relaxed);
            }
            if died_at >= 2 {
                dying.store(3, Ordering::Release);
            }
            if died_at >= 3 {
                channel.control.head.store(3 << 8 | slot as u64, Ordering::Release);
            }
            if died_at >= 4 {
                notify(&channel.control, &channel.readers);
            }
        };
        die();
        // The next one, as `PublisherOptions::create` does.
        let last = newest(&channel.control).0.max(channel.control.given.load(Ordering::Relaxed));
        notify(&channel.control, &channel.readers);
        Channel::futex_wake(&channel.wake_futex);
        for sequence in last + 1..=4 {
            assert!(channel.try_publish(2, sequence, false));
        }
        let received = reader.join().unwrap();
        assert!(received.is_sorted_by(|a, b| a < b), "no number comes twice: {received:?}");
        // SAFETY: loom checks that no one writes the cell now.
        assert_eq!(channel.ring(1).payloads[held_slot].0.with(|payload| unsafe { *payload }), 1);
        assert_eq!(version.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_publisher_that_died_with_a_slot_claimed_is_taken_over() {
    take_over(0);
}

#[test]
fn a_publisher_that_died_with_a_number_given_is_taken_over() {
    take_over(1);
}

#[test]
fn a_publisher_that_died_between_version_and_head_is_taken_over() {
    take_over(2);
}

#[test]
fn a_publisher_that_died_between_head_and_wake_is_taken_over() {
    take_over(3);
}

#[test]
fn a_publisher_that_died_before_it_woke_anybody_is_taken_over() {
    take_over(4);
}

#[test]
fn dead_pins_are_cleared_and_pins_of_a_successor_stay() {
    check(by_depth(3, 5), || {
        let channel = Channel::new(2);
        let lock = Arc::new(Mutex::new(()));
        assert!(channel.try_publish(1, 1, false));
        let (sequence, slot) = newest(&channel.control);
        {
            // The first reader dies with its pin set: its lock goes, its words stay.
            let _alive = lock.lock().unwrap();
            attach(&channel.readers, 0, Delivery::Newest, 0, 0);
            let version = &channel.ring(1).table[slot].version;
            lease(&channel.readers.records[0].pins[0], pin_of(1, slot), version, sequence);
        }
        assert!(channel.try_publish(1, 2, false));
        let successor = {
            let (channel, lock) = (channel.clone(), lock.clone());
            thread::spawn(move || {
                // Attaching never waits: a record whose lock is taken is skipped.
                if let Ok(_alive) = lock.try_lock() {
                    attach(&channel.readers, 0, Delivery::Newest, 0, 0);
                    channel.read_newest(0);
                }
            })
        };
        for sequence in 3..=4 {
            if !channel.try_publish(1, sequence, false) {
                if let Ok(_dead) = lock.try_lock() {
                    reclaim(&channel.readers, 0);
                }
                channel.try_publish(1, sequence, false);
            }
        }
        successor.join().unwrap();
        // All readers have ended: their resources are available again.
        if let Ok(_dead) = lock.try_lock() {
            reclaim(&channel.readers, 0);
        }
        assert!(channel.try_publish(1, 5, false));
        assert!(channel.try_publish(1, 6, false));
    });
}
