//! `framelane run`: a Python function as a detector that is watched, restarted and reloaded.

mod support;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use framelane::{
    Delivery, DetectionSubscriber, Detections, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions,
    SubscriberOptions,
};
use framelane_test_kit::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{Place, Running, json_error};

/// Enough for any machine: a test that waits longer has failed.
const LONG: Duration = Duration::from_secs(600);

/// Says which process looked, so that a test can kill it.
const DETECT: &str = "
import os
labels = ['thing', 'process']

def detect(image):
    print('a word on standard output')
    count = int(image[0, 0])
    boxes = [[i, i, i + 2, i + 3] for i in range(count)] + [[os.getpid(), 0, 0, 0]]
    return boxes, [0.5] * (count + 1), [0] * count + [1]
";

struct Bench {
    place: Place,
    files: tempfile::TempDir,
    publisher: Publisher,
}

impl Bench {
    /// `None` without a Python that has the package.
    fn new(source: &str) -> Option<Self> {
        if std::env::var_os("FRAMELANE_PYTHON").is_none() {
            skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
            return None;
        }
        let place = Place::new();
        let publisher = PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
        let bench = Bench { place, files: tempfile::tempdir().unwrap(), publisher };
        bench.write(source);
        Some(bench)
    }

    fn file(&self) -> PathBuf {
        self.files.path().join("detect.py")
    }

    fn write(&self, source: &str) {
        std::fs::write(self.file(), source).unwrap();
    }

    fn start(&self, options: &str) -> Running {
        self.place.start(&format!("run cam0 {} --json {options}", self.file().display()))
    }

    fn detections(&self) -> DetectionSubscriber {
        let options = SubscriberOptions::new().delivery(Delivery::Every).directory(self.place.path());
        DetectionSubscriber::with_options(options, "cam0/detections").unwrap()
    }

    fn ask(&mut self, detections: &mut DetectionSubscriber, pixel: u8) -> Detections {
        let layout = Layout::packed(PixelFormat::Gray8, 2, 2).unwrap();
        let info = FrameInfo::default();
        let found = self.publisher.send_and_wait(&layout, &info, &[pixel; 4], detections, LONG).unwrap();
        assert_eq!(found.frame.sequence, self.publisher.sequence());
        found
    }
}

/// The process that found them: see [`DETECT`].
fn worker_of(found: &Detections) -> Pid {
    Pid::from_raw(found.boxes.last().unwrap().x as i32).unwrap()
}

fn wait_until_gone(process: Pid) {
    wait_until!(test_kill_process(process).is_err());
}

#[test]
fn boxes_match_their_frame_until_the_channel_ends() {
    let Some(mut bench) = Bench::new(DETECT) else { return };
    let mut run = bench.start("--end-with-channel");
    let mut detections = bench.detections();
    for pixel in [0, 3, 1, 7] {
        let found = bench.ask(&mut detections, pixel);
        assert_eq!(found.boxes.len(), usize::from(pixel) + 1);
        assert_eq!(found.labels, ["thing", "process"]);
        if pixel > 0 {
            let last = found.boxes[usize::from(pixel) - 1];
            let at = f32::from(pixel) - 1.0;
            assert_eq!((last.x, last.y, last.width, last.height, last.score), (at, at, 2.0, 3.0, 0.5));
        }
    }
    drop(bench.publisher);
    let ended = run.rest().pop().unwrap();
    assert_eq!(
        (&ended["event"], &ended["frames"], &ended["restarts"]),
        (&"ended".into(), &4.into(), &0.into())
    );
    assert!(run.end().success());
    assert!(bench.place.files().is_empty(), "{:?}", bench.place.files());
}

#[test]
fn killed_or_raising_worker_restarts_and_answers() {
    let source = format!(
        "{DETECT}
import os.path
inner, mark = detect, __file__ + '.mark'

def detect(image):
    if image[0, 0] == 200 and not os.path.exists(mark):
        open(mark, 'w').close()
        raise RuntimeError('the first time fails')
    return inner(image)
"
    );
    let Some(mut bench) = Bench::new(&source) else { return };
    let mut run = bench.start("");
    let mut detections = bench.detections();
    let first = worker_of(&bench.ask(&mut detections, 1));
    kill_process(first, Signal::KILL).unwrap();
    let crashed = run.wait_for("crashed");
    assert!(crashed["status"].as_str().unwrap().contains("signal: 9"), "{crashed}");
    let second = worker_of(&bench.ask(&mut detections, 2));
    assert_ne!(first, second);
    // The frame at which it raises is answered by the next one.
    let third = worker_of(&bench.ask(&mut detections, 200));
    assert_ne!(second, third);
    let failed = run.wait_for("failed");
    assert_eq!(failed["sequence"], 3);
    let traceback = failed["traceback"].as_str().unwrap();
    assert!(traceback.contains("the first time fails") && !traceback.contains("worker.py"), "{traceback}");
    assert_eq!(run.wait_for("restarting")["pause_seconds"], 1.0);
    run.signal(Signal::INT);
    assert_eq!(run.end().code(), Some(130));
    wait_until_gone(third);
}

