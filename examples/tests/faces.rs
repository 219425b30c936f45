//! The faces example: frames and detections arrive, and the pictures have their boxes on faces.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use framelane_test_kit::{Place, Running, deadline, skip};
use rustix::process::Signal;

/// Left, top, right and bottom in pixels.
type Rectangle = [f32; 4];

/// The face in every tenth frame of the demo's first video, measured by eye from hairline to chin.
const FACES: [Rectangle; 12] = [
    [66.0, 38.0, 112.0, 98.0],
    [59.0, 37.0, 107.0, 97.0],
    [64.0, 36.0, 111.0, 97.0],
    [58.0, 40.0, 105.0, 98.0],
    [52.0, 40.0, 103.0, 101.0],
    [54.0, 37.0, 103.0, 100.0],
    [54.0, 33.0, 106.0, 99.0],
    [50.0, 29.0, 103.0, 95.0],
    [42.0, 30.0, 95.0, 90.0],
    [36.0, 40.0, 87.0, 97.0],
    [38.0, 38.0, 91.0, 98.0],
    [41.0, 35.0, 92.0, 98.0],
];

struct Run {
    directory: Place,
}

impl Run {
    fn new() -> Self {
        Run { directory: Place::new() }
    }

    fn faces(&self, arguments: &[&str], detector: &[&str]) -> Output {
        self.command(arguments, detector).output().unwrap()
    }

    fn command(&self, arguments: &[&str], detector: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_faces"));
        command
            .args(arguments)
            .args(["--port", "0"])
            .arg("--output")
            .arg(self.out())
            .arg("--")
            .args(detector)
            .env("FRAMELANE_DIR", self.channels());
        command
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn channels(&self) -> PathBuf {
        self.directory.path().join("channels")
    }

    fn assert_no_channel_is_left(&self) {
        assert_eq!(std::fs::read_dir(self.channels()).unwrap().count(), 0);
    }

    fn page(&self) -> String {
        std::fs::read_to_string(self.out().join("index.html")).unwrap()
    }

    /// Returns the pictures by name, in the order of their frames.
    fn pictures(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.out()).unwrap().map(|entry| entry.unwrap().path());
        let mut pictures: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "png")).collect();
        pictures.sort();
        pictures
    }
}

fn python() -> Option<String> {
    let python = std::env::var("FRAMELANE_PYTHON").ok();
    if python.is_none() {
        skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
    }
    python
}

/// A detector that finds one box in each frame, so that the test depends on no model.
const SQUARES: &str = "\
import json, framelane, numpy as np
with framelane.DetectionPublisher('faces/detections', labels=['<square>']) as found, \\
        framelane.Subscriber('faces', open_timeout=60) as frames:
    for frame in frames:
        found.send(frame, np.array([[10, 20, 60, 90]], np.float32), np.array([0.5], np.float32))
        print(json.dumps({'skipped': frame.dropped}), flush=True)
";

