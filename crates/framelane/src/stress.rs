//! The ring between real threads, with payloads in memory that both sides see at one address: what
//! ThreadSanitizer needs to see a race. (Publisher and subscriber map their files separately, at addresses
//! that it cannot connect.)

use std::cell::UnsafeCell;
use std::path::Path;
use std::time::Duration;

use crate::os::{self, Map};
use crate::ring::{self, Control, Delivery, Entry, Lease, Next, Readers};

const SLOTS: usize = 4;
const WORDS: usize = 64;
const GENERATION: u64 = 1;

struct Payload(UnsafeCell<[u64; WORDS]>);
// SAFETY: the ring's protocol keeps the writer of a slot apart from its readers; that is what is tested here.
unsafe impl Sync for Payload {}

struct Channel {
    map: Map,
    payloads: [Payload; SLOTS],
}

const READERS_AT: usize = 4096;
const TABLE_AT: usize = READERS_AT + size_of::<Readers>();

impl Channel {
    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(folder).unwrap();
        let len = TABLE_AT + SLOTS * size_of::<Entry>();
        let file = os::create(
            &os::OpenDirectory::open(folder.path()).unwrap().place("ring".to_owned()),
            len as u64,
            0o600,
        )
        .unwrap();
        let payloads = [const { Payload(UnsafeCell::new([0; WORDS])) }; SLOTS];
        Channel { map: Map::new(&file, len, true).unwrap(), payloads }
    }

    fn control(&self) -> &Control {
        self.map.words(0).unwrap()
    }

    fn readers(&self) -> &Readers {
        self.map.words(READERS_AT).unwrap()
    }

    fn table(&self) -> impl Iterator<Item = &Entry> {
        (0..SLOTS).map(|slot| self.entry(slot))
    }

    fn entry(&self, slot: usize) -> &Entry {
        self.map.words(TABLE_AT + slot * size_of::<Entry>()).unwrap()
    }

    fn publish(&self, frames: u64) {
        let mut versions = [0; SLOTS];
        for sequence in 1..=frames {
            // The oldest slot without a lease, and not the newest; its reader may be late.
            let slot = loop {
                let mut order: Vec<_> = (0..SLOTS).collect();
                order.sort_by_key(|&slot| versions[slot]);
                let found = order[..SLOTS - 1].iter().copied().find(|&slot| {
                    let (version, pin) = (&self.entry(slot).version, ring::pin_of(GENERATION, slot));
                    ring::claim(self.readers(), version, versions[slot], pin).is_ok()
                });
                match found {
                    Some(slot) => break slot,
                    None => std::thread::yield_now(),
                }
            };
            // SAFETY: the claim stands, so no reader holds the slot until it is published.
            unsafe { *self.payloads[slot].0.get() = [sequence; WORDS] };
            versions[slot] = sequence;
            let (control, readers) = (self.control(), self.readers());
            let sleepers =
                ring::publish(control, readers, &self.entry(slot).version, GENERATION, (sequence, slot));
            self.map.wake(&control.wake, sleepers);
            // A sanitizer's threads take turns on few cores: let them meet everywhere.
            if sequence % 64 == 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Receives until the last frame. Returns the number of frames.
    fn receive(&self, reader: usize, delivery: Delivery, frames: u64) -> u64 {
        let (control, readers) = (self.control(), self.readers());
        ring::attach(readers, reader, delivery, 0, 0);
        let record = &readers.records[reader];
        let (mut cursor, mut received) = (0, 0);
        while cursor < frames {
            let seen = control.wake_now();
            let mapped = Some((GENERATION, self.table()));
            if let Next::Frame { sequence, slot } = ring::next(control, delivery, cursor, mapped) {
                let (pin, version) = (ring::pin_of(GENERATION, slot), &self.entry(slot).version);
                if ring::lease(&record.pins[0], pin, version, sequence) == Lease::Held {
                    // SAFETY: the lease exists, so no thread writes to the slot until it is released.
                    let payload = unsafe { *self.payloads[slot].0.get() };
                    assert!(
                        payload.iter().all(|&word| word == sequence),
                        "frame {sequence} is torn: {payload:?}"
                    );
                    assert!(ring::is_intact(version, sequence));
                    ring::release(control, readers, &record.pins[0], false);
                    (cursor, received) = (sequence, received + 1);
                }
                continue;
            }
            if ring::prepare_wait(control, record, seen) {
                self.map.wait_on(&control.wake, seen, reader, Duration::from_secs(600));
            }
            record.waiting.store(0, ring::Ordering::Relaxed);
        }
        ring::detach(readers, reader);
        received
    }
}

#[test]
fn threads_that_share_a_ring_do_not_race() {
    let frames =
        if std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep") { 1_000_000 } else { 50_000 };
    let channel = Channel::new();
    std::thread::scope(|scope| {
        let readers: Vec<_> = [Delivery::Newest, Delivery::Every, Delivery::Newest]
            .into_iter()
            .enumerate()
            .map(|(index, delivery)| {
                let channel = &channel;
                scope.spawn(move || channel.receive(index, delivery, frames))
            })
            .collect();
        channel.publish(frames);
        let received: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        println!("sanitize: stress: {frames} frames published, {received:?} received by three threads");
    });
}

/// A fault that `scripts/sanitize` must report, which proves that it would report another: a race, or a read
/// beyond the end of an allocation. Run with `FRAMELANE_PLANT=race` or `FRAMELANE_PLANT=overrun`.
#[test]
fn a_planted_fault() {
    match std::env::var("FRAMELANE_PLANT").as_deref() {
        Ok("race") => {
            let payload = Payload(UnsafeCell::new([0; WORDS]));
            let payload = &payload;
            std::thread::scope(|scope| {
                for value in 1..=2 {
                    // SAFETY: there is none; two threads write to it. Built for ThreadSanitizer only.
                    scope.spawn(move || unsafe { *payload.0.get() = [value; WORDS] });
                }
            });
        }
        Ok("overrun") => {
            let bytes = std::hint::black_box(vec![1_u8; 64]);
            // SAFETY: there is none; it lies behind the end. Built for AddressSanitizer only.
            let beyond = unsafe { bytes.as_ptr().add(bytes.len()) };
            // SAFETY: as above.
            std::hint::black_box(unsafe { beyond.read_volatile() });
        }
        _ => {}
    }
}
