//! Events of the `tracing` crate. They are collected for the whole process, so this file has one test.

mod support;

use framelane::*;
use framelane_test_kit::{Events, wait_until};
use support::{Served, gray, open};

#[test]
fn life_of_a_link_is_traced_without_secrets() {
    let (events, collector) = Events::new();
    tracing::subscriber::set_global_default(collector).unwrap();
    let mut served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("cam0");
    publisher.send(&gray(4, 4), &FrameInfo::default(), &[1; 16]).unwrap();
    let (mut subscriber, _directory) = open(&served.url("cam0?slots=2"), Delivery::Newest).unwrap();
    let frame = subscriber.recv().unwrap();
    wait_until!(events.has(&["INFO", "link connected", "direction=\"receive\"", "/cam0"]));
    wait_until!(events.has(&["INFO", "client connected", "channel=\"cam0\""]));
    // One slot is leased, and the other one has the newest frame.
    wait_until!({
        publisher.send(&gray(4, 4), &FrameInfo::default(), &[2; 16]).unwrap();
        events.has(&["DEBUG", "frame dropped"])
    });
    drop(frame);
    served.end();
    wait_until!(events.has(&["WARN", "link lost", "retry_in="]));
    wait_until!(events.has(&["client", "channel=\"cam0\"", "disconnected"]) || events.has(&["client lost"]));
    drop(subscriber);
    wait_until!(events.has(&["INFO", "link closed", "/cam0"]));
    // The options of a URL may hold secrets.
    assert!(!events.has(&["slots=2"]), "{:#?}", events.lines());
}
