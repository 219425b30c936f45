//! What the tests share: the real program in a directory of its own.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod stream;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A directory for the channels of one test.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn command(&self, line: &str) -> Command {
        command_in(self.path(), line)
    }

    /// Runs `framelane LINE` to its end.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).stdin(Stdio::null()).output().unwrap()
    }

    /// The JSON that `framelane LINE` prints; it must end well.
    pub fn json(&self, line: &str) -> Value {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts `framelane LINE`, whose output is JSON events.
    pub fn start(&self, line: &str) -> Running {
        Running::spawn(self.command(line).stdin(Stdio::null()))
    }

    pub fn files(&self) -> Vec<String> {
        files_in(self.path())
    }
}

pub fn files_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub fn command_in(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framelane"));
    command.args(line.split_whitespace()).env("FRAMELANE_DIR", directory);
    command
}

/// The program while it runs; killed when the test is over.
pub struct Running {
    pub child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }

    /// The next event; `None` at the end of the output.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next event of this name; those before it are skipped.
    pub fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let next = self.next().unwrap_or_else(|| panic!("the output ended before {event:?}"));
            if next["event"] == event {
                return next;
            }
        }
    }

    /// Every event to the end of the output.
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Closes our end of its standard output, and waits for its end.
    pub fn end_without_reader(mut self) -> ExitStatus {
        let mut other = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        self.lines = BufReader::new(other.stdout.take().unwrap());
        other.wait().unwrap();
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes all of `bytes` to the child's standard input and closes it, from a thread.
pub fn feed(child: &mut Child, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut input = child.stdin.take().unwrap();
    std::thread::spawn(move || input.write_all(&bytes).unwrap())
}

/// Bytes that differ from frame to frame and from row to row.
pub fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..count).map(|_| step()).collect()
}

/// A y4m stream of i420 frames.
pub fn y4m(width: usize, height: usize, frames: usize) -> Vec<u8> {
    let mut stream =
        format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420 XCOLORRANGE=LIMITED\n").into_bytes();
    for frame in 0..frames {
        stream.extend_from_slice(b"FRAME\n");
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        stream.extend(noise(width * height + 2 * chroma, frame as u32 + 1));
    }
    stream
}

/// The error that a command with `--json` has printed.
pub fn json_error(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find(|line| line.starts_with("{\"error\""))
        .unwrap_or_else(|| panic!("no JSON in {text:?}"));
    serde_json::from_str::<Value>(line).unwrap()["error"].clone()
}
