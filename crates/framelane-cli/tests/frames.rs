//! Frames through the real program: from a source to standard output.

mod support;

use std::process::Stdio;

use framelane::{
    Backpressure, Depth, FrameInfo, Layout, MatrixType, Origin, PixelFormat, Plane, PublisherOptions,
};
use framelane_test_kit::wait_until;
use support::{Place, feed, json_error, noise, y4m};

#[test]
fn a_test_pattern_is_received_and_counted() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
    let started = publisher.wait_for("started");
    assert_eq!((&started["channel"], &started["source"]["output_format"]), (&"cam0".into(), &"bgr8".into()));
    let mut subscriber = place.start("subscribe cam0 --count 20 --json --every --per-frame");
    let events = subscriber.rest();
    assert!(subscriber.end().success());
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(named("attached").len(), 1);
    let format = named("format")[0];
    assert_eq!(
        (&format["width"], &format["height"], &format["format"]),
        (&64.into(), &48.into(), &"bgr8".into())
    );
    let frames = named("frame");
    let numbers: Vec<_> = frames.iter().map(|frame| frame["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let summary = events.last().unwrap();
    assert_eq!((&summary["event"], &summary["frames"]), (&"summary".into(), &20.into()));
    assert_eq!(summary["latency"]["count"], 20);
    assert!(summary["latency"]["p50_us"].as_f64() <= summary["latency"]["p99_us"].as_f64());
    assert!(summary["frames_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn output_without_terminal_has_no_progress_bar() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
    publisher.wait_for("started");
    let output = place.run("subscribe cam0 --count 5");
    assert!(output.status.success());
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(stdout.starts_with("5 frames in ") && stdout.contains("latency p50"), "{stdout}");
    assert!(
        stderr.contains("attached to channel cam0") && stderr.contains("frames are 64x48 bgr8"),
        "{stderr}"
    );
    assert!(!stderr.contains('\r') && !stderr.contains('\x1b'), "{stderr:?}");
}

#[test]
fn latency_of_a_frame_from_a_link_begins_with_its_capture() {
    let place = Place::new();
    let mut publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 2, 1).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let captured_ns = u64::try_from(now.as_nanos()).unwrap() - 3_600_000_000_000;
    // As a link publishes, and as a program of this machine does.
    for (origin, from) in [(Some(Origin { epoch: 7, sequence: 9 }), "capture"), (None, "publication")] {
        let info = FrameInfo::default().with_timestamp_ns(captured_ns).with_origin(origin);
        publisher.send(&layout, &info, &[0; 2]).unwrap();
        let mut subscriber = place.start("subscribe cam0 --count 1 --json --per-frame");
        let frame = subscriber.wait_for("frame");
        assert_eq!(frame["latency_from"], from);
        assert_eq!(frame["latency_us"].as_f64().unwrap() >= 3.6e9, origin.is_some(), "{frame}");
        assert_eq!(frame["sequence"], origin.map_or(2, |origin| origin.sequence));
        let summary = subscriber.wait_for("summary");
        assert_eq!(summary["latency_from"], from);
        subscriber.end();
        let output = place.run("subscribe cam0 --count 1");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("latency p50") && text.contains(&format!("from {from}")), "{text}");
    }
}

/// Publishes `input` from standard input without loss. Returns the output of a subscriber.
fn through(place: &Place, input: &[u8], publish: &str, subscribe: &str) -> Vec<u8> {
    let line = format!("publish - cam0 --rate max --backpressure block --wait-subscribers 1 {publish}");
    let mut publisher = place.command(&line).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let feeding = feed(&mut publisher, input.to_vec());
    let received = place.run(&format!("subscribe cam0 --delivery every {subscribe}"));
    let published = publisher.wait_with_output().unwrap();
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    assert!(received.status.success(), "{}", String::from_utf8_lossy(&received.stderr));
    feeding.join().unwrap();
    assert!(place.files().is_empty(), "{:?}", place.files());
    received.stdout
}

#[test]
fn raw_frames_from_standard_input_come_out_byte_for_byte() {
    for (format, frame_bytes) in
        [("bgr8", 33 * 17 * 3), ("gray16", 33 * 17 * 2), ("i420", 33 * 17 + 2 * 17 * 9)]
    {
        let input = noise(frame_bytes * 50, 7);
        let output = through(&Place::new(), &input, &format!("--raw {format}:33x17@30"), "--stdout raw");
        assert!(output == input, "{format}: {} bytes of {}", output.len(), input.len());
    }
}

#[test]
fn a_y4m_stream_comes_out_as_it_went_in() {
    for (width, height) in [(64, 48), (33, 17)] {
        let input = y4m(width, height, 40);
        let output = through(&Place::new(), &input, "--format i420", "--stdout y4m");
        assert_eq!(
            String::from_utf8_lossy(output.split(|byte| *byte == b'\n').next().unwrap()),
            String::from_utf8_lossy(input.split(|byte| *byte == b'\n').next().unwrap())
        );
        assert!(output == input, "{width}x{height}: {} bytes of {}", output.len(), input.len());
    }
}

#[test]
fn gray_frames_become_a_mono_y4m_stream() {
    let input = noise(8 * 4 * 3, 3);
    let output = through(&Place::new(), &input, "--raw gray8:8x4@50", "--stdout y4m");
    let text = String::from_utf8_lossy(&output);
    assert!(text.starts_with("YUV4MPEG2 W8 H4 F50:1 Ip A1:1 Cmono"), "{text}");
    let frames: Vec<u8> = input.chunks(32).flat_map(|frame| [b"FRAME\n", frame].concat()).collect();
    assert!(output.ends_with(&frames));
}

#[test]
fn nothing_is_lost_from_a_file_with_backpressure_block() {
    let place = Place::new();
    let file = tempfile::Builder::new().suffix(".y4m").tempfile().unwrap();
    std::fs::write(file.path(), y4m(32, 16, 120)).unwrap();
    for (format, slots) in [("i420", "--slots 2"), ("bgr8", "--slots 3"), ("native", "")] {
        let mut publisher = place.start(&format!(
            "publish {} film --json --rate max --backpressure block --wait-subscribers 2 --format {format} \
             {slots}",
            file.path().display()
        ));
        let mut readers = [0, 1].map(|_| place.start("subscribe film --delivery every --json --per-frame"));
        for reader in &mut readers {
            let events = reader.rest();
            assert!(reader.end().success());
            let frames = events.iter().filter(|event| event["event"] == "frame");
            let numbers: Vec<_> = frames.map(|frame| frame["sequence"].as_u64().unwrap()).collect();
            assert_eq!(numbers, (1..=120).collect::<Vec<_>>(), "{format}");
            assert_eq!(events.last().unwrap()["dropped"], 0);
        }
        let summary = publisher.wait_for("summary");
        assert_eq!(
            (&summary["frames"], &summary["dropped"], &summary["end"]),
            (&120.into(), &0.into(), &"finished".into())
        );
        assert!(publisher.end().success());
        assert!(place.files().is_empty());
    }
}

#[test]
fn a_file_is_played_as_often_as_wanted() {
    let place = Place::new();
    let file = tempfile::Builder::new().suffix(".y4m").tempfile().unwrap();
    std::fs::write(file.path(), y4m(32, 16, 5)).unwrap();
    let file = file.path().display();
    let mut publisher = place.start(&format!("publish {file} film --json --rate max --loop=3 --size 16x8"));
    assert_eq!(publisher.wait_for("started")["source"]["output_width"], 16);
    assert_eq!(publisher.wait_for("summary")["frames"], 15);
    let mut publisher = place.start(&format!("publish {file} film --json --rate max --loop --count 22"));
    assert_eq!(publisher.wait_for("summary")["frames"], 22);
}

#[test]
fn padding_between_rows_is_left_out_of_raw_frames() {
    let place = Place::new();
    let options = PublisherOptions::new().directory(place.path()).backpressure(Backpressure::Block);
    let mut publisher = options.create("cam0").unwrap();
    let planes = [(0, 16), (100, 8), (150, 9)]
        .map(|(offset_bytes, stride_bytes)| Plane { offset_bytes, stride_bytes });
    let layout = Layout::with_planes(PixelFormat::I420, 7, 5, &planes, 200).unwrap();
    let bytes = noise(200, 11);
    publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
    let output = place.run("subscribe cam0 --stdout raw --count 1");
    let rows = [(0, 16, 7, 5), (100, 8, 4, 3), (150, 9, 4, 3)];
    let row = |(offset, stride, width, rows): (usize, usize, usize, usize)| {
        (0..rows).flat_map(|row| bytes[offset + row * stride..][..width].to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(output.stdout, rows.into_iter().flat_map(row).collect::<Vec<_>>());
}

#[test]
fn other_strides_of_the_same_size_are_no_new_format() {
    let place = Place::new();
    let options = PublisherOptions::new().directory(place.path()).backpressure(Backpressure::Block);
    let mut publisher = options.create("cam0").unwrap();
    let mut subscriber = place.start("subscribe cam0 --delivery every --json --per-frame");
    subscriber.wait_for("attached");
    for stride_bytes in [8, 16, 8] {
        let planes = [Plane { offset_bytes: 0, stride_bytes }];
        let layout = Layout::with_planes(PixelFormat::Gray8, 8, 2, &planes, 32).unwrap();
        publisher.send(&layout, &FrameInfo::default(), &noise(32, 1)).unwrap();
    }
    publisher.drain(None).unwrap();
    publisher.close();
    let names: Vec<_> =
        subscriber.rest().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    let told: Vec<_> = names.iter().filter(|name| *name != "statistics").collect();
    assert_eq!(told, ["format", "frame", "frame", "frame", "summary"]);
}

#[test]
fn a_new_size_midway_is_an_error_in_y4m_and_a_note_in_raw() {
    for (container, status) in [("y4m", Some(1)), ("raw", Some(0))] {
        let place = Place::new();
        let options = PublisherOptions::new().directory(place.path()).backpressure(Backpressure::Block);
        let mut publisher = options.create("cam0").unwrap();
        let line = format!("subscribe cam0 --stdout {container} --delivery every --json --count 2");
        let subscriber = place.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until!(publisher.subscribers() > 0);
        for width in [8, 16] {
            let layout = Layout::packed(PixelFormat::Gray8, width, 2).unwrap();
            publisher.send(&layout, &FrameInfo::default(), &noise(32, 1)).unwrap();
        }
        publisher.drain(None).unwrap();
        publisher.close();
        let output = subscriber.wait_with_output().unwrap();
        assert_eq!(output.status.code(), status);
        if container == "raw" {
            assert_eq!(output.stdout, [&noise(32, 1)[..16], &noise(32, 1)].concat());
            continue;
        }
        let error = json_error(&output);
        assert_eq!(error["kind"], "invalid_frame");
        assert!(error["message"].as_str().unwrap().contains("from 8x2 gray8 to 16x2 gray8"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("--stdout raw"), "{error}");
    }
}

/// The y4m output of a subscriber for one frame.
fn y4m_of(layout: &Layout, bytes: &[u8]) -> std::process::Output {
    let place = Place::new();
    let options = PublisherOptions::new().directory(place.path()).backpressure(Backpressure::Block);
    let mut publisher = options.create("cam0").unwrap();
    publisher.send(layout, &FrameInfo::default(), bytes).unwrap();
    place.run("subscribe cam0 --stdout y4m --count 1 --json")
}

#[test]
fn every_picture_format_is_converted_to_y4m() {
    let matrix = |depth, channels| PixelFormat::Matrix(MatrixType::new(depth, channels).unwrap());
    let matrices =
        [(Depth::U8, 1), (Depth::U8, 3), (Depth::U8, 4), (Depth::U16, 1)].map(|(d, c)| matrix(d, c));
    for format in PixelFormat::VIDEO.iter().copied().chain(matrices) {
        // Every byte the same: a gray picture in RGB, and a colour in YUV.
        let layout = Layout::packed(format, 33, 17).unwrap();
        let output = y4m_of(&layout, &vec![128; layout.size_bytes()]);
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        let end = output.stdout.iter().position(|byte| *byte == b'\n').unwrap();
        let header = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
        let gray = header.contains("Cmono");
        let one_channel = matches!(format, PixelFormat::Matrix(found) if found.channels() == 1);
        assert_eq!(gray, one_channel || format.name().starts_with("gray"), "{format}: {header}");
        let frame = &output.stdout[end + 1 + b"FRAME\n".len()..];
        assert_eq!(frame.len(), if gray { 33 * 17 } else { 33 * 17 + 2 * 17 * 9 }, "{format}: {header}");
        let rgb = header.contains("XCOLORRANGE=LIMITED");
        let expected = if rgb { 126 } else { 128 };
        assert!(frame[..33 * 17].iter().all(|y| y.abs_diff(expected) <= 1), "{format}: {:?}", &frame[..8]);
    }
}

#[test]
fn matrix_that_is_no_picture_is_refused_in_y4m() {
    let matrix = MatrixType::new(Depth::F32, 2).unwrap();
    let layout = Layout::packed(PixelFormat::Matrix(matrix), 4, 4).unwrap();
    let output = y4m_of(&layout, &vec![0; layout.size_bytes()]);
    assert_eq!(output.status.code(), Some(1));
    let error = json_error(&output);
    assert!(error["message"].as_str().unwrap().contains("f32"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--stdout raw"), "{error}");
}

#[test]
fn json_before_the_subcommand_allows_per_frame() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
    publisher.wait_for("started");
    for line in ["--json subscribe cam0 --count 2 --per-frame", "subscribe cam0 --per-frame --json --count 2"]
    {
        let output = place.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let frames = String::from_utf8_lossy(&output.stdout).matches("\"event\":\"frame\"").count();
        assert_eq!(frames, 2, "{line}");
    }
    assert_eq!(place.run("subscribe cam0 --count 2 --per-frame").status.code(), Some(2));
}

#[test]
fn file_whose_name_is_not_utf8_is_published() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    for name in [b"gr\xFCn.y4m".as_slice(), b"a:\xE9.y4m"] {
        let file = place.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&file, y4m(32, 16, 3)).unwrap();
        let mut command = place.command("publish --json --rate max");
        let output = command.arg(&file).arg("cam0").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"frames\":3"));
    }
    let missing = place.path().join(std::ffi::OsStr::from_bytes(b"no\xFF.mp4"));
    let output = place.command("publish --json").arg(&missing).arg("cam0").output().unwrap();
    assert_eq!(json_error(&output)["kind"], "not_found");
}

#[test]
fn empty_standard_input_is_reported_as_empty() {
    let place = Place::new();
    for line in ["publish - cam0 --json", "publish - cam0 --json --raw gray8:8x8"] {
        let error = json_error(&place.run(line));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("standard input") && message.contains("found no"), "{line}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("the program that writes"), "{error}");
    }
}