#[test]
fn changed_file_is_reloaded_also_after_an_error() {
    let Some(mut bench) = Bench::new("def detect(image):\n    return None\n") else { return };
    let mut run = bench.start("--reload");
    let mut detections = bench.detections();
    assert!(bench.ask(&mut detections, 1).boxes.is_empty());
    bench.write("def detect(image:\n");
    run.wait_for("reloading");
    let failed = run.wait_for("failed");
    assert_eq!(failed["where"], "load");
    assert!(failed["error"].as_str().unwrap().starts_with("SyntaxError"), "{failed}");
    bench.write("def detect(image, frame):\n    return {'boxes': [[0, 0, frame.sequence, 1]]}\n");
    let found = bench.ask(&mut detections, 1);
    assert_eq!(found.boxes[0].width, found.frame.sequence as f32);
    run.signal(Signal::TERM);
    assert_eq!(run.end().code(), Some(143));
}

#[test]
fn worker_ends_with_its_command_even_after_sigkill() {
    let Some(mut bench) = Bench::new(DETECT) else { return };
    let mut run = bench.start("");
    let mut detections = bench.detections();
    let worker = worker_of(&bench.ask(&mut detections, 1));
    run.signal(Signal::KILL);
    run.end();
    wait_until_gone(worker);
    // It has closed its channel as at any end.
    assert!(matches!(detections.recv(), Err(framelane::RecvError::Closed)));
}

#[test]
fn results_that_mean_nothing_are_told_with_what_was_expected() {
    for (result, expected) in [
        ("[1, 2, 3]", "shape (3,)"),
        ("'boxes'", "no numbers"),
        ("{'box': []}", "'box'"),
        ("([], [], [], [], [])", "tuple of 5"),
        ("[[0, 0, 1, 1]], [0.5, 0.5]", "score"),
        ("open('/nowhere')", "FileNotFoundError"),
    ] {
        let Some(mut bench) = Bench::new(&format!("def detect(image):\n    return {result}\n")) else {
            return;
        };
        let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
        bench.publisher.send(&layout, &FrameInfo::default(), &[0]).unwrap();
        let mut run = bench.start("--no-restart");
        let failed = run.wait_for("failed");
        assert!(failed["error"].as_str().unwrap().contains(expected), "{result}: {failed}");
        assert_eq!(run.end().code(), Some(1));
    }
}

#[test]
fn detector_that_keeps_its_images_ends_with_the_hint() {
    let source = "
history = []

def detect(image):
    history.append(image)
";
    // In a ring of 2 slots it stops the channel before it holds too many frames.
    for (slots, kind) in [(6, "too_many_leases"), (2, "timeout")] {
        let Some(mut bench) = Bench::new(source) else { return };
        drop(bench.publisher);
        bench.publisher =
            PublisherOptions::new().directory(bench.place.path()).slots(slots).create("cam0").unwrap();
        let line = format!("run cam0 {} --json", bench.file().display());
        let mut command = bench.place.command(&line);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().unwrap();
        let layout = Layout::packed(PixelFormat::Gray8, 2, 2).unwrap();
        while run.try_wait().unwrap().is_none() {
            bench.publisher.send(&layout, &FrameInfo::default(), &[0; 4]).unwrap();
            std::thread::yield_now();
        }
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{slots} slots: {output:?}");
        let error = json_error(&output);
        assert_eq!(error["kind"], kind, "{error}");
        assert!(error["message"].as_str().unwrap().contains("hold"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("array.copy()"), "{error}");
    }
}

#[test]
fn it_ends_after_the_frames_that_were_asked_for() {
    let Some(mut bench) = Bench::new(DETECT) else { return };
    let mut run = bench.start("--count 2 --delivery every --labels a,b --model mine");
    let mut detections = bench.detections();
    assert_eq!(bench.ask(&mut detections, 0).labels, ["a", "b"]);
    assert_eq!(bench.ask(&mut detections, 0).model, "mine");
    assert_eq!(run.wait_for("ended")["frames"], 2);
    assert!(run.end().success());
}

#[test]
fn what_cannot_be_started_is_refused_with_what_to_do() {
    let Some(bench) = Bench::new(DETECT) else { return };
    let file = bench.file();
    let file = file.display();
    let plain = "/usr/bin/python3";
    for (line, expected) in [
        ("run cam0 /nowhere/detect.py --json".to_owned(), "/nowhere/detect.py"),
        (format!("run cam0 {file} --python /nowhere/python --json"), "/nowhere/python"),
        (format!("run cam0 {file} --python {plain} --json"), "could not start framelane's worker"),
        (format!("run cam0 {file}:other --json"), "could not be loaded"),
        ("run cam0 no.such.module:detect --json".to_owned(), "could not be loaded"),
    ] {
        let output =
            bench.place.command(&line).stdin(Stdio::null()).env_remove("PYTHONPATH").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains(expected), "{line}: {error}");
        assert!(error["hint"].is_string(), "{line}: {error}");
    }
    let _busy = framelane::DetectionPublisher::with_options(
        PublisherOptions::new().directory(bench.place.path()),
        "cam0/detections",
        &[],
        "",
    );
    let output = bench.place.run(&format!("run cam0 {file} --json"));
    let error = json_error(&output);
    assert_eq!(error["kind"], "channel_busy");
    assert!(error["message"].as_str().unwrap().contains("cam0/detections"), "{error}");
}
