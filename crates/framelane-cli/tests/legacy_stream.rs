//! `send` to and `receive` from the JPEG stream of older programs, with peers in Python and C++ written from
//! the format alone; each also at one byte a system call, as the programs in the field are.

mod support;

use std::path::Path;

use framelane::{
    Color, Delivery, FrameInfo, Layout, PixelFormat, PublisherOptions, RecvError, SubscriberOptions,
};
use framelane_video::Converter;
use rustix::process::Signal;
use support::stream::{Program, decoded, jpeg, number_of, pattern, psnr, publish, receive};
use support::{Place, Running};

/// The difference of two encodings of the pattern. Noise is below 10.
const ALIKE_DB: f64 = 32.0;

/// Frames 0 to 2 of the pattern arrive whole and in order, and the sender is answered.
fn arrives(format: PixelFormat, start: impl Fn(&str) -> Option<Program>) {
    let place = Place::new();
    let (mut receive, port) = receive(&place, "");
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut subscriber = options.open("cam0").unwrap();
    let Some(mut sender) = start(&port.to_string()) else { return };
    for number in 0..3 {
        let frame = subscriber.recv().unwrap();
        assert_eq!((frame.format(), frame.width(), frame.height()), (format, 160, 120));
        let wanted = pattern(number, 160, 120);
        if format == PixelFormat::Bgr8 {
            let alike = psnr(frame.bytes(), &wanted);
            assert!(alike > ALIKE_DB, "frame {number}: {alike} dB");
        }
        assert_eq!(sender.line().unwrap(), "recieved messages!");
    }
    assert_eq!(sender.line(), None);
    sender.end_well();
    receive.wait_for("connected");
    let gone = receive.wait_for("disconnected");
    assert_eq!((&gone["frames"], &gone["reason"]), (&3.into(), &serde_json::Value::Null));
    end(receive, (3, 0));
    assert!(matches!(subscriber.recv(), Err(RecvError::Closed)));
}

/// Ends `receive` by Ctrl-C. Checks the reported numbers of frames and broken frames.
fn end(mut receive: Running, (frames, broken): (u64, u64)) {
    receive.signal(Signal::INT);
    let summary = receive.wait_for("summary");
    assert_eq!((&summary["frames"], &summary["broken"]), (&frames.into(), &broken.into()), "{summary}");
    assert_eq!(receive.end().code(), Some(130));
}

#[test]
fn an_old_sender_in_python_arrives() {
    for (options, format) in
        [("", PixelFormat::Bgr8), ("--bytewise", PixelFormat::Bgr8), ("--gray", PixelFormat::Gray8)]
    {
        arrives(format, |port| {
            let arguments = ["127.0.0.1", port, "160", "120", "3", options];
            let given = arguments.into_iter().filter(|argument| !argument.is_empty()).collect::<Vec<_>>();
            Program::python("legacy_stream_sender.py", &given)
        });
    }
}

#[test]
fn an_old_sender_in_cpp_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..3).map(|number| write(folder.path(), number)).collect();
    for step in ["1", "7", "65536"] {
        arrives(PixelFormat::Bgr8, |port| {
            let arguments =
                [&[port, step, "1"], &*files.iter().map(String::as_str).collect::<Vec<_>>()].concat();
            Program::cpp("stream_sender", &arguments)
        });
    }
}

