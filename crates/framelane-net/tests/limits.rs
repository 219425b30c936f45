//! Peers that claim, ask for or send more than they may: the cost, and the errors that they receive.

mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use framelane::*;
use framelane_codec::{Codec, Encoder};
use framelane_net::ServerOptions;
use framelane_test_kit::wait_until;
use support::raw::{FRAME, REFUSED, Raw, WELCOME, Wish, reason, words};
use support::{Served, gray, open};

const SENDS: u8 = 2;
/// Gray8, just below the limit of 160 MiB.
const HUGE: (u32, u32) = (16_000, 10_000);

fn sends<'w>(channel: &'w str, codec: &'w str) -> Wish<'w> {
    Wish { direction: SENDS, channel, codec, size: (0, 0) }
}

fn origin(sequence: u64) -> Origin {
    Origin { epoch: 7, sequence }
}

/// Bytes of the rings in a directory.
fn ring_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let rings = files.filter(|file| file.file_name().to_string_lossy().contains(".data."));
    rings.map(|file| file.metadata().map_or(0, |found| found.len())).sum()
}

fn files(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

fn coded(codec: Codec, layout: &Layout, bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut encoder = Encoder::new(codec, None).unwrap();
    encoder.encode(layout, &FrameInfo::default(), bytes, &mut payload).unwrap();
    payload
}

#[test]
fn payload_that_cannot_be_decoded_takes_no_shared_memory() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    for codec in ["raw", "lz4", "jpeg:80", "h264:4000000"] {
        let (mut attacker, kind, body) = Raw::ask(served.port(), &sends("attack", codec));
        assert_eq!(kind, WELCOME, "{}", reason(&body));
        // Pictures of a size that may be decoded, and as many bytes as may be claimed.
        let layout = if matches!(codec, "raw" | "lz4") { gray(HUGE.0, HUGE.1) } else { gray(8000, 4000) };
        for sequence in 1..=2 {
            attacker.until_taken(sequence - 1);
            attacker.frame(origin(sequence), &layout, true, &[1]);
        }
        attacker.until_taken(2);
        assert_eq!(ring_bytes(served.directory.path()), 0, "{codec}");
        drop(attacker);
        // Nothing stays of a channel without a frame, however long channels stay.
        wait_until!(files(served.directory.path()).is_empty());
    }
}

#[test]
fn larger_claim_after_a_small_frame_takes_no_shared_memory() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let (mut attacker, ..) = Raw::ask(served.port(), &sends("attack", "lz4"));
    let small = gray(8, 8);
    attacker.until_taken(0);
    attacker.frame(origin(1), &small, true, &coded(Codec::Lz4, &small, &[7; 64]));
    wait_until!(ring_bytes(served.directory.path()) > 0);
    let before = ring_bytes(served.directory.path());
    for sequence in 2..=3 {
        attacker.until_taken(sequence - 1);
        attacker.frame(origin(sequence), &gray(HUGE.0, HUGE.1), true, &[1]);
    }
    // The credit for a frame comes before the frame is decoded, and after those before it were.
    attacker.until_taken(3);
    assert_eq!(ring_bytes(served.directory.path()), before);
}

#[test]
fn padding_claimed_for_a_coded_frame_takes_no_memory() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    for codec in [Codec::Raw, Codec::Lz4, Codec::Jpeg { quality: 90 }] {
        let channel = codec.name();
        let (mut attacker, ..) = Raw::ask(served.port(), &sends(channel, &codec.to_string()));
        let packed = gray(16, 2);
        let payload = coded(codec, &packed, &[100; 32]);
        let plane = Plane { offset_bytes: 5, stride_bytes: 150 << 20 };
        let claimed = Layout::with_planes(PixelFormat::Gray8, 16, 2, &[plane], (150 << 20) + 21).unwrap();
        attacker.until_taken(0);
        attacker.frame(origin(1), &claimed, true, &payload);
        let options = SubscriberOptions::new().directory(served.directory.path());
        let mut subscriber = options.open(channel).unwrap();
        let frame = subscriber.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(frame.layout(), &packed);
        assert!(ring_bytes(served.directory.path()) < 1 << 20, "{codec}");
        assert!(frame.bytes().iter().all(|pixel| pixel.abs_diff(100) < 4), "{codec}: {:?}", frame.bytes());
    }
}

