//! `SIGKILL` at every step of a channel's life, one after the other. After each kill the surviving process
//! continues, a new publisher takes over, leases stay whole, and no slot or record is lost.
//!
//! Needs `RUSTFLAGS="--cfg framelane_testing"`. `FRAMELANE_DEPTH=deep` also kills at later passages of each
//! step.
#![cfg(framelane_testing)]

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use framelane::testing::Step::{self, *};
use framelane::{
    Backpressure, CancelToken, ChannelState, Delivery, ErrorKind, Frame, FrameInfo, Layout, LoanError,
    PixelFormat, Publisher, RecvError, Subscriber, doctor, list, status,
};
#[cfg(unix)]
use framelane_tests::on_small_tmpfs;
use framelane_tests::{Channels, Memory, Pattern, Place, Running, wait_until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const SLOTS: usize = 5;
const BYTES: usize = 1000;

/// Number of kills at each step, in all tests.
static KILLED: Mutex<BTreeMap<Step, u32>> = Mutex::new(BTreeMap::new());

/// Which passages of a step to be killed at.
fn passages() -> u64 {
    if std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep") { 12 } else { 2 }
}

fn puppet(place: &Place) -> Running {
    let mut puppet = place.start_program(PUPPET, &["c"]);
    puppet.numbers("ready");
    puppet
}

/// Lets it do this, to the end.
fn lead(puppet: &mut Running, orders: &[&str]) {
    for order in orders {
        puppet.tell(order);
        puppet.numbers("done");
    }
}

/// Lets it do these things again and again until it is killed at the `passage`-th time that it comes to
/// `step`. `meanwhile` is done after each of them that it survives.
fn die(mut puppet: Running, step: Step, passage: u64, orders: &[&str], mut meanwhile: impl FnMut()) {
    lead(&mut puppet, &[&format!("kill {step:?} {passage}")]);
    'lives: for _ in 0..100 {
        for order in orders {
            puppet.tell(order);
            if puppet.line().is_none() {
                break 'lives;
            }
            meanwhile();
        }
    }
    puppet.end_killed();
    *KILLED.lock().unwrap().entry(step).or_default() += 1;
}

fn gray(bytes: usize) -> Layout {
    Layout::packed(PixelFormat::Gray8, bytes as u32, 1).unwrap()
}

/// A reader of the newest and a reader of every frame, which live through all of it, and a frame that they
/// hold.
struct Survivors {
    place: Place,
    pattern: Pattern,
    readers: [Subscriber; 2],
    held: Vec<Frame>,
    last: [u64; 2],
}

impl Survivors {
    /// Attaches to a channel that has a frame, and holds it.
    fn new(place: Place) -> Self {
        let mut readers = [Delivery::Newest, Delivery::Every]
            .map(|delivery| place.subscriber().delivery(delivery).open("c").unwrap());
        let held: Vec<_> = readers.iter_mut().map(|reader| reader.recv().unwrap()).collect();
        let last = [held[0].sequence(), held[1].sequence()];
        Survivors { place, pattern: Pattern::new(), readers, held, last }
    }

