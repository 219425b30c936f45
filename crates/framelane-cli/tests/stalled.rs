//! Channels whose publisher lives and sends no frames, in every report.

mod support;

use std::time::Duration;

use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions};
use framelane_test_kit::wait_until;
use support::Place;

#[test]
fn channel_without_new_frames_is_reported_as_stalled() {
    let place = Place::new();
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 8, 8).unwrap();
    let mut send = || publisher.send(&layout, &FrameInfo::default(), &[1; 64]).unwrap();
    let stalled = || place.json("list --json")["channels"][0]["stalled_ns"].as_u64();
    send();
    let first = &place.json("list --json")["channels"][0];
    assert!(first["stalled_ns"].is_null() && first["period_ns"].is_null(), "{first}");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(10));
        send();
    }
    wait_until!(stalled() > Some(1_000_000_000));
    let listed = &place.json("list --json")["channels"][0];
    assert_eq!(listed["state"], "live");
    assert!(listed["period_ns"].as_u64() >= Some(10_000_000), "{listed}");
    for line in ["list", "info cam0", "top --count 1 --interval 0.05"] {
        let output = place.run(line);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("stalled"), "{line}: {text}");
    }
    // A new frame ends the stall, and the pause before it is no period.
    wait_until("a frame ends the stall", || {
        send();
        stalled().is_none()
    });
    wait_until!(stalled().is_some());
}