#[test]
fn detector_that_exits_at_once_is_an_error_with_a_hint() {
    let run = Run::new();
    let output = run.faces(&["testsrc=320x240@25", "--count", "20"], &["false"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("the detector ended before it received a frame"), "{errors}");
    assert!(errors.contains("hint: "), "{errors}");
    run.assert_no_channel_is_left();
}

#[test]
fn detector_without_its_model_names_the_hint() {
    let Some(python) = python() else { return };
    let run = Run::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/faces/detect.py");
    let output = run.faces(&["testsrc=320x240@25"], &[&python, script, "faces", "--model", "/nowhere.onnx"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("cannot read the model /nowhere.onnx"), "{errors}");
    assert!(errors.contains("hint: run scripts/setup demo"), "{errors}");
}

#[test]
fn two_videos_of_different_sizes_share_one_contact_sheet() {
    let Some(python) = python() else { return };
    let run = Run::new();
    let sources = ["testsrc=320x240@25", "testsrc=160x120@25", "--count", "20"];
    let output = run.faces(&sources, &[&python, "-c", SQUARES]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("40 frames published"), "{text}");
    let (page, pictures) = (run.page(), run.pictures());
    assert!(text.contains(&run.out().join("index.html").display().to_string()), "{text}");
    assert!(!pictures.is_empty());
    assert_eq!(page.matches("<img").count(), pictures.len());
    assert_eq!(page.matches(" alt=\"Frame ").count(), pictures.len(), "{page}");
    assert!(page.contains("&lt;square&gt; 0.50"), "{page}");
    assert!(!page.contains("//"), "expected a page without addresses, found {page}");
    run.assert_no_channel_is_left();
}

#[test]
fn looped_demo_serves_its_page_until_ctrl_c() {
    let Some(python) = python() else { return };
    let run = Run::new();
    let command = run.command(&["testsrc=64x48@50", "--count", "5", "--loop"], &[&python, "-c", SQUARES]);
    let mut faces = Running::start(command);
    let address = loop {
        let line = faces.line().expect("the line with the address");
        if let Some((_, rest)) = line.split_once("http://") {
            break rest.split_once('/').unwrap().0.to_owned();
        }
    };
    // More frames than one round has.
    let frames = |row: &str| row.split_whitespace().nth(1)?.parse::<u64>().ok();
    while frames(&faces.line().expect("a row")).is_none_or(|published| published <= 5) {}
    let mut connection = TcpStream::connect(&address).unwrap();
    connection.set_read_timeout(Some(deadline())).unwrap();
    write!(
        connection,
        "GET /channels/faces/snapshot.jpg HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.windows(2).any(|bytes| bytes == [0xff, 0xd8]), "expected a JPEG");
    faces.signal(Signal::INT);
    assert!(faces.end().success());
    assert!(run.page().contains("<img"));
    run.assert_no_channel_is_left();
}

#[test]
fn pictures_of_the_demo_have_one_box_on_the_face() {
    let Some(python) = python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let video = root.join(".cache/carphone.mp4");
    if !video.exists() || !root.join(".cache/centerface.onnx").exists() {
        skip("demo", "the demo's files are missing; run scripts/setup demo");
        return;
    }
    let run = Run::new();
    let script = root.join("examples/faces/detect.py");
    let output = run.faces(&[video.to_str().unwrap()], &[&python, script.to_str().unwrap(), "faces"]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    let pictures = run.pictures();
    assert!(!pictures.is_empty(), "{text}");
    for path in pictures {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let sequence: usize = name.strip_prefix("frame-").unwrap().parse().unwrap();
        let expected = FACES[((sequence + 4) / 10).min(FACES.len() - 1)];
        let found = drawn_box(&path);
        let overlap = overlap(found, expected);
        assert!(overlap > 0.5, "{name}: expected {expected:?}, found {found:?}, overlap {overlap}");
    }
    assert!(text.contains("pictures, side by side: open "), "{text}");
}

/// Returns the box that is drawn in a picture. The edge of one box is the only thing in its colour.
fn drawn_box(path: &Path) -> Rectangle {
    let picture = image::open(path).unwrap().to_rgb8();
    let green: Vec<_> = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == [40, 255, 60]).collect();
    assert!(!green.is_empty(), "{} has no box", path.display());
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for &(x, y, _) in &green {
        (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x), bottom.max(y));
    }
    for (x, y, _) in green {
        let on_edge = x == left || x == right || y == top || y == bottom;
        assert!(on_edge, "{} has more than one box: {x},{y}", path.display());
    }
    [left as f32, top as f32, right as f32, bottom as f32]
}

/// Returns the intersection of two boxes divided by their union.
fn overlap(a: Rectangle, b: Rectangle) -> f32 {
    let area = |b: Rectangle| (b[2] - b[0]) * (b[3] - b[1]);
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    width * height / (area(a) + area(b) - width * height)
}
