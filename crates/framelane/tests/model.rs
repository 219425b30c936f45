//! The ring compared with an obvious model of it: for any actions in any order, both return the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::Place;
use proptest::prelude::*;

const SLOTS: usize = 4;
/// Each needs a larger ring than the one before.
const SIZES: [usize; 4] = [100, 5000, 9000, 13_000];

#[derive(Clone, Copy, Debug)]
enum Op {
    Send(usize),
    /// A loan that is dropped.
    Waste(usize),
    Skip,
    LoanOwned(usize),
    PublishOwned(usize),
    DropOwned(usize),
    /// Receives with this subscriber, and keeps the lease.
    Receive(usize),
    DropLease(usize),
    Reopen(usize, bool),
}

fn op() -> impl Strategy<Value = Op> {
    // The small size mostly: a new ring at every step would leave nothing else to be seen.
    let size = || prop_oneof![12 => Just(0_usize), 1 => 1..SIZES.len()];
    prop_oneof![
        8 => size().prop_map(Op::Send),
        1 => size().prop_map(Op::Waste),
        1 => Just(Op::Skip),
        2 => size().prop_map(Op::LoanOwned),
        2 => (0..4_usize).prop_map(Op::PublishOwned),
        3 => (0..4_usize).prop_map(Op::DropOwned),
        12 => (0..3_usize).prop_map(Op::Receive),
        10 => (0..8_usize).prop_map(Op::DropLease),
        1 => (0..3_usize, any::<bool>()).prop_map(|(which, every)| Op::Reopen(which, every)),
    ]
}

/// Returns the pixels of a frame, by its number; a slot that was never written is never read.
fn pixels(sequence: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u64 * 7 + sequence * 31) as u8).collect()
}

fn gray(len: usize) -> Layout {
    Layout::packed(PixelFormat::Gray8, len as u32, 1).unwrap()
}

// ---- the model ---------------------------------------------------------------------------------------

#[derive(Default)]
struct Slot {
    /// The number of the frame in it; 0 is none.
    sequence: u64,
    on_loan: bool,
    leases: usize,
}

struct Ring {
    slot_bytes: usize,
    slots: [Slot; SLOTS],
    newest: Option<usize>,
}

type SharedRing = Rc<RefCell<Ring>>;

/// A subscriber of the model: which ring it has mapped, and how far it has come.
struct Reader {
    every: bool,
    mapped: Option<SharedRing>,
    cursor: u64,
    received: u64,
    dropped: u64,
}

struct Model {
    lossless: bool,
    sequence: u64,
    dropped: u64,
    newest: u64,
    current: Option<SharedRing>,
    next: Option<SharedRing>,
    sizes: BTreeMap<u64, usize>,
    readers: Vec<Reader>,
}

#[derive(Debug, PartialEq)]
enum Taken {
    Slot(usize),
    None,
    /// No slot, and a publisher with backpressure block would wait for it.
    Blocked,
}

impl Model {
    fn behind(&self, sequence: u64) -> bool {
        self.lossless && self.readers.iter().any(|reader| reader.every && reader.cursor < sequence)
    }

    fn take(&mut self, bytes: usize) -> Taken {
        let target = self.next.as_ref().or(self.current.as_ref());
        if target.is_none_or(|ring| ring.borrow().slot_bytes < bytes) {
            let slot_bytes = bytes.next_multiple_of(4096);
            let ring = Ring { slot_bytes, slots: Default::default(), newest: None };
            self.next = Some(Rc::new(RefCell::new(ring)));
        }
        if self.next.is_some() && self.behind(self.newest) {
            return Taken::Blocked;
        }
        let ring = self.target();
        let oldest = {
            let ring = ring.borrow();
            let free = ring.slots.iter().enumerate().filter(|(index, slot)| {
                ring.newest != Some(*index)
                    && !slot.on_loan
                    && slot.leases == 0
                    && !self.behind(slot.sequence)
            });
            free.map(|(index, slot)| (slot.sequence, index)).min()
        };
        let Some((_, index)) = oldest else {
            return if self.lossless { Taken::Blocked } else { Taken::None };
        };
        ring.borrow_mut().slots[index].sequence = 0;
        Taken::Slot(index)
    }

