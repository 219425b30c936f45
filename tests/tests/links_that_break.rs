//! Networks that are cut, and ends that are killed or stopped and restarted, in every order.
//!
//! Links reconnect. Readers stay attached unless their channel is closed. No frame arrives twice, torn, or
//! after a later one, which [`Reader`] checks.

use framelane::{Backpressure, Delivery, RecvError, status};
use framelane_tests::links::{PORT, Reader, Running, serve, start, url};
use framelane_tests::{Camera, Channels, Hosts, Place, Wire, wait_until};

const CHANNEL: &str = "cam0";
const BYTES: usize = 5_000;
const FPS: f64 = 50.0;

fn camera(place: &Place) -> Camera {
    Camera::start(place.publisher().create(CHANNEL).unwrap(), BYTES, FPS)
}

fn is_connected(place: &Place) -> bool {
    status(Some(place.path()), CHANNEL).is_ok_and(|status| status.link.is_some_and(|link| link.connected))
}

#[test]
fn link_reconnects_and_readers_see_only_a_gap() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let camera = camera(&here);
    let mut server = serve(&hosts[0], &here, &["--idle-timeout", "2"]);
    let source = url(&hosts[0], CHANNEL, "idle-timeout=2");
    let mut receiver = start(&hosts[1], &there, &["receive", &source]);
    let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
    for round in 1..=2 {
        drop(reader.take(20));
        hosts.partition();
        // Both sides notice, each by itself.
        let lost = receiver.wait_for("lost");
        assert!(lost["reason"].as_str().unwrap().contains("nothing was heard"), "{lost}");
        let ended = server.wait_for("ended");
        assert!(ended["reason"].as_str().unwrap().contains("nothing was heard"), "{ended}");
        assert!(!is_connected(&there));
        let missed = camera.newest();
        hosts.heal();
        receiver.wait_for("connected");
        drop(reader.reach(missed + 1));
        let link = status(Some(there.path()), CHANNEL).unwrap().link.unwrap();
        assert_eq!((link.connected, link.connections), (true, round + 1));
    }
    let summary = receiver.terminate();
    while reader.recv().is_ok() {}
    let in_all = reader.last().sequence - reader.first().sequence + 1;
    assert!(summary["missed"].as_u64().unwrap() >= 2 && reader.seen + reader.gaps == in_all, "{summary}");
}

#[test]
fn a_short_cut_is_no_break_at_all() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let _camera = camera(&here);
    let _server = serve(&hosts[0], &here, &[]);
    let source = url(&hosts[0], CHANNEL, "");
    let _receiver = start(&hosts[1], &there, &["receive", &source]);
    let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
    for _ in 0..3 {
        drop(reader.take(10));
        let before = hosts.counts(0, 1).cut;
        hosts.partition();
        wait_until!(hosts.counts(0, 1).cut > before + 1);
        hosts.heal();
    }
    drop(reader.take(10));
    let link = status(Some(there.path()), CHANNEL).unwrap().link.unwrap();
    assert_eq!((link.connected, link.connections), (true, 1));
}

#[test]
fn channel_of_a_lost_sender_stays_for_reconnect_grace() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let camera = camera(&there);
    let mut server = serve(&hosts[0], &here, &["--idle-timeout", "2", "--reconnect-grace", "3600"]);
    let target = url(&hosts[0], CHANNEL, "idle-timeout=2");
    let mut sender = start(&hosts[1], &there, &["send", CHANNEL, &target]);
    let mut reader = Reader::new(here.subscriber().open(CHANNEL).unwrap());
    drop(reader.take(20));
    hosts.partition();
    sender.wait_for("lost");
    server.wait_for("ended");
    let missed = camera.newest();
    hosts.heal();
    sender.wait_for("connected");
    drop(reader.reach(missed + 1));
    // Killed, and another one in its place: the same client to the server, by its address.
    sender.kill();
    sender = start(&hosts[1], &there, &["send", CHANNEL, &target]);
    drop(reader.reach(camera.newest() + 1));
    sender.terminate();
    server.wait_for("ended");
    sender = start(&hosts[1], &there, &["send", CHANNEL, &target]);
    drop(reader.reach(camera.newest() + 1));
    // The channel's end there is its end here.
    let newest = camera.stop();
    while reader.recv().is_ok() {}
    assert_eq!(reader.last().sequence, newest);
    sender.wait_for("summary");
    assert_eq!(sender.end().code(), Some(0));
    drop(server);

    let _server = serve(&hosts[0], &here, &["--reconnect-grace", "1"]);
    let _camera = self::camera(&there);
    let sender = start(&hosts[1], &there, &["send", CHANNEL, &target]);
    let mut reader = Reader::new(here.subscriber().open(CHANNEL).unwrap());
    drop(reader.take(5));
    sender.kill();
    while reader.recv().is_ok() {}
    wait_until!(here.files().is_empty());
}

