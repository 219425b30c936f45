//! Publishes a plan: see `tests/languages/README.md`.

use std::time::Duration;

use framelane::{Backpressure, DetectionSubscriber, FrameInfo, Layout, Plane, Publisher, PublisherOptions};
use framelane_tests::language::{self, byte};

/// Rows that are longer than they need be, planes one after the other.
fn padded(layout: &Layout) -> Layout {
    let mut at = 0;
    let planes: Vec<_> = (0..layout.planes().len())
        .map(|plane| {
            let (rows, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
            let place = Plane { offset_bytes: at, stride_bytes: row_bytes + 5 };
            at += place.stride_bytes * rows as usize;
            place
        })
        .collect();
    Layout::with_planes(layout.format(), layout.width(), layout.height(), &planes, at).expect("a layout")
}

fn fill(layout: &Layout, n: u64, bytes: &mut [u8]) {
    for (index, plane) in layout.planes().iter().enumerate() {
        let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
        for row in 0..rows as usize {
            let start = plane.offset_bytes + row * plane.stride_bytes;
            for (at, to) in bytes[start..start + row_bytes].iter_mut().enumerate() {
                *to = byte(n, index as u64, row as u64, at as u64);
            }
        }
    }
}

fn publish(publisher: &mut Publisher, layout: &Layout, how: &str, n: u64) {
    let info: FrameInfo = language::info(n);
    if how == "loan" {
        let mut loan = publisher.loan(layout).expect("a slot");
        fill(layout, n, loan.bytes_mut());
        loan.publish(&info);
    } else {
        let layout = padded(layout);
        let mut bytes = vec![0; layout.size_bytes()];
        fill(&layout, n, &mut bytes);
        publisher.send(&layout, &info, &bytes).expect("a slot");
    }
}

fn main() {
    framelane_net::register_url_schemes();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = PublisherOptions::new().backpressure(Backpressure::Block);
    let mut publisher = options.create(&arguments[0]).expect("a channel");
    while publisher.subscribers() < arguments[2].parse().expect("a number") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut detections =
        arguments.get(3).map(|channel| DetectionSubscriber::open(channel).expect("detections"));
    let plan = std::fs::read_to_string(&arguments[1]).expect("the plan");
    for (line, n) in plan.lines().zip(1..) {
        let (layout, how) = language::step(line);
        publish(&mut publisher, &layout, how, n);
        if let Some(detections) = &mut detections {
            let found = detections.for_frame((publisher.epoch(), n), Duration::MAX).expect("boxes");
            println!("{}", language::found_text(&found));
        }
    }
    publisher.drain(None).expect("the readers receive all");
    publisher.close();
}
