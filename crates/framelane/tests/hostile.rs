//! Any byte of shared memory may change at any moment: no process panics, reads beyond a map, or loops
//! endlessly.
//!
//! Not guaranteed, and not tested: whole frames under a writer that violates the protocol, and harmless
//! truncation of a mapped file (`SIGBUS`).

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Kept, Memory, Place};
use proptest::prelude::*;

const CONTROL_BYTES: u64 = 512;
const READERS_BYTES: u64 = 4096 + 64 * 256;
const TABLE_BYTES: u64 = 4096 + 6 * 256;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes 8 bytes at an offset of a file: 0 control, 1 readers, 2 the newest data file.
    Harm(usize, u64, u64),
    Send(u32),
    Receive(usize),
    DropLease,
    LoanOwned,
    Look,
    Open,
    TakeOver,
}

/// Numbers that are likely to be wrong in an interesting way, and any others.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(u64::MAX - 2),
        Just(1 << 63),
        (1..300_u64),
        // A pin of, or a head at, one of the slots.
        (0..10_u64, 0..10_u64).prop_map(|(high, low)| high << 8 | low),
        (0..8_u64, 0..8_u64).prop_map(|(high, low)| high << 32 | low),
        any::<u64>(),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    // Eight words apart from each other, so that fields are hit whole; or anywhere.
    let offset = |end: u64| prop_oneof![3 => (0..end / 8).prop_map(|word| word * 8), 1 => 0..end];
    let harm = prop_oneof![
        (Just(0), offset(CONTROL_BYTES)),
        (Just(1), offset(256)),
        (Just(1), offset(3 * 256).prop_map(|offset| 4096 + offset)),
        (Just(1), offset(READERS_BYTES)),
        (Just(2), offset(TABLE_BYTES)),
        (Just(2), offset(6 * 256).prop_map(|offset| 4096 + offset)),
    ];
    prop_oneof![
        10 => (harm, number()).prop_map(|((file, offset), value)| Op::Harm(file, offset, value)),
        6 => (1..2000_u32).prop_map(Op::Send),
        1 => (4097..20_000_u32).prop_map(Op::Send),
        6 => (0..3_usize).prop_map(Op::Receive),
        3 => Just(Op::DropLease),
        1 => Just(Op::LoanOwned),
        1 => Just(Op::Look),
        1 => Just(Op::Open),
        1 => Just(Op::TakeOver),
    ]
}

fn gray(bytes: u32) -> Layout {
    Layout::packed(PixelFormat::Gray8, bytes, 1).unwrap()
}

/// Changes a file as any process with the right to write could; never its length.
fn harm(directory: &Path, file: usize, offset: u64, bytes: &[u8]) {
    let newest_data = || {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.to_string_lossy().contains(".data."))
            .max_by_key(|path| path.extension().and_then(|number| number.to_str()?.parse::<u64>().ok()))
    };
    let path = match file {
        0 => Some(directory.join("c.control")),
        1 => Some(directory.join("c.readers")),
        _ => newest_data(),
    };
    let Some(memory) = path.and_then(|path| Memory::open(&path)) else { return };
    if offset + bytes.len() as u64 <= memory.len() {
        memory.write(bytes, offset);
    }
}

/// Looks at every byte and every word of a frame.
fn look_at(frame: &Frame) {
    let sum: u64 = frame.bytes().iter().map(|&byte| u64::from(byte)).sum();
    let planes: usize = (0..frame.layout().planes().len()).map(|plane| frame.plane(plane).len()).sum();
    std::hint::black_box((sum, planes, frame.id(), frame.age_ns(), format!("{frame:?} {:?}", frame.info())));
}

struct Channel {
    directory: Place,
    backpressure: Backpressure,
    publisher: Option<Publisher>,
    subscribers: Vec<Subscriber>,
    leases: Vec<Frame>,
    loan: Option<OwnedLoan>,
}

/// Ends a wait at every second poll.
fn second_poll() -> CancelToken {
    let polls = AtomicU32::new(0);
    CancelToken::with_check(move || polls.fetch_add(1, Relaxed) % 2 == 1)
}