/// Parts that are stopped and restarted. The reader stays.
struct Ends<'h> {
    hosts: &'h Hosts,
    /// The hosts of the camera and of the receiver.
    here: Place,
    there: Place,
    pushes: bool,
    camera: Option<Running>,
    server: Option<Running>,
    client: Option<Running>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Camera,
    Server,
    /// The one that connects: it receives, or it sends.
    Client,
}

const PARTS: [Part; 3] = [Part::Camera, Part::Server, Part::Client];

impl<'h> Ends<'h> {
    fn new(hosts: &'h Hosts, pushes: bool) -> Self {
        let (here, there) = (Place::new(), Place::new());
        let mut ends = Ends { hosts, here, there, pushes, camera: None, server: None, client: None };
        PARTS.iter().for_each(|part| ends.start(*part));
        ends
    }

    fn start(&mut self, part: Part) {
        let (server_place, client_place) =
            if self.pushes { (&self.there, &self.here) } else { (&self.here, &self.there) };
        match part {
            Part::Camera => {
                let arguments = [CHANNEL, &BYTES.to_string(), &FPS.to_string()];
                let mut camera = self.here.start_program(env!("CARGO_BIN_EXE_camera"), &arguments);
                camera.numbers("ready");
                self.camera = Some(camera);
            }
            Part::Server => self.server = Some(serve(&self.hosts[0], server_place, &[])),
            Part::Client => {
                let url = url(&self.hosts[0], CHANNEL, "");
                let arguments = if self.pushes { vec!["send", CHANNEL, &url] } else { vec!["receive", &url] };
                self.client = Some(start(&self.hosts[1], client_place, &arguments));
            }
        }
    }

    fn kill(&mut self, part: Part) {
        match part {
            Part::Camera => self.camera.take().unwrap().kill(),
            Part::Server => self.server.take().unwrap().kill(),
            Part::Client => self.client.take().unwrap().kill(),
        }
    }

    fn end(&mut self, part: Part) {
        match part {
            Part::Camera => drop(self.camera.take().unwrap().end()),
            Part::Server => drop(self.server.take().unwrap().terminate()),
            Part::Client if self.pushes => drop(self.client.take().unwrap().terminate()),
            Part::Client => drop(self.client.take().unwrap().terminate()),
        }
    }

    fn reader(&self) -> Reader {
        Reader::new(self.there.subscriber().open(CHANNEL).unwrap())
    }

    /// The newest frame where the camera is.
    fn newest(&self) -> u64 {
        status(Some(self.here.path()), CHANNEL).map_or(0, |status| status.sequence)
    }
}

fn orders() -> Vec<[Part; 3]> {
    let all = PARTS.iter().flat_map(|a| PARTS.iter().flat_map(|b| PARTS.iter().map(|c| [*a, *b, *c])));
    all.filter(|[a, b, c]| a != b && b != c && a != c).collect()
}

fn everything_can_be_killed(pushes: bool) {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let mut ends = Ends::new(&hosts, pushes);
    let mut reader = ends.reader();
    drop(reader.take(10));
    for part in PARTS {
        ends.kill(part);
        ends.start(part);
        drop(reader.reach(ends.newest() + 5));
    }
    for order in orders() {
        order.iter().for_each(|part| ends.kill(*part));
        order.iter().for_each(|part| ends.start(*part));
        drop(reader.reach(ends.newest() + 5));
    }
    println!("links: {} frames over 21 kills, numbers from 1 to {}", reader.seen, reader.last().sequence);
}

#[test]
fn kills_of_camera_server_receiver_keep_the_reader() {
    everything_can_be_killed(false);
}

#[test]
fn kills_of_camera_sender_server_keep_the_reader() {
    everything_can_be_killed(true);
}

#[test]
fn every_frame_arrives_over_a_relay_whose_receiver_is_killed() {
    let Some(hosts) = Hosts::unless_skipped(3, Wire::default()) else { return };
    let [first, middle, last] = [Place::new(), Place::new(), Place::new()];
    let publisher = first.publisher().backpressure(Backpressure::Block).create(CHANNEL).unwrap();
    let (camera_server, _server) = (serve(&hosts[0], &first, &[]), serve(&hosts[1], &middle, &[]));
    let urls = [0, 1].map(|at| url(&hosts[at], CHANNEL, "delivery=every"));
    // Without a receiver, the relay's ring keeps six seconds of frames.
    let relays = || start(&hosts[1], &middle, &["receive", &urls[0], "--slots", "128"]);
    let mut relay = relays();
    let start = || start(&hosts[2], &last, &["receive", &urls[1]]);
    let mut receiver = start();
    let mut reader = Reader::new(last.subscriber().delivery(Delivery::Every).open(CHANNEL).unwrap());
    wait_until!(publisher.subscribers() == 1);
    wait_until!(status(Some(middle.path()), CHANNEL).is_ok_and(|relay| relay.subscribers.len() == 1));
    let camera = Camera::start(publisher, BYTES, 20.0);
    for _ in 0..3 {
        drop(reader.take(10));
        receiver.kill();
        let gone = camera.newest() + 3;
        wait_until!(camera.newest() > gone);
        receiver = start();
    }
    drop(reader.take(20));
    // The relay dies as well, and comes again when nothing new reaches it: what it had is still to come.
    receiver.kill();
    let gone = camera.newest() + 3;
    wait_until!(camera.newest() > gone);
    camera_server.kill();
    relay.wait_for("lost");
    let newest = middle.subscriber().open(CHANNEL).unwrap().recv().unwrap().origin().sequence;
    relay.kill();
    relay = relays();
    wait_until!({
        status(Some(middle.path()), CHANNEL).is_ok_and(|status| status.publisher_pid == relay.id())
    });
    let _receiver = start();
    drop(reader.reach(newest));
    assert_eq!((reader.first().sequence, reader.last().sequence, reader.gaps), (1, newest, 0));
}

