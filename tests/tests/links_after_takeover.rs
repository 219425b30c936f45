//! Subscribers behind a link, after the publisher at its source was replaced: they get no frame of the dead
//! one.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use framelane::{CancelToken, Delivery, Frame, Origin, Subscriber, status};
use framelane_net::{Access, LinkUrl, ReceiveOptions, SendOptions, Server, ServerOptions};
use framelane_tests::{Channels, Place, Running, wait_until};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Runs until it is dropped.
struct Service(CancelToken, Option<JoinHandle<()>>);

impl Service {
    fn start(cancel: CancelToken, run: impl FnOnce() + Send + 'static) -> Self {
        Service(cancel, Some(std::thread::spawn(run)))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.0.cancel();
        if let Some(thread) = self.1.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(place: &Place) -> Service {
    let mut options = ServerOptions::new(Access::Anyone);
    options.listen = vec![format!("unix:{}/s.sock", place.path().display()).parse().unwrap()];
    options.directory = Some(place.path().into());
    options.read = "**".parse().unwrap();
    options.write = "**".parse().unwrap();
    let cancel = options.cancel.clone();
    let server = Server::bind(options).unwrap();
    Service::start(cancel, move || server.run(&|_| {}))
}

fn url(server: &Place, channel: &str) -> LinkUrl {
    format!("unix:{}/s.sock/{channel}", server.path().display()).parse().unwrap()
}

/// Receives the channel of a server into a place.
fn receive(server: &Place, place: &Place, channel: &'static str) -> Service {
    let (url, publisher) = (url(server, channel), place.publisher().create(channel));
    let cancel = CancelToken::new();
    let options = ReceiveOptions::new().cancel(cancel.clone());
    Service::start(cancel, move || {
        framelane_net::receive(&url, &mut publisher.unwrap(), &options, &mut |_| {}).unwrap();
    })
}

/// Sends the channel of a place to a server.
fn send(place: &Place, server: &Place) -> Service {
    let (url, subscriber) = (url(server, "c"), place.subscriber());
    let reader = subscriber.open("c").unwrap();
    let cancel = CancelToken::new();
    let options = SendOptions::new(subscriber).cancel(cancel.clone());
    Service::start(cancel, move || {
        // Interrupted, or the end of the channel.
        let _ = framelane_net::send(&url, reader, &options, &|_| {});
    })
}

fn publisher(place: &Place) -> (Running, u64) {
    let mut sender = place.start_program(SENDER, &["c", "4"]);
    let epoch = sender.numbers("ready")[0];
    (sender, epoch)
}

fn publish(sender: &mut Running) -> u64 {
    sender.tell("64 64");
    sender.numbers("sent")[0]
}

fn subscribe(place: &Place, delivery: Delivery) -> Subscriber {
    place.subscriber().delivery(delivery).open("c").unwrap()
}

/// The frame that a subscriber gets at once if it opens now.
fn first(place: &Place, delivery: Delivery) -> Option<Origin> {
    subscribe(place, delivery).recv_timeout(Duration::ZERO).ok().map(|frame| frame.origin())
}

fn is_connected(directory: &Path) -> bool {
    let link = status(Some(directory), "c").ok().and_then(|status| status.link);
    link.is_some_and(|link| link.connected)
}

fn is_live(directory: &Path) -> bool {
    let link = status(Some(directory), "c").ok().and_then(|status| status.link);
    link.is_some_and(|link| link.live)
}

fn origin(frame: &Frame) -> (u64, u64) {
    (frame.epoch(), frame.sequence())
}

/// The last frame of a publisher that was killed, the take-over, and the first frame of the next one.
fn replaced(source: &Place, sink: &Place, mut sender: Running, epoch: u64, meanwhile: impl FnOnce()) {
    let mut attached = subscribe(sink, Delivery::Every);
    let last = publish(&mut sender);
    let mut received = None;
    while received != Some((epoch, last)) {
        received = Some(origin(&attached.recv().unwrap()));
    }
    let dead = Some(Origin { epoch, sequence: last });
    assert_eq!([Delivery::Newest, Delivery::Every].map(|delivery| first(sink, delivery)), [dead, dead]);
    sender.kill();
    meanwhile();
    let (mut sender, next_epoch) = publisher(source);
    for delivery in [Delivery::Newest, Delivery::Every] {
        wait_until!(first(sink, delivery).is_none());
    }
    let mut opened = [Delivery::Newest, Delivery::Every].map(|delivery| subscribe(sink, delivery));
    let next = publish(&mut sender);
    for reader in opened.iter_mut().chain([&mut attached]) {
        assert_eq!(origin(&reader.recv().unwrap()), (next_epoch, next));
        assert_eq!(reader.dropped(), 0);
    }
    // Later subscribers get it, too.
    let newest = Some(Origin { epoch: next_epoch, sequence: next });
    assert_eq!([Delivery::Newest, Delivery::Every].map(|delivery| first(sink, delivery)), [newest, newest]);
}

#[test]
fn takeover_behind_a_receiver_hides_the_dead_frame() {
    let (source, sink) = (Place::new(), Place::new());
    let _server = serve(&source);
    let _receiver = receive(&source, &sink, "c");
    let (sender, epoch) = publisher(&source);
    wait_until!(is_live(sink.path()));
    replaced(&source, &sink, sender, epoch, || {});
}

#[test]
fn takeover_behind_two_links_hides_the_dead_frame() {
    let (source, relay, sink) = (Place::new(), Place::new(), Place::new());
    let _servers = (serve(&source), serve(&relay));
    let _receivers = (receive(&source, &relay, "c"), receive(&relay, &sink, "c"));
    let (sender, epoch) = publisher(&source);
    wait_until!(is_live(relay.path()) && is_live(sink.path()));
    replaced(&source, &sink, sender, epoch, || {});
}

#[test]
fn takeover_behind_a_sender_hides_the_dead_frame() {
    let (source, server) = (Place::new(), Place::new());
    let _server = serve(&server);
    let (sender, epoch) = publisher(&source);
    let _sending = send(&source, &server);
    wait_until!(is_live(server.path()));
    replaced(&source, &server, sender, epoch, || {});
}

#[test]
fn takeover_during_an_outage_hides_the_dead_frame() {
    let (source, sink) = (Place::new(), Place::new());
    let mut server = Some(serve(&source));
    let _receiver = receive(&source, &sink, "c");
    let (sender, epoch) = publisher(&source);
    wait_until!(is_live(sink.path()));
    let mut again = None;
    replaced(&source, &sink, sender, epoch, || {
        drop(server.take());
        wait_until!(!is_connected(sink.path()));
        // Before the link can be back.
        again = Some(serve(&source));
    });
}

#[test]
fn outage_of_a_link_hides_no_frame_of_a_live_publisher() {
    let (source, sink) = (Place::new(), Place::new());
    let server = serve(&source);
    let _receiver = receive(&source, &sink, "c");
    let (mut sender, epoch) = publisher(&source);
    wait_until!(is_live(sink.path()));
    let mut attached = subscribe(&sink, Delivery::Every);
    let last = publish(&mut sender);
    assert_eq!(origin(&attached.recv().unwrap()), (epoch, last));
    drop(server);
    wait_until!(!is_connected(sink.path()));
    let newest = Some(Origin { epoch, sequence: last });
    assert_eq!(first(&sink, Delivery::Newest), newest);
    let _server = serve(&source);
    wait_until!(is_live(sink.path()));
    assert_eq!(first(&sink, Delivery::Newest), newest);
    assert_eq!(publish(&mut sender), last + 1);
    assert_eq!(origin(&attached.recv().unwrap()), (epoch, last + 1));
}
