//! Every byte, every word and every page of a channel's shared words, set to extreme, random and changing
//! values while both sides run: each call returns, and when the vandal is gone, frames pass again.
//!
//! `FRAMELANE_DEPTH=deep` writes more values to each byte.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Kept, Memory, Place};

const BYTES: u32 = 600;
const SLOTS: u64 = 3;

fn deep() -> bool {
    std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep")
}

/// The words of a file that publishers or subscribers read: its name, and their offsets.
const WORDS: [(&str, &[(u64, u64)]); 3] = [
    ("c.control", &[(0, 512)]),
    // The header, the records of the two subscribers and of the next one.
    ("c.readers", &[(0, 192), (4096, 4096 + 3 * 256)]),
    // The header, and the table.
    ("c.data.1", &[(0, 72), (4096, 4096 + SLOTS * 256)]),
];

/// Returns the offsets of words, `step` bytes from each other. On Windows, returns each seventh of them,
/// because a case takes a tenth of a second under Wine.
fn places(step: u64) -> impl Iterator<Item = (&'static str, u64)> {
    let all = WORDS.iter().flat_map(move |&(file, ranges)| {
        ranges
            .iter()
            .flat_map(move |&(start, end)| (start..end).step_by(step as usize).map(move |at| (file, at)))
    });
    all.step_by(if cfg!(windows) && !deep() { 7 } else { 1 })
}

struct Random(u64);

impl Random {
    /// Numbers of the seed in `$FRAMELANE_SEED`, else of 1. Prints the seed.
    fn printed() -> Self {
        let seed = std::env::var("FRAMELANE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        println!("hostile sweep: FRAMELANE_SEED={seed}");
        Random(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 29
    }
}

struct Channel {
    directory: Place,
    publisher: Publisher,
    subscribers: Vec<Subscriber>,
    held: Vec<Frame>,
    received: u64,
    errors: u64,
}

impl Channel {
    fn new(backpressure: Backpressure) -> Self {
        let shm = PathBuf::from("/dev/shm");
        let parent = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let directory = Place::under(parent);
        let mut channel = Channel {
            publisher: Self::options(&directory, backpressure).create("c").unwrap(),
            directory,
            subscribers: Vec::new(),
            held: Vec::new(),
            received: 0,
            errors: 0,
        };
        channel.send();
        channel.attach();
        channel
    }

    fn options(directory: &Place, backpressure: Backpressure) -> PublisherOptions {
        PublisherOptions::new()
            .directory(directory.path())
            .slots(SLOTS as usize)
            .backpressure(backpressure)
            .cancel(CancelToken::with_check(|| true))
    }

    fn subscriber(&self) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.directory.path()).open_timeout(Some(Duration::ZERO))
    }

    fn attach(&mut self) {
        self.subscribers = [Delivery::Newest, Delivery::Every]
            .map(|delivery| self.subscriber().delivery(delivery).open("c").unwrap())
            .into();
    }

    fn memory(&self, name: &str) -> Memory {
        Memory::open(&self.directory.path().join(name)).unwrap()
    }

    fn send(&mut self) {
        let layout = Layout::packed(PixelFormat::Gray8, BYTES, 1).unwrap();
        match self.publisher.loan(&layout) {
            Ok(mut loan) => {
                loan.bytes_mut().fill(7);
                loan.publish(&FrameInfo::default());
            }
            Err(LoanError::NoFreeSlot | LoanError::Interrupted) => self.errors += 1,
            Err(error) => panic!("a publisher depends on what others write: {error}"),
        }
    }

    fn receive(&mut self) {
        for subscriber in &mut self.subscribers {
            match subscriber.recv_timeout(Duration::ZERO) {
                Ok(frame) => {
                    look_at(&frame);
                    self.received += 1;
                    self.held.push(frame);
                }
                Err(error) => {
                    self.errors += 1;
                    assert!(!Error::from(error).to_string().is_empty());
                }
            }
        }
        // One for each subscriber: at three slots a second one is the last that it may take.
        let excess = self.held.len().saturating_sub(2);
        self.held.drain(..excess);
    }