impl Channel {
    fn new(backpressure: Backpressure) -> Self {
        let directory = Place::new();
        let publisher = PublisherOptions::new()
            .directory(directory.path())
            .backpressure(backpressure)
            .cancel(second_poll())
            .create("c")
            .unwrap();
        let options = SubscriberOptions::new().directory(directory.path());
        let subscribers = [Delivery::Newest, Delivery::Every, Delivery::Every]
            .map(|delivery| options.clone().delivery(delivery).open("c").unwrap())
            .into();
        Channel {
            directory,
            backpressure,
            publisher: Some(publisher),
            subscribers,
            leases: vec![],
            loan: None,
        }
    }

    fn publisher_options(&self) -> PublisherOptions {
        let options = PublisherOptions::new().directory(self.directory.path());
        options.backpressure(self.backpressure).cancel(second_poll())
    }

    fn run(&mut self, op: Op) {
        let path = self.directory.path().to_owned();
        match op {
            Op::Harm(file, offset, value) => harm(&path, file, offset, &value.to_le_bytes()),
            Op::Send(bytes) => {
                if let Some(publisher) = &mut self.publisher {
                    match publisher.loan(&gray(bytes)) {
                        Ok(mut loan) => {
                            loan.bytes_mut().fill(bytes as u8);
                            loan.publish(&FrameInfo::default());
                        }
                        Err(LoanError::NoFreeSlot | LoanError::Interrupted) => {}
                        Err(error) => panic!("the publisher depends on shared memory: {error}"),
                    }
                }
            }
            Op::Receive(which) => {
                for timeout in [Duration::ZERO, Duration::from_micros(100)] {
                    match self.subscribers[which].recv_timeout(timeout) {
                        Ok(frame) => {
                            look_at(&frame);
                            self.leases.push(frame);
                        }
                        Err(error) => drop(error.to_string()),
                    }
                }
            }
            Op::DropLease => drop(self.leases.pop()),
            Op::LoanOwned => {
                self.loan =
                    self.publisher.as_mut().and_then(|publisher| publisher.try_loan_owned(&gray(64)).ok())
            }
            Op::Look => {
                let _ = std::hint::black_box((
                    list(Some(&path)),
                    status(Some(&path), "c"),
                    doctor(Some(&path), framelane::Leftovers::Report),
                ));
                let alive = self.subscribers.iter().map(Subscriber::publisher_alive).collect::<Vec<_>>();
                std::hint::black_box((alive, self.publisher.as_ref().map(Publisher::subscribers)));
            }
            Op::Open => {
                let options = SubscriberOptions::new().directory(&path).open_timeout(Some(Duration::ZERO));
                if let Ok(mut subscriber) = options.delivery(Delivery::Every).open("c")
                    && let Ok(frame) = subscriber.recv_timeout(Duration::ZERO)
                {
                    look_at(&frame);
                }
            }
            Op::TakeOver => {
                // The files stay as they are, as after a kill: they are put back when the publisher has
                // closed.
                let kept = Kept::of(&path);
                self.publisher = None;
                kept.put_back();
                self.publisher = match self.publisher_options().create("c") {
                    Ok(publisher) => Some(publisher),
                    Err(_) => {
                        doctor(Some(&path), framelane::Leftovers::Remove).unwrap();
                        self.publisher_options().create("c").ok()
                    }
                };
                for (which, delivery) in
                    [Delivery::Newest, Delivery::Every, Delivery::Every].into_iter().enumerate()
                {
                    let options = SubscriberOptions::new()
                        .directory(&path)
                        .open_timeout(Some(Duration::ZERO))
                        .delivery(delivery);
                    if let Ok(subscriber) = options.open("c") {
                        self.subscribers[which] = subscriber;
                    }
                }
            }
        }
        self.leases.iter().for_each(look_at);
    }

