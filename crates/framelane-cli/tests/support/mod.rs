//! Shared by the tests: the real program, in the directory of one test.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod stream;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output};

pub use framelane_test_kit::{Place, Running};
use serde_json::Value;

pub fn command_in(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framelane"));
    command.args(line.split_whitespace()).env("FRAMELANE_DIR", directory);
    command
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
