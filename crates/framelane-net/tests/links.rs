//! A server and its clients in one process, over loopback and Unix sockets.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use framelane::*;
use framelane_net::security::{AccessList, Client, ClientsFile, Identity, IdentityOptions, Token};
use framelane_net::{Access, LinkEvent, LinkUrl, ReceiveOptions, ReceiveStatistics};
use framelane_test_kit::wait_until;
use support::{Served, gray, open, receive};

#[test]
fn frame_and_descriptor_arrive_unchanged_over_every_carrier() {
    for listen in ["tcp://127.0.0.1:0", "unix:DIR/x.sock"] {
        let served = Served::start(listen, |_, _| {});
        let mut publisher = served.publisher("cam0");
        let planes = [Plane { offset_bytes: 3, stride_bytes: 7 }];
        let layout = Layout::with_planes(PixelFormat::Gray8, 5, 4, &planes, 40).unwrap();
        let info = FrameInfo::default()
            .with_timestamp_ns(1_700_000_000_000_000_000)
            .with_pts_ns(-7)
            .with_duration_ns(8)
            .with_color(Color { matrix: 1, primaries: 1, transfer: 13, range: ColorRange::Full })
            .with_rotation_degrees(90)
            .with_keyframe(true);
        let bytes: Vec<u8> = (0..40).collect();
        publisher.send(&layout, &info, &bytes).unwrap();
        let (mut subscriber, _directory) = open(&served.url("cam0"), Delivery::Newest).unwrap();
        let frame = subscriber.recv().unwrap();
        assert_eq!((frame.layout(), frame.bytes()), (&layout, &bytes[..]));
        assert_eq!(frame.origin(), Origin { epoch: publisher.epoch(), sequence: 1 });
        // On one machine the clocks are the same.
        assert_eq!(frame.info(), &info.with_origin(frame.origin()));
    }
}

#[test]
fn subscribe_receives_from_a_url() {
    const URL: &str = "FRAMELANE_TEST_URL";
    if let Ok(url) = std::env::var(URL) {
        assert_eq!(framelane_net::subscribe(&url).unwrap().recv().unwrap().bytes(), [7; 8]);
        return;
    }
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("cam0");
    publisher.send(&gray(8, 1), &FrameInfo::default(), &[7; 8]).unwrap();
    // The directory of its local channel is a variable of the environment.
    let directory = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "subscribe_receives_from_a_url"])
        .envs([(URL, served.url("cam0").as_ref()), ("FRAMELANE_DIR", directory.path().as_os_str())])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn subscribe_refuses_the_name_of_a_local_channel() {
    let error = framelane_net::subscribe("cam0").err().unwrap();
    assert_eq!(error.kind(), framelane::ErrorKind::InvalidOption, "{error}");
}

#[test]
fn every_frame_arrives_in_order_when_every_frame_is_wanted() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let options =
        PublisherOptions::new().directory(served.directory.path()).backpressure(Backpressure::Block);
    let mut publisher = options.create("cam0").unwrap();
    let (mut subscriber, _directory) = open(&served.url("cam0?delivery=every"), Delivery::Every).unwrap();
    let sender = std::thread::spawn(move || {
        for number in 0..500_u32 {
            let bytes = [number.to_le_bytes(), [number as u8; 4]].concat();
            publisher.send(&gray(8, 1), &FrameInfo::default(), &bytes).unwrap();
        }
        publisher.drain(None).unwrap();
        publisher.close();
    });
    let (mut expected, mut first) = (None, 0);
    while let Ok(frame) = subscriber.recv() {
        let number = u32::from_le_bytes(frame.bytes()[..4].try_into().unwrap());
        if let Some(expected) = expected {
            assert_eq!(number, expected);
        } else {
            first = number;
        }
        expected = Some(number + 1);
    }
    sender.join().unwrap();
    // What was published before the link was there may be missed, nothing after.
    assert_eq!(expected, Some(500), "from {first}");
}

fn open_boxes(url: &str) -> (DetectionSubscriber, tempfile::TempDir) {
    let (subscriber, directory) = open(url, Delivery::Every).unwrap();
    (DetectionSubscriber::new(subscriber), directory)
}

