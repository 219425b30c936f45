//! Publishers that restart where shared memory holds one ring and not two.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use framelane::*;
use framelane_tests::{Place, Running, on_small_tmpfs};
use rustix::process::Signal;

const FULL_HD: (u32, u32) = (1920, 1080);
/// A little larger: a 64 MiB file system holds a ring of either, not both.
const WUXGA: (u32, u32) = (1920, 1200);
const UHD: (u32, u32) = (3840, 2160);

fn sender(directory: &Path, slots: usize) -> (Running, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sender"));
    command.args(["c", &slots.to_string()]).env("FRAMELANE_DIR", directory);
    let mut sender = Running::start(command);
    let epoch = sender.numbers("ready")[0];
    (sender, epoch)
}

/// Publishes a frame, which must succeed.
fn send(sender: &mut Running, (width, height): (u32, u32)) -> u64 {
    sender.tell(&format!("{width} {height}"));
    let answer = sender.line().expect("an answer");
    let sequence = answer.strip_prefix("sent ").unwrap_or_else(|| panic!("{answer}"));
    sequence.parse().unwrap()
}

fn subscribe(directory: &Path, delivery: Delivery) -> Subscriber {
    SubscriberOptions::new().directory(directory).delivery(delivery).open("c").unwrap()
}

/// Receives until there is nothing more; checks every frame, and returns the last epoch and sequence.
fn read_on(subscriber: &mut Subscriber) -> Option<(u64, u64)> {
    let mut last = None;
    while let Ok(frame) = subscriber.recv_timeout(Duration::ZERO) {
        check(&frame);
        last = Some((frame.epoch(), frame.sequence()));
    }
    last
}

fn check(frame: &Frame) {
    // One byte of each page, and the last.
    let bytes = frame.bytes().iter().step_by(4096).chain(frame.bytes().last());
    assert!(bytes.into_iter().all(|&byte| byte == frame.sequence() as u8), "{frame:?} is torn");
    assert!(frame.is_intact());
}

/// The end of the publisher.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Terminate,
    Close,
}

/// Restarts a publisher ten times, with frames of `sizes` in turn. Subscribers stay attached and hold frames.
fn restart(directory: &Path, sizes: &[(u32, u32)], slots: &[usize]) {
    let mut readers = None;
    let mut last = 0;
    for round in 0..10 {
        let end = [End::Kill, End::Terminate, End::Close][round % 3];
        let (size, slots) = (sizes[round % sizes.len()], slots[round % slots.len()]);
        println!("round {round}: {size:?}, {slots} slots, then {end:?}");
        let (mut sender, epoch) = sender(directory, slots);
        let attached: &mut [Subscriber; 2] = readers.get_or_insert_with(|| {
            [Delivery::Newest, Delivery::Every].map(|delivery| subscribe(directory, delivery))
        });
        // One that opens now never sees a frame of the dead publisher.
        let mut fresh = [Delivery::Newest, Delivery::Every].map(|delivery| subscribe(directory, delivery));
        for fresh in &mut fresh {
            assert!(fresh.recv_timeout(Duration::ZERO).is_err(), "round {round}: a frame of the last epoch");
        }
        let held = attached[0].recv_timeout(Duration::ZERO).ok();
        for _ in 0..8 {
            last = send(&mut sender, size);
            for reader in attached.iter_mut().chain(&mut fresh) {
                assert_eq!(read_on(reader), Some((epoch, last)), "round {round}");
            }
            held.iter().for_each(check);
        }
        drop((held, fresh));
        send(&mut sender, size);
        match end {
            End::Kill => sender.kill(),
            End::Terminate => {
                sender.signal(Signal::TERM);
                sender.end_by(Signal::TERM);
            }
            End::Close => {
                // A subscriber of the closed channel is busy while the next publisher starts.
                let [busy, _] = readers.take().expect("attached above");
                assert!(sender.end().success());
                let (mut sender, _) = self::sender(directory, slots);
                send(&mut sender, size);
                drop(busy);
                assert!(sender.end().success());
            }
        }
    }
    drop(readers);
    doctor(Some(directory), framelane::Leftovers::Remove).unwrap();
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
    assert!(last > 0);
}

