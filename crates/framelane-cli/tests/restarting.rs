//! Channels that are not there yet, and channels that are closed and published again.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use framelane::{
    Color, ColorRange, Delivery, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions,
    SubscriberOptions,
};
use framelane_test_kit::skip;
use rustix::process::Signal;
use support::Place;

/// Enough for any machine: a test that waits longer has failed.
const LONG: Duration = Duration::from_secs(600);

fn publisher(directory: &Path, channel: &str) -> Publisher {
    PublisherOptions::new().directory(directory).create(channel).unwrap()
}

fn send(publisher: &mut Publisher, pixel: u8) {
    let layout = Layout::packed(PixelFormat::Gray8, 1, 1).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &[pixel]).unwrap();
}

#[test]
fn subscribe_reconnect_goes_on_after_a_close() {
    let place = Place::new();
    let mut source = publisher(place.path(), "cam0");
    let mut subscribe = place.start("subscribe cam0 --reconnect --per-frame --json");
    subscribe.wait_for("attached");
    send(&mut source, 1);
    let before = subscribe.wait_for("frame");
    drop(source);
    subscribe.wait_for("publisher_died");
    let mut source = publisher(place.path(), "cam0");
    send(&mut source, 2);
    assert_eq!(subscribe.wait_for("publisher_returned")["epoch"], source.epoch());
    let after = subscribe.wait_for("frame");
    assert_ne!(before["epoch"], after["epoch"]);
    subscribe.signal(Signal::INT);
    assert_eq!(subscribe.wait_for("summary")["frames"], 2);
    assert_eq!(subscribe.end().code(), Some(130));
}

#[test]
fn run_keeps_its_function_over_restarts_of_the_publisher() {
    if std::env::var_os("FRAMELANE_PYTHON").is_none() {
        skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
        return;
    }
    let (place, files) = (Place::new(), tempfile::tempdir().unwrap());
    let file = files.path().join("detect.py");
    std::fs::write(&file, "def detect(image):\n    return [[0, 0, int(image[0, 0]), 1]]\n").unwrap();
    let mut source = publisher(place.path(), "cam0");
    let mut run = place.start(&format!("run cam0 {} --count 2 --delivery every --json", file.display()));
    run.wait_for("started");
    send(&mut source, 1);
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    let mut found = framelane::DetectionSubscriber::with_options(options, "cam0/detections").unwrap();
    assert_eq!(found.recv_timeout(LONG).unwrap().boxes[0].width, 1.0);
    drop(source);
    run.wait_for("waiting");
    let mut source = publisher(place.path(), "cam0");
    send(&mut source, 2);
    run.wait_for("resumed");
    // Of the same process: its channel was open all the time.
    assert_eq!(found.recv_timeout(LONG).unwrap().boxes[0].width, 2.0);
    let ended = run.wait_for("ended");
    assert_eq!((&ended["frames"], &ended["restarts"]), (&2.into(), &0.into()));
    assert!(run.end().success());
}

#[test]
fn links_reconnect_in_both_directions() {
    framelane_net::register_url_schemes();
    let (there, here) = (Place::new(), Place::new());
    let mut server = there.start("serve --listen tcp://127.0.0.1:0 --anonymous --json");
    let address = server.wait_for("listening")["address"].as_str().unwrap().to_owned();
    let mut source = publisher(there.path(), "cam0");
    let options = SubscriberOptions::new().directory(here.path()).delivery(Delivery::Every).reconnect(true);
    send(&mut source, 1);
    let mut pulled = options.open(&format!("{address}/cam0")).unwrap();
    let mut sender = here.start(&format!("send back {address}/back --reconnect --json"));
    let mut back = publisher(here.path(), "back");
    sender.wait_for("connected");
    send(&mut back, 1);
    let waiting = SubscriberOptions::new().directory(there.path()).reconnect(true);
    let mut pushed = waiting.open("back").unwrap();
    for pixel in 1..=3 {
        assert_eq!(pulled.recv_timeout(LONG).unwrap().bytes(), [pixel]);
        assert_eq!(pushed.recv_timeout(LONG).unwrap().bytes(), [pixel]);
        drop((source, back));
        source = publisher(there.path(), "cam0");
        back = publisher(here.path(), "back");
        send(&mut source, pixel + 1);
        send(&mut back, pixel + 1);
    }
    sender.signal(Signal::INT);
    assert_eq!(sender.end().code(), Some(130));
}

#[test]
fn list_and_doctor_without_a_directory_say_where_they_looked() {
    let place = Place::new();
    let missing = place.path().join("not/yet");
    let text = missing.display().to_string();
    for command in ["list", "doctor", "top --count 1 --interval 0.1"] {
        let output = place.run(&format!("{command} --dir {text}"));
        assert!(output.status.success(), "{command}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&text) && said.contains("does not exist yet"), "{command}: {said}");
    }
    assert_eq!(place.json(&format!("list --json --dir {text}"))["directory"], text);
    assert_eq!(place.json(&format!("doctor --json --dir {text}"))["healthy"], true);
    assert!(!missing.exists());
}

#[test]
fn info_names_colors_and_lists_sort_numbers_by_value() {
    let place = Place::new();
    let mut source = publisher(place.path(), "cam10");
    let layout = Layout::packed(PixelFormat::I420, 2, 2).unwrap();
    let color = Color { matrix: 6, primaries: 5, transfer: 1, range: ColorRange::Limited };
    source.send(&layout, &FrameInfo::default().with_color(color), &[0; 6]).unwrap();
    let _other = publisher(place.path(), "cam2");
    let info = String::from_utf8(place.run("info cam10").stdout).unwrap();
    assert!(info.contains("matrix smpte170m, primaries bt470bg, transfer bt709, range limited"), "{info}");
    let color = &place.json("info cam10 --json")["color"];
    assert_eq!((&color["matrix"], &color["matrix_name"]), (&6.into(), &"smpte170m".into()));
    let list = place.json("list --json");
    assert_eq!(
        (&list["channels"][0]["name"], &list["channels"][1]["name"]),
        (&"cam2".into(), &"cam10".into())
    );
}

#[test]
fn waiting_commands_say_what_they_wait_for_and_where() {
    let place = Place::new();
    for line in ["subscribe cam7", "send cam7 legacy-memory:framelane-test-never"] {
        let mut command = place.command(line);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        assert!(said.contains("waiting for channel cam7"), "{line}: {said}");
        assert!(said.contains(&place.path().display().to_string()), "{line}: {said}");
        assert!(said.contains("framelane publish"), "{line}: {said}");
    }
}
