//! A file of a channel is cut short while it is mapped: an error that says so, and never the end of the
//! process.
//!
//! Not on Windows. A section never gets shorter.
#![cfg(unix)]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use framelane::*;
use framelane_test_kit::{Place, wait_until};

const BYTES: u32 = 20_000;

fn gray() -> Layout {
    Layout::packed(PixelFormat::Gray8, BYTES, 1).unwrap()
}

fn shm() -> PathBuf {
    let shm = PathBuf::from("/dev/shm");
    if shm.is_dir() { shm } else { std::env::temp_dir() }
}

struct Channel {
    directory: Place,
    publisher: Publisher,
    subscriber: Subscriber,
}

impl Channel {
    fn new(backpressure: Backpressure, delivery: Delivery) -> Self {
        let directory = Place::new();
        let publisher = PublisherOptions::new()
            .directory(directory.path())
            .backpressure(backpressure)
            .cancel(CancelToken::with_check(|| true))
            .create("c")
            .unwrap();
        let subscriber =
            SubscriberOptions::new().directory(directory.path()).delivery(delivery).open("c").unwrap();
        Channel { directory, publisher, subscriber }
    }

    fn send(&mut self, value: u8) -> Result<u64, LoanError> {
        let mut loan = self.publisher.loan(&gray())?;
        loan.bytes_mut().fill(value);
        Ok(loan.publish(&FrameInfo::default()))
    }

    fn receive(&mut self) -> Result<Frame, ErrorKind> {
        self.subscriber.recv_timeout(Duration::ZERO).map_err(|error| Error::from(error).kind())
    }

    fn cut(&self, file: &str, len: u64) {
        cut(self.directory.path(), file, len);
    }
}

fn cut(directory: &Path, file: &str, len: u64) {
    File::options().write(true).open(directory.join(file)).unwrap().set_len(len).unwrap();
}

fn assert_cut_short<T: std::fmt::Debug>(result: Result<T, LoanError>, file: &str) {
    let error = Error::from(result.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.message().contains(file) && error.message().contains("cut short"), "{error}");
    assert!(error.hint().is_some());
}

const BACKPRESSURES: [Backpressure; 2] = [Backpressure::Drop, Backpressure::Block];
const DELIVERIES: [Delivery; 2] = [Delivery::Newest, Delivery::Every];

#[test]
fn truncated_readers_stop_the_publisher_before_an_overwrite() {
    for (backpressure, delivery) in
        BACKPRESSURES.into_iter().flat_map(|backpressure| DELIVERIES.map(|delivery| (backpressure, delivery)))
    {
        // (Truncated inside its first page, its words become zeros: as if a process had written them.)
        for len in [0, 4096] {
            let mut channel = Channel::new(backpressure, delivery);
            channel.send(7).unwrap();
            let frame = channel.receive().unwrap();
            channel.cut("c.readers", len);
            // Enough to come to every slot, if it did not stop.
            for _ in 0..10 {
                assert_cut_short(channel.send(8), "readers");
            }
            assert!(frame.bytes().iter().all(|&byte| byte == 7));
            // It announces that it sleeps, and so finds that no process can read that.
            let slept = channel.subscriber.recv_timeout(Duration::from_secs(600)).map(drop);
            assert_eq!(Error::from(slept.unwrap_err()).kind(), ErrorKind::Damaged);
            drop(frame);
            // Both can be ended, and a new channel has the name.
            let Channel { directory, publisher, subscriber } = channel;
            publisher.close();
            drop(subscriber);
            assert!(PublisherOptions::new().directory(directory.path()).create("c").is_ok());
        }
    }
}

#[test]
fn drain_of_a_channel_whose_file_was_cut_is_an_error() {
    for (file, is_received) in [("readers", false), ("readers", true), ("control", true)] {
        // Words within a page that was cut read as zeros, without a signal.
        for len in [0, 64, 4095] {
            let mut channel = Channel::new(Backpressure::Drop, Delivery::Every);
            channel.send(7).unwrap();
            if is_received {
                drop(channel.receive().unwrap());
            }
            channel.cut(&format!("c.{file}"), len);
            let drained = channel.publisher.drain(Some(Duration::from_secs(600)));
            assert_cut_short(drained.map_err(LoanError::from), file);
        }
    }
}

#[test]
fn a_control_file_that_is_cut_short_is_an_error_to_both_sides() {
    for (backpressure, delivery) in
        BACKPRESSURES.into_iter().flat_map(|backpressure| DELIVERIES.map(|delivery| (backpressure, delivery)))
    {
        let mut channel = Channel::new(backpressure, delivery);
        channel.send(7).unwrap();
        let frame = channel.receive().unwrap();
        channel.cut("c.control", 0);
        assert_eq!(channel.receive().unwrap_err(), ErrorKind::Damaged);
        assert_eq!(channel.receive().unwrap_err(), ErrorKind::Damaged);
        // The publisher writes to it while it publishes, and learns what became of it.
        let _ = channel.send(8);
        assert_cut_short(channel.send(8), "control");
        assert!(frame.is_intact() && frame.bytes() == [7; BYTES as usize]);
        assert_eq!(list(Some(channel.directory.path())).unwrap().len(), 1);
    }
}

#[test]
fn sleeping_subscriber_detects_a_truncated_control_file() {
    let mut channel = Channel::new(Backpressure::Drop, Delivery::Newest);
    let directory = channel.directory.path().to_owned();
    std::thread::scope(|scope| {
        let sleeper =
            scope.spawn(|| channel.subscriber.recv().map(drop).map_err(|error| Error::from(error).kind()));
        // Its record says that it is about to sleep.
        let word = || {
            let bytes = std::fs::read(directory.join("c.readers")).unwrap();
            u32::from_le_bytes(bytes[4096 + 64..4096 + 68].try_into().unwrap())
        };
        wait_until!(word() != 0);
        cut(&directory, "c.control", 0);
        assert_eq!(sleeper.join().unwrap(), Err(ErrorKind::Damaged));
    });
}

