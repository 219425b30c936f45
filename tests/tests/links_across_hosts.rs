//! Links between hosts over various networks: frames that each receiver gets, and their age.
//!
//! The ends are the commands; cameras and readers run here. `links_that_break.rs` is about ends and wires
//! that go away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use framelane::{
    Backpressure, Delivery, Detection, DetectionPublisher, DetectionSubscriber, Frame, LinkStatus, Urls,
    status,
};
use framelane_tests::links::{Reader, Running, command, serve, start, url};
use framelane_tests::{Camera, Channels, Host, Hosts, Place, Wire, wait_until};

const CHANNEL: &str = "cam0";

/// A cable with this delay and bandwidth.
fn wire(delay_ms: u64, bits_per_second: u64) -> Wire {
    let delay = Duration::from_millis(delay_ms);
    Wire { delay, rate_bits_per_second: Some(bits_per_second), ..Wire::default() }
}

fn receive(host: &Host, place: &Place, from: &Host, more: &[&str]) -> Running {
    let mut receiver = start(host, place, &[&["receive", &url(from, CHANNEL, "")], more].concat());
    receiver.wait_for("started");
    receiver
}

/// Time since its capture. All hosts have this machine's clock.
fn age(frame: &Frame) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_nanos(frame.timestamp_ns()))
}

/// Ends the other threads, also when a check fails.
struct End<'d>(&'d AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn boxes_find_their_frame_over_two_links() {
    let Some(hosts) = Hosts::unless_skipped(3, wire(10, 50_000_000)) else { return };
    let [first, middle, last] = [Place::new(), Place::new(), Place::new()];
    let places = [&first, &middle, &last];
    let publisher = first.publisher().create(CHANNEL).unwrap();
    let epoch = publisher.epoch();
    let _camera = Camera::start(publisher, 10_000, 20.0);
    let _servers = [serve(&hosts[0], &first, &[]), serve(&hosts[1], &middle, &[])];
    let boxes = "cam0/detections";
    // Frames go from host to host, boxes back.
    let _links = [0, 1].map(|at| {
        let send = ["send", boxes, &url(&hosts[at], boxes, "")];
        let forth = receive(&hosts[at + 1], places[at + 1], &hosts[at], &[]);
        (forth, start(&hosts[at + 1], places[at + 1], &send))
    });
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&end);
        scope.spawn(|| {
            let mut reader = Reader::new(last.subscriber().open(CHANNEL).unwrap());
            let options = last.publisher().slots(32);
            let mut found = DetectionPublisher::with_options(options, boxes, &["thing"], "test").unwrap();
            while !end.load(Ordering::Relaxed) {
                let frame = reader.recv().unwrap();
                let x = frame.origin().sequence as f32;
                found.send(&frame.id(), &[Detection { x, ..Detection::default() }]).unwrap();
            }
        });
        let mut frames = first.subscriber().delivery(Delivery::Every).open(CHANNEL).unwrap();
        let every = first.subscriber().delivery(Delivery::Every);
        let mut answers = DetectionSubscriber::with_options(every, boxes).unwrap();
        let mut seen = HashMap::new();
        let mut matched = 0;
        while matched < 20 {
            let frame = frames.recv().unwrap();
            seen.insert(frame.sequence(), frame.id());
            drop(frame);
            while let Ok(batch) = answers.recv_timeout(Duration::ZERO) {
                // The first ones may be of frames from before we looked.
                let Some(id) = seen.get(&batch.frame.sequence) else { continue };
                assert_eq!((batch.frame.epoch, batch.frame.timestamp_ns), (epoch, id.timestamp_ns));
                assert_eq!(batch.boxes[0].x, id.sequence as f32);
                let asked = answers.for_frame(id, Duration::ZERO).unwrap();
                assert_eq!(asked, batch);
                matched += 1;
            }
        }
    });
}

#[test]
fn a_slow_receiver_slows_neither_a_fast_one_nor_the_publisher() {
    let Some(hosts) = Hosts::unless_skipped(3, wire(5, 100_000_000)) else { return };
    // A seventh of the bytes of the camera.
    hosts.set_wire_between(0, 2, wire(5, 1_000_000));
    let [here, quick, slow] = [Place::new(), Place::new(), Place::new()];
    let camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 30_000, 30.0);
    let _server = serve(&hosts[0], &here, &[]);
    let receivers = [receive(&hosts[1], &quick, &hosts[0], &[]), receive(&hosts[2], &slow, &hosts[0], &[])];
    let (end, count) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _end = End(&end);
        scope.spawn(|| {
            let mut reader = Reader::new(quick.subscriber().open(CHANNEL).unwrap());
            while !end.load(Ordering::Relaxed) {
                drop(reader.recv().unwrap());
                count.store(reader.seen, Ordering::Relaxed);
            }
        });
        let mut reader = Reader::new(slow.subscriber().open(CHANNEL).unwrap());
        drop(reader.take(3));
        let before = (count.load(Ordering::Relaxed), reader.last().sequence);
        drop(reader.take(20));
        let got = count.load(Ordering::Relaxed) - before.0;
        let published = reader.last().sequence - before.1;
        println!("links: of {published} frames the fast receiver got {got}, the slow one 20");
        assert!(got * 2 >= published, "{got} of {published}");
        assert!(published >= 60, "the network was not slow: {published} frames");
        assert_eq!(status(Some(here.path()), CHANNEL).unwrap().dropped, 0);
    });
    camera.stop();
    for receiver in receivers {
        receiver.terminate();
    }
}