    /// Receives what there is now, looking at every byte.
    fn read_on(&mut self) {
        for (reader, last) in self.readers.iter_mut().zip(&mut self.last) {
            loop {
                match reader.recv_timeout(Duration::ZERO) {
                    Ok(frame) => {
                        self.pattern.check(frame.bytes(), frame.sequence()).unwrap();
                        assert!(frame.sequence() > *last, "frame {} after {last}", frame.sequence());
                        *last = frame.sequence();
                    }
                    Err(RecvError::Timeout | RecvError::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for frame in &self.held {
            self.pattern.check(frame.bytes(), frame.sequence()).expect("the frame that is held");
        }
    }

    fn publish(&self, publisher: &mut Publisher, bytes: usize) -> Result<u64, LoanError> {
        let sequence = publisher.sequence() + 1;
        publisher.set_cancel_token(CancelToken::with_check(|| true));
        let mut loan = publisher.loan(&gray(bytes))?;
        self.pattern.fill(loan.bytes_mut(), sequence, false);
        Ok(loan.publish(&FrameInfo::default()))
    }

    /// The state of the channel while its publisher is dead.
    fn the_truth_is(&self, state: Option<ChannelState>, dead: u32) {
        let path = Some(self.place.path());
        the_truth_is(&self.place, state.clone(), Some(dead));
        if state == Some(ChannelState::Stale) {
            assert!(self.readers.iter().all(|reader| !reader.publisher_alive()));
            let found = status(path, "c").unwrap();
            assert_eq!(found.subscribers.len(), 2, "{found:?}");
        }
    }

    /// A new publisher starts. Waiting subscribers receive from it without a new subscription, unless the
    /// channel was closed.
    fn take_over(mut self, closed: bool) {
        self.read_on();
        let mut publisher = self.place.publisher().slots(SLOTS).create("c").unwrap();
        let sequence = self.publish(&mut publisher, BYTES).unwrap();
        let mut fresh = self.place.subscriber().open("c").unwrap();
        assert_eq!(fresh.recv().unwrap().sequence(), sequence);
        for reader in 0..2 {
            // A frame that the dead had finished, and not come to announce, may come first.
            let next = loop {
                match self.readers[reader].recv() {
                    Ok(frame) if frame.epoch() == publisher.epoch() => break Some(frame),
                    Ok(frame) => {
                        self.pattern.check(frame.bytes(), frame.sequence()).unwrap();
                        self.last[reader] = frame.sequence();
                    }
                    Err(RecvError::Closed) => break None,
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(next.is_none(), closed, "a channel that was closed is another one now");
            if let Some(frame) = next {
                assert_eq!(frame.sequence(), sequence);
                assert!(sequence > self.last[reader], "no number is given twice");
                self.last[reader] = sequence;
            }
        }
        drop(fresh);
        self.all_is_to_be_had(publisher, if closed { 0 } else { 2 });
    }

    /// Frames pass. Every slot of this ring and every record is available. Larger frames pass, and no file
    /// remains at the end.
    fn all_is_to_be_had(mut self, mut publisher: Publisher, attached: usize) {
        let path = self.place.path().to_owned();
        self.send_some(&mut publisher, BYTES);
        assert_eq!(publisher.subscribers(), attached);
        let found = status(Some(&path), "c").unwrap();
        assert_eq!((found.state, found.subscribers.len()), (ChannelState::Live, attached));
        assert_eq!(found.publisher_pid, std::process::id());
        let data = self.place.files().into_iter().filter(|name| name.contains(".data.")).count();
        assert_eq!(data, 1, "the rings of the dead are gone");
        let more: Vec<_> = (attached..64).map(|_| self.place.subscriber().open("c").unwrap()).collect();
        assert_eq!(
            self.place.subscriber().open("c").err().map(|error| error.kind()),
            Some(ErrorKind::TooManySubscribers)
        );
        drop(more);
        self.held.clear();
        let slots = std::iter::from_fn(|| publisher.try_loan_owned(&gray(BYTES)).ok()).collect::<Vec<_>>();
        assert_eq!(slots.len(), publisher.slots() - 1, "all slots but the newest");
        drop(slots);
        assert_eq!(status(Some(&path), "c").unwrap().generation, found.generation);
        self.send_some(&mut publisher, 20 * BYTES);
        publisher.close();
        nothing_is_left(&self.place);
    }

    fn send_some(&mut self, publisher: &mut Publisher, bytes: usize) {
        for _ in 0..2 * SLOTS {
            self.publish(publisher, bytes).unwrap();
            self.read_on();
        }
    }
}

/// The output of `list`, `info` and `doctor` for the channel.
fn the_truth_is(place: &Place, state: Option<ChannelState>, dead: Option<u32>) {
    let path = Some(place.path());
    let found = list(path).unwrap();
    let diagnosis = doctor(path, framelane::Leftovers::Report).unwrap();
    let Some(state) = state else {
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(status(path, "c").unwrap_err().kind(), ErrorKind::NotFound);
        return;
    };
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].name[..], &found[0].state), ("c", &state));
    assert_eq!(status(path, "c").unwrap().state, state);
    if let (Some(dead), ChannelState::Stale) = (dead, &state) {
        assert_eq!(found[0].publisher_pid, dead);
    }
    let live = usize::from(state == ChannelState::Live);
    assert_eq!((diagnosis.live_channels, diagnosis.leftovers.len()), (live, 1 - live), "{diagnosis:?}");
}

fn nothing_is_left(place: &Place) {
    // The doctor keeps unfinished files of the last seconds: their process may still be alive.
    for name in place.files() {
        assert!(name.ends_with(".new"), "{name} is left");
        let file = File::options().write(true).open(place.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
    doctor(Some(place.path()), framelane::Leftovers::Remove).unwrap();
    assert_eq!((place.files(), place.used_bytes()), (vec![], 0));
}

/// A live publisher in a separate process, with a frame that the survivors hold.
fn publishing(backpressure: &str) -> (Running, Survivors) {
    publishing_in(Place::new(), backpressure)
}

fn publishing_in(place: Place, backpressure: &str) -> (Running, Survivors) {
    let mut publisher = puppet(&place);
    lead(&mut publisher, &[&format!("create {backpressure} {SLOTS}"), &format!("send {BYTES}")]);
    let survivors = Survivors::new(place);
    (publisher, survivors)
}

/// Kills a publisher of each backpressure at each passage of the steps, and lets the next one take over.
fn kill_publisher(steps: &[Step], orders: &[&str]) {
    for backpressure in ["drop", "block"] {
        for (&step, passage) in
            steps.iter().flat_map(|step| (1..=passages()).map(move |passage| (step, passage)))
        {
            println!("{step:?}, passage {passage}, backpressure {backpressure}");
            let (publisher, mut survivors) = publishing(backpressure);
            let id = publisher.id();
            die(publisher, step, passage, orders, || survivors.read_on());
            survivors.the_truth_is(Some(ChannelState::Stale), id);
            survivors.take_over(false);
        }
    }
}

fn a_publisher_killed_anywhere_in_a_frame_is_taken_over() {
    let small = format!("send {BYTES}");
    kill_publisher(
        &[
            ClaimMarked,
            ClaimTaken,
            NumberGiven,
            DescriptorWritten,
            VersionStored,
            HeadStored,
            WakeChanged,
            // The oldest slot is the one that the survivors hold.
            ClaimRefused,
            ClaimTakenBack,
        ],
        &[&small],
    );
    kill_publisher(&[NumberSkipped], &["skip", &small]);
}

fn a_publisher_killed_anywhere_in_a_change_of_size_is_taken_over() {
    // Larger and larger: each needs a new ring.
    let larger: Vec<_> = (1..=13).map(|turn| format!("send {}", BYTES + turn * 5000)).collect();
    let larger: Vec<_> = larger.iter().map(String::as_str).collect();
    kill_publisher(&[DataMade, Announced, OldDataLeft], &larger);
}

fn a_publisher_killed_while_it_waits_for_a_reader_is_taken_over() {
    let (publisher, survivors) = publishing("block");
    let id = publisher.id();
    // No subscriber reads: after a ring of frames it must wait.
    die(publisher, PublisherWaiting, 1, &[&format!("send {BYTES}")], || ());
    survivors.the_truth_is(Some(ChannelState::Stale), id);
    survivors.take_over(false);
}

fn a_publisher_killed_while_it_takes_slots_back_from_the_dead_is_taken_over() {
    for step in [ReclaimLocked, PinsCleared, Reclaimed] {
        let (mut publisher, mut survivors) = publishing("drop");
        // Two: one alone cannot hold all slots.
        let mut victims = [puppet(&survivors.place), puppet(&survivors.place)];
        victims.iter_mut().for_each(|victim| lead(victim, &["open newest"]));
        for turn in 0..SLOTS {
            lead(&mut publisher, &[&format!("send {BYTES}")]);
            lead(&mut victims[turn % 2], &["receive"]);
        }
        victims.into_iter().for_each(Running::kill);
        survivors.read_on();
        let id = publisher.id();
        die(publisher, step, 1, &[&format!("send {BYTES}")], || ());
        survivors.the_truth_is(Some(ChannelState::Stale), id);
        survivors.take_over(false);
    }
}

fn a_publisher_killed_while_it_closes_is_replaced() {
    for step in [ClosedStored, CloseNotified, DataRemoved, ReadersRemoved, ControlRemoved] {
        let (publisher, survivors) = publishing("drop");
        let id = publisher.id();
        die(publisher, step, 1, &["close"], || ());
        let named = step != ControlRemoved;
        survivors.the_truth_is(named.then_some(ChannelState::Closed), id);
        survivors.take_over(true);
    }
}

fn a_publisher_killed_while_it_makes_a_channel_is_in_nobodys_way() {
    for step in [ControlMade, ControlNamed, ReadersMade, ReadersNamed, EpochStored, Live] {
        let place = Place::new();
        // One that waits for the channel from the beginning.
        let options = place.subscriber();
        let early = std::thread::spawn(move || options.open("c").unwrap().recv().unwrap().sequence());
        die(puppet(&place), step, 1, &[&format!("create drop {SLOTS}")], || ());
        the_truth_is(&place, (step != ControlMade).then_some(ChannelState::Stale), None);
        let mut publisher = place.publisher().slots(SLOTS).create("c").unwrap();
        publisher.send(&gray(BYTES), &FrameInfo::default(), &[1; BYTES]).unwrap();
        assert_eq!(early.join().unwrap(), 1, "{step:?}");
        publisher.close();
        nothing_is_left(&place);
    }
}

fn a_publisher_killed_while_it_takes_over_is_taken_over_in_turn() {
    for step in [TakeOverAnnounced, TakeOverLocked, RingAdopted, EpochStored, Live] {
        let (publisher, survivors) = publishing("drop");
        publisher.kill();
        let second = puppet(&survivors.place);
        die(second, step, 1, &[&format!("create drop {SLOTS}")], || ());
        the_truth_is(&survivors.place, Some(ChannelState::Stale), None);
        survivors.take_over(false);
    }
    let (publisher, survivors) = publishing("drop");
    die(publisher, CloseNotified, 1, &["close"], || ());
    die(puppet(&survivors.place), TakeOverClosed, 1, &[&format!("create drop {SLOTS}")], || ());
    the_truth_is(&survivors.place, Some(ChannelState::Closed), None);
    survivors.take_over(true);
}

/// Not on Windows. It has no call that stops a process.
#[cfg(unix)]
fn subscriber_opened_during_a_takeover_waits_for_its_epoch() {
    for step in [TakeOverLocked, RingAdopted] {
        let (publisher, survivors) = publishing("drop");
        publisher.kill();
        let mut second = puppet(&survivors.place);
        lead(&mut second, &[&format!("stop {step:?}")]);
        second.tell(&format!("create drop {SLOTS}"));
        wait_until!(second.is_stopped());
        let early = survivors.place.subscriber().open_timeout(Some(Duration::ZERO)).open("c").err();
        assert_eq!(early.map(|error| error.kind()), Some(ErrorKind::NotFound), "{step:?}");
        second.kill();
        survivors.take_over(false);
    }
}

fn a_doctor_killed_at_work_leaves_what_the_next_one_and_the_next_publisher_can_use() {
    for step in [DoctorLocked, DoctorClosed, DoctorRemoved] {
        for again in [false, true] {
            let (publisher, survivors) = publishing("drop");
            publisher.kill();
            die(puppet(&survivors.place), step, 1, &["doctor"], || ());
            let closed = step != DoctorLocked;
            let state = if closed { ChannelState::Closed } else { ChannelState::Stale };
            the_truth_is(&survivors.place, Some(state), None);
            if again {
                doctor(Some(survivors.place.path()), framelane::Leftovers::Remove).unwrap();
                assert_eq!(survivors.place.files(), [""; 0]);
            }
            survivors.take_over(closed || again);
        }
    }
}

/// A publisher of ours, and the survivors of its channel.
fn published(backpressure: Backpressure) -> (Publisher, Survivors) {
    let place = Place::new();
    let mut publisher = place.publisher().backpressure(backpressure).slots(SLOTS).create("c").unwrap();
    let pattern = Pattern::new();
    let mut loan = publisher.loan(&gray(BYTES)).unwrap();
    pattern.fill(loan.bytes_mut(), 1, false);
    loan.publish(&FrameInfo::default());
    let survivors = Survivors::new(place);
    (publisher, survivors)
}

/// The dead subscriber is not listed, no process was blocked, and all its slots and records are available.
fn goes_on(publisher: Publisher, survivors: Survivors) {
    the_truth_is(&survivors.place, Some(ChannelState::Live), None);
    let found = status(Some(survivors.place.path()), "c").unwrap();
    assert!(found.subscribers.iter().all(|reader| reader.pid == std::process::id()), "{found:?}");
    survivors.all_is_to_be_had(publisher, 2);
}

fn a_subscriber_killed_while_it_comes_leaves_its_record_to_others() {
    for step in [RecordLocked, RecordFilled, RecordActive, Attached] {
        for backpressure in [Backpressure::Drop, Backpressure::Block] {
            let (publisher, survivors) = published(backpressure);
            die(puppet(&survivors.place), step, 1, &["open every"], || ());
            goes_on(publisher, survivors);
        }
    }
}

fn a_subscriber_killed_anywhere_in_a_frame_lets_its_slots_go() {
    for backpressure in [Backpressure::Drop, Backpressure::Block] {
        for delivery in ["newest", "every"] {
            for step in [FrameChosen, Pinned, LeaseHeld, Received, DataMapped, Released] {
                for passage in 1..=passages() {
                    println!("{step:?}, passage {passage}, {delivery}, {backpressure:?}");
                    let (mut publisher, mut survivors) = published(backpressure);
                    let mut victim = puppet(&survivors.place);
                    lead(&mut victim, &[&format!("open {delivery}")]);
                    let mut bytes = BYTES;
                    // Before each order there is a new frame; for a new ring, a larger one.
                    die(victim, step, passage, &["receive", "release"], || {
                        bytes += if step == DataMapped { 5000 } else { 0 };
                        match survivors.publish(&mut publisher, bytes) {
                            // With backpressure block, a larger ring must wait until the victim has read the
                            // old one.
                            Ok(_) | Err(LoanError::Interrupted) => survivors.read_on(),
                            Err(error) => panic!("{error}"),
                        }
                    });
                    goes_on(publisher, survivors);
                }
            }
        }
    }
}

/// Not on Windows. It has no call that stops a process.
#[cfg(unix)]
fn a_subscriber_killed_when_it_was_too_late_for_a_frame_holds_nothing() {
    let (mut publisher, mut survivors) = published(Backpressure::Drop);
    let mut victim = puppet(&survivors.place);
    // Not the frame that the survivors hold: its slot must be one that is used again.
    survivors.publish(&mut publisher, BYTES).unwrap();
    lead(&mut victim, &["open newest", "stop FrameChosen", "kill PinTakenBack 1"]);
    victim.tell("receive");
    wait_until!(victim.is_stopped());
    for _ in 0..2 * SLOTS {
        survivors.publish(&mut publisher, BYTES).unwrap();
        survivors.read_on();
    }
    victim.signal(rustix::process::Signal::CONT);
    assert_eq!(victim.line(), None);
    victim.end_killed();
    *KILLED.lock().unwrap().entry(PinTakenBack).or_default() += 1;
    goes_on(publisher, survivors);
}

fn a_subscriber_killed_in_its_sleep_is_forgotten() {
    for step in [SleepAnnounced, Awake] {
        for backpressure in [Backpressure::Drop, Backpressure::Block] {
            let (mut publisher, mut survivors) = published(backpressure);
            let mut victim = puppet(&survivors.place);
            lead(&mut victim, &["open every", "receive", "release", &format!("kill {step:?} 1")]);
            victim.tell("receive");
            if step == Awake {
                wait_until!(sleeps(&survivors.place, &victim));
                survivors.publish(&mut publisher, BYTES).unwrap();
                survivors.read_on();
            }
            assert_eq!(victim.line(), None);
            victim.end_killed();
            *KILLED.lock().unwrap().entry(step).or_default() += 1;
            goes_on(publisher, survivors);
        }
    }
}

/// Returns whether the third subscriber sleeps. On Windows, it may just be about to.
fn sleeps(place: &Place, victim: &Running) -> bool {
    #[cfg(target_os = "linux")]
    let sleeps = victim.sleeps();
    #[cfg(not(target_os = "linux"))]
    let sleeps = victim.id() != 0;
    sleeps && word(place, "c.readers", 4096 + 2 * 256 + 64) != 0
}

fn word(place: &Place, file: &str, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    Memory::open(&place.path().join(file)).unwrap().read(&mut bytes, offset);
    u32::from_le_bytes(bytes)
}

fn a_subscriber_killed_before_it_wakes_a_waiting_publisher_does_not_hold_it_for_ever() {
    for step in [Released, FreedChanged] {
        let (mut publisher, mut survivors) = published(Backpressure::Block);
        let mut victim = puppet(&survivors.place);
        lead(&mut victim, &["open every", "receive"]);
        std::thread::scope(|scope| {
            let (sender, frames) = std::sync::mpsc::channel();
            let publisher = &mut publisher;
            scope.spawn(move || {
                let pattern = Pattern::new();
                for _ in 0..2 * SLOTS {
                    let sequence = publisher.sequence() + 1;
                    let mut loan = publisher.loan(&gray(BYTES)).unwrap();
                    pattern.fill(loan.bytes_mut(), sequence, false);
                    sender.send(loan.publish(&FrameInfo::default())).unwrap();
                }
            });
            // It waits for the victim, which holds a frame and receives no other.
            while word(&survivors.place, "c.control", 192) == 0 {
                survivors.read_on();
            }
            lead(&mut victim, &[&format!("kill {step:?} 1")]);
            victim.tell("release");
            assert_eq!(victim.line(), None);
            victim.end_killed();
            while frames.recv_timeout(Duration::from_millis(1))
                != Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
            {
                survivors.read_on();
            }
        });
        *KILLED.lock().unwrap().entry(step).or_default() += 1;
        goes_on(publisher, survivors);
    }
}

fn a_subscriber_killed_while_it_leaves_leaves_its_record_to_others() {
    for step in [ReceivingStopped, PinsCleared] {
        for backpressure in [Backpressure::Drop, Backpressure::Block] {
            let (publisher, survivors) = published(backpressure);
            let mut victim = puppet(&survivors.place);
            lead(&mut victim, &["open every", "receive", "release"]);
            die(victim, step, 1, &["leave"], || ());
            goes_on(publisher, survivors);
        }
    }
}

/// Not on Windows. It cannot return memory of a ring that is mapped, so no ring makes way there.
#[cfg(unix)]
#[test]
fn kill_while_a_ring_makes_way_for_a_larger_one_is_taken_over() {
    on_small_tmpfs("kill_while_a_ring_makes_way_for_a_larger_one_is_taken_over", 1, |directory| {
        // The second time the newest frame must go too.
        for (passage, sizes) in [(1, [100_000, 120_000]), (2, [180_000, 190_000])] {
            for backpressure in ["drop", "block"] {
                println!("RingReleased, passage {passage}, backpressure {backpressure}");
                let (publisher, mut survivors) = publishing_in(Place::under(directory), backpressure);
                let id = publisher.id();
                let orders = sizes.map(|size| format!("send {size}"));
                die(publisher, RingReleased, passage, &[&orders[0], &orders[1]], || survivors.read_on());
                survivors.the_truth_is(Some(ChannelState::Stale), id);
                survivors.take_over(false);
            }
        }
    });
}

#[test]
fn a_kill_at_any_step_stops_nobody_else_and_loses_nothing() {
    a_publisher_killed_while_it_makes_a_channel_is_in_nobodys_way();
    a_publisher_killed_anywhere_in_a_frame_is_taken_over();
    a_publisher_killed_anywhere_in_a_change_of_size_is_taken_over();
    a_publisher_killed_while_it_waits_for_a_reader_is_taken_over();
    a_publisher_killed_while_it_takes_slots_back_from_the_dead_is_taken_over();
    a_publisher_killed_while_it_closes_is_replaced();
    a_publisher_killed_while_it_takes_over_is_taken_over_in_turn();
    #[cfg(unix)]
    subscriber_opened_during_a_takeover_waits_for_its_epoch();
    a_doctor_killed_at_work_leaves_what_the_next_one_and_the_next_publisher_can_use();
    a_subscriber_killed_while_it_comes_leaves_its_record_to_others();
    a_subscriber_killed_anywhere_in_a_frame_lets_its_slots_go();
    #[cfg(unix)]
    a_subscriber_killed_when_it_was_too_late_for_a_frame_holds_nothing();
    a_subscriber_killed_in_its_sleep_is_forgotten();
    a_subscriber_killed_before_it_wakes_a_waiting_publisher_does_not_hold_it_for_ever();
    a_subscriber_killed_while_it_leaves_leaves_its_record_to_others();
    let killed = KILLED.lock().unwrap();
    let elsewhere = if cfg!(unix) { &[RingReleased][..] } else { &[RingReleased, PinTakenBack] };
    let missed: Vec<_> =
        Step::ALL.iter().filter(|step| !elsewhere.contains(step) && !killed.contains_key(step)).collect();
    assert!(missed.is_empty(), "no process was killed at {missed:?}");
    println!("steps: {} steps, {} kills", killed.len(), killed.values().sum::<u32>());
}
