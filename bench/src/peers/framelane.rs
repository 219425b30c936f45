//! framelane, through its public interface.

use std::path::PathBuf;
use std::time::Duration;

use framelane::{
    FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions, RecvError, Subscriber, SubscriberOptions,
};

use crate::peer::{Peer, Receiver, Sender, Setup, Wait};

pub struct Framelane;

impl Peer for Framelane {
    fn name(&self) -> &'static str {
        "framelane"
    }

    fn sender(&self, setup: &Setup) -> Box<dyn Sender> {
        let frame = &setup.scenarios.frame;
        let slots = setup.scenarios.framelane.slots.max(setup.readers + 3);
        let options = PublisherOptions::new().slots(slots).directory(directory());
        Box::new(FramelaneSender {
            publisher: options.create(&setup.channel).unwrap(),
            layout: Layout::packed(PixelFormat::Bgr8, frame.width, frame.height).unwrap(),
            info: FrameInfo::default(),
        })
    }

    fn receiver(&self, setup: &Setup) -> Box<dyn Receiver> {
        let options = SubscriberOptions::new().directory(directory()).open_timeout(Some(Duration::from_secs(10)));
        Box::new(FramelaneReceiver { subscriber: options.open(&setup.channel).unwrap(), wait: setup.wait })
    }
}

/// Separate from the user's channels.
pub fn directory() -> PathBuf {
    let directory = PathBuf::from("/dev/shm/framelane-bench");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

struct FramelaneSender {
    publisher: Publisher,
    layout: Layout,
    info: FrameInfo,
}

impl Sender for FramelaneSender {
    fn publish(&mut self, fill: &mut dyn FnMut(&mut [u8])) {
        let mut loan = self.publisher.loan(&self.layout).expect("a free slot: there are more than readers");
        fill(loan.bytes_mut());
        loan.publish(&self.info);
    }
}

struct FramelaneReceiver {
    subscriber: Subscriber,
    wait: Wait,
}

impl Receiver for FramelaneReceiver {
    fn receive(&mut self, look: &mut dyn FnMut(&[u8])) {
        let frame = match self.wait {
            Wait::Sleep => self.subscriber.recv().unwrap(),
            Wait::Poll => loop {
                match self.subscriber.recv_timeout(Duration::ZERO) {
                    Err(RecvError::Timeout) => std::hint::spin_loop(),
                    result => break result.unwrap(),
                }
            },
        };
        look(frame.bytes());
    }
}