#[test]
fn every_frame_that_is_sent_arrives_though_the_server_is_killed() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    // While the server is away the sender stands for it: the publisher waits, and nothing is lost.
    let publisher = here.publisher().backpressure(Backpressure::Block).slots(32).create(CHANNEL).unwrap();
    let mut server = serve(&hosts[0], &there, &[]);
    let target = url(&hosts[0], CHANNEL, "delivery=every");
    let mut sender = start(&hosts[1], &here, &["send", CHANNEL, &target]);
    let mut reader = Reader::new(there.subscriber().delivery(Delivery::Every).open(CHANNEL).unwrap());
    wait_until!(publisher.subscribers() == 1);
    let camera = Camera::start(publisher, BYTES, 100.0);
    for _ in 0..5 {
        drop(reader.take(20));
        server.kill();
        sender.wait_for("lost");
        server = serve(&hosts[0], &there, &[]);
    }
    drop(reader.take(20));
    let newest = camera.stop();
    while reader.recv().is_ok() {}
    assert_eq!((reader.first().sequence, reader.last().sequence, reader.gaps), (1, newest, 0));
    assert_eq!(sender.end().code(), Some(0));
}

/// Until frames of another life of the camera come, or the channel ends.
fn next_life(reader: &mut Reader) -> Result<(), RecvError> {
    let before = reader.last().epoch;
    while reader.last().epoch == before {
        drop(reader.recv()?);
    }
    Ok(())
}

#[test]
fn clean_end_closes_only_its_channel() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let mut ends = Ends::new(&hosts, false);
    let mut reader = ends.reader();
    drop(reader.take(10));
    ends.end(Part::Server);
    ends.start(Part::Server);
    drop(reader.reach(ends.newest() + 5));
    // A new remote channel, whose numbers start at 1, in the same local channel.
    ends.end(Part::Camera);
    ends.start(Part::Camera);
    next_life(&mut reader).unwrap();
    drop(reader.take(5));
    ends.end(Part::Client);
    while reader.recv().is_ok() {}
    ends.start(Part::Client);
    drop(ends.reader().take(5));
    for order in orders() {
        order.iter().for_each(|part| ends.end(*part));
        assert_eq!((ends.here.files(), ends.there.files()), (vec![], vec![]), "{order:?}");
        order.iter().for_each(|part| ends.start(*part));
        drop(ends.reader().take(5));
    }
}

#[test]
fn clean_end_of_a_server_closes_received_channels() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let mut ends = Ends::new(&hosts, true);
    let mut reader = ends.reader();
    drop(reader.take(10));
    // A sender that ends may come again: the channel lingers.
    ends.end(Part::Client);
    ends.start(Part::Client);
    drop(reader.reach(ends.newest() + 5));
    ends.end(Part::Server);
    while reader.recv().is_ok() {}
    assert!(ends.there.files().is_empty());
    ends.start(Part::Server);
    let mut reader = ends.reader();
    drop(reader.take(5));
    // A sender ends with its channel, and so does the channel there.
    ends.camera.take().unwrap().end();
    assert_eq!(ends.client.take().unwrap().end().code(), Some(0));
    while reader.recv().is_ok() {}
    ends.start(Part::Camera);
    ends.start(Part::Client);
    drop(ends.reader().take(5));
}

#[test]
fn an_address_where_nobody_listens_is_tried_until_somebody_does() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let mut receiver = start(&hosts[1], &there, &["receive", &url(&hosts[0], CHANNEL, ""), "lab/cam0"]);
    let lost = receiver.wait_for("lost");
    assert!(lost["reason"].as_str().unwrap().contains(&PORT.to_string()), "{lost}");
    let _server = serve(&hosts[0], &here, &[]);
    receiver.wait_for("connected");
    let _camera = camera(&here);
    drop(Reader::new(there.subscriber().open("lab/cam0").unwrap()).take(3));
}
