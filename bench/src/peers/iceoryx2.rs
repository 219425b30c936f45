//! iceoryx2: publish-subscribe for the frames, an event service to wake sleeping readers, as its
//! documentation does it.
//!
//! Loans are not initialised, frames are sent in place, the buffer holds the newest frame and overflows.

use core::time::Duration;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use crate::peer::{Peer, Receiver, Sender, Setup, Wait};

pub struct Iceoryx2;

impl Peer for Iceoryx2 {
    fn name(&self) -> &'static str {
        "iceoryx2"
    }

    fn sender(&self, setup: &Setup) -> Box<dyn Sender> {
        let (node, frames, events) = open(setup);
        let bytes = setup.scenarios.frame.bytes;
        let publisher = frames
            .publisher_builder()
            .initial_max_slice_len(bytes)
            .max_loaned_samples(setup.scenarios.iceoryx2.publisher_max_loaned_samples)
            .create()
            .unwrap();
        let notifier = (setup.wait == Wait::Sleep).then(|| events.notifier_builder().create().unwrap());
        Box::new(Iceoryx2Sender { publisher, notifier, bytes, _node: node })
    }

    fn receiver(&self, setup: &Setup) -> Box<dyn Receiver> {
        let (node, frames, events) = open(setup);
        let subscriber = frames.subscriber_builder().create().unwrap();
        let listener = (setup.wait == Wait::Sleep).then(|| events.listener_builder().create().unwrap());
        Box::new(Iceoryx2Receiver { subscriber, listener, free_running: !setup.paced, _node: node })
    }
}

type Frames = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Events = event::PortFactory<ipc::Service>;

fn open(setup: &Setup) -> (Node<ipc::Service>, Frames, Events) {
    set_log_level(LogLevel::Error);
    let limits = &setup.scenarios.iceoryx2;
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let name: ServiceName = setup.channel.as_str().try_into().unwrap();
    let frames = node
        .service_builder(&name)
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(true)
        .subscriber_max_buffer_size(limits.subscriber_max_buffer_size)
        .subscriber_max_borrowed_samples(limits.subscriber_max_borrowed_samples)
        .history_size(limits.history_size)
        .max_publishers(1)
        .max_subscribers(setup.readers)
        .max_nodes(setup.readers + 1)
        .open_or_create()
        .unwrap();
    let events = node
        .service_builder(&name)
        .event()
        .max_notifiers(1)
        .max_listeners(setup.readers)
        .max_nodes(setup.readers + 1)
        .open_or_create()
        .unwrap();
    (node, frames, events)
}

struct Iceoryx2Sender {
    publisher: Publisher<ipc::Service, [u8], ()>,
    notifier: Option<Notifier<ipc::Service>>,
    bytes: usize,
    _node: Node<ipc::Service>,
}

impl Sender for Iceoryx2Sender {
    fn publish(&mut self, fill: &mut dyn FnMut(&mut [u8])) {
        let mut sample = self.publisher.loan_slice_uninit(self.bytes).unwrap();
        let payload = sample.payload_mut();
        // SAFETY: the bytes are mapped shared memory lent to us alone; `fill` only writes to them.
        fill(unsafe { std::slice::from_raw_parts_mut(payload.as_mut_ptr().cast::<u8>(), payload.len()) });
        // SAFETY: shared memory has some value in every byte, and any value is a valid `u8`.
        let sample = unsafe { sample.assume_init() };
        sample.send().unwrap();
        if let Some(notifier) = &self.notifier {
            notifier.notify().unwrap();
        }
    }
}

struct Iceoryx2Receiver {
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    listener: Option<Listener<ipc::Service>>,
    free_running: bool,
    _node: Node<ipc::Service>,
}

impl Receiver for Iceoryx2Receiver {
    fn receive(&mut self, look: &mut dyn FnMut(&[u8])) {
        loop {
            if let Some(sample) = self.subscriber.receive().unwrap() {
                return look(sample.payload());
            }
            match &self.listener {
                // Free-running, iceoryx2 0.10 sometimes loses a wake-up: the listener empties its socket
                // between the notifier's datagram and its mark "notified", sleeps, and later notifications
                // are skipped because of the mark. A listener with a timeout recovers. At a fixed rate it was
                // not observed.
                Some(listener) if self.free_running => {
                    listener.timed_wait(|_| {}, Duration::from_millis(5)).unwrap();
                }
                Some(listener) => {
                    listener.blocking_wait(|_| {}).unwrap();
                }
                None => std::hint::spin_loop(),
            }
        }
    }
}
