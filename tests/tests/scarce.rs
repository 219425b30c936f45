//! A process that runs out of descriptors or addresses, and a file system that runs out of room: errors with
//! hints, nothing lost, no leftovers, and all processes continue.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use framelane::*;
use framelane_tests::{Channels, Pattern, Place, Running, on_small_tmpfs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Set in a copy of this program that runs one test alone: what is scarce there, and the channel directory.
const SCARCE: &str = "FRAMELANE_TEST_SCARCE";
const DIRECTORY: &str = "FRAMELANE_TEST_DIRECTORY";
/// More is never needed for anything here: descriptors, or pages.
const PLENTY: usize = 200;

/// The resource that this process lacks.
enum Scarce {
    Descriptors(Vec<File>),
    Addresses,
}

impl Scarce {
    fn named(name: &str) -> Self {
        if name == "descriptors" { Scarce::Descriptors(Vec::new()) } else { Scarce::Addresses }
    }

    /// Leaves so many descriptors, or pages of addresses.
    fn leave(&mut self, count: usize) {
        match self {
            Scarce::Descriptors(taken) => {
                limit(Resource::Nofile, Some(PLENTY as u64 + 50));
                while let Ok(file) = File::open("/dev/null") {
                    taken.push(file);
                }
                taken.truncate(taken.len() - count);
            }
            Scarce::Addresses => {
                limit(Resource::As, None);
                let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
                let used: usize = statm.split(' ').next().unwrap().parse().unwrap();
                limit(Resource::As, Some(((used + count) * rustix::param::page_size()) as u64));
            }
        }
    }

    fn end(&mut self) {
        match self {
            Scarce::Descriptors(taken) => taken.clear(),
            Scarce::Addresses => limit(Resource::As, None),
        }
    }

    /// Tries with nothing left, then with ever more, until it works. Whenever it does not, the error says
    /// what to do, no descriptor is lost, no file is left behind, and `meanwhile` works with as little.
    fn until_it_works<T>(
        &mut self,
        directory: &Path,
        mut attempt: impl FnMut() -> Result<T, Error>,
        mut meanwhile: impl FnMut(),
    ) -> T {
        let before = (open_descriptors(), files(directory));
        for count in 0..PLENTY {
            self.leave(count);
            let result = attempt();
            match result {
                Ok(done) => {
                    assert!(count > 0, "this needs nothing");
                    self.end();
                    return done;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SystemFailure, "{error}");
                    let hint = error.hint().unwrap_or_else(|| panic!("no hint: {error}"));
                    assert!(hint.contains(self.command()), "{error}");
                }
            }
            meanwhile();
            self.end();
            assert_eq!(open_descriptors(), before.0, "with {count} left");
            let found = files(directory);
            assert!(found.iter().all(|file| before.1.contains(file)), "with {count} left: {found:?}");
        }
        panic!("it never works");
    }

    /// Commands and options that a hint names.
    fn command(&self) -> &str {
        match self {
            Scarce::Descriptors(_) => "ulimit -n",
            Scarce::Addresses => "ulimit -v",
        }
    }
}

fn limit(resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: current.or(maximum), maximum }).unwrap();
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs the test `name` twice, each time in a separate process with its limits.
fn with_too_little(name: &str, test: fn(&Path, &mut Scarce)) {
    if let Some(scarce) = std::env::var_os(SCARCE) {
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
        return test(&directory, &mut Scarce::named(&scarce.to_string_lossy()));
    }
    for scarce in ["descriptors", "addresses"] {
        let place = Place::new();
        let command = Command::new(std::env::current_exe().unwrap());
        run(command, name, scarce, place.path());
    }
}

fn run(mut command: Command, name: &str, scarce: &str, directory: &Path) {
    let output =
        command.args([name, "--exact", "--nocapture"]).env(SCARCE, scarce).env(DIRECTORY, directory).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "too few {scarce}: {}", output.status);
}

fn publisher(directory: &Path) -> PublisherOptions {
    PublisherOptions::new().directory(directory).slots(3)
}

