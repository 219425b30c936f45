//! `send` to and `receive` from the named mapping of older programs, with peers in Python written from the
//! format alone.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use framelane::{Delivery, FrameInfo, Layout, PixelFormat, PublisherOptions, RecvError, SubscriberOptions};
use framelane_test_kit::{skip, wait_until};
use rustix::process::Signal;
use support::{Place, json_error};

/// A unique mapping. Dropping removes it.
struct Mapping(String);

impl Mapping {
    fn new(test: &str) -> Self {
        Mapping(format!("framelane-test-{}-{test}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// A Python program that answers each line with a line. Dropping kills it.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(program: &str, arguments: &[&str]) -> Option<Self> {
        let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
            skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
            return None;
        };
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python").join(program);
        let mut command = Command::new(python);
        command.arg(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Peer { child, input, output: BufReader::new(output) })
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the peer has ended");
        line.trim().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.answer()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is right: frames come by in another process.
fn until(ask: impl FnMut() -> bool) {
    wait_until("the answer is right", ask);
}

fn publish(publisher: &mut framelane::Publisher, format: PixelFormat, size: (u32, u32), value: u8) {
    let layout = Layout::packed(format, size.0, size.1).unwrap();
    let mut loan = publisher.loan(&layout).unwrap();
    loan.bytes_mut().fill(value);
    loan.publish(&FrameInfo::default());
}

#[test]
fn an_old_reader_sees_live_frames_of_any_size_and_format() {
    let (place, mapping) = (Place::new(), Mapping::new("reader"));
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let mut send = place.start(&format!("send cam0 legacy-memory:{} --json", mapping.0));
    let started = send.wait_for("started");
    assert_eq!(started["made"], true);
    publish(&mut publisher, PixelFormat::Bgr8, (1920, 1080), 7);
    let Some(mut reader) = Peer::start("legacy_reader.py", &[&mapping.0]) else { return };
    let whole = |value: u64| {
        format!("{value} {value} {value} {value} {value} {value} {} 1920 1080 16", value * 1920 * 1080 * 3)
    };
    until(|| reader.ask("") == whole(7));
    // Another size, other formats: made what the reader takes without a look.
    publish(&mut publisher, PixelFormat::Rgb8, (640, 480), 9);
    until(|| reader.ask("") == whole(9));
    publish(&mut publisher, PixelFormat::Gray8, (1920, 1080), 11);
    until(|| reader.ask("") == whole(11));
    // After its removal it is created again for new readers. Readers of the old one keep its content.
    std::fs::remove_file(mapping.path()).unwrap();
    publish(&mut publisher, PixelFormat::Bgr8, (1920, 1080), 13);
    until(|| mapping.path().exists());
    let mut second = Peer::start("legacy_reader.py", &[&mapping.0]).unwrap();
    until(|| second.ask("") == whole(13));
    drop(publisher);
    let summary = send.wait_for("summary");
    assert_eq!((&summary["frames"], &summary["skipped"]), (&4.into(), &0.into()));
    assert!(send.end().success());
    assert!(!mapping.path().exists(), "the mapping was made here, and goes with the channel");
    // A process that has it open keeps the old content.
    assert_eq!(reader.ask(""), whole(11));
}

#[test]
fn send_with_fit_keep_reports_frames_that_do_not_fit() {
    let (place, mapping) = (Place::new(), Mapping::new("keep"));
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let url = format!("legacy-memory:{}?size=32x16&streams=3&index=1", mapping.0);
    let mut send = place.start(&format!("send cam0 {url} --fit keep --count 2 --json"));
    send.wait_for("started");
    let read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        let file = std::fs::File::open(mapping.path()).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, at).unwrap();
        bytes
    };
    let area = 12 + 32 * 16 * 3_u64;
    assert_eq!(mapping.path().metadata().unwrap().len(), 3 * area);
    publish(&mut publisher, "matrix:f64:1".parse().unwrap(), (8, 4), 0x3f);
    until(|| read(area + 12, 8 * 4 * 8) == [0x3f; 8 * 4 * 8]);
    let header: Vec<_> = [8_i32, 4, 6].iter().flat_map(|word| word.to_ne_bytes()).collect();
    assert_eq!(read(area, 12), header);
    publish(&mut publisher, PixelFormat::Bgr8, (33, 16), 1);
    let skipped = send.wait_for("skipped");
    assert!(skipped["reason"].as_str().unwrap().contains("33x16 bgr8"), "{skipped}");
    publish(&mut publisher, PixelFormat::Rgb8, (4, 4), 1);
    assert!(send.wait_for("skipped")["reason"].as_str().unwrap().contains("rgb8"));
    publish(&mut publisher, PixelFormat::Bgr8, (32, 16), 5);
    let summary = send.wait_for("summary");
    assert_eq!((&summary["frames"], &summary["skipped"]), (&2.into(), &2.into()));
    assert!(send.end().success());
}

#[test]
fn an_old_writers_frames_arrive_each_once_and_in_order() {
    let (place, mapping) = (Place::new(), Mapping::new("writer"));
    let url = format!("legacy-memory:{}?size=64x48&streams=2&index=1", mapping.0);
    let mut receive = place.start(&format!("receive {url} cam0 --poll-rate 1000 --json"));
    receive.wait_for("started");
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut subscriber = options.open("cam0").unwrap();
    assert!(receive.wait_for("waiting")["reason"].as_str().unwrap().contains("waiting for a mapping"));
    let Some(mut writer) = Peer::start("legacy_writer.py", &[&mapping.0, "64", "48", "2"]) else { return };
    let cases = [
        (64, 48, 16, "bgr8"),
        (16, 8, 6, "matrix:f64:1"),
        (64, 48, 0, "gray8"),
        (64, 48, 2, "gray16"),
        (32, 32, 24, "bgra8"),
        (9, 7, 5 + 8, "matrix:f32:2"),
    ];
    let mut value = 0_u8;
    for round in 0..5 {
        for (width, height, kind, format) in cases {
            value += 1;
            // Another stream's area is none of ours.
            assert_eq!(writer.ask("frame 0 64 48 16 255"), "ok");
            assert_eq!(writer.ask(&format!("frame 1 {width} {height} {kind} {value}")), "ok");
            let frame = subscriber.recv().unwrap();
            assert_eq!(frame.sequence(), u64::from(value), "round {round}");
            assert_eq!((frame.width(), frame.height(), &*frame.format().name()), (width, height, format));
            assert!(frame.bytes().iter().all(|&byte| byte == value));
        }
    }
    receive.signal(Signal::INT);
    let output = receive.end();
    assert_eq!(output.code(), Some(130));
    assert!(matches!(subscriber.recv(), Err(RecvError::Closed)));
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn writer_without_a_pause_gives_no_torn_frame() {
    let (place, mapping) = (Place::new(), Mapping::new("torn"));
    let url = format!("legacy-memory:{}?size=640x480", mapping.0);
    let Some(mut writer) = Peer::start("legacy_writer.py", &[&mapping.0, "640", "480", "1"]) else { return };
    writer.ask("frame 0 640 480 16 2");
    let mut receive = place.start(&format!("receive {url} cam0 --poll-rate 1000 --json"));
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut subscriber = options.open("cam0").unwrap();
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 2);
    // A writer without a pause: what is published of it is whole, and its last frame is published.
    writer.tell("scribble 0 1.0");
    loop {
        let frame = subscriber.recv().unwrap();
        let first = frame.bytes()[0];
        assert!(frame.bytes().iter().all(|&byte| byte == first), "a torn frame, at first {first}");
        if first == 1 {
            break;
        }
    }
    assert_eq!(writer.answer(), "ok");
    // One byte in any row is a change.
    for (row, byte) in [(0, 50_u8), (7, 51), (479, 52), (240, 53)] {
        let file = std::fs::OpenOptions::new().write(true).open(mapping.path()).unwrap();
        let at = 12 + row * 640 * 3 + 1234;
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte], at).unwrap();
        assert_eq!(subscriber.recv().unwrap().bytes()[at as usize - 12], byte);
    }
    receive.signal(Signal::TERM);
    assert_eq!(receive.end().code(), Some(143));
}