#[test]
fn shared_memory_of_a_client_is_limited() {
    let served = Served::start("tcp://127.0.0.1:0", |options, _| options.max_memory = 16 << 20);
    // Six slots of 1 MiB, twice in half of 16 MiB is too much.
    let layout = gray(1024, 1024);
    let bytes = vec![9; layout.size_bytes()];
    let (mut first, ..) = Raw::ask(served.port(), &sends("a", "raw"));
    first.until_taken(0);
    first.frame(origin(1), &layout, false, &bytes);
    wait_until!(ring_bytes(served.directory.path()) > 0);
    let before = ring_bytes(served.directory.path());
    for codec in ["raw", "lz4"] {
        let payload = if codec == "raw" { bytes.clone() } else { coded(Codec::Lz4, &layout, &bytes) };
        let (mut second, ..) = Raw::ask(served.port(), &sends("b", codec));
        second.until_taken(0);
        second.frame(origin(1), &layout, codec != "raw", &payload);
        let said = reason(&second.hear_kind(REFUSED));
        assert!(said.contains("expected at most 8 MiB of memory for 127.0.0.1"), "{said}");
        assert!(said.contains("serve --max-memory"), "{said}");
        assert_eq!(ring_bytes(served.directory.path()), before);
    }
    wait_until!({
        served.events.lock().unwrap().iter().filter(|event| event.contains("max-memory")).count() == 2
    });
    // Of another client it is the total that counts.
    let mut other = Raw::connect(Ipv4Addr::new(127, 0, 0, 2), served.port());
    other.hello(&sends("c", "raw"));
    other.until_taken(0);
    other.frame(origin(1), &layout, false, &bytes);
    other.until_taken(1);
    drop(first);
}

#[test]
fn memory_returns_when_a_channel_ends() {
    let served = Served::start("tcp://127.0.0.1:0", |options, _| {
        options.max_memory = 16 << 20;
        options.reconnect_grace = Duration::ZERO;
    });
    let layout = gray(1024, 1024);
    for round in 0..4 {
        let channel = format!("c{round}");
        let (mut client, ..) = Raw::ask(served.port(), &sends(&channel, "raw"));
        client.until_taken(0);
        client.frame(origin(1), &layout, false, &vec![9; layout.size_bytes()]);
        client.until_taken(1);
        drop(client);
        wait_until!(files(served.directory.path()).is_empty());
    }
}

#[test]
fn coded_frame_of_too_many_pixels_is_refused_before_decoding() {
    let served = Served::start("tcp://127.0.0.1:0", |options, _| options.max_pixels = 2_000_000);
    let layout = gray(1001, 1000);
    for codec in ["jpeg:80", "h264:4000000"] {
        let (mut attacker, ..) = Raw::ask(served.port(), &sends("attack", codec));
        attacker.until_taken(0);
        attacker.frame(origin(1), &layout, true, &[1; 100]);
        let said = reason(&attacker.hear_kind(REFUSED));
        assert!(said.contains("at most 1000000 pixels, found 1001000"), "{codec}: {said}");
    }
}