fn write(folder: &Path, number: usize) -> String {
    let path = folder.join(format!("{number}.jpg"));
    std::fs::write(&path, jpeg(number, 160, 120)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_old_receiver_in_python_sees_live_frames_of_any_format() {
    for bytewise in [false, true] {
        let place = Place::new();
        let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
        let arguments = if bytewise { &["0", "--bytewise"][..] } else { &["0"] };
        let Some(mut receiver) = Program::python("legacy_stream_receiver.py", arguments) else { return };
        let port = receiver.line().unwrap();
        let mut send = place.start(&format!("send cam0 legacy://127.0.0.1:{port} --json"));
        send.wait_for("connected");
        let bgr = Layout::packed(PixelFormat::Bgr8, 160, 120).unwrap();
        let mut converter = Converter::new().unwrap();
        let mut frames = 0;
        for &format in PixelFormat::VIDEO {
            let layout = Layout::packed(format, 160, 120).unwrap();
            let mut bytes = vec![0; layout.size_bytes()];
            let from = (&bgr, Color::default(), &*pattern(0, 160, 120));
            converter.convert(from, &layout, &mut bytes).unwrap();
            publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
            let line = receiver.line().unwrap();
            let words: Vec<_> = line.split(' ').collect();
            let is_gray = matches!(format, PixelFormat::Gray8 | PixelFormat::Gray16);
            assert_eq!(words[..3], ["160", "120", if is_gray { "1" } else { "3" }], "{format}");
            assert!(words[3].parse::<f64>().unwrap() > ALIKE_DB, "{format}: {line}");
            frames += 1;
        }
        drop(publisher);
        let summary = send.wait_for("summary");
        assert_eq!((&summary["frames"], &summary["skipped"]), (&frames.into(), &0.into()));
        assert_eq!((&summary["left_out"], &summary["connections"]), (&0.into(), &1.into()));
        assert!(send.end().success());
        receiver.end_well();
    }
}

#[test]
fn an_old_receiver_in_cpp_sees_live_frames() {
    for step in ["1", "5", "65536"] {
        let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
        let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
        let Some(mut receiver) =
            Program::cpp("stream_receiver", &["0", step, folder.path().to_str().unwrap()])
        else {
            return;
        };
        let port = receiver.line().unwrap();
        let mut send = place.start(&format!("send cam0 legacy://127.0.0.1:{port} --count 3 --json"));
        send.wait_for("connected");
        for number in 0..3 {
            publish(&mut publisher, number, (160, 120));
            let length: usize = receiver.line().unwrap().parse().unwrap();
            let jpeg = std::fs::read(folder.path().join(format!("{number}.jpg"))).unwrap();
            assert_eq!(jpeg.len(), length);
            let (width, height, pixels) = decoded(&jpeg);
            assert_eq!((width, height, number_of(&pixels)), (160, 120, number));
            assert!(psnr(&pixels, &pattern(number, 160, 120)) > ALIKE_DB);
        }
        assert_eq!(send.wait_for("summary")["frames"], 3);
        assert!(send.end().success());
        receiver.end_well();
    }
}

#[test]
fn quality_and_size_are_as_asked_for() {
    let mut bytes = Vec::new();
    for (options, size) in [
        ("", (160, 120)),
        ("?quality=10", (160, 120)),
        (" --quality 10", (160, 120)),
        (" --size 80x64", (80, 64)),
    ] {
        let place = Place::new();
        let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
        publish(&mut publisher, 0, (160, 120));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut send = place.start(&format!("send cam0 legacy://127.0.0.1:{port}{options} --count 1 --json"));
        let mut connection = support::stream::accept(&listener);
        let jpeg = support::stream::read_frame(&mut connection);
        let (width, height, pixels) = decoded(&jpeg);
        assert_eq!((width, height), size);
        assert!(psnr(&pixels, &pattern(0, width, height)) > 25.0, "{options}");
        std::io::Write::write_all(&mut connection, support::stream::ANSWER).unwrap();
        assert!(send.end().success());
        bytes.push(jpeg.len());
    }
    assert!(bytes[1] < bytes[0], "{bytes:?}");
    assert_eq!(bytes[1], bytes[2], "the same quality as a flag and in the address");
}

#[test]
fn a_channel_travels_from_one_framelane_to_another() {
    let (here, there) = (Place::new(), Place::new());
    let (mut receive, port) = receive(&there, "--count 20");
    let mut subscriber =
        SubscriberOptions::new().directory(there.path()).delivery(Delivery::Every).open("cam0").unwrap();
    let mut publisher = PublisherOptions::new().directory(here.path()).create("cam0").unwrap();
    let mut send = here.start(&format!("send cam0 legacy://127.0.0.1:{port} --json --open-timeout 0"));
    for number in 0..20 {
        // Sizes that change too.
        let size = (160 + 16 * (number % 3), 120);
        publish(&mut publisher, number, size);
        let frame = subscriber.recv().unwrap();
        assert_eq!((frame.width() as usize, number_of(frame.bytes())), (size.0, number));
        assert!(psnr(frame.bytes(), &pattern(number, size.0, size.1)) > ALIKE_DB, "frame {number}");
    }
    let summary = receive.wait_for("summary");
    assert_eq!((&summary["frames"], &summary["dropped"]), (&20.into(), &0.into()));
    assert!(receive.end().success());
    // The loss of the receiver is reported. The end of the channel ends the wait for another.
    assert!(send.wait_for("disconnected")["reason"].as_str().unwrap().contains("closed the connection"));
    drop(publisher);
    assert_eq!(send.wait_for("summary")["frames"], 20);
    assert!(send.end().success());
    assert!(there.files().is_empty(), "{:?}", there.files());
}