#[test]
fn slow_link_keeps_the_age_and_counts_skips_on_both_sides() {
    // A frame takes 80 ms, and there are 30 in a second.
    let Some(hosts) = Hosts::unless_skipped(2, wire(20, 4_000_000)) else { return };
    let frame_time = Duration::from_millis(80);
    let (here, there) = (Place::new(), Place::new());
    let camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 40_000, 30.0);
    let mut server = serve(&hosts[0], &here, &[]);
    let receiver = receive(&hosts[1], &there, &hosts[0], &["--once"]);
    let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
    let mut median = |count: usize| {
        let mut ages: Vec<_> = (0..count).map(|_| age(&reader.recv().unwrap())).collect();
        ages.sort();
        ages[count / 2]
    };
    median(10);
    let early = median(30);
    median(40);
    let late = median(30);
    println!("links: frames of 80 ms on a narrow wire are {early:.0?} old, later {late:.0?}");
    // Without limit, 12 of 30 frames getting through, they would be five seconds old by now.
    assert!(late < frame_time * 10, "{early:?}, then {late:?}");
    let newest = camera.stop();
    while reader.recv().is_ok() {}
    let summary = receiver_summary(receiver);
    let ended = server.wait_for("ended");
    assert_eq!(reader.last().sequence, newest, "the last one is the newest one");
    assert_eq!(ended["frames"], summary["frames"]);
    assert_eq!(ended["skipped"], summary["missed"]);
    let [frames, missed] = ["frames", "missed"].map(|field| summary[field].as_u64().unwrap());
    assert_eq!(frames + missed, newest - reader.first().sequence + 1, "{summary}");
    assert!(missed > frames / 2, "{summary}");
}

/// The last event of one that ends by itself.
fn receiver_summary(mut receiver: Running) -> serde_json::Value {
    let summary = receiver.wait_for("summary");
    assert_eq!(receiver.end().code(), Some(0));
    summary
}

#[test]
fn every_frame_arrives_over_a_lossy_interrupted_network() {
    let wire = Wire { loss: 0.02, ..wire(10, 20_000_000) };
    let Some(hosts) = Hosts::unless_skipped(2, wire) else { return };
    let (here, there) = (Place::new(), Place::new());
    // Only with backpressure block, the ring always has all frames that were not sent yet.
    let publisher = here.publisher().backpressure(Backpressure::Block).create(CHANNEL).unwrap();
    let _server = serve(&hosts[0], &here, &[]);
    let receiver = receive(&hosts[1], &there, &hosts[0], &["--every", "--once"]);
    let mut reader = Reader::new(there.subscriber().delivery(Delivery::Every).open(CHANNEL).unwrap());
    // Published when there is a reader.
    wait_until!(publisher.subscribers() == 1);
    let camera = Camera::start(publisher, 20_000, 60.0);
    drop(reader.take(100));
    let before = hosts.counts(0, 1).cut;
    hosts.partition();
    wait_until!(hosts.counts(0, 1).cut > before + 3);
    hosts.heal();
    drop(reader.take(150));
    assert_eq!(status(Some(here.path()), CHANNEL).unwrap().dropped, 0);
    let newest = camera.stop();
    while reader.recv().is_ok() {}
    assert_eq!((reader.first().sequence, reader.last().sequence, reader.gaps), (1, newest, 0));
    let summary = receiver_summary(receiver);
    assert_eq!((summary["missed"].as_u64(), summary["dropped"].as_u64()), (Some(0), Some(0)));
    println!("links: {newest} of {newest} frames over 2 % loss and a cut, {:?}", hosts.counts(0, 1));
}

