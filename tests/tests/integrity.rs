//! One publisher and eight subscriber processes, in Rust and in Python: no frame is torn, and every frame is
//! either received or counted.

use framelane::{Backpressure, FrameInfo, Layout, LoanError, PixelFormat, Publisher};
use framelane_tests::{Channels, Pattern, Place, Random, Running, SMALLEST_FRAME};

const SUBSCRIBER: &str = env!("CARGO_BIN_EXE_subscriber");

/// Four subscribers in Rust and four in Python (or Rust again, if there is no Python), as many in each
/// delivery.
fn start_eight(place: &Place, modes: [&'static str; 8]) -> Vec<(&'static str, &'static str, Running)> {
    let mut started: Vec<_> = modes
        .into_iter()
        .enumerate()
        .map(|(index, delivery)| {
            let held = ["0", "2"][index / 4];
            let python =
                (index % 2 == 1).then(|| place.start_python("subscriber.py", &["c", delivery, held]));
            match python.flatten() {
                Some(child) => ("Python", delivery, child),
                None => ("Rust", delivery, place.start_program(SUBSCRIBER, &["c", delivery, held, "end"])),
            }
        })
        .collect();
    for (_, _, child) in &mut started {
        child.numbers("ready");
    }
    started
}

/// Sends a frame of this size; false when every slot was taken.
fn send(publisher: &mut Publisher, pattern: &Pattern, bytes: usize, last: bool) -> bool {
    let layout = Layout::packed(PixelFormat::Gray8, bytes as u32, 1).unwrap();
    let sequence = publisher.sequence() + 1;
    match publisher.loan(&layout) {
        Ok(mut loan) => {
            pattern.fill(loan.bytes_mut(), sequence, last);
            loan.publish(&FrameInfo::default());
            true
        }
        Err(LoanError::NoFreeSlot) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Random sizes whose upper bound grows from 4 to 64 KiB.
fn bytes_of(random: &mut Random, sequence: u64, frames: u64) -> usize {
    let most = (4 << 10) + (60 << 10) * sequence / frames;
    SMALLEST_FRAME + random.below(most - SMALLEST_FRAME as u64) as usize
}

/// More slots than the readers can lease, 24: they release none before they get the next frame.
fn run(backpressure: Backpressure, slots: usize, frames: u64, modes: [&'static str; 8]) -> Vec<[u64; 4]> {
    let place = Place::new();
    let mut random = Random::printed("integrity");
    let pattern = Pattern::new();
    let mut publisher = place.publisher().slots(slots).backpressure(backpressure).create("c").unwrap();
    let subscribers = start_eight(&place, modes);
    while publisher.sequence() < frames - 1 {
        let bytes = bytes_of(&mut random, publisher.sequence(), frames);
        send(&mut publisher, &pattern, bytes, false);
        // Fewer cores than processes: let readers in at every point, not only when a time slice ends.
        std::thread::yield_now();
    }
    while !send(&mut publisher, &pattern, SMALLEST_FRAME, true) {}
    let total = publisher.sequence();
    let dropped = publisher.dropped();
    println!("{backpressure:?}: {total} frames, {dropped} without a free slot");
    let counts = subscribers
        .into_iter()
        .map(|(language, delivery, mut child)| {
            let counts: [u64; 5] = child.numbers("end").try_into().unwrap();
            assert!(child.end().success());
            let [received, missed, first, last, _] = counts;
            println!("  {language}, {delivery}: {received} received, {missed} dropped");
            assert_eq!(last, total, "to the last frame");
            assert_eq!(received + missed, last + 1 - first, "every frame is received or counted");
            [received, missed, first, last]
        })
        .collect();
    assert_eq!(publisher.subscribers(), 0);
    publisher.close();
    assert_eq!(place.files(), [""; 0]);
    counts
}

#[test]
fn eight_subscribers_see_no_torn_frame_and_count_drops() {
    let modes = ["newest", "newest", "every", "every", "newest", "newest", "every", "every"];
    for [_, _, first, _] in run(Backpressure::Drop, 32, 100_000, modes) {
        assert_eq!(first, 1, "all were there before the first frame");
    }
}

#[test]
fn backpressure_block_loses_no_frame_for_delivery_every() {
    let modes = ["every", "every", "newest", "every", "every", "every", "every", "newest"];
    let counts = run(Backpressure::Block, 32, 5_000, modes);
    for (delivery, [received, missed, first, _]) in modes.into_iter().zip(counts) {
        if delivery == "every" {
            assert_eq!((received, missed, first), (5_000, 0, 1));
        }
    }
}