    /// Runs each action of publishers and subscribers once.
    fn live(&mut self) {
        for _ in 0..SLOTS {
            self.send();
            self.receive();
        }
        self.held.iter().for_each(look_at);
    }

    fn look_from_outside(&self) {
        let path = Some(self.directory.path());
        std::hint::black_box((
            list(path).unwrap(),
            status(path, "c").is_ok(),
            doctor(path, framelane::Leftovers::Report).unwrap(),
        ));
        if let Ok(mut late) = self.subscriber().open("c")
            && let Ok(frame) = late.recv_timeout(Duration::ZERO)
        {
            look_at(&frame);
        }
        std::hint::black_box(self.publisher.subscribers());
    }

    /// The vandal has ended, and all processes open again: frames pass.
    fn recover(mut self) -> (u64, u64) {
        self.held.clear();
        self.subscribers.clear();
        let (directory, received, errors) = (self.directory, self.received, self.errors);
        drop(self.publisher);
        doctor(Some(directory.path()), framelane::Leftovers::Remove).unwrap();
        let publisher = Self::options(&directory, Backpressure::Drop).create("c").unwrap();
        let mut channel =
            Channel { directory, publisher, subscribers: vec![], held: vec![], received: 0, errors: 0 };
        channel.attach();
        channel.live();
        assert_eq!((channel.received, channel.errors), (2 * SLOTS, 0));
        (received, errors)
    }
}

/// Reads all of it.
fn look_at(frame: &Frame) {
    let sum: u64 = frame.bytes().iter().map(|&byte| u64::from(byte)).sum();
    std::hint::black_box((sum, frame.is_intact(), frame.id(), frame.age_ns()));
}

#[derive(Default)]
struct Sums {
    values: u64,
    received: u64,
    errors: u64,
}

impl Sums {
    /// One case: a fresh channel, some bytes of it changed, and all processes continue.
    fn case(&mut self, backpressure: Backpressure, file: &str, at: u64, bytes: &[u8]) {
        let mut channel = Channel::new(backpressure);
        channel.receive();
        channel.memory(file).write(bytes, at);
        channel.live();
        channel.look_from_outside();
        channel.live();
        let (received, errors) = channel.recover();
        self.values += 1;
        self.received += received;
        self.errors += errors;
    }

    fn tell(&self, what: &str) {
        let Sums { values, received, errors } = self;
        println!(
            "hostile: {what}: {values} values written, {received} frames received, {errors} calls refused \
             or in vain"
        );
    }
}

/// Signals the other thread to end.
struct End<'d>(&'d AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_byte_may_have_any_value() {
    let mut random = Random::printed();
    let mut sums = Sums::default();
    for (file, at) in places(1) {
        let some = [random.number() as u8, 0xFF, 0, 1, 0x7F, 0x80, random.number() as u8];
        for value in &some[..if deep() { 7 } else { 1 }] {
            sums.case(Backpressure::Drop, file, at, &[*value]);
        }
    }
    sums.tell("bytes");
}

#[test]
fn every_word_may_have_an_extreme_value() {
    let mut sums = Sums::default();
    for (file, at) in places(4) {
        let wide = at % 8 == 0;
        let now = {
            let mut bytes = [0; 8];
            Channel::new(Backpressure::Drop).memory(file).read(&mut bytes, at);
            u64::from_le_bytes(bytes)
        };
        let extremes =
            [u64::MAX, 1 << 63, now.wrapping_add(1), now.wrapping_sub(1), u64::MAX - 1, 1, 1 << 31, 0];
        for value in &extremes[..if deep() { 8 } else { 3 }] {
            let bytes = value.to_le_bytes();
            sums.case(Backpressure::Drop, file, at, if wide { &bytes } else { &bytes[..4] });
        }
    }
    sums.tell("words");
}

