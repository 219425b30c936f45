//! `receive` from a real writer of the old kind, a process that copies frames without a lock:
//! whole frames only.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use framelane::{Delivery, RecvError, Subscriber, SubscriberOptions};
use framelane_test_kit::skip;
use rustix::process::Signal;
use support::{Place, Running};

/// For a frame on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The writer and its mapping. Dropping ends both.
struct Writer {
    child: Child,
    name: String,
}

impl Writer {
    /// `None` where the C++ programs are not built.
    fn start(test: &str, size: (u32, u32), pause_us: u32, mode: &str) -> Option<Self> {
        let Some(folder) = std::env::var_os("FRAMELANE_LANGUAGES") else {
            skip("languages", "FRAMELANE_LANGUAGES does not name the folder of the C++ programs");
            return None;
        };
        let name = format!("framelane-test-{}-{test}-{pause_us}-{mode}", std::process::id());
        let arguments = [&name, &size.0.to_string(), &size.1.to_string(), &pause_us.to_string(), mode];
        let mut command = Command::new(Path::new(&folder).join("memory_writer"));
        let child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
        Some(Writer { child, name })
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(&self.name));
    }
}

fn receive(place: &Place, writer: &Writer, (width, height): (u32, u32)) -> (Running, Subscriber) {
    let url = format!("legacy-memory:{}?size={width}x{height}", writer.name);
    let receive = place.start(&format!("receive {url} cam0 --json"));
    let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
    (receive, options.open("cam0").unwrap())
}

/// The number that the frame repeats through all of its rows.
fn number(bytes: &[u8]) -> u32 {
    let words = bytes.as_chunks::<4>().0;
    let numbers = words.first().map_or(0, |word| u32::from_ne_bytes(*word));
    let torn = words.iter().position(|word| *word != words[0]);
    assert_eq!(torn, None, "a torn frame, after frame {numbers}");
    numbers
}

#[test]
fn frames_of_a_writer_with_pauses_arrive_whole() {
    const SIZE: (u32, u32) = (1920, 1080);
    for (pause_us, mode) in [(33_000, "drawn"), (5_000, "drawn"), (1_000, "drawn")] {
        let place = Place::new();
        let Some(writer) = Writer::start("pauses", SIZE, pause_us, mode) else { return };
        let (mut receive, mut subscriber) = receive(&place, &writer, SIZE);
        let (began, mut last) = (Instant::now(), 0);
        for _ in 0..20 {
            let found = number(subscriber.recv_timeout(TIMEOUT).unwrap().bytes());
            assert!(mode != "drawn" || found > last, "{found} after {last}");
            last = found;
        }
        println!("pause {pause_us} us, {mode}: {:.1} frames/s", 20.0 / began.elapsed().as_secs_f64());
        receive.signal(Signal::TERM);
        receive.end();
    }
}

#[test]
fn busy_writer_gives_whole_frames_or_a_message() {
    const SIZE: (u32, u32) = (1920, 1080);
    // A millisecond between copies is less than a copy of a frame takes here: whole frames are rare then.
    for (pause_us, mode) in [(0, "drawn"), (0, "prepared"), (1_000, "prepared")] {
        let place = Place::new();
        let Some(writer) = Writer::start("busy", SIZE, pause_us, mode) else { return };
        let (mut receive, mut subscriber) = receive(&place, &writer, SIZE);
        let (began, mut frames) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(4) {
            match subscriber.recv_timeout(Duration::from_millis(200)) {
                Ok(frame) => {
                    number(frame.bytes());
                    frames += 1;
                }
                Err(RecvError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
        }
        println!("pause {pause_us} us, {mode}: {:.1} frames/s", f64::from(frames) / 4.0);
        // Stopped in the middle of a frame, most likely, for longer than the settle time: nothing more
        // arrives, or it is whole.
        writer.signal(Signal::STOP);
        while let Ok(frame) = subscriber.recv_timeout(Duration::from_millis(600)) {
            number(frame.bytes());
        }
        writer.signal(Signal::CONT);
        receive.signal(Signal::TERM);
        let events = receive.rest();
        let summary = &events[events.len() - 1];
        println!("{summary}");
        let is_told = events.iter().any(|event| event["event"] == "waiting");
        assert!(is_told || frames > 0, "{events:?}");
        receive.end();
    }
}
