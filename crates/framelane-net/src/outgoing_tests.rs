use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use framelane::{Layout, PixelFormat, PublisherOptions};

use super::*;
use crate::channel_io::opening;

/// A receiver that takes so many bytes, and more only when the sender has been told to end.
struct Peer<'a> {
    says: Mutex<VecDeque<u8>>,
    taken: Mutex<Vec<u8>>,
    most: usize,
    told: &'a AtomicBool,
    shut: AtomicBool,
}

impl Stream for Peer<'_> {
    fn read(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut says = self.says.lock().unwrap();
        if says.is_empty() && !self.shut.load(Ordering::Relaxed) {
            std::thread::sleep(timeout.min(Duration::from_millis(5)));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = bytes.len().min(says.len());
        for (to, from) in bytes.iter_mut().zip(says.drain(..len)) {
            *to = from;
        }
        Ok(len)
    }

    fn write(&self, bytes: &[u8], _more: bool, timeout: Duration) -> io::Result<usize> {
        let mut taken = self.taken.lock().unwrap();
        let room = if self.told.load(Ordering::Relaxed) { usize::MAX } else { self.most - taken.len() };
        let len = bytes.len().min(room);
        taken.extend_from_slice(&bytes[..len]);
        if len > 0 {
            return Ok(len);
        }
        drop(taken);
        std::thread::sleep(timeout.min(Duration::from_millis(5)));
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&self, _timeout: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_said_in_the_middle_of_a_frame_where_it_would_be_taken_for_pixels() {
    let directory = tempfile::tempdir().unwrap();
    let mut publisher = PublisherOptions::new().directory(directory.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 1000, 100).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &vec![7; 100_000]).unwrap();
    let told = AtomicBool::new(false);
    let peer = Peer {
        says: Mutex::new(opening(&Message::Credit(1)).into()),
        taken: Mutex::default(),
        most: 50_000,
        told: &told,
        shut: AtomicBool::new(false),
    };
    let terms = Terms {
        channel: "cam0".to_owned(),
        subscriber: SubscriberOptions::new().directory(directory.path()),
        codec: Codec::Raw,
        size: None,
        max_milli_fps: 0,
        max_payload: 1 << 20,
        last: None,
        patience: Duration::from_secs(3600),
        ends_with_channel: false,
    };
    let watch = |_: &Sent| {
        if peer.taken.lock().unwrap().len() < peer.most {
            return Ok(());
        }
        told.store(true, Ordering::Relaxed);
        Err(Fault::lasting(Error::new(ErrorKind::Permission, "revoked")))
    };
    let (fault, _) = run(&peer, &mut Inbox::new(), "the peer", &terms, &watch).unwrap_err();
    assert_eq!(fault.error.kind(), ErrorKind::Permission);
    assert_eq!(peer.taken.lock().unwrap().len(), peer.most, "nothing after the part of the frame");
}