    fn target(&self) -> SharedRing {
        self.next.clone().or(self.current.clone()).unwrap()
    }

    fn skip(&mut self) {
        self.sequence += 1;
        self.dropped += 1;
    }

    fn publish(&mut self, ring: &SharedRing, index: usize, bytes: usize) {
        if self.next.as_ref().is_some_and(|next| Rc::ptr_eq(next, ring)) {
            self.current = self.next.take();
        }
        self.sequence += 1;
        self.newest = self.sequence;
        self.sizes.insert(self.sequence, bytes);
        let mut ring = ring.borrow_mut();
        ring.newest = Some(index);
        ring.slots[index].sequence = self.sequence;
    }

    /// Receives a frame now. Returns its number, the number of missed frames, and the slot that is then
    /// leased.
    fn receive(
        &mut self,
        which: usize,
        leases: usize,
        closed: bool,
    ) -> Result<(u64, u64, SharedRing, usize), &str> {
        let nothing = if closed { "closed" } else { "timeout" };
        let newest = self.newest;
        let reader = &mut self.readers[which];
        if newest <= reader.cursor {
            return Err(nothing);
        }
        if leases == SLOTS - 2 {
            return Err("too many leases");
        }
        let current = self.current.clone().unwrap();
        let find = |ring: &SharedRing, wanted: &dyn Fn(u64) -> bool| {
            let ring = ring.borrow();
            let frames = ring.slots.iter().enumerate().map(|(index, slot)| (slot.sequence, index));
            frames.filter(|&(sequence, _)| sequence != 0 && wanted(sequence)).min()
        };
        let found = if reader.every {
            let cursor = reader.cursor;
            let after = move |sequence| sequence > cursor;
            let in_mapped =
                reader.mapped.clone().and_then(|ring| find(&ring, &after).map(|found| (ring, found)));
            in_mapped.or_else(|| find(&current, &after).map(|found| (current.clone(), found)))
        } else {
            find(&current, &|sequence| sequence == newest).map(|found| (current.clone(), found))
        };
        let is_mapped =
            |ring: &SharedRing| reader.mapped.as_ref().is_some_and(|mapped| Rc::ptr_eq(mapped, ring));
        let Some((ring, (sequence, index))) = found.filter(|(ring, _)| !closed || is_mapped(ring)) else {
            // The file is gone with the channel; or all that it has is older, and is known by now.
            if !closed {
                reader.mapped = Some(current);
            }
            return Err(nothing);
        };
        ring.borrow_mut().slots[index].leases += 1;
        let mut missed = sequence - reader.cursor - 1;
        if self.lossless && reader.every && reader.received == 0 {
            missed = 0;
        }
        reader.mapped = Some(ring.clone());
        reader.cursor = sequence;
        reader.received += 1;
        reader.dropped += missed;
        Ok((sequence, missed, ring, index))
    }

    fn new_reader(&self, every: bool) -> Reader {
        let mapped = self.current.clone();
        Reader { every, mapped, cursor: self.newest.saturating_sub(1), received: 0, dropped: 0 }
    }
}

// ---- both side by side -------------------------------------------------------------------------------

struct LoanBoth {
    real: OwnedLoan,
    ring: SharedRing,
    index: usize,
    size: usize,
    published: Option<u64>,
}

struct LeaseBoth {
    real: Frame,
    ring: SharedRing,
    index: usize,
    /// Which subscriber it is of; none once that was opened again.
    of: Option<usize>,
}

struct Both {
    _directory: Place,
    options: SubscriberOptions,
    model: Model,
    publisher: Option<Publisher>,
    subscribers: Vec<Subscriber>,
    loans: Vec<LoanBoth>,
    leases: Vec<LeaseBoth>,
}

