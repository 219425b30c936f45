//! Several clients send to one channel. None of them can use or learn the number of another client's frame.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use framelane::*;
use framelane_net::LinkUrl;
use support::raw::{Raw, STATE, WELCOME, Wish, reason, words};
use support::{Served, gray, open};

const ALICE: [u8; 4] = [127, 0, 0, 1];
const BOB: [u8; 4] = [127, 0, 0, 2];
const EPOCH: u64 = 7;
const DEADLINE: Duration = Duration::from_secs(60);

/// Sends a frame over a separate connection.
fn send(served: &Served, from: [u8; 4], sequence: u64) -> Raw {
    let wish = Wish { direction: 2, channel: "cam0", codec: "raw", size: (0, 0) };
    let mut client = Raw::connect(from.into(), served.port());
    // Until the server has noticed that the one before is gone, the channel is busy.
    loop {
        match client.hello(&wish) {
            (WELCOME, _) => break,
            (_, body) => assert!(reason(&body).contains("Another live publisher"), "{}", reason(&body)),
        }
        client = Raw::connect(from.into(), served.port());
    }
    client.until_taken(0);
    client.say(STATE, &words(&[1])[..4]);
    client.frame(Origin { epoch: EPOCH, sequence }, &gray(2, 2), false, &[sequence as u8; 4]);
    client.until_taken(1);
    client
}

/// Closes the channel. The server then forgets it, and whose epoch is whose.
fn close(mut client: Raw) {
    client.say(STATE, &words(&[2])[..4]);
    while client.hear_kind(STATE)[0] != 2 {}
}

/// Ends a link, also when the test fails.
struct End<'e>(&'e CancelToken);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Receives frames until one has these bytes.
fn receive(subscriber: &mut Subscriber, sequence: u64) -> Origin {
    loop {
        let frame = subscriber.recv_timeout(DEADLINE).unwrap();
        if frame.bytes() == [sequence as u8; 4] {
            return frame.origin();
        }
    }
}

#[test]
fn forged_origin_does_not_silence_receivers_over_links() {
    for delivery in [Delivery::Newest, Delivery::Every] {
        let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
        send(&served, ALICE, 1);
        let (mut receiver, _directory) = open(&served.url("cam0"), delivery).unwrap();
        assert_eq!(receive(&mut receiver, 1), Origin { epoch: EPOCH, sequence: 1 });
        send(&served, BOB, u64::MAX);
        let forged = receive(&mut receiver, u64::MAX);
        assert_eq!(forged.sequence, u64::MAX);
        assert_ne!(forged.epoch, EPOCH, "{delivery:?}: an epoch of the server's own");
        for sequence in 2..=4 {
            send(&served, ALICE, sequence);
            assert_eq!(receive(&mut receiver, sequence), Origin { epoch: EPOCH, sequence }, "{delivery:?}");
        }
        // The client has one epoch instead of the one that it names.
        send(&served, BOB, u64::MAX - 1);
        send(&served, BOB, u64::MAX);
        send(&served, ALICE, 5);
        assert_eq!(receive(&mut receiver, 5), Origin { epoch: EPOCH, sequence: 5 }, "{delivery:?}");
    }
}

#[test]
fn forged_origin_in_a_channel_before_silences_nobody() {
    for delivery in ["newest", "every"] {
        let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
        let url: LinkUrl = served.url(&format!("cam0?delivery={delivery}")).parse().unwrap();
        let local = tempfile::tempdir().unwrap();
        let mut publisher = PublisherOptions::new().directory(local.path()).create("cam0").unwrap();
        let options = SubscriberOptions::new().directory(local.path()).delivery(Delivery::Every);
        let mut receiver = options.open("cam0").unwrap();
        let cancel = CancelToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| support::receive(&url, &mut publisher, &cancel));
            let _end = End(&cancel);
            let client = send(&served, ALICE, 1);
            receive(&mut receiver, 1);
            close(client);
            // Not closed before the link has it: a channel may come and go without being seen.
            let client = send(&served, BOB, u64::MAX);
            assert_eq!(receive(&mut receiver, u64::MAX), Origin { epoch: EPOCH, sequence: u64::MAX });
            close(client);
            for sequence in 2..=4 {
                send(&served, ALICE, sequence);
                assert_eq!(receive(&mut receiver, sequence).epoch, EPOCH, "{delivery}");
            }
        });
    }
}

/// Leaves a channel in the directory as a killed process would, with a frame of this origin.
fn abandon(directory: &Path, origin: Origin) {
    let mut publisher = PublisherOptions::new().directory(directory).create("cam0").unwrap();
    let info = FrameInfo::default().with_origin(origin);
    publisher.send(&gray(2, 2), &info, &[9; 4]).unwrap();
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths.filter(|path| path.is_file()).collect();
    let files: Vec<_> = files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    drop(publisher);
    for (bytes, path) in files {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn welcome_names_no_frame_of_a_dead_process() {
    let dead = Origin { epoch: EPOCH, sequence: 1000 };
    let wish = Wish { direction: 2, channel: "cam0", codec: "raw", size: (0, 0) };
    let start = || {
        let directory = tempfile::tempdir().unwrap();
        abandon(directory.path(), dead);
        let status = framelane::status(Some(directory.path()), "cam0").unwrap();
        assert!(matches!(status.state, ChannelState::Stale) && status.sequence == 1, "{status:?}");
        Served::in_directory(directory, "tcp://127.0.0.1:0", |_, _| {})
    };
    let ask = |served: &Served, known| {
        loop {
            let mut client = Raw::connect(BOB.into(), served.port());
            match client.hello_after(&wish, known) {
                // last_epoch and last_sequence.
                (WELCOME, body) => break (client, body[24..40].to_vec()),
                (_, body) => assert!(reason(&body).contains("Another live publisher"), "{}", reason(&body)),
            }
        }
    };
    let none = words(&[0, 0]);
    for known in [Origin { epoch: 0, sequence: 0 }, Origin { epoch: EPOCH + 1, sequence: 1000 }] {
        let served = start();
        let (mut client, last) = ask(&served, known);
        assert_eq!(last, none);
        // A frame with a lower sequence of that epoch is published.
        client.until_taken(0);
        client.say(STATE, &words(&[1])[..4]);
        client.frame(Origin { epoch: EPOCH, sequence: 1 }, &gray(2, 2), false, &[1; 4]);
        client.until_taken(1);
        let options = SubscriberOptions::new().directory(served.directory.path());
        assert_eq!(receive(&mut options.open("cam0").unwrap(), 1), Origin { epoch: EPOCH, sequence: 1 });
        drop(client);
        // The client learns the number of the frame that it sent.
        assert_eq!(ask(&served, known).1, words(&[EPOCH, 1]));
    }
    // The client that knows the epoch continues after the frame.
    let served = start();
    assert_eq!(ask(&served, Origin { epoch: EPOCH, sequence: 1 }).1, words(&[EPOCH, 1000]));
}