#[test]
fn invalid_header_in_the_mapping_is_reported() {
    let (place, mapping) = (Place::new(), Mapping::new("nonsense"));
    let Some(mut writer) = Peer::start("legacy_writer.py", &[&mapping.0, "64", "48", "1"]) else { return };
    let url = format!("legacy-memory:{}?size=64x48", mapping.0);
    let mut receive = place.start(&format!("receive {url} cam0 --poll-rate 1000 --json"));
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut subscriber = options.open("cam0").unwrap();
    assert!(receive.wait_for("waiting")["reason"].as_str().unwrap().contains("first frame"));
    for raw in ["-1 48 16", "2147483647 2147483647 16", "64 49 16", "64 48 -16", "64 48 4096", "0 48 16"] {
        writer.ask(&format!("raw 0 {raw}"));
        let reason = receive.wait_for("waiting")["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains(&format!("found width {}", raw.split(' ').next().unwrap())), "{reason}");
    }
    writer.ask("text hello from an old program");
    assert!(receive.wait_for("waiting")["reason"].as_str().unwrap().contains("a text"));
    let mut value = 0;
    let mut arrives = |writer: &mut Peer, subscriber: &mut framelane::Subscriber| {
        value += 1;
        writer.ask(&format!("frame 0 64 48 16 {value}"));
        assert_eq!(subscriber.recv().unwrap().bytes()[0], value);
    };
    arrives(&mut writer, &mut subscriber);
    // Cut short, then long again.
    let file = std::fs::OpenOptions::new().write(true).open(mapping.path()).unwrap();
    file.set_len(100).unwrap();
    assert!(receive.wait_for("waiting")["reason"].as_str().unwrap().contains("waiting for a mapping"));
    file.set_len(12 + 64 * 48 * 3).unwrap();
    arrives(&mut writer, &mut subscriber);
    // Removed, and created again by another writer.
    std::fs::remove_file(mapping.path()).unwrap();
    assert!(receive.wait_for("waiting")["reason"].as_str().unwrap().contains("waiting for a mapping"));
    let mut second = Peer::start("legacy_writer.py", &[&mapping.0, "64", "48", "1"]).unwrap();
    arrives(&mut second, &mut subscriber);
    receive.signal(Signal::INT);
    receive.end();
}

#[test]
fn frames_of_opencv_5_arrive_with_their_format() {
    let (place, mapping) = (Place::new(), Mapping::new("opencv5"));
    let Some(mut writer) = Peer::start("legacy_writer.py", &[&mapping.0, "64", "48", "1"]) else { return };
    let url = format!("legacy-memory:{}?size=64x48", mapping.0);
    // Size, type code, value, option, format: in OpenCV 5 the channels are from bit 5 on.
    for (value, (kind, option, format)) in [
        (64, "", "bgr8"),
        (16, "", "bgr8"),
        (64, "--opencv 5", "bgr8"),
        (64 | 2, "--opencv 5", "matrix:u16:3"),
        (9, "--opencv 5", "gray8"),
        (9, "", "matrix:s8:2"),
    ]
    .into_iter()
    .enumerate()
    {
        let value = value + 1;
        // The bytes of both readings are there.
        writer.ask(&format!("frame 0 32 32 {} {value}", 2 << 3));
        writer.ask(&format!("raw 0 32 32 {kind}"));
        let mut receive = place.start(&format!("receive {url} cam{value} {option} --count 1 --json"));
        let options = SubscriberOptions::new().directory(place.path());
        let frame = options.open(format!("cam{value}").as_str()).unwrap().recv().unwrap();
        assert_eq!((frame.width(), &*frame.format().name()), (32, format), "{kind} {option}");
        assert_eq!(frame.bytes()[0], value as u8);
        assert!(receive.end().success());
    }
    writer.ask("raw 0 32 32 12");
    let mut receive = place.start(&format!("receive {url} cam0 --opencv 5 --json"));
    let reason = receive.wait_for("waiting")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("32U of OpenCV 5") && reason.contains("convert"), "{reason}");
    receive.signal(Signal::INT);
    receive.end();
}