impl Both {
    fn new(backpressure: Backpressure) -> Self {
        let directory = Place::new();
        let publisher =
            PublisherOptions::new().directory(directory.path()).slots(SLOTS).backpressure(backpressure);
        let publisher = publisher.create("c").unwrap();
        let options = SubscriberOptions::new().directory(directory.path()).open_timeout(Some(Duration::ZERO));
        let mut model = Model {
            lossless: backpressure == Backpressure::Block,
            sequence: 0,
            dropped: 0,
            newest: 0,
            current: None,
            next: None,
            sizes: BTreeMap::new(),
            readers: Vec::new(),
        };
        let mut subscribers = Vec::new();
        for every in [false, true, true] {
            model.readers.push(model.new_reader(every));
            let delivery = if every { Delivery::Every } else { Delivery::Newest };
            subscribers.push(options.clone().delivery(delivery).open("c").unwrap());
        }
        let publisher = Some(publisher);
        Both { _directory: directory, options, model, publisher, subscribers, loans: vec![], leases: vec![] }
    }

    fn run(&mut self, op: Op) {
        let publisher = self.publisher.as_mut().unwrap();
        match op {
            Op::Send(size) | Op::Waste(size) => {
                let bytes = SIZES[size];
                let sequence = self.model.sequence + 1;
                match self.model.take(bytes) {
                    // It would wait indefinitely: there is no other thread to end it.
                    Taken::Blocked => self.take_blocked(bytes),
                    Taken::None => {
                        self.model.skip();
                        let loaned = publisher.loan(&gray(bytes)).err();
                        assert!(matches!(loaned, Some(LoanError::NoFreeSlot)), "{loaned:?}");
                    }
                    Taken::Slot(index) => {
                        let mut loan = publisher.loan(&gray(bytes)).unwrap();
                        loan.bytes_mut().copy_from_slice(&pixels(sequence, bytes));
                        if matches!(op, Op::Send(_)) {
                            assert_eq!(loan.publish(&FrameInfo::default()), sequence);
                            let ring = self.model.target();
                            self.model.publish(&ring, index, bytes);
                        }
                    }
                }
            }
            Op::Skip => {
                self.model.skip();
                assert_eq!(publisher.skip(), self.model.sequence);
            }
            Op::LoanOwned(size) => {
                let loan = publisher.try_loan_owned(&gray(SIZES[size]));
                match self.model.take(SIZES[size]) {
                    Taken::Slot(index) => {
                        let ring = self.model.target();
                        ring.borrow_mut().slots[index].on_loan = true;
                        let real = loan.unwrap();
                        self.loans.push(LoanBoth { real, ring, index, size: SIZES[size], published: None });
                    }
                    _ => assert!(matches!(loan, Err(LoanError::NoFreeSlot))),
                }
            }
            Op::PublishOwned(which) => self.publish_owned(which),
            Op::DropOwned(which) if which < self.loans.len() => {
                let loan = self.loans.remove(which);
                loan.ring.borrow_mut().slots[loan.index].on_loan = false;
            }
            Op::DropOwned(_) => {}
            Op::Receive(which) => {
                self.receive(which);
            }
            Op::DropLease(which) if which < self.leases.len() => self.drop_lease(which),
            Op::DropLease(_) => {}
            Op::Reopen(which, every) => {
                for lease in self.leases.iter_mut().filter(|lease| lease.of == Some(which)) {
                    lease.of = None;
                }
                // A closed subscriber no longer blocks a publisher, but a record whose leases live on still
                // does.
                let orphans = self.leases.iter().any(|lease| lease.of.is_none());
                if self.model.lossless && orphans {
                    self.leases.iter_mut().filter(|lease| lease.of.is_none()).for_each(|lease| {
                        lease.of = Some(which);
                    });
                    return;
                }
                self.model.readers[which] = self.model.new_reader(every);
                let delivery = if every { Delivery::Every } else { Delivery::Newest };
                self.subscribers[which] = self.options.clone().delivery(delivery).open("c").unwrap();
            }
        }
        self.check();
    }

    fn take_blocked(&mut self, bytes: usize) {
        // `try_loan_owned` never waits: it shows that the publisher too sees no free slot.
        let loan = self.publisher.as_mut().unwrap().try_loan_owned(&gray(bytes));
        assert!(matches!(loan, Err(LoanError::NoFreeSlot)));
    }

