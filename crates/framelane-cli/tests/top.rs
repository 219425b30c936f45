//! `framelane top`: rates of channels that open, close and restart, on a terminal and without one.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;

use framelane::{FrameInfo, Layout, LinkStatus, PixelFormat, PublisherOptions};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use support::{Place, Running};

/// The next report in which this can be seen.
fn until(top: &mut Running, mut seen: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
    loop {
        let report = top.next().expect("the reports go on");
        assert!(report["seconds"].as_f64().unwrap() > 0.0, "{report}");
        let channels = report["channels"].as_array().unwrap();
        for channel in channels {
            for rate in
                ["frames_per_second", "bytes_per_second", "dropped_per_second", "link_missed_per_second"]
            {
                assert!(channel[rate].as_f64().is_none_or(|rate| rate >= 0.0), "{channel}");
            }
        }
        if seen(channels) {
            return channels.clone();
        }
    }
}

fn runs(channels: &[Value]) -> bool {
    channels.iter().any(|channel| channel["frames_per_second"].as_f64() > Some(0.0))
}

#[test]
fn channels_come_have_rates_and_go() {
    let place = Place::new();
    let mut top = place.start("top --json --interval 0.1");
    assert_eq!(until(&mut top, |_| true), Vec::<Value>::new());
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json --format bgr8");
    publisher.wait_for("started");
    let first = until(&mut top, |channels| !channels.is_empty());
    assert_eq!((&first[0]["name"], &first[0]["frames_per_second"]), (&"cam0".into(), &Value::Null));

    let mut subscriber = place.start("subscribe cam0 --json --per-frame");
    subscriber.wait_for("frame");
    let channels = until(&mut top, |channels| {
        runs(channels) && channels[0]["subscribers"][0]["cursor"].as_u64() > Some(0)
    });
    let channel = &channels[0];
    assert_eq!((&channel["state"], &channel["layout"]["width"]), (&"live".into(), &64.into()));
    let [frames, bytes] =
        ["frames_per_second", "bytes_per_second"].map(|rate| channel[rate].as_f64().unwrap());
    assert!((bytes - frames * 64.0 * 48.0 * 3.0).abs() < 1.0, "{channel}");
    assert!(channel["most_behind"].is_u64() && channel["link"].is_null(), "{channel}");

    publisher.signal(Signal::INT);
    until(&mut top, |channels| channels.is_empty());
    top.signal(Signal::INT);
    assert_eq!(top.end().code(), Some(130));
}

#[test]
fn a_publisher_that_takes_over_brings_no_rate_below_zero() {
    let place = Place::new();
    let publish = || {
        let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
        let epoch = publisher.wait_for("started")["epoch"].clone();
        (publisher, epoch)
    };
    let (mut first, _) = publish();
    let mut top = place.start("top --json --interval 0.05");
    until(&mut top, runs);
    first.signal(Signal::KILL);
    first.end();
    until(&mut top, |channels| channels[0]["state"] == "stale" && channels[0]["frames_per_second"] == 0.0);
    let (_second, epoch) = publish();
    let anew = until(&mut top, |channels| channels[0]["epoch"] == epoch);
    assert_eq!(anew[0]["frames_per_second"], Value::Null);
    until(&mut top, runs);
}

#[test]
fn top_shows_the_rates_of_a_link() {
    let place = Place::new();
    let mut publisher = PublisherOptions::new().directory(place.path()).create("far/cam0").unwrap();
    let mut link = LinkStatus::default();
    link.peer = "tls://camera:7420/cam0".to_owned();
    link.connected = true;
    link.live = true;
    link.connections = 1;
    link.clock_offset_ns = 3_400_000;
    link.round_trip_ns = 1_200_000;
    link.latency_ns = 12_000_000;
    link.received_bytes = 1000;
    link.missed = 2;
    publisher.set_link(&link);
    let mut top = place.start("top --json --interval 0.05");
    let channels = until(&mut top, |_| true);
    assert_eq!(channels[0]["link"]["peer"], "tls://camera:7420/cam0");
    assert_eq!(channels[0]["link_bytes_per_second"], 0.0);
    link.received_bytes += 1_000_000;
    publisher.set_link(&link);
    until(&mut top, |channels| channels[0]["link_bytes_per_second"].as_f64() > Some(0.0));

    let output = place.run("top --count 1 --interval 0.05");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (heading, row) = text.trim_end().split_once('\n').unwrap();
    assert!(heading.starts_with("CHANNEL") && heading.ends_with("CLOCK"), "{text}");
    for cell in ["far/cam0", "up", "1.20 ms", "12.0 ms", "+3.40 ms"] {
        assert!(row.contains(cell), "{cell}: {text}");
    }
}