#[test]
fn frames_are_sent_with_the_type_codes_that_were_asked_for() {
    let (place, mapping) = (Place::new(), Mapping::new("codes"));
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    publish(&mut publisher, PixelFormat::Bgr8, (32, 16), 5);
    for (option, code) in [("", 16), ("--opencv 4", 16), ("--opencv auto", 16), ("--opencv 5", 64)] {
        let url = format!("legacy-memory:{}?size=32x16", mapping.0);
        std::fs::write(mapping.path(), vec![0; 12 + 32 * 16 * 3]).unwrap();
        assert!(place.run(&format!("send cam0 {url} {option} --count 1 --json")).status.success());
        let bytes = std::fs::read(mapping.path()).unwrap();
        assert_eq!(i32::from_ne_bytes(bytes[8..12].try_into().unwrap()), code, "{option}");
    }
}

#[test]
fn mapping_of_another_user_gets_no_frames() {
    let (place, mapping) = (Place::new(), Mapping::new("owner"));
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    publish(&mut publisher, PixelFormat::Bgr8, (32, 16), 5);
    let area = 12 + 32 * 16 * 3;
    std::fs::write(mapping.path(), vec![0; area]).unwrap();
    if std::os::unix::fs::chown(mapping.path(), Some(65534), Some(65534)).is_err() {
        skip("root", "only root can give a file away");
        return;
    }
    let url = format!("legacy-memory:{}?size=32x16", mapping.0);
    let output = place.run(&format!("send cam0 {url} --count 1 --json"));
    assert_eq!(output.status.code(), Some(1));
    let error = json_error(&output);
    assert!(error["message"].as_str().unwrap().contains("found user 65534"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("owner=65534"), "{error}");
    assert_eq!(std::fs::read(mapping.path()).unwrap(), vec![0; area]);
    // The user may be named. Others can read the mapping: a warning says so.
    let mut send = place.start(&format!("send cam0 {url}&owner=65534 --count 1 --json"));
    assert!(send.wait_for("warning")["reason"].as_str().unwrap().contains("other users can read"));
    assert!(send.end().success());
    assert_eq!(std::fs::read(mapping.path()).unwrap()[12..], vec![5; area - 12]);
    // Frames from there are received, with a warning.
    let mut receive = place.start(&format!("receive {url} cam1 --count 1 --json"));
    assert!(receive.wait_for("warning")["reason"].as_str().unwrap().contains("belongs to user 65534"));
    assert!(receive.end().success());
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let (place, mapping) = (Place::new(), Mapping::new("refused"));
    let _publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    std::fs::write(mapping.path(), [0; 100]).unwrap();
    let name = &mapping.0;
    for (line, expected) in [
        (format!("send cam0 legacy-memory:{name} --json"), "found 100"),
        ("send cam0 ftp://host:1/cam0 --json".to_owned(), "known kind"),
        ("receive http://a cam1 --json".to_owned(), "known kind"),
        (format!("send cam0 legacy-memory:{name}?size=4 --json"), "size"),
        (format!("receive legacy-memory:{name} cam0 --json"), "cam0"),
        (format!("receive legacy-memory:{name}?streams=2&index=1&index=0 cam1 --json"), "index= once"),
        (format!("send cam9 legacy-memory:{name} --open-timeout 0 --json"), "cam9"),
    ] {
        let output = place.run(&line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains(expected), "{line}: {error}");
        assert!(error["hint"].is_string(), "{line}: {error}");
    }
    assert_eq!(std::fs::read(mapping.path()).unwrap(), [0; 100]);
}