#[test]
fn frames_and_boxes_cross_in_both_directions_and_are_matched() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("cam0");
    // A detector on another machine: it receives frames over one link and sends boxes over another.
    let (frames_url, boxes_url) = (served.url("cam0"), served.url("cam0/detections"));
    let detector = std::thread::spawn(move || {
        let (mut frames, directory) = open(&frames_url, Delivery::Newest).unwrap();
        let options = PublisherOptions::new().directory(directory.path()).slots(32);
        let mut finder = DetectionPublisher::with_options(options, &boxes_url, &["a"], "m").unwrap();
        let mut found = None;
        while let Ok(frame) = frames.recv() {
            let x = f32::from(frame.bytes()[0]);
            finder.send(&frame.id(), &[Detection { x, ..Detection::default() }]).unwrap();
            let found = found.get_or_insert_with(|| open_boxes(&boxes_url));
            let batch = found.0.for_frame(&frame, Duration::from_secs(60)).unwrap();
            assert_eq!(batch.boxes[0].x, x);
            assert_eq!(found.0.for_frame(frame.id(), Duration::ZERO).unwrap(), batch);
            let numbers = (frame.epoch(), frame.sequence());
            assert_eq!(found.0.for_frame(numbers, Duration::ZERO).unwrap(), batch);
        }
    });
    let options = SubscriberOptions::new().directory(served.directory.path()).delivery(Delivery::Every);
    let mut sequence = 0;
    let info = FrameInfo::default();
    sequence = publisher.send(&gray(4, 1), &info, &[0; 4]).unwrap().unwrap_or(sequence);
    let mut boxes = DetectionSubscriber::with_options(options, "cam0/detections").unwrap();
    for value in 1..20_u8 {
        let batch = boxes.for_frame((publisher.epoch(), sequence), Duration::from_secs(60)).unwrap();
        assert_eq!(batch.boxes[0].x, f32::from(value - 1));
        let latency = batch.latency_ns();
        assert!(latency < 60_000_000_000, "{latency}");
        sequence = publisher.send(&gray(4, 1), &info, &[value; 4]).unwrap().unwrap();
    }
    let origin = boxes.for_frame((publisher.epoch(), sequence), Duration::from_secs(60)).unwrap().frame;
    assert_eq!((origin.epoch, origin.sequence), (publisher.epoch(), sequence));
    publisher.close();
    detector.join().unwrap();
}