#[test]
fn forged_origin_of_one_client_does_not_silence_another() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let layout = gray(2, 2);
    let send = |from: [u8; 4], sequence| {
        let mut client = Raw::connect(from.into(), served.port());
        // Until the server has noticed that the one before is gone, the channel is busy.
        let body = loop {
            match client.hello(&sends("cam0", "raw")) {
                (WELCOME, body) => break body,
                (_, body) => assert!(reason(&body).contains("Another live publisher"), "{}", reason(&body)),
            }
            client = Raw::connect(from.into(), served.port());
        };
        client.until_taken(0);
        client.frame(origin(sequence), &layout, false, &[1; 4]);
        client.until_taken(1);
        [24, 32].map(|at| u64::from_le_bytes(body[at..at + 8].try_into().unwrap()))
    };
    let (victim, attacker) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    assert_eq!(send(victim, 1), [0, 0]);
    let options = SubscriberOptions::new().directory(served.directory.path());
    let mut subscriber = options.delivery(Delivery::Every).open("cam0").unwrap();
    assert_eq!(send(attacker, u64::MAX), [0, 0], "the attacker learns nothing of the victim's frames");
    assert_eq!(send(victim, 2), [7, 1], "the victim hears of its frame");
    let sequences = [1, 2, 3].map(|_| subscriber.recv_timeout(Duration::from_secs(60)).unwrap().sequence());
    assert_eq!(sequences, [1, u64::MAX, 2]);
}

#[test]
fn frame_that_a_server_made_up_does_not_silence_a_sender() {
    for delivery in ["newest", "every"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}/cam0?delivery={delivery}", listener.local_addr().unwrap());
        let directory = tempfile::tempdir().unwrap();
        framelane_net::register_url_schemes();
        let mut publisher = PublisherOptions::new().directory(directory.path()).create(&url).unwrap();
        publisher.send(&gray(2, 2), &FrameInfo::default(), &[1; 4]).unwrap();
        let mut server = Raw::accept(&listener);
        server.welcome("raw", Origin { epoch: publisher.epoch(), sequence: u64::MAX });
        server.say(support::raw::CREDIT, &words(&[2]));
        server.hear_kind(FRAME);
    }
}

/// Plays a server to a subscriber of its URL. Returns the subscriber's error and the bytes of its rings.
fn serve_to(options: &str, codec: &str, play: impl FnOnce(&mut Raw) + Send) -> (Error, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}/cam0?codec={codec}&{options}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut server = Raw::accept(&listener);
            server.welcome(codec, Origin::default());
            server.say(support::raw::STATE, &[1, 0, 0, 0]);
            play(&mut server);
            drop(server);
            // It does not come again.
        });
        let (mut subscriber, directory) = match open(&url, Delivery::Newest) {
            Ok(opened) => opened,
            Err(error) => return (error, 0),
        };
        let most = std::cell::Cell::new(0);
        loop {
            most.set(most.get().max(ring_bytes(directory.path())));
            match subscriber.recv_timeout(Duration::from_millis(20)) {
                Ok(_) | Err(RecvError::Timeout) => {}
                Err(error) => return (error.into(), most.get()),
            }
        }
    })
}

#[test]
fn hostile_server_takes_no_shared_memory_without_a_frame() {
    for codec in ["lz4", "jpeg:80", "h264:4M"] {
        let layout = if codec == "lz4" { gray(HUGE.0, HUGE.1) } else { gray(8000, 4000) };
        let (error, most) = serve_to("", codec, |server| {
            for sequence in 1..=3 {
                server.until_taken(sequence - 1);
                server.frame(origin(sequence), &layout, true, &[1]);
            }
            server.until_taken(3);
            server.frame(origin(4), &gray(8, 8), true, &[1; 200 << 20]);
            server.hear_kind(REFUSED);
        });
        assert_eq!(error.kind(), ErrorKind::FrameTooLarge, "{error}");
        assert_eq!(most, 0, "{codec}");
    }
}

#[test]
fn memory_for_the_frames_of_a_server_is_limited() {
    let layout = gray(1024, 1024);
    let (error, most) = serve_to("max-memory=4000000", "raw", |server| {
        server.until_taken(0);
        server.frame(origin(1), &layout, false, &vec![1; layout.size_bytes()]);
        server.hear_kind(REFUSED);
    });
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("expected at most 4 MiB of memory") && most == 0, "{error}, {most}");
    assert!(error.to_string().contains("max-memory="), "{error}");
}

