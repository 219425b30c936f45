//! `SIGKILL` at random moments, of either side: the other continues, a new publisher takes over, no leaks.
//!
//! `FRAMELANE_SEED` brings back a run's choices, though not its timing.

use std::fs::File;
use std::time::{Duration, SystemTime};

use framelane::{Delivery, FrameInfo, Layout, PixelFormat, RecvError, doctor, status};
use framelane_tests::{Channels, Place, Random, Running, wait_until};

const PUBLISHER: &str = env!("CARGO_BIN_EXE_publisher");
const SUBSCRIBER: &str = env!("CARGO_BIN_EXE_subscriber");

fn start_publisher(place: &Place, kind: &str, random: &mut Random) -> (Running, u64) {
    let seed = random.number().to_string();
    let mut publisher = place.start_program(PUBLISHER, &["c", "drop", kind, &seed]);
    let epoch = publisher.numbers("ready")[0];
    (publisher, epoch)
}

/// The number of the newest frame.
fn newest(place: &Place) -> u64 {
    status(Some(place.path()), "c").map_or(0, |status| status.sequence)
}

/// Waits until this process has received a frame after `sequence`.
fn wait_for_progress(place: &Place, pid: u32, sequence: u64) {
    wait_until!({
        let status = status(Some(place.path()), "c").unwrap();
        status.subscribers.iter().any(|subscriber| subscriber.pid == pid && subscriber.cursor > sequence)
    });
}

/// Waits until the subscriber says that frames of this epoch arrive.
fn wait_for_epoch(subscriber: &mut Running, epoch: u64) {
    while subscriber.numbers("epoch")[0] != epoch {}
}

/// The doctor removes all files that a crash left.
fn assert_nothing_left(place: &Place) {
    // The doctor keeps unfinished files of the last seconds: their process may still be alive.
    for name in place.files().into_iter().filter(|name| name.ends_with(".new")) {
        let file = File::options().write(true).open(place.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
    doctor(Some(place.path()), framelane::Leftovers::Remove).unwrap();
    assert_eq!((place.files(), place.used_bytes()), (vec![], 0));
}

/// Number of kills: 200, or 2,000 with `FRAMELANE_DEPTH=deep`. Half of them are publishers.
fn kills() -> u64 {
    if std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep") { 2000 } else { 200 }
}

#[test]
fn kills_of_either_side_stop_no_other_and_leave_no_file() {
    let place = Place::new();
    let kills = kills();
    let mut random = Random::printed("hundreds of kills");
    let (mut publisher, epoch) = start_publisher(&place, "steady", &mut random);
    let mut survivors: Vec<_> = ["newest", "every"]
        .into_iter()
        .map(|delivery| place.start_program(SUBSCRIBER, &["c", delivery, "1", "epochs"]))
        .collect();
    for survivor in &mut survivors {
        wait_for_epoch(survivor, epoch);
    }
    let (mut publishers, mut subscribers) = (0, 0);
    while publishers + subscribers < kills {
        let left = kills - publishers - subscribers;
        if random.below(left) < kills / 2 - publishers {
            publishers += 1;
            let until = newest(&place) + random.below(50);
            wait_until!(newest(&place) >= until);
            random.spin(300);
            publisher.kill();
            let epoch;
            (publisher, epoch) = start_publisher(&place, "steady", &mut random);
            for survivor in &mut survivors {
                wait_for_epoch(survivor, epoch);
            }
        } else {
            subscribers += 1;
            let delivery = ["newest", "every"][random.below(2) as usize];
            let held = random.below(8).to_string();
            let after = random.below(20).to_string();
            let mut victim = place.start_program(SUBSCRIBER, &["c", delivery, &held, &after]);
            victim.numbers("received");
            random.spin(300);
            victim.kill();
            let sequence = newest(&place);
            for survivor in &survivors {
                wait_for_progress(&place, survivor.id(), sequence);
            }
        }
    }
    println!(
        "kills: {publishers} publishers and {subscribers} subscribers killed at random, {} frames",
        newest(&place)
    );
    // At the publisher: all slots are free, except the newest and at most two for each survivor.
    publisher.tell("slots");
    let slots = publisher.numbers("slots")[0];
    assert!((16 - 1 - 4..=15).contains(&slots), "{slots} of 16 slots are free");
    let found = status(Some(place.path()), "c").unwrap();
    let mut pids: Vec<_> = found.subscribers.iter().map(|subscriber| subscriber.pid).collect();
    let mut expected: Vec<_> = survivors.iter().map(Running::id).collect();
    pids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pids, expected, "no record of a dead subscriber is occupied");
    let more: Vec<_> = (0..62).map(|_| place.subscriber().open("c").unwrap()).collect();
    drop(more);
    publisher.tell("end");
    let [sequence] = publisher.numbers("end")[..] else { panic!("one number") };
    for mut survivor in survivors {
        let [received, missed, first, last, epochs] = survivor.numbers("end")[..] else { panic!("counts") };
        println!("kills: a survivor: {received} received, {missed} dropped, {epochs} epochs");
        assert_eq!((last, epochs), (sequence, kills / 2 + 1));
        assert_eq!(received + missed, last + 1 - first, "every frame is received or counted, in all epochs");
        assert!(survivor.end().success());
    }
    assert!(publisher.end().success());
    assert_eq!((place.files(), place.used_bytes()), (vec![], 0), "a clean end leaves nothing");
}

#[test]
fn pins_of_killed_subscribers_are_reclaimed_in_the_ring() {
    let place = Place::new();
    let mut random = Random::printed("pins of the killed");
    let mut publisher = place.publisher().slots(40).create("c").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 256, 1).unwrap();
    let pattern = framelane_tests::Pattern::new();
    let send = |publisher: &mut framelane::Publisher| {
        let sequence = publisher.sequence() + 1;
        if let Ok(mut loan) = publisher.loan(&layout) {
            pattern.fill(loan.bytes_mut(), sequence, false);
            loan.publish(&FrameInfo::default());
        }
    };
    for round in 0..25 {
        // Four at a time, with up to 32 leases of 40 slots: in each round the dead of the last are in the
        // way.
        let mut victims: Vec<_> = (0..4)
            .map(|_| {
                let after = (1 + random.below(20)).to_string();
                place.start_program(SUBSCRIBER, &["c", "every", &(random.below(8)).to_string(), &after])
            })
            .collect();
        for victim in &mut victims {
            victim.numbers("ready");
        }
        for mut victim in victims {
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    victim.numbers("received");
                    done.store(true, std::sync::atomic::Ordering::Release);
                });
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    send(&mut publisher);
                }
            });
            random.spin(200);
            victim.kill();
        }
        assert_eq!(publisher.subscribers(), 0, "round {round}");
        let free: Vec<_> = std::iter::from_fn(|| publisher.try_loan_owned(&layout).ok()).collect();
        assert_eq!(free.len(), 39, "round {round}: all slots but the newest are free");
    }
    let found = status(Some(place.path()), "c").unwrap();
    assert_eq!((found.generation, found.subscribers.len()), (1, 0));
    publisher.close();
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn publisher_killed_while_its_ring_grows_is_taken_over() {
    let place = Place::new();
    let mut random = Random::printed("kills while the ring grows");
    let (mut publisher, epoch) = start_publisher(&place, "growing", &mut random);
    let mut survivors: Vec<_> = ["newest", "every"]
        .into_iter()
        .map(|delivery| place.start_program(SUBSCRIBER, &["c", delivery, "2", "epochs"]))
        .collect();
    for survivor in &mut survivors {
        wait_for_epoch(survivor, epoch);
    }
    for _ in 0..60 {
        // One more frame: by then the files of the dead before are removed.
        let until = newest(&place) + 1 + random.below(10);
        wait_until!(newest(&place) >= until);
        random.spin(2000);
        publisher.kill();
        let data = place.files().into_iter().filter(|name| name.contains(".data.")).count();
        assert!(data <= 3, "{data} data files: an old one, the present one, one that is being made");
        let epoch;
        (publisher, epoch) = start_publisher(&place, "growing", &mut random);
        for survivor in &mut survivors {
            wait_for_epoch(survivor, epoch);
        }
    }
    let generation = status(Some(place.path()), "c").unwrap().generation;
    println!("kills: 60 publishers killed while their ring grew, in {generation} generations");
    publisher.tell("end");
    for mut survivor in survivors {
        let [received, missed, first, last, _] = survivor.numbers("end")[..] else { panic!("counts") };
        assert_eq!(received + missed, last + 1 - first);
        assert!(survivor.end().success());
    }
    assert!(publisher.end().success());
    assert_eq!((place.files(), place.used_bytes()), (vec![], 0));
}