    fn publish_owned(&mut self, which: usize) {
        let Some(loan) = self.loans.get(which).filter(|loan| loan.published.is_none()) else { return };
        let is = |ring: &Option<SharedRing>| ring.as_ref().is_some_and(|ring| Rc::ptr_eq(ring, &loan.ring));
        let (in_current, in_next) = (is(&self.model.current), is(&self.model.next));
        let (ring, index, bytes) = (loan.ring.clone(), loan.index, loan.size);
        if in_next && self.model.behind(self.model.newest) {
            return;
        }
        let sequence = self.model.sequence + 1;
        let expected = if in_current || in_next {
            self.model.publish(&ring, index, bytes);
            Some(sequence)
        } else {
            match self.model.take(bytes) {
                Taken::Blocked => return self.take_blocked(bytes),
                Taken::None => {
                    self.model.skip();
                    None
                }
                Taken::Slot(index) => {
                    let target = self.model.target();
                    self.model.publish(&target, index, bytes);
                    Some(sequence)
                }
            }
        };
        let loan = &mut self.loans[which];
        loan.write(&pixels(sequence, bytes));
        let published =
            self.publisher.as_mut().unwrap().publish_owned(&loan.real, &gray(bytes), &FrameInfo::default());
        assert_eq!(published.ok(), expected);
        loan.published = expected;
    }

    fn receive(&mut self, which: usize) -> bool {
        let closed = self.publisher.is_none();
        let leases = self.leases.iter().filter(|lease| lease.of == Some(which)).count();
        let expected = self.model.receive(which, leases, closed);
        let found = self.subscribers[which].recv_timeout(Duration::ZERO);
        match (expected, found) {
            (Ok((sequence, missed, ring, index)), Ok(real)) => {
                assert_eq!(real.sequence(), sequence);
                assert_eq!(real.dropped(), missed);
                assert_eq!(real.width() as usize, self.model.sizes[&sequence]);
                self.leases.push(LeaseBoth { real, ring, index, of: Some(which) });
                true
            }
            (Err("timeout"), Err(RecvError::Timeout)) | (Err("closed"), Err(RecvError::Closed)) => false,
            (Err("too many leases"), Err(RecvError::TooManyLeases)) => false,
            (expected, found) => {
                panic!("{:?} received, not {:?}", found, expected.map(|(sequence, ..)| sequence))
            }
        }
    }

    fn drop_lease(&mut self, which: usize) {
        let lease = self.leases.remove(which);
        lease.ring.borrow_mut().slots[lease.index].leases -= 1;
    }

    /// Every lease still shows its frame, and all counts agree.
    fn check(&self) {
        for LeaseBoth { real, .. } in &self.leases {
            assert_eq!(
                real.bytes(),
                pixels(real.sequence(), real.bytes().len()),
                "frame {}",
                real.sequence()
            );
        }
        for (reader, subscriber) in self.model.readers.iter().zip(&self.subscribers) {
            assert_eq!(reader.received, subscriber.received());
            assert_eq!(reader.dropped, subscriber.dropped());
        }
        if let Some(publisher) = &self.publisher {
            assert_eq!(
                (publisher.sequence(), publisher.dropped()),
                (self.model.sequence, self.model.dropped)
            );
        }
    }

    /// Closes the channel, and receives what is left.
    fn close(mut self) {
        self.publisher = None;
        self.loans.clear();
        self.check();
        for which in 0..self.subscribers.len() {
            loop {
                while let Some(lease) = self.leases.iter().position(|lease| lease.of == Some(which)) {
                    self.drop_lease(lease);
                }
                if !self.receive(which) {
                    break;
                }
                self.check();
            }
        }
    }
}

impl LoanBoth {
    fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.real.capacity());
        // SAFETY: the slot is on loan and not published yet, so only its owner writes to it, and it has the
        // room.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.real.as_ptr().as_ptr(), bytes.len()) };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn with_backpressure_drop_the_ring_does_what_its_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let mut both = Both::new(Backpressure::Drop);
        ops.into_iter().for_each(|op| both.run(op));
        both.close();
    }

    #[test]
    fn with_backpressure_block_the_ring_does_what_its_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let mut both = Both::new(Backpressure::Block);
        ops.into_iter().for_each(|op| both.run(op));
        both.close();
    }
}
