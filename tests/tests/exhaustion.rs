//! Limits of a process reached in the middle of a run: errors with a remedy, nothing leaked, and the channel goes on.
//!
//! A file system without room is tested in `crates/framelane/tests/faults.rs`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use framelane::{
    Error, ErrorKind, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, doctor, list, status,
};
use framelane_tests::Place;

const PLACE: &str = "FRAMELANE_TEST_PLACE";

/// Runs the test again in a process of its own, where `limited` may set limits.
fn in_a_process_of_its_own(test: &str, limited: impl FnOnce(&Path)) {
    if let Some(place) = std::env::var_os(PLACE) {
        return limited(&PathBuf::from(place));
    }
    let place = Place::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(PLACE, place.path()).status().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(place.files(), [""; 0]);
}

fn limit(resource: libc::__rlimit_resource_t, now: u64) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` is valid to be written to.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limits) }, 0);
    limits.rlim_cur = now.min(limits.rlim_max);
    // SAFETY: `limits` is valid.
    assert_eq!(unsafe { libc::setrlimit(resource, &limits) }, 0);
}

fn options(place: &Path) -> (PublisherOptions, SubscriberOptions) {
    let subscriber = SubscriberOptions::new().directory(place).wait(Some(Duration::ZERO));
    (PublisherOptions::new().directory(place), subscriber)
}

fn send(publisher: &mut Publisher, bytes: usize) -> Result<Option<u64>, Error> {
    let layout = Layout::packed(PixelFormat::Gray8, bytes as u32, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &vec![5; bytes]).map_err(Error::from)
}

fn receive(subscriber: &mut Subscriber, bytes: usize) -> Result<(), Error> {
    let frame = subscriber.recv_timeout(Duration::ZERO).map_err(Error::from)?;
    assert!(frame.bytes().len() == bytes && frame.bytes().iter().all(|&byte| byte == 5));
    Ok(())
}

/// Whether it was refused; if so, with a remedy that names the limit.
fn refused<T>(what: &str, result: Result<T, Error>, remedy: &str) -> bool {
    let Err(error) = result else { return false };
    assert!(error.remedy().is_some_and(|found| found.contains(remedy)), "{what}: {error}");
    true
}

#[test]
fn without_descriptors_what_runs_goes_on_and_what_is_refused_says_why() {
    in_a_process_of_its_own("without_descriptors_what_runs_goes_on_and_what_is_refused_says_why", |place| {
        let (publishers, subscribers) = options(place);
        let mut publisher = publishers.create("c").unwrap();
        let mut bytes = 1000;
        send(&mut publisher, bytes).unwrap();
        let mut subscriber = subscribers.open("c").unwrap();
        receive(&mut subscriber, bytes).unwrap();
        let (mut refusals, mut calls) = (0, 0);
        limit(libc::RLIMIT_NOFILE, 64);
        for spare in 0..12 {
            // All but so many are in use.
            let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            taken.truncate(taken.len() - spare);
            // (A look at the descriptors needs one.)
            let open = || (3..64).filter(|fd| Path::new(&format!("/proc/self/fd/{fd}")).exists()).count();
            let before = open();
            let remedy = "ulimit -n";
            let larger = bytes + 10_000;
            let results = [
                refused("create", publishers.create("d").map(drop), remedy),
                refused("open", subscribers.open("c").map(drop), remedy),
                refused("list", list(Some(place)), remedy),
                refused("status", status(Some(place), "c"), remedy),
                refused("doctor", doctor(Some(place), false), remedy),
                refused("grow", send(&mut publisher, larger).inspect(|_| bytes = larger), remedy),
            ];
            refusals += results.iter().filter(|&&refused| refused).count();
            calls += results.len();
            // What fits passes; the subscriber may lack a descriptor for the new ring, and gets it when there is one.
            send(&mut publisher, bytes).unwrap();
            let received = receive(&mut subscriber, bytes);
            assert_eq!(open(), before, "nothing stays open after an error");
            drop(taken);
            if refused("receive", received, remedy) {
                receive(&mut subscriber, bytes).unwrap();
            }
            assert_eq!(std::fs::read_dir(place).unwrap().count(), 3, "and no file is left");
        }
        println!("{refusals} of {calls} calls were refused for want of descriptors");
        assert!(refusals > 10 && refusals < calls);
    });
}

#[test]
fn without_address_space_what_runs_goes_on_and_what_is_refused_says_why() {
    in_a_process_of_its_own(
        "without_address_space_what_runs_goes_on_and_what_is_refused_says_why",
        |place| {
            let (publishers, subscribers) = options(place);
            let mut publisher = publishers.create("c").unwrap();
            let small = 1000;
            let large = 8 << 20;
            send(&mut publisher, small).unwrap();
            let mut subscriber = subscribers.open("c").unwrap();
            receive(&mut subscriber, small).unwrap();
            let frame = vec![5; large];
            let layout = Layout::packed(PixelFormat::Gray8, large as u32, 1).unwrap();
            let used = || {
                let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
                pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
            };
            // Room for a new ring of six such frames, once but not twice: the publisher has it, the subscriber has not.
            let ring = 6 * large as u64;
            for room in [4 << 20, ring + ring / 2] {
                limit(libc::RLIMIT_AS, used() + room);
                let grown = publisher.send(&layout, &FrameInfo::default(), &frame).map_err(Error::from);
                let received = subscriber.recv_timeout(Duration::ZERO).map(drop).map_err(Error::from);
                if refused("grow", grown, "ulimit -v") {
                    assert_eq!(received.unwrap_err().kind(), ErrorKind::Timeout);
                    // The ring that there is goes on.
                    send(&mut publisher, small).unwrap();
                    receive(&mut subscriber, small).unwrap();
                    assert_eq!(room, 4 << 20);
                } else {
                    assert!(refused("map", received, "ulimit -v"));
                    assert_ne!(room, 4 << 20);
                }
                assert_eq!(std::fs::read_dir(place).unwrap().count(), 3, "no file is left");
                limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            }
            // With room again, the frame is there to be had.
            receive(&mut subscriber, large).unwrap();
            limit(libc::RLIMIT_AS, used());
            assert!(refused("create", publishers.create("d").map(drop), "ulimit -v"));
            assert!(refused("open", subscribers.open("c").map(drop), "ulimit -v"));
            send(&mut publisher, small).unwrap();
            receive(&mut subscriber, small).unwrap();
            limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            assert_eq!(std::fs::read_dir(place).unwrap().count(), 3, "no file is left");
            drop(subscribers.open("c").unwrap());
        },
    );
}
