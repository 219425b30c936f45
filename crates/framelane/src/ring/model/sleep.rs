//! Going to sleep against waking up, on both sides.

use loom::thread;

use super::super::reader::attach;
use super::*;

/// Readers receive, sleeping between frames, until they have the last of `frames`.
fn readers_are_woken(readers: usize, frames: u64, preemptions: usize) {
    check(preemptions, move || {
        let channel = Channel::new(readers + 1);
        let threads: Vec<_> = (0..readers)
            .map(|index| {
                attach(&channel.readers, index, Delivery::Newest, 0, 0);
                let mut reader = Reader::new(&channel, index, Delivery::Newest, false);
                thread::spawn(move || while reader.receive() < frames {})
            })
            .collect();
        for sequence in 1..=frames {
            // Each reader has one pin, and there is one slot more than readers: another turn finds it free.
            while !channel.try_publish(1, sequence, false) {
                thread::yield_now();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_reader_that_goes_to_sleep_is_woken_by_the_next_frame() {
    readers_are_woken(1, 1, by_depth(3, 6));
}

#[test]
fn sleeping_reader_is_woken_for_each_newest_frame() {
    readers_are_woken(1, 3, by_depth(3, 4));
}

#[test]
fn two_readers_that_sleep_are_both_woken() {
    readers_are_woken(2, 1, by_depth(2, 3));
}

#[test]
fn a_waiting_publisher_is_woken_and_no_frame_is_lost() {
    check(by_depth(2, 3), || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Delivery::Every, 0, 0);
        let mut reader = Reader::new(&channel, 0, Delivery::Every, true);
        let reader = thread::spawn(move || {
            for expected in 1..=3 {
                assert_eq!(reader.receive(), expected, "no frame is skipped");
            }
        });
        for sequence in 1..=3 {
            channel.publish_lossless(sequence);
        }
        reader.join().unwrap();
    });
}

#[test]
fn reader_of_newest_frames_costs_a_reader_of_every_frame_none() {
    check(by_depth(1, 2), || {
        let channel = Channel::new(3);
        attach(&channel.readers, 0, Delivery::Every, 0, 0);
        attach(&channel.readers, 1, Delivery::Newest, 0, 0);
        let mut every = Reader::new(&channel, 0, Delivery::Every, true);
        let mut newest = Reader::new(&channel, 1, Delivery::Newest, true);
        let every = thread::spawn(move || {
            for expected in 1..=3 {
                assert_eq!(every.receive(), expected, "no frame is skipped");
            }
        });
        let newest = thread::spawn(move || while newest.receive() < 3 {});
        for sequence in 1..=3 {
            channel.publish_lossless(sequence);
        }
        every.join().unwrap();
        newest.join().unwrap();
    });
}

#[test]
fn end_of_the_only_lease_wakes_a_blocked_publisher() {
    check(by_depth(3, 5), || {
        let channel = Channel::new(2);
        attach(&channel.readers, 0, Delivery::Every, 0, 0);
        assert!(channel.try_publish(1, 1, true));
        let (_, slot) = newest(&channel.control);
        assert!(channel.try_publish(1, 2, true));
        let reader = {
            let channel = channel.clone();
            // One lease and no more: nothing that comes after it could make up for a lost wake-up.
            thread::spawn(move || assert!(channel.read(0, 1, (1, slot), true)))
        };
        channel.publish_lossless(3);
        reader.join().unwrap();
    });
}
