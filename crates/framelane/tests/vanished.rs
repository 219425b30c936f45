//! Files of a live channel that another program removes: logind at log-out, a cleaner, `rm`.

use std::path::Path;
use std::time::{Duration, Instant};

use framelane::*;
use framelane_test_kit::Place;

/// More than any wait here takes.
const LONG: Duration = Duration::from_secs(60);

fn publisher(directory: &Path) -> Publisher {
    PublisherOptions::new().directory(directory).create("c").unwrap()
}

fn subscribe(directory: &Path) -> Subscriber {
    SubscriberOptions::new().directory(directory).open_timeout(Some(LONG)).open("c").unwrap()
}

fn send(publisher: &mut Publisher, bytes: u32, value: u8) -> Result<u64, Error> {
    let layout = Layout::packed(PixelFormat::Gray8, bytes, 1)?;
    let sent = publisher.send(&layout, &FrameInfo::default(), &vec![value; bytes as usize])?;
    Ok(sent.expect("a free slot"))
}

/// Removes the files of the channel that end so.
fn remove(directory: &Path, suffix: &str) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(suffix) {
            framelane_test_kit::remove_file(&path);
        }
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Publishes until it fails.
fn failure(publisher: &mut Publisher) -> Error {
    let start = Instant::now();
    loop {
        match send(publisher, 64, 1) {
            Err(error) => return error,
            Ok(_) => assert!(start.elapsed() < LONG, "no error"),
        }
        std::thread::yield_now();
    }
}

fn assert_removed(error: &Error, directory: &Path) {
    assert_eq!(error.kind(), ErrorKind::ChannelRemoved, "{error}");
    for words in [directory.to_str().unwrap(), "RemoveIPC=no", "FRAMELANE_DIR"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn publisher_whose_files_were_removed_spares_its_successor() {
    for grow in [false, true] {
        let directory = Place::new();
        let path = directory.path();
        let mut first = publisher(path);
        send(&mut first, 64, 1).unwrap();
        remove(path, "");
        let mut second = publisher(path);
        // The successor's files get the names that the first one would give its next ring.
        for bytes in [64, 10_000, 100_000] {
            send(&mut second, bytes, 2).unwrap();
        }
        let known = files(path);
        if grow {
            for bytes in [10_000, 100_000] {
                assert_removed(&send(&mut first, bytes, 1).unwrap_err(), path);
            }
        }
        drop(first);
        assert_eq!(files(path), known, "after growth: {grow}");
        let mut reader = subscribe(path);
        assert_eq!(reader.recv().unwrap().bytes(), vec![2; 100_000]);
        send(&mut second, 200_000, 3).unwrap();
        assert_eq!(reader.recv().unwrap().bytes(), vec![3; 200_000]);
        drop(second);
        assert_eq!(files(path), [""; 0]);
    }
}

#[test]
fn publisher_whose_files_were_removed_reports_it() {
    for suffix in ["", ".control", ".readers"] {
        let directory = Place::new();
        let path = directory.path();
        let mut publisher = publisher(path);
        let mut reader = subscribe(path);
        send(&mut publisher, 64, 1).unwrap();
        remove(path, suffix);
        assert_removed(&failure(&mut publisher), path);
        assert_removed(&failure(&mut publisher), path);
        // Subscribers receive what is left, then the reason.
        let error = std::iter::repeat_with(|| reader.recv()).find_map(Result::err).unwrap();
        assert_removed(&error.into(), path);
        drop(publisher);
        assert!(!files(path).iter().any(|name| name.contains(".data.")), "{:?}", files(path));
    }
}

/// Not on Windows. A directory with open files cannot be removed there.
#[cfg(unix)]
#[test]
fn publisher_whose_directory_was_removed_reports_it() {
    let directory = Place::new();
    let path = directory.path().join("channels");
    let mut publisher = publisher(&path);
    send(&mut publisher, 64, 1).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    assert_removed(&send(&mut publisher, 10_000, 1).unwrap_err(), &path);
    drop(publisher);
    assert!(!path.exists());
}

#[test]
fn subscriber_of_an_idle_publisher_reports_removed_files() {
    let directory = Place::new();
    let path = directory.path();
    let mut publisher = publisher(path);
    send(&mut publisher, 64, 1).unwrap();
    let mut reader = subscribe(path);
    drop(reader.recv().unwrap());
    remove(path, "");
    assert_removed(&reader.recv().unwrap_err().into(), path);
    assert!(publisher.sequence() == 1);
}

#[test]
fn publisher_whose_data_file_was_removed_makes_another() {
    let directory = Place::new();
    let path = directory.path();
    let mut publisher = publisher(path);
    send(&mut publisher, 64, 1).unwrap();
    let mut early = subscribe(path);
    remove(path, ".data.1");
    let start = Instant::now();
    while files(path).len() < 3 {
        assert!(start.elapsed() < LONG);
        send(&mut publisher, 64, 2).unwrap();
        assert_eq!(early.recv().unwrap().bytes(), [2; 64]);
    }
    assert_eq!(subscribe(path).recv().unwrap().bytes(), [2; 64]);
}