#[test]
fn frame_slower_than_the_idle_timeout_still_arrives() {
    // Four seconds each, in which neither side may take the other for gone.
    let Some(hosts) = Hosts::unless_skipped(2, wire(10, 1_000_000)) else { return };
    let (here, there) = (Place::new(), Place::new());
    let _camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 500_000, 10.0);
    let _server = serve(&hosts[0], &here, &["--idle-timeout", "2"]);
    let source = url(&hosts[0], CHANNEL, "idle-timeout=2");
    let receiver = start(&hosts[1], &there, &["receive", &source, "--count", "2"]);
    drop(Reader::new(there.subscriber().open(CHANNEL).unwrap()).take(2));
    assert_eq!(receiver_summary(receiver)["connections"], 1);
}

#[test]
fn send_over_a_slow_link_delivers_the_last_frame() {
    // Half a megabyte is in flight when the channel closes, and takes two seconds more.
    let Some(hosts) = Hosts::unless_skipped(2, Wire { loss: 0.01, ..wire(50, 2_000_000) }) else { return };
    let (here, there) = (Place::new(), Place::new());
    let _server = serve(&hosts[0], &there, &[]);
    let mut publisher = Some(here.publisher().backpressure(Backpressure::Block).create(CHANNEL).unwrap());
    let send = ["send", CHANNEL, &url(&hosts[0], CHANNEL, ""), "--every"];
    let sender = start(&hosts[1], &here, &send);
    let mut reader = Reader::new(there.subscriber().delivery(Delivery::Every).open(CHANNEL).unwrap());
    wait_until!(publisher.as_ref().unwrap().subscribers() == 1);
    let camera = Camera::start(publisher.take().unwrap(), 60_000, 100.0);
    drop(reader.take(5));
    let newest = camera.stop();
    while reader.recv().is_ok() {}
    assert_eq!((reader.last().sequence, reader.gaps), (newest, 0));
    let summary = receiver_summary(sender);
    assert_eq!((summary["frames"].as_u64(), summary["skipped"].as_u64()), (Some(newest), Some(0)));
}

#[test]
fn info_tells_how_the_link_is() {
    let Some(hosts) = Hosts::unless_skipped(2, wire(25, 50_000_000)) else { return };
    let (here, there) = (Place::new(), Place::new());
    let _camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 5_000, 20.0);
    let server = serve(&hosts[0], &here, &[]);
    let mut receiver = receive(&hosts[1], &there, &hosts[0], &["--codec", "lz4"]);
    let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
    drop(reader.take(10));
    let link = || status(Some(there.path()), CHANNEL).unwrap().link.unwrap();
    let LinkStatus { peer, connected, connections, .. } = link();
    assert_eq!(peer, format!("tcp://{}:7420/{CHANNEL}", hosts[0].address()));
    assert!(connected && connections == 1);
    let wire_ns = 50_000_000;
    assert!(link().round_trip_ns >= wire_ns);
    // A ping that had to wait for this machine is followed by one that had not.
    wait_until!(link().round_trip_ns < 2 * wire_ns && link().clock_offset_ns.unsigned_abs() < wire_ns / 2);
    let LinkStatus { latency_ns, received_bytes, .. } = link();
    assert!(latency_ns >= wire_ns / 2 && received_bytes > 0, "{latency_ns} {received_bytes}");

    let output = command(&hosts[1], &there, &["info", CHANNEL, "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["link"]["peer"], peer);
    assert_eq!((&report["link"]["connected"], &report["link"]["connections"]), (&true.into(), &1.into()));
    for field in ["clock_offset_ns", "round_trip_ns", "latency_ns", "received_bytes", "missed"] {
        assert!(report["link"][field].is_number(), "{field}: {report}");
    }
    server.terminate();
    receiver.wait_for("lost");
    wait_until!(!link().connected);
}

#[test]
fn fifty_receivers_of_one_channel_all_get_frames() {
    const RECEIVERS: usize = 50;
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    framelane_net::register_url_schemes();
    let (here, there) = (Place::new(), Place::new());
    let _camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 4_000, 10.0);
    let _server = serve(&hosts[0], &here, &[]);
    let url = url(&hosts[0], CHANNEL, "");
    let open = AtomicU64::new(0);
    hosts[1].run(|| {
        std::thread::scope(|scope| {
            for _ in 0..RECEIVERS {
                scope.spawn(|| {
                    let mut reader = Reader::new(there.subscriber().urls(Urls::Trusted).open(&url).unwrap());
                    drop(reader.take(3));
                    // None goes before all are there.
                    open.fetch_add(1, Ordering::Relaxed);
                    while open.load(Ordering::Relaxed) < RECEIVERS as u64 {
                        drop(reader.recv().unwrap());
                    }
                    drop(reader.take(3));
                });
            }
        });
    });
    assert_eq!(status(Some(here.path()), CHANNEL).unwrap().dropped, 0);
    assert!(there.files().is_empty(), "{:?}", there.files());
}