/// A server of the channels there, and one that receives `cam0` here.
fn link(there: &Place, here: &Place, options: &str) -> (Running, Running) {
    let mut server = there.start("serve --listen tcp://127.0.0.1:0 --anonymous --json");
    let address = server.wait_for("listening")["address"].as_str().unwrap().to_owned();
    let mut receiver = here.start(&format!("receive {address}/cam0 --json {options}"));
    receiver.wait_for("connected");
    (server, receiver)
}

fn published(there: &Place) -> framelane::Publisher {
    PublisherOptions::new().directory(there.path()).create("cam0").unwrap()
}

#[test]
fn link_without_remote_publisher_is_shown_as_no_source() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, mut receiver) = link(&there, &here, "");
    let text = |line: &str| String::from_utf8(here.run(line).stdout).unwrap();
    for live in [true, false, true] {
        let publisher = live.then(|| published(&there));
        assert_eq!(receiver.wait_for("channel")["live"], live);
        let info = here.json("info cam0 --json");
        assert_eq!((&info["state"], &info["link"]["connected"]), (&"live".into(), &true.into()), "{info}");
        assert_eq!(info["link"]["live"], live, "{info}");
        assert_eq!(!text("info cam0").contains("connected, no publisher there"), live);
        assert_eq!(!text("list").contains("(no publisher there)"), live);
        assert_eq!(!text("top --count 1 --interval 0.05").contains("  no source"), live);
        // The next iteration finds the channel closed.
        drop(publisher);
    }
}

#[test]
fn frames_that_a_link_skipped_are_no_slot_drops() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, mut receiver) = link(&there, &here, "--max-fps 5");
    let mut publisher = published(&there);
    let layout = Layout::packed(PixelFormat::Bgr8, 64, 48).unwrap();
    let mut top = here.start("top --json --interval 0.05");
    let channels = until(&mut top, |channels| {
        publisher.send(&layout, &FrameInfo::default(), &vec![0; layout.size_bytes()]).unwrap();
        channels.iter().any(|channel| channel["link_missed_per_second"].as_f64() > Some(0.0))
    });
    assert!(channels[0]["dropped"].as_u64() > Some(0), "{channels:?}");
    // No more frames: what is counted stays.
    publisher.close();
    while receiver.wait_for("channel")["live"] == true {}
    let info = here.json("info cam0 --json");
    assert!(info["dropped"].as_u64() > Some(0) && info["dropped"] == info["link"]["missed"], "{info}");
    let text = String::from_utf8(here.run("info cam0").stdout).unwrap();
    assert!(text.contains("  0 frames found no free slot"), "{text}");
    assert!(text.contains(&format!(" {} missed", info["dropped"])), "{text}");
}

