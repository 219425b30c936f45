//! Channels in memory that only one process can open, as links use them.

use std::time::Duration;

use framelane::internals::Memory;
use framelane::*;

const MOMENT: Option<Duration> = Some(Duration::ZERO);

#[test]
fn channel_in_memory_delivers_grows_and_is_published_again() {
    let memory = Memory::new().unwrap();
    let mut epoch = 0;
    for _ in 0..3 {
        let mut publisher = PublisherOptions::new().memory(&memory).create("c").unwrap();
        assert!(publisher.epoch() > epoch);
        epoch = publisher.epoch();
        let subscriber = SubscriberOptions::new().memory(&memory).open_timeout(MOMENT);
        let mut subscriber = subscriber.open("c").unwrap();
        // The second width needs a larger ring.
        for width in [16, 16 << 10] {
            let layout = Layout::packed(PixelFormat::Gray8, width, 8).unwrap();
            let bytes = vec![7; layout.size_bytes()];
            let sequence = publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
            let frame = subscriber.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!((Some(frame.sequence()), frame.bytes()), (sequence, &bytes[..]));
        }
        assert_eq!(publisher.observer().subscribers(), 1);
    }
}

#[test]
fn channel_in_memory_is_not_in_another_memory() {
    let publisher = PublisherOptions::new().memory(&Memory::new().unwrap()).create("c").unwrap();
    let other = Memory::new().unwrap();
    let opened = SubscriberOptions::new().memory(&other).open_timeout(MOMENT).open("c");
    assert_eq!(opened.err().unwrap().kind(), ErrorKind::NotFound);
    drop(publisher);
}