#[test]
fn pixels_that_a_server_has_decoded_are_limited() {
    for (options, side) in [("", 6000), ("max-pixels=1000000", 1001)] {
        let (error, _) = serve_to(options, "jpeg:80", |server| {
            server.until_taken(0);
            server.frame(origin(1), &gray(side, side), true, &[1; 100]);
            server.hear_kind(REFUSED);
        });
        assert_eq!(error.kind(), ErrorKind::FrameTooLarge, "{error}");
        assert!(error.to_string().contains("max-pixels"), "{error}");
    }
}

fn receives<'w>(channel: &'w str, codec: &'w str, size: (u32, u32)) -> Wish<'w> {
    Wish { direction: 1, channel, codec, size }
}

/// Memory of this process that is no file's.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Sends frames of 320x240 at 30 a second while clients do what they like. No frame must find all slots
/// taken.
fn publish_during(served: &Served, attack: impl FnOnce() + Send) {
    let mut publisher = served.publisher("cam0");
    let layout = Layout::packed(PixelFormat::Bgr8, 320, 240).unwrap();
    let bytes = vec![80; layout.size_bytes()];
    std::thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut sent = 0;
        while !attack.is_finished() || sent < 60 {
            publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
            sent += 1;
            // The pace of a camera.
            std::thread::sleep(Duration::from_millis(33));
        }
        assert_eq!(publisher.dropped(), 0, "of {sent} frames");
    });
}

#[test]
fn receivers_that_ask_for_scaled_up_frames_are_refused() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let before = anonymous_bytes();
    publish_during(&served, || {
        for (codec, size, limit) in [
            ("h264:4000000", (4096, 4096), "a size of at most 2073600 pixels"),
            ("h264:4000000", (1921, 1080), "a size of at most 2073600 pixels"),
            ("jpeg:80", (4096, 4096), "a size of at most 2073600 pixels"),
            ("lz4", (6000, 6000), "a size of at most 2073600 pixels"),
            ("raw", (6000, 6000), "a size of at most 2073600 pixels"),
            ("raw", (65_535, 1), "sides of at most 8192 pixels"),
            ("h264:4000000", (1, 8193), "sides of at most 8192 pixels"),
        ]
        .repeat(2)
        {
            let (mut client, kind, body) = Raw::ask(served.port(), &receives("cam0", codec, size));
            assert_eq!(kind, WELCOME, "{}", reason(&body));
            let said = client.take_frames(2).expect("a refusal");
            assert!(said.contains(limit), "{codec}: {said}");
        }
    });
    let grown = anonymous_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes");
}

#[test]
fn slow_encoders_hold_no_slots_of_the_channel() {
    // The clients send nothing while a busy machine encodes.
    let served =
        Served::start("tcp://127.0.0.1:0", |options, _| options.idle_timeout = Duration::from_secs(120));
    publish_during(&served, || {
        std::thread::scope(|scope| {
            for number in 0..5 {
                let size = (1920 - 2 * number, 1080);
                let served = &served;
                scope.spawn(move || {
                    let wish = receives("cam0", "h264:4000000", size);
                    let (mut client, kind, body) = Raw::ask(served.port(), &wish);
                    assert_eq!(kind, WELCOME, "{}", reason(&body));
                    assert_eq!(client.take_frames(20), None);
                });
            }
        });
    });
}