    /// The publisher is not lost: when no live process holds slots, frames pass again.
    fn recover(mut self) {
        self.leases.clear();
        self.subscribers.clear();
        self.loan = None;
        let Some(publisher) = &mut self.publisher else { return };
        let published = publisher.loan(&gray(64)).map(|loan| loan.publish(&FrameInfo::default()));
        assert!(published.is_ok(), "{published:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_under_backpressure_drop_stop_no_process(ops in prop::collection::vec(op(), 1..100)) {
        let mut channel = Channel::new(Backpressure::Drop);
        ops.into_iter().for_each(|op| channel.run(op));
        channel.recover();
    }
}

proptest! {
    // Each blocked publisher costs a tenth of a second.
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_under_backpressure_block_stop_no_process(ops in prop::collection::vec(op(), 1..60)) {
        let mut channel = Channel::new(Backpressure::Block);
        ops.into_iter().for_each(|op| channel.run(op));
        channel.recover();
    }

    #[test]
    fn whatever_a_descriptor_says_its_frame_lies_within_the_slot(
        size in number(), format in prop_oneof![0..12_u32, any::<u32>(), (0..9_u32, 0..513_u32).prop_map(|(depth, channels)| 0x1000_0000 | depth << 16 | channels)],
        width in number(), height in number(), planes in prop::collection::vec(number(), 9),
    ) {
        let directory = Place::new();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create("c").unwrap();
        let mut subscriber = SubscriberOptions::new().directory(directory.path()).open("c").unwrap();
        publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
        let mut entry = Vec::new();
        entry.extend(size.to_le_bytes());
        entry.extend(format.to_le_bytes());
        entry.extend((width as u32).to_le_bytes());
        entry.extend((height as u32).to_le_bytes());
        planes.iter().enumerate().for_each(|(index, number)| match index {
            0 => entry.extend((*number as u32).to_le_bytes()),
            _ => entry.extend(number.to_le_bytes()),
        });
        harm(directory.path(), 2, 4096 + 8, &entry);
        match subscriber.recv_timeout(Duration::ZERO) {
            Ok(frame) => look_at(&frame),
            Err(error) => prop_assert_eq!(Error::from(error).kind(), ErrorKind::Damaged),
        }
        // One bad descriptor is one bad frame.
        publisher.send(&gray(64), &FrameInfo::default(), &[2; 64]).unwrap();
        let frame = subscriber.recv_timeout(Duration::ZERO).unwrap();
        prop_assert_eq!(frame.bytes(), &[2; 64]);
    }
}

#[test]
fn unlocked_garbage_records_do_not_stop_a_publisher() {
    for backpressure in [Backpressure::Drop, Backpressure::Block] {
        let mut channel = Channel::new(backpressure);
        channel.subscribers.clear();
        let publisher = channel.publisher.as_mut().unwrap();
        for pin in 0..200_u64 {
            // Every record says that it is in use, reads every frame, has received none, and pins all slots.
            let mut record = Vec::new();
            record.extend((0..8).flat_map(|more| (1 << 8 | ((pin + more) % 6 + 1)).to_le_bytes()));
            record.extend([1_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
            record.extend([0; 256 - 72]);
            harm(channel.directory.path(), 1, 4096, &record.repeat(64));
            harm(channel.directory.path(), 1, 64, &[0xFF; 8]);
            assert_eq!(publisher.subscribers(), 0);
            let loan = publisher.loan(&gray(64));
            loan.unwrap_or_else(|error| panic!("{backpressure:?}: {error}")).publish(&FrameInfo::default());
        }
    }
}

#[test]
fn live_subscriber_pinning_all_slots_costs_frames_but_no_time() {
    let mut channel = Channel::new(Backpressure::Drop);
    let path = channel.directory.path().to_owned();
    let publisher = channel.publisher.as_mut().unwrap();
    publisher.send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    for record in 0..3_u64 {
        let pins: Vec<u8> = (1..=8_u64).flat_map(|slot| (1 << 8 | slot).to_le_bytes()).collect();
        harm(&path, 1, 4096 + 256 * record, &pins);
    }
    for _ in 0..1000 {
        assert_eq!(publisher.send(&gray(64), &FrameInfo::default(), &[2; 64]).unwrap(), None);
    }
    assert_eq!((publisher.sequence(), publisher.dropped()), (1001, 1000));
    channel.subscribers.clear();
    assert_eq!(publisher.send(&gray(64), &FrameInfo::default(), &[3; 64]).unwrap(), Some(1002));
}

#[test]
fn changing_head_and_wake_do_not_delay_a_timeout() {
    let mut channel = Channel::new(Backpressure::Drop);
    channel.publisher.as_mut().unwrap().send(&gray(64), &FrameInfo::default(), &[1; 64]).unwrap();
    let path = channel.directory.path().to_owned();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 1_u64;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                number =
                    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                harm(&path, 0, 128, &number.to_le_bytes());
                harm(&path, 0, 136, &number.to_le_bytes()[..4]);
            }
        });
        for subscriber in &mut channel.subscribers {
            for _ in 0..50 {
                if let Ok(frame) = subscriber.recv_timeout(Duration::from_millis(3)) {
                    look_at(&frame);
                }
            }
            // Without a time limit the caller is still asked now and then.
            subscriber.set_cancel_token(CancelToken::with_check(|| true));
            drop(subscriber.recv());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
