//! Another program fills the file system of a detections channel: batches of the present size still pass. A
//! larger one is an error that leaves nothing, and passes when there is space again. For frames see
//! `scarce.rs`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use framelane::{
    Delivery, Detection, DetectionPublisher, DetectionSubscriber, Error, ErrorKind, FrameId,
    PublisherOptions, RecvError, SubscriberOptions,
};
use framelane_tests::skip;

/// The mounted directory; set in the copy of this program that runs where it may mount.
const MOUNTED: &str = "FRAMELANE_TEST_MOUNTED";

/// Runs the test again in a process whose place is a tmpfs of 4 MiB, mounted where no other process sees it.
fn in_a_small_file_system(test: &str, check: impl FnOnce(&Path)) {
    if let Some(place) = std::env::var_os(MOUNTED) {
        return check(&PathBuf::from(place));
    }
    let place = tempfile::tempdir().unwrap();
    let unshare = |program: &str| {
        let mount = "mount -t tmpfs -o size=4m none \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]);
        command.arg(place.path()).arg(program);
        command
    };
    if !unshare("true").output().is_ok_and(|output| output.status.success()) {
        skip("user-namespaces", "a small tmpfs cannot be mounted");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let mut command = unshare(program.to_str().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(MOUNTED, place.path()).status().unwrap();
    assert!(status.success(), "{status}");
}

/// A file of another program with every free page. Dropping removes it.
struct Filler(PathBuf);

impl Filler {
    fn of(place: &Path) -> Self {
        let path = place.join("filler");
        let mut file = File::create(&path).unwrap();
        let page = [0; 4096];
        while file.write(&page).is_ok_and(|written| written > 0) {}
        Filler(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn files(place: &Path) -> usize {
    std::fs::read_dir(place).unwrap().count()
}

fn descriptors() -> usize {
    files(Path::new("/proc/self/fd"))
}

/// The error says what is needed, what was found, and what to do.
fn assert_no_room<T>(result: Result<T, Error>, words: &[&str]) {
    let error = result.err().expect("there is no room");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("room")), "no hint: {error}");
    for word in words {
        assert!(error.to_string().contains(word), "expected {word:?} in: {error}");
    }
}

#[test]
fn detections_of_one_size_continue_on_a_full_file_system() {
    in_a_small_file_system("detections_of_one_size_continue_on_a_full_file_system", |place| {
        let options = PublisherOptions::new().directory(place).slots(4);
        let mut publisher =
            DetectionPublisher::with_options(options.clone(), "c/detections", &["cat"], "m").unwrap();
        let subscribers = SubscriberOptions::new().directory(place).open_timeout(Some(Duration::ZERO));
        let mut reader =
            DetectionSubscriber::with_options(subscribers.delivery(Delivery::Every), "c/detections").unwrap();
        let frame = FrameId::new("c", (1, 1)).with_times_ns(1, 1).with_size(64, 48);
        let mut send = |boxes: usize| {
            publisher.send(&frame, &vec![Detection::default(); boxes]).map(drop).map_err(Error::from)
        };
        let (few, many) = (3, 3_000);
        send(few).unwrap();
        assert_eq!(reader.recv_timeout(Duration::ZERO).unwrap().boxes.len(), few);
        let filler = Filler::of(place);
        let (files_before, descriptors_before) = (files(place), descriptors());
        for _ in 0..20 {
            assert_no_room(send(many), &["channel c/detections needs", "4 slots of"]);
            assert!(matches!(reader.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
            let second = DetectionPublisher::with_options(options.clone(), "d/detections", &[], "m");
            assert_no_room(second, &["bytes"]);
            send(few).unwrap();
            assert_eq!(reader.recv_timeout(Duration::ZERO).unwrap().boxes.len(), few);
        }
        assert_eq!(files(place), files_before, "no half-made file is left");
        assert_eq!(descriptors(), descriptors_before, "nothing stays open after an error");
        drop(filler);
        send(many).unwrap();
        assert_eq!(reader.recv_timeout(Duration::ZERO).unwrap().boxes.len(), many);
    });
}
