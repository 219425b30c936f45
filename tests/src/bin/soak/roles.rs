//! The publisher, and a reader in Rust; the one in Python is `tests/python/soak_reader.py`.
//!
//! They print what they have done since their last line: `published N`, `checked N`, `ring` for a change of
//! size, `torn …` and `wrong …` for what must not be. The end of standard input ends them.

use std::error::Error;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{
    CancelToken, Delivery, Frame, FrameInfo, Layout, LoanError, PixelFormat, PublisherOptions, RecvError,
    SubscriberOptions,
};
use framelane_tests::{Pattern, Random};

const CHANNEL: &str = "soak";
/// Slots for six readers, which hold two frames each while they compare them, the newest frame and the next.
const SLOTS: usize = 14;
const SIZES: [(u32, u32); 3] = [(1920, 1080), (640, 480), (2560, 1440)];
/// Frames between two lines.
const REPORT: u64 = 20;

static INPUT_ENDED: AtomicBool = AtomicBool::new(false);

fn watch_input() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        INPUT_ENDED.store(true, Ordering::Relaxed);
    });
}

pub fn publish(seed: u64) -> Result<(), Box<dyn Error>> {
    watch_input();
    let mut random = Random::new(seed);
    let pattern = Pattern::new();
    let mut publisher = PublisherOptions::new().slots(SLOTS).create(CHANNEL)?;
    println!("ready");
    let mut size = SIZES[0];
    // Counted here: a frame that finds no slot has a number too, so the numbers do not say how many were
    // published.
    let (mut published, mut unplaced) = (0, publisher.dropped());
    while !INPUT_ENDED.load(Ordering::Relaxed) {
        if random.below(60) == 0 {
            // Full HD two times of three.
            let next = if random.below(3) > 0 { SIZES[0] } else { SIZES[random.below(3) as usize] };
            if next != size {
                size = next;
                println!("ring");
            }
        }
        let layout = Layout::packed(PixelFormat::Bgr8, size.0, size.1)?;
        let sequence = publisher.sequence() + 1;
        match publisher.loan(&layout) {
            Ok(mut loan) => {
                pattern.fill(loan.bytes_mut(), sequence, false);
                loan.publish(&FrameInfo::default());
                published += 1;
            }
            Err(LoanError::NoFreeSlot) => {}
            Err(error) => return Err(error.into()),
        }
        if published >= REPORT {
            println!("published {published}");
            println!("unplaced {}", publisher.dropped() - unplaced);
            (published, unplaced) = (0, publisher.dropped());
        }
    }
    println!("published {published}");
    println!("unplaced {}", publisher.dropped() - unplaced);
    if publisher.backpressure() == framelane::Backpressure::Block {
        publisher.drain(None)?;
    }
    publisher.close();
    Ok(())
}

/// Reads so many frames, or until its input ends; opens the channel again when it was closed.
pub fn read(delivery: &str, frames: u64) -> Result<(), Box<dyn Error>> {
    watch_input();
    let pattern = Pattern::new();
    let options = SubscriberOptions::new().delivery(if delivery == "every" {
        Delivery::Every
    } else {
        Delivery::Newest
    });
    let go_on = || !INPUT_ENDED.load(Ordering::Relaxed);
    let options = options.cancel(CancelToken::with_check(move || !go_on()));
    let (mut total, mut said) = (0, 0);
    while total < frames && go_on() {
        let Ok(mut subscriber) = options.open(CHANNEL) else { break };
        let (mut first, mut last) = (0, 0);
        let mut held: Option<Frame> = None;
        while total < frames && go_on() {
            let frame = match subscriber.recv_timeout(Duration::from_millis(500)) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => continue,
                Err(RecvError::Closed) => break,
                Err(error) => return Err(error.into()),
            };
            // The new one, and once more the one that was held meanwhile.
            for frame in [Some(&frame), held.as_ref()].into_iter().flatten() {
                if let Err(fault) = pattern.check(frame.bytes(), frame.sequence()) {
                    println!("torn {fault}");
                    return Err(fault.into());
                }
                assert!(frame.is_intact(), "no process breaks the protocol here");
            }
            if first == 0 {
                first = frame.sequence() - frame.dropped();
            }
            last = frame.sequence();
            held = Some(frame);
            total += 1;
            if total >= said + REPORT {
                println!("checked {}", total - said);
                said = total;
            }
        }
        let (received, dropped) = (subscriber.received(), subscriber.dropped());
        if first != 0 && received + dropped != last + 1 - first {
            println!("wrong {received} received and {dropped} dropped from {first} to {last}");
            return Err("the count is wrong".into());
        }
    }
    println!("checked {}", total - said);
    Ok(())
}