#[test]
fn extreme_values_in_every_word_under_backpressure_block() {
    // A publisher that waits in vain costs a tenth of a second: fewer values.
    let mut sums = Sums::default();
    for (file, at) in places(8).filter(|&(file, at)| file != "c.data.1" && (deep() || at % 16 == 8)) {
        let extremes = [u64::MAX, 1, 0, 1 << 63];
        for value in &extremes[..if deep() { 4 } else { 1 }] {
            sums.case(Backpressure::Block, file, at, &value.to_le_bytes());
        }
    }
    sums.tell("words, backpressure block");
}

#[test]
fn every_page_may_be_anything() {
    let mut random = Random::printed();
    let mut sums = Sums::default();
    for (file, pages) in [("c.control", 1), ("c.readers", 5), ("c.data.1", 2)] {
        for page in 0..pages {
            let noise: Vec<u8> = (0..4096).map(|_| random.number() as u8).collect();
            for bytes in [vec![0; 4096], vec![0xFF; 4096], noise] {
                sums.case(Backpressure::Drop, file, 4096 * page, &bytes);
            }
        }
    }
    sums.tell("pages");
}

#[test]
fn every_word_may_change_all_the_time() {
    let turns = if deep() { 100_000 } else { 3_000 };
    let mut channel = Channel::new(Backpressure::Drop);
    let files: Vec<_> = WORDS.iter().map(|&(name, ranges)| (channel.memory(name), ranges)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let vandal = scope.spawn(|| {
            let mut random = Random::printed();
            let mut written = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let (file, ranges) = &files[random.number() as usize % files.len()];
                let (start, end) = ranges[random.number() as usize % ranges.len()];
                let at = start + random.number() % (end - start - 8) / 8 * 8;
                // Small numbers hit more: states, slots, sequences.
                let value =
                    if random.number().is_multiple_of(2) { random.number() } else { random.number() % 1024 };
                file.write(&value.to_le_bytes(), at);
                written += 1;
            }
            written
        });
        // Also when a check fails: the vandal must end for the test to do so.
        let end = End(&done);
        for turn in 0..turns {
            channel.live();
            if turn % 50 == 0 {
                channel.look_from_outside();
            }
        }
        // No publisher is visible: a subscriber that waits without limit checks its cancel token now and
        // then.
        for subscriber in &mut channel.subscribers {
            subscriber.set_cancel_token(CancelToken::with_check(|| true));
            let _ = subscriber.recv();
        }
        drop(end);
        let sums =
            Sums { values: vandal.join().unwrap(), received: channel.received, errors: channel.errors };
        sums.tell("changing words");
    });
    channel.recover();
}

#[test]
fn control_with_numbers_near_their_limits_is_damaged() {
    // Byte 128 has the newest sequence, above the slot's 8 bits. Byte 72 has the generation.
    let sequence = ((1 << 55) - 1) << 8;
    for (place, number) in [(128, u64::MAX), (128, sequence), (72, (1 << 48) - 1), (72, u64::MAX)] {
        refuse_control(place, number);
    }
}

/// The next publisher refuses a control file with `number` at byte `place`, until the doctor has removed it.
fn refuse_control(place: u64, number: u64) {
    let channel = Channel::new(Backpressure::Drop);
    // What a publisher that is killed leaves, with the number in it.
    let control = channel.directory.path().join("c.control");
    channel.memory("c.control").write(&number.to_le_bytes(), place);
    let kept = Kept::of(channel.directory.path());
    let Channel { directory, publisher, subscribers, .. } = channel;
    drop((publisher, subscribers));
    kept.put_back();
    let error = Channel::options(&directory, Backpressure::Drop).create("c").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.message().contains("out of range") && error.hint().is_some(), "{error}");
    doctor(Some(directory.path()), framelane::Leftovers::Remove).unwrap();
    assert!(!control.exists());
    assert!(Channel::options(&directory, Backpressure::Drop).create("c").is_ok());
}