#[test]
fn truncated_data_file_costs_its_frames_and_makes_a_new_ring() {
    for (backpressure, delivery) in
        BACKPRESSURES.into_iter().flat_map(|backpressure| DELIVERIES.map(|delivery| (backpressure, delivery)))
    {
        // Nothing left; the header; the table; the first slots and half a frame.
        for len in [0, 4096, 8192, 8192 + 30_000] {
            let mut channel = Channel::new(backpressure, delivery);
            for value in 1..=3 {
                channel.send(value).unwrap();
            }
            let frame = channel.receive().unwrap();
            assert!(frame.is_intact());
            channel.cut("c.data.1", len);
            let sum: u64 = frame.bytes().iter().map(|&byte| u64::from(byte)).sum();
            let whole = sum == u64::from(BYTES) * frame.sequence();
            assert!(whole || !frame.is_intact(), "a frame that has changed says so");
            // A loan in the lost ring is written and published to no subscriber; the next loan detects the
            // loss.
            for value in 4..10 {
                let _ = channel.send(value);
            }
            let published = channel.send(10).unwrap();
            let frame = loop {
                match channel.receive() {
                    Ok(frame) if frame.sequence() == published => break frame,
                    Ok(_) | Err(ErrorKind::Damaged) => {}
                    Err(error) => panic!("{error:?}, {len} bytes, {backpressure:?}, {delivery:?}"),
                }
            };
            assert!(frame.is_intact() && frame.bytes() == [10; BYTES as usize]);
        }
    }
}

#[test]
fn a_loan_survives_that_its_file_is_cut_short() {
    let mut channel = Channel::new(Backpressure::Drop, Delivery::Newest);
    channel.send(1).unwrap();
    let path = channel.directory.path().to_owned();
    let owned = channel.publisher.try_loan_owned(&gray()).unwrap();
    let mut loan = channel.publisher.loan(&gray()).unwrap();
    cut(&path, "c.data.1", 0);
    loan.bytes_mut().fill(2);
    loan.publish(&FrameInfo::default());
    assert_eq!(channel.receive().unwrap_err(), ErrorKind::Damaged);
    channel.publisher.publish_owned(&owned, &gray(), &FrameInfo::default()).unwrap();
    channel.send(3).unwrap();
    assert_eq!(channel.receive().unwrap().bytes(), [3; BYTES as usize]);
}

// ---- SIGBUS that is none of ours -----------------------------------------------------------------------

/// Runs this test binary again, in the part that `role` reads.
fn run(role: &str) -> std::process::Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_gets_a_signal_of_its_own", "--nocapture"])
        .env("FRAMELANE_ROLE", role)
        .output()
        .unwrap()
}

#[test]
fn a_process_that_gets_a_signal_of_its_own() {
    let Ok(role) = std::env::var("FRAMELANE_ROLE") else { return };
    extern "C" fn plain(_: libc::c_int) {
        std::process::exit(71);
    }
    extern "C" fn told(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel, or framelane's handler, passes a valid `siginfo_t`.
        std::process::exit(if unsafe { (*info).si_code } == libc::BUS_ADRERR { 72 } else { 73 });
    }
    let handler = match role.split_once(' ').unwrap().0 {
        "plain" => Some((plain as *const () as usize, 0)),
        "told" => Some((told as *const () as usize, libc::SA_SIGINFO)),
        "ignored" => Some((libc::SIG_IGN, 0)),
        _ => None,
    };
    if let Some((handler, flags)) = handler {
        // SAFETY: all zeros are a valid `sigaction`.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        // SAFETY: `action` is valid, its handler has the type that its flags say.
        assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) }, 0);
    } else {
        // The standard library has a handler too; here the default is meant.
        // SAFETY: sets the default.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
    let mut channel = Channel::new(Backpressure::Drop, Delivery::Newest);
    channel.send(1).unwrap();
    if role.ends_with("sent") {
        // SAFETY: sends a signal to this process.
        unsafe { libc::raise(libc::SIGBUS) };
    } else {
        let file = tempfile::tempfile_in(shm()).unwrap();
        file.set_len(4096).unwrap();
        use std::os::fd::AsRawFd;
        // SAFETY: a new map of a file, at an address of the kernel's choice.
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        file.set_len(0).unwrap();
        // SAFETY: the address is mapped; that its file is too short is what is wanted.
        unsafe { map.cast::<u8>().read_volatile() };
    }
    println!("still here");
    // Our maps work as before.
    channel.cut("c.control", 0);
    assert_eq!(channel.receive().unwrap_err(), ErrorKind::Damaged);
    std::process::exit(70);
}

#[test]
fn a_signal_that_is_none_of_ours_does_what_it_did_before() {
    for what in ["fault", "sent"] {
        let default = run(&format!("default {what}"));
        assert_eq!(default.status.signal(), Some(libc::SIGBUS), "{default:?}");
        assert_eq!(run(&format!("plain {what}")).status.code(), Some(71));
        let code = if what == "fault" { 72 } else { 73 };
        assert_eq!(run(&format!("told {what}")).status.code(), Some(code));
    }
    // A fault cannot be ignored.
    assert_eq!(run("ignored fault").status.signal(), Some(libc::SIGBUS));
    let ignored = run("ignored sent");
    assert_eq!(ignored.status.code(), Some(70), "{ignored:?}");
}