fn subscriber(directory: &Path) -> SubscriberOptions {
    SubscriberOptions::new().directory(directory).open_timeout(Some(Duration::ZERO))
}

fn send(publisher: &mut Publisher, bytes: usize) -> Result<u64, Error> {
    let layout = Layout::packed(PixelFormat::Gray8, bytes as u32, 1)?;
    let value = publisher.sequence() as u8 + 1;
    let sent = publisher.send(&layout, &FrameInfo::default(), &vec![value; bytes])?;
    Ok(sent.expect("a slot is free"))
}

/// The next frame's number; its bytes say the same.
fn receive(subscriber: &mut Subscriber) -> Result<u64, Error> {
    let frame = subscriber.recv_timeout(Duration::ZERO)?;
    assert!(frame.bytes().iter().all(|&byte| byte == frame.sequence() as u8));
    Ok(frame.sequence())
}

/// Every file in the directory, with its inode: whether it is the same one.
fn files(directory: &Path) -> BTreeSet<(PathBuf, u64)> {
    use std::os::unix::fs::DirEntryExt;
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.path(), entry.ino())).collect()
}

/// A channel with two frames whose publisher is gone without having closed it.
fn abandoned(directory: &Path, channel: &str) {
    let mut publisher = publisher(directory).create(channel).unwrap();
    send(&mut publisher, 64).unwrap();
    send(&mut publisher, 64).unwrap();
    let names = ["control", "readers", "data.1"].map(|part| directory.join(format!("{channel}.{part}")));
    let kept = names.map(|path| (std::fs::read(&path).unwrap(), path));
    drop(publisher);
    for (bytes, path) in kept {
        std::fs::write(&path, bytes).unwrap();
        // A ring with other permissions than the next publisher's would be replaced.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

#[test]
fn failed_create_leaves_no_file_and_succeeds_later() {
    with_too_little("failed_create_leaves_no_file_and_succeeds_later", |directory, scarce| {
        let mut made = scarce.until_it_works(directory, || publisher(directory).create("c"), || {});
        assert_eq!(send(&mut made, 64).unwrap(), 1);
    });
}

#[test]
fn a_channel_that_cannot_be_taken_over_stays_as_it_was_left() {
    with_too_little("a_channel_that_cannot_be_taken_over_stays_as_it_was_left", |directory, scarce| {
        abandoned(directory, "c");
        let left = files(directory);
        let mut taken = scarce.until_it_works(directory, || publisher(directory).create("c"), || {});
        assert_eq!(files(directory), left, "the same files, all the time");
        assert_eq!(send(&mut taken, 64).unwrap(), 3);
        assert_eq!(receive(&mut subscriber(directory).open("c").unwrap()).unwrap(), 3);
    });
}

#[test]
fn a_ring_that_cannot_grow_goes_on_as_it_is_for_everybody() {
    with_too_little("a_ring_that_cannot_grow_goes_on_as_it_is_for_everybody", |directory, scarce| {
        let publisher = std::cell::RefCell::new(publisher(directory).create("c").unwrap());
        send(&mut publisher.borrow_mut(), 1000).unwrap();
        let mut reader = subscriber(directory).open("c").unwrap();
        let mut lossless = subscriber(directory).delivery(Delivery::Every).open("c").unwrap();
        let mut last = receive(&mut reader).unwrap();
        assert_eq!(receive(&mut lossless).unwrap(), last);
        let large = scarce.until_it_works(
            directory,
            || send(&mut publisher.borrow_mut(), 10_000),
            || {
                last += 1;
                assert_eq!(send(&mut publisher.borrow_mut(), 1000).unwrap(), last);
                assert_eq!(receive(&mut reader).unwrap(), last);
                assert_eq!(receive(&mut lossless).unwrap(), last);
            },
        );
        assert_eq!(large, last + 1, "what could not be made has taken no number");
        // The readers run out too, one after the other: the frame waits for them.
        for reader in [&mut reader, &mut lossless] {
            let received = scarce.until_it_works(directory, || receive(reader), || {});
            assert_eq!(received, large);
        }
        assert_eq!((reader.dropped(), lossless.dropped()), (0, 0));
        assert_eq!(files(directory).len(), 3);
    });
}

#[test]
fn failed_open_of_a_subscriber_leaves_the_others() {
    with_too_little("failed_open_of_a_subscriber_leaves_the_others", |directory, scarce| {
        let mut publisher = publisher(directory).create("c").unwrap();
        let mut reader = subscriber(directory).open("c").unwrap();
        send(&mut publisher, 64).unwrap();
        receive(&mut reader).unwrap();
        let mut late = scarce.until_it_works(
            directory,
            || subscriber(directory).open("c"),
            || {
                assert_eq!(publisher.subscribers(), 1);
                let sent = send(&mut publisher, 64).unwrap();
                assert_eq!(receive(&mut reader).unwrap(), sent);
            },
        );
        // The frames are mapped then, or with the first frame received.
        assert!(receive(&mut late).is_ok());
        drop((late, reader));
        assert_eq!(publisher.subscribers(), 0);
    });
}

#[test]
fn subscriber_with_the_last_resource_receives_later() {
    with_too_little("subscriber_with_the_last_resource_receives_later", |directory, scarce| {
        let mut publisher = publisher(directory).create("c").unwrap();
        let sent = send(&mut publisher, 64).unwrap();
        // The files for it are there, the one with the frames does not fit any more.
        let mut least = (0..PLENTY).find_map(|count| {
            scarce.leave(count);
            subscriber(directory).open("c").ok()
        });
        let reader = least.as_mut().unwrap();
        let received = receive(reader);
        scarce.end();
        if let Err(error) = received {
            assert!(error.hint().is_some_and(|hint| hint.contains(scarce.command())), "{error}");
            assert_eq!(receive(reader).unwrap(), sent);
        }
    });
}

#[test]
fn inspection_without_resources_is_an_error() {
    with_too_little("inspection_without_resources_is_an_error", |directory, scarce| {
        let mut publisher = publisher(directory).create("live").unwrap();
        send(&mut publisher, 64).unwrap();
        let _reader = subscriber(directory).open("live").unwrap();
        abandoned(directory, "dead");
        std::fs::write(directory.join("stray.data.1"), b"").unwrap();
        let known = files(directory);
        let whole = |status: &ChannelStatus| {
            assert!(status.layout.is_some(), "{status:?}");
            assert_eq!(status.subscribers.len(), usize::from(status.name == "live"), "{status:?}");
        };
        let seen = scarce.until_it_works(directory, || status(Some(directory), "live"), || {});
        assert_eq!(seen.state, ChannelState::Live);
        whole(&seen);
        let listed = scarce.until_it_works(directory, || list(Some(directory)), || {});
        let states: Vec<_> = listed.iter().map(|status| &status.state).collect();
        assert_eq!(states, [&ChannelState::Stale, &ChannelState::Live]);
        listed.iter().for_each(whole);
        for leftovers in [framelane::Leftovers::Report, framelane::Leftovers::Remove] {
            assert_eq!(files(directory), known);
            let found = scarce.until_it_works(directory, || doctor(Some(directory), leftovers), || {});
            assert_eq!(found.live_channels, 1, "{found:?}");
        }
        assert_eq!(files(directory).len(), 3, "what is left is the live channel");
        assert_eq!(send(&mut publisher, 64).unwrap(), 2);
    });
}

#[test]
fn full_file_system_stops_only_new_channels() {
    let name = "full_file_system_stops_only_new_channels";
    on_small_tmpfs(name, 4, filled_in_the_middle);
}

fn filled_in_the_middle(directory: &Path) {
    let pattern = Pattern::new();
    let mut publisher = publisher(directory).backpressure(Backpressure::Block).create("c").unwrap();
    let mut publish = |bytes: usize, last: bool| {
        let sequence = publisher.sequence() + 1;
        let mut loan = publisher.loan(&Layout::packed(PixelFormat::Gray8, bytes as u32, 1)?)?;
        pattern.fill(loan.bytes_mut(), sequence, last);
        Ok::<_, Error>(loan.publish(&FrameInfo::default()))
    };
    // Separate processes. No frame is dropped for the one with delivery every.
    let readers = ["newest", "every"].map(|delivery| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subscriber"));
        command.args(["c", delivery, "0", "end"]).env("FRAMELANE_DIR", directory);
        let mut reader = Running::start(command);
        reader.numbers("ready");
        reader
    });
    for _ in 0..100 {
        publish(1000, false).unwrap();
    }
    let known = files(directory);
    fill(directory, 0);
    for _ in 0..100 {
        let error = publish(100_000, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        // 3 slots of 25 pages each, and 2 pages in front.
        for words in ["needs 315392 bytes (3 slots of 102400)", "found 0 free of 4194304", "doctor --fix"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        publish(1000, false).unwrap();
    }
    // Page by page until there is room for a new channel; before that it leaves nothing.
    let filler = directory.join("filler");
    for pages in 0.. {
        fill(directory, pages);
        match make_another(directory) {
            Ok(()) => break,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert!(
                    error
                        .hint()
                        .is_some_and(|hint| hint.contains("doctor --fix") || hint.contains("free room")),
                    "{error}"
                );
            }
        }
        publish(1000, false).unwrap();
        let mut found = files(directory);
        found.retain(|(path, _)| *path != filler);
        assert_eq!(found, known, "with {pages} pages free");
    }
    std::fs::remove_file(&filler).unwrap();
    publish(100_000, false).unwrap();
    publish(1000, true).unwrap();
    for mut reader in readers {
        reader.numbers("end");
        assert!(reader.end().success());
    }
}

/// Makes a channel with one frame, and closes it.
fn make_another(directory: &Path) -> Result<(), Error> {
    let mut other = publisher(directory).create("d")?;
    send(&mut other, 64).map(drop)
}

/// Fills the file system with a file, but for so many pages.
fn fill(directory: &Path, free_pages: usize) {
    let path = directory.join("filler");
    let mut filler = File::options().create(true).append(true).open(&path).unwrap();
    while filler.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
    let len = filler.metadata().unwrap().len();
    filler.set_len(len - 4096 * free_pages as u64).unwrap();
}

#[test]
fn overlong_data_file_hides_no_other_channel() {
    let place = Place::new();
    let mut publisher = place.publisher().create("c").unwrap();
    let mut other = place.publisher().create("d").unwrap();
    send(&mut publisher, 64).unwrap();
    send(&mut other, 64).unwrap();
    // A file of another program, longer than any address space.
    File::options().write(true).open(place.path().join("c.data.1")).unwrap().set_len(1 << 60).unwrap();
    let listed = list(Some(place.path())).unwrap();
    let seen: Vec<_> = listed.iter().map(|status| (&status.name[..], status.layout.is_some())).collect();
    assert_eq!(seen, [("c", false), ("d", true)]);
    let mut reader = place.subscriber().open("c").unwrap();
    let error = receive(&mut reader).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[test]
fn file_size_limit_is_an_error_with_a_hint() {
    let name = "file_size_limit_is_an_error_with_a_hint";
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        let place = Place::new();
        return run(Command::new(std::env::current_exe().unwrap()), name, "sizes", place.path());
    };
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::SystemFailure, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("ulimit -f")), "{error}");
    };
    for too_small in [0, 4096, 8192] {
        limit(Resource::Fsize, Some(too_small));
        refused(publisher(&directory).create("c").err().unwrap());
        limit(Resource::Fsize, None);
        assert_eq!(files(&directory).len(), 0);
    }
    limit(Resource::Fsize, Some(64 << 10));
    let mut publisher = publisher(&directory).create("c").unwrap();
    let mut reader = subscriber(&directory).open("c").unwrap();
    for sequence in 1..5 {
        refused(send(&mut publisher, 100_000).unwrap_err());
        assert_eq!(send(&mut publisher, 64).unwrap(), sequence);
        assert_eq!(receive(&mut reader).unwrap(), sequence);
    }
}