#[test]
fn tls_lets_in_who_has_a_token_and_to_what_it_may_see() {
    let token = Token::generate().unwrap();
    let identity = |directory: &std::path::Path| -> Identity {
        IdentityOptions::new(framelane_net::security::Role::Server, "localhost")
            .names(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .create(directory)
            .unwrap()
    };
    let mut fingerprint = String::new();
    let served = Served::start("tls://127.0.0.1:0", |options, directory| {
        let config = directory.join("config");
        let made = identity(&config);
        fingerprint = made.fingerprint().to_string();
        options.identity = Some(made);
        let file = ClientsFile::in_directory(&config);
        file.add(&Client::with_token(
            "lab",
            &token,
            "cam*".parse().unwrap(),
            "cam0/detections".parse().unwrap(),
        ))
        .unwrap();
        options.access = Access::Clients(AccessList::load(file.path()).unwrap());
    });
    let mut publisher = served.publisher("cam0");
    publisher.send(&gray(4, 1), &FrameInfo::default(), &[9; 4]).unwrap();
    let token_file = served.directory.path().join("token");
    std::fs::write(&token_file, token.expose()).unwrap();
    std::fs::set_permissions(&token_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let with_token = format!("fingerprint={fingerprint}&token-file={}", token_file.display());

    let (mut subscriber, _directory) =
        open(&served.url(&format!("cam0?{with_token}")), Delivery::Newest).unwrap();
    assert_eq!(subscriber.recv().unwrap().bytes(), [9; 4]);

    let refused = |rest: &str| {
        let error = open(&served.url(rest), Delivery::Newest).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        error.to_string()
    };
    assert!(refused("cam0").contains(&fingerprint), "the error names the fingerprint that was found");
    refused(&format!("cam0?fingerprint={fingerprint}"));
    assert!(refused(&format!("other?{with_token}")).contains("may not be received"));
    let wrong = format!("sha256:{}", "ab".repeat(32));
    assert!(refused(&format!("cam0?fingerprint={wrong}")).contains(&fingerprint));
    let denied = PublisherOptions::new()
        .directory(served.directory.path())
        .urls(Urls::Trusted)
        .create(&served.url(&format!("cam0?{with_token}")))
        .unwrap();
    wait_until!(denied.link_fault().is_some());
    assert_eq!(denied.link_fault().unwrap().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn mode_of_the_url_against_that_of_the_options_is_refused() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let _publisher = served.publisher("cam0");
    let error = open(&served.url("cam0?delivery=newest"), Delivery::Every).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    assert!(open(&served.url("cam0?delivery=every"), Delivery::Every).is_ok());
    assert!(open(&served.url("cam0?delivery=every"), Delivery::Newest).is_ok());
}

#[test]
fn link_reconnects_after_a_restart_and_keeps_subscribers() {
    let mut served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let listen = served.address.to_string();
    let url: LinkUrl = served.url("cam0").parse().unwrap();
    let local = tempfile::tempdir().unwrap();
    let cancel = CancelToken::new();
    let mut publisher = PublisherOptions::new().directory(local.path()).create("cam0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| receive(&url, &mut publisher, &cancel).unwrap());
        let mut reader = SubscriberOptions::new().directory(local.path()).open("cam0").unwrap();
        let mut last = 0;
        for round in 0..3_u8 {
            let mut source = served.publisher("cam0");
            for number in 0..5_u8 {
                let value = 10 * round + number + 1;
                source.send(&gray(1, 1), &FrameInfo::default(), &[value]).unwrap();
                // The newest frame of each round comes in any case.
                loop {
                    let found = reader.recv().unwrap().bytes()[0];
                    assert!(found > last, "{found} after {last}");
                    last = found;
                    if found == value {
                        break;
                    }
                }
            }
            if round == 1 {
                // The publisher restarts while the server stays; then both.
                drop(source);
                continue;
            }
            served.end();
            drop(source);
            let directory = std::mem::replace(&mut served.directory, tempfile::tempdir().unwrap());
            served = Served::in_directory(directory, &listen, |_, _| {});
        }
        let status = framelane::status(Some(local.path()), "cam0").unwrap().link.unwrap();
        assert!(status.connections >= 2, "{status:?}");
        cancel.cancel();
    });
}

#[test]
fn server_lost_while_a_reader_blocks_the_link_is_awaited() {
    let mut served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut source = served.publisher("cam0");
    let url: LinkUrl = served.url("cam0?delivery=every").parse().unwrap();
    let local = tempfile::tempdir().unwrap();
    let options = PublisherOptions::new().directory(local.path()).backpressure(Backpressure::Block).slots(2);
    let mut publisher = options.create("cam0").unwrap();
    // It takes nothing, so that there is no slot for the next frame.
    let reader = SubscriberOptions::new().directory(local.path()).delivery(Delivery::Every);
    let _reader = reader.open("cam0").unwrap();
    let (frames, lost) = (AtomicU64::new(0), CancelToken::new());
    std::thread::scope(|scope| {
        let link = scope.spawn(|| {
            let mut events = |event: LinkEvent<'_, ReceiveStatistics>| match event {
                LinkEvent::Progress(received) => frames.store(received.frames, Ordering::Relaxed),
                LinkEvent::Lost { .. } => lost.cancel(),
                _ => {}
            };
            let options = ReceiveOptions::new().cancel(lost.clone());
            framelane_net::receive(&url, &mut publisher, &options, &mut events)
        });
        while frames.load(Ordering::Relaxed) < 2 && !link.is_finished() {
            source.send(&gray(1, 1), &FrameInfo::default(), &[1]).unwrap();
            std::thread::yield_now();
        }
        served.end();
        link.join().unwrap().unwrap();
    });
    assert!(lost.is_cancelled(), "reported, and tried again");
}

#[test]
fn second_sender_of_a_client_replaces_the_first_for_good() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let url = served.url("back");
    let sender = || {
        let directory = tempfile::tempdir().unwrap();
        (PublisherOptions::new().directory(directory.path()).create(&url).unwrap(), directory)
    };
    let (mut older, _directory) = sender();
    older.send(&gray(1, 1), &FrameInfo::default(), &[1]).unwrap();
    let mut reader = SubscriberOptions::new().directory(served.directory.path()).open("back").unwrap();
    assert_eq!(reader.recv().unwrap().bytes(), [1]);
    let (mut newer, _other) = sender();
    newer.send(&gray(1, 1), &FrameInfo::default(), &[2]).unwrap();
    assert_eq!(reader.recv().unwrap().bytes(), [2]);
    let fault = loop {
        match older.link_fault() {
            Some(fault) => break fault,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!(fault.kind(), ErrorKind::ChannelBusy, "{fault}");
    // The text of an unauthenticated server is not shown.
    assert!(fault.message().contains("channel_busy"), "{fault}");
    assert!(newer.link_fault().is_none());
}

#[test]
fn revoked_client_gets_the_reason_and_not_the_end_of_channel() {
    let (token, mut config) = (Token::generate().unwrap(), None);
    let served = Served::start("tcp://127.0.0.1:0", |options, directory| {
        let file = ClientsFile::in_directory(&directory.join("config"));
        let all = || "**".parse().unwrap();
        file.add(&Client::with_token("lab", &token, all(), all())).unwrap();
        options.access = Access::Clients(AccessList::load(file.path()).unwrap());
        config = Some(file);
    });
    let token_file = served.directory.path().join("token");
    std::fs::write(&token_file, token.expose()).unwrap();
    std::fs::set_permissions(&token_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let url = |channel: &str| served.url(&format!("{channel}?token-file={}", token_file.display()));
    let _source = served.publisher("cam0");
    let (mut subscriber, directory) = open(&url("cam0"), Delivery::Newest).unwrap();
    let mut publisher =
        PublisherOptions::new().directory(directory.path()).urls(Urls::Trusted).create(&url("back")).unwrap();
    let attached = SubscriberOptions::new().directory(served.directory.path()).open("back").unwrap();
    config.unwrap().revoke("lab").unwrap();
    let error = Error::from(subscriber.recv().err().unwrap());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.hint().unwrap().contains("identity list"), "{error}");
    // Frames that are sent until it is known go nowhere; then there is an error.
    let error = loop {
        if let Err(error) = publisher.send(&gray(1, 1), &FrameInfo::default(), &[1]) {
            break error;
        }
        std::thread::yield_now();
    };
    assert_eq!(Error::from(error).kind(), ErrorKind::PermissionDenied);
    drop(attached);
}
