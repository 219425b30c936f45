//! Parsers of untrusted bytes, with the properties of their results: for the fuzzer, and for the test that
//! replays its findings.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::directory::{self, Directory, Part, check_name, file_name};
use crate::files::PUBLISHER_LOCK;
use crate::os::{self, LockFile};
use crate::ring::{Entry, Ordering::Relaxed};
use crate::{
    Delivery, Detections, ErrorKind, Frame, FrameInfo, Layout, PixelFormat, PublisherOptions, RecvError,
    SubscriberOptions, descriptor as frame_descriptor,
};

/// A batch of detections: read, it can be written, and is the same when it is read again.
pub fn batch(bytes: &[u8]) {
    let Ok(batch) = Detections::decode(bytes) else { return };
    let mut written = Vec::new();
    batch.encode(&mut written).expect("what was read can be written");
    let again = Detections::decode(&written).expect("what was written can be read");
    let mut written_again = Vec::new();
    again.encode(&mut written_again).expect("as before");
    // Bytes, not numbers: a NaN is not equal to itself.
    assert_eq!(written, written_again);
    assert_eq!((batch.frame, batch.labels, batch.model), (again.frame, again.labels, again.model));
}

/// A channel's name, and a file's: no name leads out of the directory, and each leads back to its channel.
pub fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let valid = check_name(text).is_ok();
    if valid {
        for part in [Part::Control, Part::Readers, Part::Data(u64::MAX), Part::Unfinished] {
            let name = file_name(text, part);
            assert!(!name.contains('/') && !matches!(&*name, "." | ".."), "{text:?}");
            assert!(name.len() <= 255, "{} bytes", name.len());
            let (channel, _) = directory::parse_file_name(&name).expect("a file of ours");
            assert_eq!(channel, text);
        }
    }
    if let Some((channel, _)) = directory::parse_file_name(text) {
        assert!(check_name(&channel).is_ok(), "{channel:?}");
    }
}

/// Checks a frame's descriptor: regardless of the bytes, the frame lies within its slot.
pub fn descriptor(bytes: &[u8]) {
    let mut words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let mut next = || words.next().unwrap_or(0);
    let slot_bytes = (next() % (1 << 33)) as usize;
    let entry = Entry::default();
    for word in
        [&entry.size_bytes, &entry.timestamp_ns, &entry.published_ns, &entry.pts_ns, &entry.duration_ns]
    {
        word.store(next(), Relaxed);
    }
    for pair in
        [[&entry.format, &entry.plane_count], [&entry.width, &entry.height], [&entry.color, &entry.flags]]
    {
        let word = next();
        pair[0].store(word as u32, Relaxed);
        pair[1].store((word >> 32) as u32, Relaxed);
    }
    for word in entry.planes.iter().flatten() {
        word.store(next(), Relaxed);
    }
    let Ok(found) = frame_descriptor::read(&entry, slot_bytes) else { return };
    let layout = found.layout;
    assert!(layout.size_bytes() <= slot_bytes);
    assert!(layout.width() > 0 && layout.height() > 0);
    assert_eq!(layout.planes().len(), layout.format().plane_count());
    for plane in 0..layout.planes().len() {
        let range = layout.plane_range(plane);
        assert!(range.start <= range.end && range.end <= layout.size_bytes(), "{layout:?}");
    }
    // What was read can be said again, in the same words.
    let copy = Entry::default();
    let timestamp_ns = found.info.timestamp_ns.expect("always read");
    frame_descriptor::write(&copy, &layout, &found.info, found.epoch, (timestamp_ns, found.published_ns));
    let again = frame_descriptor::read(&copy, slot_bytes).expect("what was written can be read");
    assert_eq!((again.layout, again.info, again.epoch), (layout, found.info, found.epoch));
}

/// The files of a channel, each with some of its bytes changed: every process that opens them continues.
///
/// The input is a list of changes: which file, or its new length, where, and eight bytes.
pub fn channel(bytes: &[u8]) {
    thread_local! {
        static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
    }
    FILES.with(|files| files.borrow_mut().get_or_insert_with(Files::new).look(bytes));
}

/// A channel that a publisher has left, and the bytes of its files.
struct Files {
    directory: tempfile::TempDir,
    whole: Vec<(PathBuf, Vec<u8>)>,
}

const CHANNEL: &str = "c";