#[test]
fn encoders_pixels_and_memory_of_a_client_are_limited() {
    let picture = |publisher: &mut Publisher| {
        publisher.send(&gray(1000, 1000), &FrameInfo::default(), &vec![80; 1_000_000]).unwrap();
    };
    type Limit = fn(&mut ServerOptions);
    let cases: [(&str, Limit); 3] = [
        ("expected at most 2 encoders for 127.0.0.1, found 3", |options| options.max_encoders = 4),
        ("expected at most 2500000 pixels in encoders for 127.0.0.1, found 3000000", |options| {
            options.max_pixels = 5_000_000;
        }),
        ("expected at most 11 MiB of memory for 127.0.0.1, found 12 MiB", |options| {
            options.max_memory = 22 << 20;
        }),
    ];
    for (expected, limit) in cases {
        let served = Served::start("tcp://127.0.0.1:0", |options, _| limit(options));
        let mut publisher = served.publisher("cam0");
        picture(&mut publisher);
        let mut held = Vec::new();
        let mut told = None;
        // Qualities differ, so that each needs a separate encoder.
        for quality in 80..83 {
            let codec = format!("jpeg:{quality}");
            let (mut client, kind, body) = Raw::ask(served.port(), &receives("cam0", &codec, (0, 0)));
            told = if kind == REFUSED { Some(reason(&body)) } else { client.take_frames(1) };
            held.push(client);
            if told.is_some() {
                break;
            }
        }
        let told = told.expect("a refusal");
        assert!(told.contains(expected) && told.contains("serve --max-"), "{told}");
        let logged = || served.events.lock().unwrap().iter().any(|event| event.contains(expected));
        wait_until!(logged());
        // Others are served.
        let mut other = Raw::connect(Ipv4Addr::new(127, 0, 0, 2), served.port());
        assert_eq!(other.hello(&receives("cam0", "jpeg:70", (0, 0))).0, WELCOME);
        assert_eq!(other.take_frames(1), None);
        // What has ended makes room.
        drop(held);
        wait_until!({
            let (mut client, kind, _) = Raw::ask(served.port(), &receives("cam0", "jpeg:90", (0, 0)));
            kind == WELCOME && client.take_frames(1).is_none()
        });
    }
}

#[test]
fn clients_that_share_encoders_are_charged_for_each() {
    let served = Served::start("tcp://127.0.0.1:0", |options, _| options.max_pixels = 3_000_000);
    let mut publishers = ["cam0", "cam1"].map(|channel| served.publisher(channel));
    let receive = |from, channel| {
        let mut client = Raw::connect(Ipv4Addr::new(127, 0, 0, from), served.port());
        let (kind, body) = client.hello(&receives(channel, "jpeg:80", (0, 0)));
        assert_eq!(kind, WELCOME, "{}", reason(&body));
        client
    };
    // The last client joins both encoders before they know the size of the frames.
    let mut encoding = [receive(2, "cam0"), receive(3, "cam1")];
    let mut sharing = ["cam0", "cam1"].map(|channel| receive(4, channel));
    for publisher in &mut publishers {
        publisher.send(&gray(1000, 1000), &FrameInfo::default(), &vec![80; 1_000_000]).unwrap();
    }
    assert_eq!(encoding.each_mut().map(|client| client.take_frames(1)), [None, None]);
    assert_eq!(sharing[0].take_frames(1), None);
    let told = sharing[1].take_frames(1).expect("a refusal");
    assert!(told.contains("at most 1500000 pixels in encoders for 127.0.0.4, found 2000000"), "{told}");
    // The others are served.
    for publisher in &mut publishers {
        publisher.send(&gray(1000, 1000), &FrameInfo::default(), &vec![90; 1_000_000]).unwrap();
    }
    for client in encoding.iter_mut().chain(&mut sharing[..1]) {
        client.say(support::raw::CREDIT, &words(&[2]));
        client.hear_kind(FRAME);
    }
}