#[test]
fn it_ends_after_as_many_intervals_as_wanted() {
    let place = Place::new();
    let _channels = channels(&place, &["a", "b"]);
    let mut top = place.start("top --json --count 3 --interval 0.05");
    assert_eq!(top.rest().len(), 3);
    assert!(top.end().success());
    let text = String::from_utf8(place.run("top --count 2 --interval 0.05").stdout).unwrap();
    let tables: Vec<_> = text.split("\n\n").collect();
    assert_eq!(tables.len(), 2, "{text}");
    assert!(tables.iter().all(|table| table.lines().count() == 3), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
    let empty = String::from_utf8(Place::new().run("top --count 1 --interval 0.05").stdout).unwrap();
    assert!(empty.starts_with("no channels"), "{empty}");
}

#[test]
fn the_fastest_come_first_when_sorted_by_rate() {
    let place = Place::new();
    let mut fast = place.start("publish testsrc=64x48@100 z --json");
    fast.wait_for("started");
    let _still = channels(&place, &["a"]);
    let names = |channels: Vec<Value>| channels.iter().map(|c| c["name"].clone()).collect::<Vec<_>>();
    let mut by_rate = place.start("top --json --interval 0.1 --sort rate");
    assert_eq!(names(until(&mut by_rate, runs)), ["z", "a"]);
    let mut by_name = place.start("top --json --interval 0.1");
    assert_eq!(names(until(&mut by_name, runs)), ["a", "z"]);
}

#[test]
fn it_ends_well_when_nobody_reads_on() {
    let place = Place::new();
    for options in ["", "--json"] {
        let top = place.start(&format!("top --interval 0.05 {options}"));
        assert!(top.end_without_reader().success(), "{options}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_hint() {
    let place = Place::new();
    for wrong in ["--interval 0", "--interval 1e9", "--count 0", "--sort size"] {
        assert_eq!(place.run(&format!("top {wrong}")).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn directory_that_does_not_exist_yet_has_no_channels() {
    let output = Place::new().run("top --count 1 --json --dir /no/such/directory");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["channels"].as_array().map(Vec::len), Some(0), "{report}");
}

/// The program on a pseudoterminal.
struct Terminal {
    ours: File,
    child: Child,
    /// Output that was not returned yet.
    text: String,
}

impl Terminal {
    fn start(place: &Place, line: &str, width: u16, height: u16) -> Self {
        Terminal::of_kind("xterm", place, line, width, height)
    }

    fn of_kind(kind: &str, place: &Place, line: &str, width: u16, height: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        resize(&ours, width, height);
        let mut command = place.command(line);
        command.env("TERM", kind).stdin(theirs.try_clone().unwrap()).stdout(theirs);
        Terminal { ours: ours.into(), child: command.spawn().unwrap(), text: String::new() }
    }

    /// Returns the output up to and including `wanted`.
    fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.text.find(wanted) {
                let rest = self.text.split_off(at + wanted.len());
                return std::mem::replace(&mut self.text, rest);
            }
            assert!(self.read(), "{wanted:?} is not in {:?}", self.text);
        }
    }

    /// Reads more output. Returns false at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // An error after the program closed the terminal.
        let len = self.ours.read(&mut bytes).unwrap_or(0);
        // No test looks for a character that may be cut in two here.
        self.text += &String::from_utf8_lossy(&bytes[..len]);
        len > 0
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// True if the terminal has its earlier settings: echo and lines.
    fn is_as_before(&self) -> bool {
        tcgetattr(&self.ours).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// The exit code, and what was left to read.
    fn end(&mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: impl AsFd, columns: u16, rows: u16) {
    tcsetwinsize(terminal, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// Channels without frames, as long as this is kept.
fn channels(place: &Place, names: &[&str]) -> Vec<framelane::Publisher> {
    let create = |name: &&str| PublisherOptions::new().directory(place.path()).create(name).unwrap();
    names.iter().map(create).collect()
}

#[test]
fn terminal_is_restored_after_q_and_after_a_signal() {
    let place = Place::new();
    let _channels = channels(&place, &["cam0"]);
    for (end, code) in [(None, 0), (Some(Signal::INT), 130), (Some(Signal::TERM), 143)] {
        let mut terminal = Terminal::start(&place, "top --interval 0.05", 100, 24);
        assert!(terminal.is_as_before());
        terminal.until(ENTER);
        // Drawn at once, and again.
        for _ in 0..3 {
            terminal.until("\x1b[H");
            terminal.until("cam0");
        }
        assert!(!terminal.is_as_before());
        match end {
            None => terminal.press("q"),
            Some(signal) => terminal.signal(signal),
        }
        terminal.until(LEAVE);
        let (ended, rest) = terminal.end();
        assert_eq!((ended, rest.as_str()), (Some(code), ""));
        assert!(terminal.is_as_before());
    }
}

#[test]
fn last_table_stays_on_the_terminal_after_the_count() {
    let place = Place::new();
    let _channels = channels(&place, &["cam0"]);
    let mut terminal = Terminal::start(&place, "top --count 1 --interval 0.05", 100, 24);
    terminal.until(LEAVE);
    let (code, rest) = terminal.end();
    assert_eq!(code, Some(0));
    assert!(rest.starts_with("CHANNEL") && rest.contains("\ncam0"), "{rest:?}");
}

#[test]
fn a_terminal_gets_what_fits_and_all_once_it_is_larger() {
    let place = Place::new();
    let _channels = channels(&place, &["hall/a/long/way/to/cam0", "cam1", "cam2", "cam3", "cam4"]);
    // The next look is far away: what is drawn is drawn for another reason.
    let mut terminal = Terminal::start(&place, "top --interval 3600", 40, 5);
    let small = terminal.until("and 3 more channels");
    assert!(small.contains("cam1") && !small.contains("cam3"), "{small:?}");
    assert!(small.contains("FRAMES/S") && !small.contains("MB/S  DROPS/S  READERS"), "{small:?}");
    resize(&terminal.ours, 120, 24);
    terminal.until("hall/a/long/way/to/cam0");
    terminal.press("r");
    terminal.until("by rate;");
    terminal.press("xn");
    terminal.until("by name;");
    terminal.press("q");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn ctrl_z_gives_the_terminal_back_until_it_goes_on() {
    let place = Place::new();
    let _channels = channels(&place, &["cam0"]);
    let mut terminal = Terminal::start(&place, "top --interval 3600", 100, 24);
    terminal.until("cam0");
    terminal.signal(Signal::TSTP);
    let (_, status) =
        waitpid(Some(Pid::from_child(&terminal.child)), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    assert!(terminal.is_as_before());
    terminal.until(LEAVE);
    terminal.signal(Signal::CONT);
    terminal.until(ENTER);
    terminal.until("cam0");
    assert!(!terminal.is_as_before());
    terminal.press("q");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_gets_tables() {
    let place = Place::new();
    let _channels = channels(&place, &["cam0"]);
    let mut terminal = Terminal::of_kind("dumb", &place, "top --count 2 --interval 0.05", 100, 24);
    let (code, text) = terminal.end();
    assert_eq!((code, text.matches("\ncam0").count()), (Some(0), 2), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