#[test]
fn publisher_killed_in_create_or_close_blocks_no_other() {
    let place = Place::new();
    let mut random = Random::printed("kills while the channel is made and closed");
    let layout = Layout::packed(PixelFormat::Gray8, 64, 1).unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for round in 0..100 {
        let mut churning =
            place.start_program(PUBLISHER, &["c", "drop", "churning", &random.number().to_string()]);
        churning.numbers("ready");
        random.spin(1500);
        churning.kill();
        let left: Vec<_> =
            place.files().iter().map(|name| name.rsplit('.').next().unwrap().to_owned()).collect();
        *kinds.entry(left).or_insert(0) += 1;
        // At random first the doctor looks after it, or not.
        if random.below(2) == 0 {
            doctor(Some(place.path()), framelane::Leftovers::Remove).unwrap();
        }
        let mut publisher =
            place.publisher().create("c").unwrap_or_else(|error| panic!("round {round}: {error}"));
        let mut subscriber = place.subscriber().delivery(Delivery::Every).open("c").unwrap();
        publisher.send(&layout, &FrameInfo::default(), &[7; 64]).unwrap();
        // The last frame of the dead may still be there to be received.
        let mut frames = std::iter::from_fn(|| Some(subscriber.recv().unwrap()));
        let frame = frames.find(|frame| frame.epoch() == publisher.epoch()).unwrap();
        assert_eq!(frame.bytes()[0], 7);
        drop(frame);
        publisher.close();
        assert!(matches!(subscriber.recv(), Err(RecvError::Closed)));
        let left = place.files();
        assert!(left.iter().all(|name| name.ends_with(".new")), "round {round}: {left:?}");
        if round % 10 == 0 {
            assert_nothing_left(&place);
        }
    }
    println!(
        "kills: 100 publishers killed while they made or closed the channel; they left (how often): {kinds:?}"
    );
    assert_nothing_left(&place);
}

#[test]
fn subscriber_survives_repeated_restarts_of_the_channel() {
    let place = Place::new();
    let mut random = Random::printed("subscribers of a churning channel");
    let mut received = 0;
    for _ in 0..20 {
        let mut churning =
            place.start_program(PUBLISHER, &["c", "drop", "churning", &random.number().to_string()]);
        churning.numbers("ready");
        for _ in 0..10 {
            // Opens the channel at any stage of its creation or end. Then it receives frames or the end.
            let mut subscriber = place.subscriber().open("c").unwrap();
            loop {
                match subscriber.recv() {
                    Ok(_) => received += 1,
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        random.spin(500);
        churning.kill();
    }
    println!("{received} frames received");
    assert_nothing_left(&place);
}