impl Files {
    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let directory =
            tempfile::Builder::new().prefix("framelane-test-").tempdir_in(parent).expect("a directory");
        let mut publisher = Self::options(&directory).create(CHANNEL).expect("a channel");
        for number in 1..=3 {
            Self::send(&mut publisher, number);
        }
        let names =
            ["control", "readers", "data.1"].map(|part| directory.path().join(format!("{CHANNEL}.{part}")));
        let whole = names.map(|path| (path.clone(), std::fs::read(path).expect("a file"))).into();
        Files { directory, whole }
    }

    fn options(directory: &tempfile::TempDir) -> PublisherOptions {
        PublisherOptions::new().directory(directory.path()).slots(3)
    }

    fn send(publisher: &mut crate::Publisher, number: u8) {
        let layout = Layout::packed(PixelFormat::Bgr8, 8, 8).expect("a layout");
        let mut loan = publisher.loan(&layout).expect("no other handle holds a slot");
        loan.bytes_mut().fill(number);
        loan.publish(&FrameInfo::default());
    }

    /// Writes the files again, with the changes, and reads them as subscribers and tools do.
    fn look(&self, changes: &[u8]) {
        let mut files: Vec<_> = self.whole.iter().map(|(path, bytes)| (path, bytes.clone())).collect();
        for change in changes.chunks_exact(11) {
            let (what, place, value) = (change[0], u16::from_le_bytes([change[1], change[2]]), &change[3..]);
            let file = &mut files[usize::from(what) % 3].1;
            let place = usize::from(place);
            if what & 0x80 != 0 {
                file.truncate(place);
            } else if let Some(found) = file.get_mut(place..place + 8) {
                found.copy_from_slice(value);
            }
        }
        for name in std::fs::read_dir(self.directory.path()).expect("the directory").flatten() {
            std::fs::remove_file(name.path()).expect("a file");
        }
        for (path, bytes) in &files {
            std::fs::write(path, bytes).expect("a file");
        }
        let path = Some(self.directory.path());
        self.look_from_outside();
        {
            // While it looks alive.
            let directory = Directory::resolve(path).expect("a directory");
            let lock = LockFile::new(os::open(&directory.control(CHANNEL), true).expect("a file"));
            assert!(lock.try_lock(PUBLISHER_LOCK).expect("a lock"));
            self.look_from_outside();
            for delivery in [Delivery::Newest, Delivery::Every] {
                self.subscribe(delivery);
            }
        }
        // A new publisher takes it over, or returns the reason; then the doctor makes room.
        let mut publisher = match Self::options(&self.directory).create(CHANNEL) {
            Ok(publisher) => publisher,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::IncompatibleVersion),
                    "{error}"
                );
                assert!(error.hint().is_some(), "{error}");
                crate::doctor(path, crate::Leftovers::Remove).expect("the doctor can");
                Self::options(&self.directory).create(CHANNEL).expect("nothing is in the way")
            }
        };
        for number in 4..8 {
            Self::send(&mut publisher, number);
        }
        let mut subscriber =
            SubscriberOptions::new().directory(self.directory.path()).open(CHANNEL).expect("lives");
        let frame = subscriber.recv_timeout(Duration::ZERO).expect("a frame is there");
        assert_eq!(frame.bytes(), [7; 192]);
        drop(frame);
        publisher.close();
        assert_eq!(std::fs::read_dir(self.directory.path()).expect("the directory").count(), 0);
    }

    fn look_from_outside(&self) {
        let path = Some(self.directory.path());
        let _ = crate::list(path).expect("the directory can be read");
        let _ = crate::status(path, CHANNEL);
        let _ = crate::doctor(path, crate::Leftovers::Report).expect("the directory can be read");
    }

    fn subscribe(&self, delivery: Delivery) {
        let options = SubscriberOptions::new().directory(self.directory.path()).delivery(delivery);
        let Ok(mut subscriber) = options.open_timeout(Some(Duration::ZERO)).open(CHANNEL) else { return };
        for _ in 0..4 {
            match subscriber.recv_timeout(Duration::ZERO) {
                Ok(frame) => Self::read(&frame),
                Err(RecvError::Other(error)) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::Damaged | ErrorKind::IncompatibleVersion),
                        "{error}"
                    );
                }
                Err(_) => {}
            }
        }
    }

    fn read(frame: &Frame) {
        assert_eq!(frame.bytes().len(), frame.layout().size_bytes());
        let sum = frame.bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        std::hint::black_box((sum, frame.id(), frame.is_intact()));
    }
}
