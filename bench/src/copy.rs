//! One copy into the slot against the machine's own memcpy.

use std::time::{Duration, Instant};

use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions};
use serde_json::Value;

use crate::report::compare_rates;
use crate::scenario::Scenarios;

/// Calls `copy` for a while; how often a second.
fn rate(seconds: f64, mut copy: impl FnMut()) -> f64 {
    let began = Instant::now();
    let length = Duration::from_secs_f64(seconds);
    let mut count = 0_u64;
    while began.elapsed() < length {
        copy();
        count += 1;
    }
    count as f64 / began.elapsed().as_secs_f64()
}

/// `Publisher::send` against memcpy to as many buffers as the ring has slots, and to a single one.
pub fn copy(scenarios: &Scenarios) -> Vec<Value> {
    let (frame, copy) = (&scenarios.frame, &scenarios.copy);
    let picture: Vec<u8> = (0..frame.bytes).map(|at| (at * 7 / 3) as u8).collect();
    let slots = scenarios.framelane.slots;
    let directory = crate::peers::framelane::directory();
    let options = PublisherOptions::new().slots(slots).directory(directory);
    let mut publisher = options.create(&format!("copy-{}", std::process::id())).expect("a channel");
    let layout = Layout::packed(PixelFormat::Bgr8, frame.width, frame.height).expect("a layout");
    let mut buffers = vec![vec![1_u8; frame.bytes]; slots];
    let (mut sent, mut many, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..copy.rounds {
        sent.push(rate(copy.seconds_per_round, || {
            publisher.send(&layout, &FrameInfo::default(), &picture).expect("no reader, no trouble");
        }));
        let mut next = 0;
        many.push(rate(copy.seconds_per_round, || {
            buffers[next].copy_from_slice(std::hint::black_box(&picture));
            std::hint::black_box(&buffers[next]);
            next = (next + 1) % slots;
        }));
        one.push(rate(copy.seconds_per_round, || {
            buffers[0].copy_from_slice(std::hint::black_box(&picture));
            std::hint::black_box(&buffers[0]);
        }));
    }
    let work = "one copy into the slot, free-running";
    let ours = ("Publisher::send", &sent[..]);
    vec![
        compare_rates(work, "frames/s", ours, ("memcpy, as many buffers as slots", &many), Some(copy.target)),
        compare_rates(work, "frames/s", ours, ("memcpy, one buffer", &one), None),
    ]
}