#[test]
fn receivers_of_one_codec_and_size_share_an_encoder() {
    // One encoder for a client.
    let served = Served::start("tcp://127.0.0.1:0", |options, _| options.max_encoders = 2);
    let mut publisher = served.publisher("cam0");
    let layout = Layout::packed(PixelFormat::Bgr8, 64, 48).unwrap();
    for codec in ["h264:2M", "jpeg:90", "lz4"] {
        // 30 frames a second, from which H.264 computes the bits of each.
        let mut send = |value: u8| {
            let bytes = vec![value; layout.size_bytes()];
            let info = FrameInfo::default().with_timestamp_ns(u64::from(value) * 1_000_000_000 / 30);
            publisher.send(&layout, &info, &bytes).unwrap().unwrap()
        };
        let mut newest = send(10);
        let open = || {
            let mut opened = None;
            // The encoder of the codec before counts until its links have ended.
            wait_until!({
                opened = open(&served.url(&format!("cam0?codec={codec}")), Delivery::Newest).ok();
                opened.is_some()
            });
            opened.unwrap()
        };
        let mut subscribers = Vec::new();
        for value in 11..60 {
            if subscribers.len() < 4 {
                subscribers.push(open());
            }
            for (subscriber, _) in &mut subscribers {
                let frame = loop {
                    let frame = subscriber.recv_timeout(Duration::from_secs(60)).unwrap();
                    if frame.origin().sequence == newest {
                        break frame;
                    }
                };
                let expected = value - 1;
                // H.264 is off by 4 or 5, and by more when receivers ask for many keyframes.
                let off = frame.bytes().iter().map(|found| found.abs_diff(expected)).max().unwrap();
                assert!(off < 12, "{codec} {value}: {off}");
            }
            newest = send(value);
        }
    }
}

#[test]
fn slow_receiver_of_h264_does_not_slow_the_others() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("cam0");
    let layout = gray(64, 48);
    let bytes = vec![80; layout.size_bytes()];
    publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
    let (mut slow, ..) = Raw::ask(served.port(), &receives("cam0", "h264:4000000", (0, 0)));
    assert_eq!(slow.take_frames(1), None);
    let (mut fast, _directory) = open(&served.url("cam0?codec=h264:4000000"), Delivery::Newest).unwrap();
    for round in 0..60_u64 {
        let sequence = publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap().unwrap();
        while fast.recv_timeout(Duration::from_secs(60)).unwrap().origin().sequence < sequence {}
        if round % 20 == 19 {
            // It has fallen behind, and continues with a keyframe.
            slow.say(support::raw::CREDIT, &words(&[2 + round / 20]));
            publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
            slow.hear_kind(FRAME);
        }
    }
}

/// Set in the child process of the test below: the directory of its channel.
const DIES_IN: &str = "FRAMELANE_TEST_DIES_IN";

#[test]
fn ring_of_a_dead_process_counts_for_its_next_client() {
    let layout = gray(1024, 1024);
    if let Some(directory) = std::env::var_os(DIES_IN) {
        let mut publisher = PublisherOptions::new().directory(&directory).create("a").unwrap();
        publisher.send(&layout, &FrameInfo::default(), &vec![9; layout.size_bytes()]).unwrap();
        // Without destructors, as a process that is killed.
        std::process::exit(0);
    }
    let leave_ring = |directory: &Path| {
        let this = "ring_of_a_dead_process_counts_for_its_next_client";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let status = child.args(["--exact", this]).env(DIES_IN, directory).status().unwrap();
        assert!(status.success() && ring_bytes(directory) > 6 << 20);
    };
    // Of one client, one ring of 6 MiB and not two.
    let served = Served::start("tcp://127.0.0.1:0", |options, directory| {
        options.max_memory = 20 << 20;
        leave_ring(directory);
    });
    let (first, kind, _) = Raw::ask(served.port(), &sends("a", "raw"));
    assert_eq!(kind, WELCOME);
    let (mut second, ..) = Raw::ask(served.port(), &sends("b", "raw"));
    second.until_taken(0);
    second.frame(origin(1), &layout, false, &vec![9; layout.size_bytes()]);
    let said = reason(&second.hear_kind(REFUSED));
    assert!(said.contains("expected at most 10 MiB of memory for 127.0.0.1"), "{said}");
    drop(first);
    // A ring above the limit is removed.
    let served = Served::start("tcp://127.0.0.1:0", |options, directory| {
        options.max_memory = 8 << 20;
        leave_ring(directory);
    });
    let (_client, kind, _) = Raw::ask(served.port(), &sends("a", "raw"));
    assert_eq!((kind, ring_bytes(served.directory.path())), (WELCOME, 0));
}
