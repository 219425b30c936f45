//! Pictures, and old programs in other languages, for the tests of the legacy stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use framelane::{Delivery, Frame, FrameInfo, Layout, PixelFormat, Publisher, Subscriber, SubscriberOptions};
use framelane_codec::jpeg::{Compressor, Decompressor, Header, header};
use framelane_test_kit::skip;
use rustix::process::Signal;
use serde_json::Value;

use super::{Place, Running};

/// The answer of a receiver.
pub const ANSWER: &[u8; 18] = b"recieved messages!";
/// The one deadline of waits.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the pattern of `tests/python/legacy_pattern.py`.
pub fn pattern(number: usize, width: usize, height: usize) -> Vec<u8> {
    let pixel = |at: usize| [at % width * 255 / width, at / width * 255 / height, 8 * number % 256];
    (0..width * height).flat_map(pixel).map(|sample| sample as u8).collect()
}

/// The pattern as a JPEG.
pub fn jpeg(number: usize, width: usize, height: usize) -> Vec<u8> {
    let layout = Layout::packed(PixelFormat::Bgr8, width as u32, height as u32).unwrap();
    let mut jpeg = Vec::new();
    Compressor::new().unwrap().encode(&layout, &pattern(number, width, height), 95, &mut jpeg).unwrap();
    jpeg
}

/// Size and BGR pixels of a JPEG.
pub fn decoded(jpeg: &[u8]) -> (usize, usize, Vec<u8>) {
    let Header { width, height, .. } = header(jpeg).unwrap();
    let layout = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
    let mut pixels = vec![0; layout.size_bytes()];
    Decompressor::new().unwrap().decode(jpeg, &layout, &mut pixels).unwrap();
    (width as usize, height as usize, pixels)
}

/// The JPEG after its line, as it travels.
pub fn message(jpeg: &[u8]) -> Vec<u8> {
    [format!("{:<16}", jpeg.len()).as_bytes(), jpeg].concat()
}

/// The similarity of two pictures, in dB.
pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum.max(1e-9)).log10()
}

/// The red of the pattern is the number of the picture, within 4 after JPEG.
pub fn number_of(pixels: &[u8]) -> usize {
    let sum: usize = pixels.chunks_exact(3).map(|pixel| usize::from(pixel[2])).sum();
    (sum * 3 / pixels.len() + 4) / 8
}

pub fn publish(publisher: &mut Publisher, number: usize, (width, height): (usize, usize)) {
    let layout = Layout::packed(PixelFormat::Bgr8, width as u32, height as u32).unwrap();
    publisher.send(&layout, &FrameInfo::default(), &pattern(number, width, height)).unwrap();
}

/// `framelane receive` at a free port of this machine.
pub fn receive(place: &Place, options: &str) -> (Running, u16) {
    let mut receive = place.start(&format!("receive legacy://127.0.0.1:0 cam0 --json {options}"));
    let started = receive.wait_for("started");
    let port = started["source"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    (receive, port)
}

/// `framelane receive` with a subscriber of its channel.
pub struct Scene {
    place: Place,
    pub receive: Running,
    pub port: u16,
    pub subscriber: Subscriber,
}

impl Scene {
    pub fn new(options: &str) -> Self {
        let place = Place::new();
        let (receive, port) = receive(&place, options);
        let options = SubscriberOptions::new().directory(place.path()).delivery(Delivery::Every);
        let subscriber = options.open("cam0").unwrap();
        Scene { place, receive, port, subscriber }
    }

    pub fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(DEADLINE)).unwrap();
        connection
    }

    pub fn frame(&mut self) -> Frame {
        self.subscriber.recv_timeout(DEADLINE).unwrap()
    }

    /// Ends the receiver, which leaves no file. Returns its summary.
    pub fn end(mut self) -> Value {
        self.receive.signal(Signal::TERM);
        let summary = self.receive.wait_for("summary");
        assert_eq!(self.receive.end().code(), Some(143));
        assert!(self.place.files().is_empty(), "{:?}", self.place.files());
        summary
    }
}

/// Reads a whole frame, as a receiver in good order does.
pub fn read_frame(connection: &mut TcpStream) -> Vec<u8> {
    let mut line = [0; 16];
    connection.read_exact(&mut line).unwrap();
    let mut jpeg = vec![0; std::str::from_utf8(&line).unwrap().trim_end().parse().unwrap()];
    connection.read_exact(&mut jpeg).unwrap();
    jpeg
}

/// Sends a frame and waits for its answer, as a sender in good order does.
pub fn send_frame(connection: &mut TcpStream, jpeg: &[u8]) {
    connection.write_all(&message(jpeg)).unwrap();
    let mut answer = [0; 18];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, ANSWER);
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}

/// An old program, which prints lines. Dropping kills it.
pub struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    /// One of `tests/python`; `None` without a Python.
    pub fn python(program: &str, arguments: &[&str]) -> Option<Self> {
        let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
            skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
            return None;
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python");
        Some(Program::start(Command::new(python).arg(folder.join(program)).args(arguments)))
    }

    /// One of `tests/legacy`; `None` when it is not built.
    pub fn cpp(program: &str, arguments: &[&str]) -> Option<Self> {
        let Some(folder) = std::env::var_os("FRAMELANE_LANGUAGES").map(PathBuf::from) else {
            skip("languages", "FRAMELANE_LANGUAGES does not name the folder of the C++ programs");
            return None;
        };
        Some(Program::start(Command::new(folder.join(program)).args(arguments)))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Program { child, lines }
    }

    /// The next line; `None` at its end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }

    pub fn end_well(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
