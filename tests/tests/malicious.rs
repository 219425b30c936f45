//! A subscriber that means harm, in a directory that it shares: what it may write is the readers file, and no
//! more.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{Delivery, Error, ErrorKind, FrameInfo, Layout, LoanError, PixelFormat, Publisher, doctor};
use framelane_tests::{Channels, Pattern, Place, skip};

const BYTES: usize = 2_000_000;

fn send(publisher: &mut Publisher, pattern: &Pattern) {
    let sequence = publisher.sequence() + 1;
    match publisher.loan(&Layout::packed(PixelFormat::Gray8, BYTES as u32, 1).unwrap()) {
        Ok(mut loan) => {
            pattern.fill(loan.bytes_mut(), sequence, false);
            loan.publish(&FrameInfo::default());
        }
        Err(LoanError::NoFreeSlot) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Takes all pins away, as any process can that may subscribe.
fn clear_pins(readers: &File) {
    for record in 0..64 {
        readers.write_all_at(&[0; 64], 4096 + 256 * record).unwrap();
    }
}

/// Ends the other threads.
struct End<'d>(&'d AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reader_with_cleared_pins_detects_overwritten_frames() {
    let place = Place::new();
    let pattern = Pattern::new();
    let mut publisher = place.publisher().slots(2).create("c").unwrap();
    let mut victim = place.subscriber().delivery(Delivery::Newest).open("c").unwrap();
    let readers = File::options().write(true).open(place.path().join("c.readers")).unwrap();
    let done = AtomicBool::new(false);
    let (mut intact, mut broken, mut torn) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                clear_pins(&readers);
            }
        });
        scope.spawn(|| {
            let pattern = Pattern::new();
            while !done.load(Ordering::Relaxed) {
                send(&mut publisher, &pattern);
            }
        });
        // Also when a check fails: the others must end for the test to do so.
        let _end = End(&done);
        // As often as it takes to have seen both.
        while intact < 100 || torn < 5 {
            let frame = victim.recv().unwrap();
            let copy = frame.bytes().to_vec();
            let whole = pattern.check(&copy, frame.sequence()).is_ok();
            if frame.is_intact() {
                assert!(whole, "frame {} was reported as intact", frame.sequence());
                intact += 1;
            } else {
                broken += 1;
                torn += u64::from(!whole);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    println!(
        "hostile: pins cleared: {intact} frames intact, {broken} said not to be, of which {torn} were torn"
    );
}

const PLACE: &str = "FRAMELANE_TEST_PLACE";

#[test]
fn other_user_can_write_no_frame_and_remove_no_file() {
    if let Some(place) = std::env::var_os(PLACE) {
        return attack(&PathBuf::from(place));
    }
    let place = Place::new();
    // All users may create files in it, and remove only their own, as in /tmp.
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let program = tempfile::tempdir().unwrap();
    std::fs::set_permissions(program.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = program.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let other = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
    };
    if !other().arg("true").output().is_ok_and(|output| output.status.success()) {
        skip("root", "this user cannot become another");
        return;
    }
    let pattern = Pattern::new();
    let mut publisher = place.publisher().permissions(0o666).create("c").unwrap();
    let mut reader = place.subscriber().open("c").unwrap();
    send(&mut publisher, &pattern);
    let held = reader.recv().unwrap();
    let before = place.files();
    let name = "other_user_can_write_no_frame_and_remove_no_file";
    let status =
        other().arg(&program).args(["--exact", name, "--nocapture"]).env(PLACE, place.path()).status();
    assert!(status.unwrap().success());
    assert_eq!(place.files().iter().filter(|name| name.starts_with("c.")).count(), before.len());
    pattern.check(held.bytes(), held.sequence()).unwrap();
    // It has cut the readers file short: the publisher says so, and did not write over the frame that is
    // held.
    let error =
        (0..20).find_map(|_| publisher.loan(&Layout::packed(PixelFormat::Gray8, 64, 1).unwrap()).err());
    assert_eq!(error.map(|error| Error::from(error).kind()), Some(ErrorKind::Damaged));
    pattern.check(held.bytes(), held.sequence()).unwrap();
    assert!(held.is_intact());
    drop(publisher);
    // It has taken a name: this is an error, and no frame is published into its file.
    let error = place.publisher().create("taken").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("65534") && error.hint().is_some(), "{error}");
    assert!(doctor(Some(place.path()), framelane::Leftovers::Report).is_ok());
}

/// The attacks of the other user.
fn attack(place: &Path) {
    let options = framelane::SubscriberOptions::new().directory(place).open_timeout(Some(Duration::ZERO));
    let mut subscriber = options.open("c").unwrap();
    drop(subscriber.recv_timeout(Duration::ZERO).unwrap());
    for name in ["c.control", "c.data.1"] {
        let path = place.join(name);
        assert!(File::options().write(true).open(&path).is_err(), "{name}: opened for writing");
        assert!(
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).is_err(),
            "{name}: permissions"
        );
        assert!(std::fs::remove_file(&path).is_err(), "{name}: removed");
        assert!(std::fs::rename(&path, place.join("mine")).is_err(), "{name}: renamed");
        std::fs::write(place.join("mine"), b"mine").unwrap();
        assert!(std::fs::rename(place.join("mine"), &path).is_err(), "{name}: replaced");
        let file = File::open(&path).unwrap();
        assert!(file.set_len(0).is_err(), "{name}: cut short");
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new map at an address of the kernel's choice, which is not used.
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_eq!(map, libc::MAP_FAILED, "{name}: mapped for writing");
    }
    assert!(framelane::PublisherOptions::new().directory(place).create("c").is_err());
    let taken =
        framelane::PublisherOptions::new().directory(place).permissions(0o666).create("taken").unwrap();
    // Its files stay, as if it had died.
    for part in ["control", "readers"] {
        std::fs::copy(place.join(format!("taken.{part}")), place.join(format!("kept.{part}"))).unwrap();
    }
    drop(taken);
    for part in ["control", "readers"] {
        std::fs::rename(place.join(format!("kept.{part}")), place.join(format!("taken.{part}"))).unwrap();
        std::fs::set_permissions(place.join(format!("taken.{part}")), PermissionsExt::from_mode(0o666))
            .unwrap();
    }
    // What it can do: lie in the readers file, and cut it short.
    let readers = File::options().write(true).open(place.join("c.readers")).unwrap();
    clear_pins(&readers);
    readers.set_len(0).unwrap();
}