#[test]
fn takeover_of_1080p_in_64_mib_goes_on() {
    on_small_tmpfs("takeover_of_1080p_in_64_mib_goes_on", 64, |directory| {
        restart(directory, &[FULL_HD], &[6])
    });
}

#[test]
fn takeover_of_2160p_in_192_mib_goes_on() {
    on_small_tmpfs("takeover_of_2160p_in_192_mib_goes_on", 192, |directory| restart(directory, &[UHD], &[6]));
}

#[test]
fn takeover_with_another_size_in_64_mib_goes_on() {
    on_small_tmpfs("takeover_with_another_size_in_64_mib_goes_on", 64, |directory| {
        restart(directory, &[FULL_HD, WUXGA, (2560, 1024)], &[6]);
    });
}

#[test]
fn takeover_with_other_slots_in_64_mib_goes_on() {
    on_small_tmpfs("takeover_with_other_slots_in_64_mib_goes_on", 64, |directory| {
        restart(directory, &[FULL_HD], &[6, 5, 7, 4]);
    });
}

#[test]
fn growth_of_a_live_ring_in_64_mib_goes_on() {
    on_small_tmpfs("growth_of_a_live_ring_in_64_mib_goes_on", 64, |directory| {
        let (mut sender, epoch) = sender(directory, 6);
        let mut readers = [Delivery::Newest, Delivery::Every].map(|delivery| subscribe(directory, delivery));
        let mut held = Vec::new();
        for (round, height) in (1080..1280).step_by(40).enumerate() {
            for _ in 0..4 {
                let sequence = send(&mut sender, (1920, height));
                for reader in &mut readers {
                    assert_eq!(read_on(reader), Some((epoch, sequence)), "round {round}");
                }
                held.iter().for_each(check);
            }
            send(&mut sender, (1920, height));
            held = vec![readers[0].recv().unwrap()];
        }
    });
}

#[test]
fn frame_that_never_fits_keeps_what_the_ring_holds() {
    on_small_tmpfs("frame_that_never_fits_keeps_what_the_ring_holds", 64, |directory| {
        let (mut sender, epoch) = sender(directory, 6);
        let mut reader = subscribe(directory, Delivery::Every);
        for _ in 0..3 {
            send(&mut sender, FULL_HD);
        }
        sender.tell("7680 4320");
        assert_eq!(sender.line().as_deref(), Some("failed no_space"));
        assert_eq!(read_on(&mut reader), Some((epoch, 3)));
        assert_eq!((reader.dropped(), reader.received()), (0, 3));
        assert_eq!(send(&mut sender, FULL_HD), 4);
    });
}

#[test]
fn frame_that_leases_keep_out_fits_once_they_end() {
    on_small_tmpfs("frame_that_leases_keep_out_fits_once_they_end", 64, |directory| {
        let (mut sender, _) = sender(directory, 6);
        let mut reader = subscribe(directory, Delivery::Newest);
        let mut held = Vec::new();
        for _ in 0..4 {
            send(&mut sender, FULL_HD);
            held.push(reader.recv().unwrap());
        }
        // Four slots of 6 MiB are held, and the new ring needs 48 of the 64 MiB.
        for _ in 0..3 {
            sender.tell("2048 1360");
            assert_eq!(sender.line().as_deref(), Some("failed no_space"));
            held.iter().for_each(check);
        }
        // A smaller frame needs no more than before, but the slots of the old ring were given up for the
        // larger one.
        held.truncate(1);
        let sequence = send(&mut sender, (2048, 1360));
        let frame = reader.recv().unwrap();
        assert_eq!(frame.sequence(), sequence);
        check(&frame);
        check(&held[0]);
    });
}

#[test]
fn takeover_without_a_frame_leaves_no_file() {
    for first in [None, Some("7680 4320")] {
        let place = Place::new();
        let (mut sender, _) = self::sender(place.path(), 6);
        send(&mut sender, (64, 64));
        sender.kill();
        let (mut sender, _) = self::sender(place.path(), 6);
        if let Some(size) = first {
            // Refused: there is no such width.
            sender.tell(&size.replace("7680", "0"));
            assert_eq!(sender.line().as_deref(), Some("failed invalid_frame"));
        }
        assert!(sender.end().success());
        assert_eq!(place.files(), [""; 0], "after {first:?}");
    }
}
