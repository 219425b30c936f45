//! Shared by the tests of this crate: clips made by the `ffmpeg` program, and frames taken out of sources.
#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod cameras;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use framelane::{FrameInfo, Layout};
use framelane_test_kit::{Limit, skip};
use framelane_video::{Rate, SourceOptions, Summary};

/// A folder for one test, removed at its end.
pub struct Folder(tempfile::TempDir, Limit);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap(), Limit::new())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `ffmpeg ARGUMENTS FOLDER/NAME` and returns the file's name.
    pub fn make(&self, name: &str, arguments: &str) -> String {
        let file = self.file(name).to_str().unwrap().to_owned();
        let output = ffmpeg()
            .args(arguments.split_whitespace())
            .arg(format!("file:{file}"))
            .output()
            .expect("the ffmpeg program runs");
        assert!(output.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        file
    }
}

/// The `ffmpeg` program, quiet.
pub fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).stdin(Stdio::null());
    command
}

/// Returns the output of `ffmpeg -i FILE ARGUMENTS -f rawvideo -`.
pub fn decoded_by_ffmpeg(file: &str, arguments: &str) -> Vec<u8> {
    let output = ffmpeg()
        // With more threads some conversions differ at the edges of their slices.
        .args(["-filter_threads", "1", "-i", &format!("file:{file}")])
        .args(arguments.split_whitespace())
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"])
        .output()
        .expect("the ffmpeg program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A frame copied out.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub sequence: Option<u64>,
    pub layout: Layout,
    pub info: FrameInfo,
    pub bytes: Vec<u8>,
}

/// All frames of a source, as fast as possible.
pub fn take_all(options: SourceOptions, source: &str) -> (Vec<Taken>, Summary) {
    let mut frames = Vec::new();
    let mut source = options.rate(Rate::Max).open(source).unwrap();
    let summary = source
        .decode(&mut |progress| {
            frames.push(Taken {
                sequence: progress.sequence,
                layout: progress.layout.clone(),
                info: progress.info.clone(),
                bytes: progress.bytes.unwrap().to_vec(),
            });
            ControlFlow::Continue(())
        })
        .unwrap();
    (frames, summary)
}

/// The frame's bytes without padding between rows and planes.
pub fn packed(layout: &Layout, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, plane) in layout.planes().iter().enumerate() {
        let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
        for row in 0..rows as usize {
            let at = plane.offset_bytes + row * plane.stride_bytes;
            out.extend_from_slice(&bytes[at..at + row_bytes]);
        }
    }
    out
}

/// Writes a display matrix into an mp4 or mov file that has none.
pub fn set_matrix(file: &str, [a, b, c, d]: [i32; 4]) {
    let of = |[a, b, c, d]: [i32; 4]| -> Vec<u8> {
        [a, b, 0, c, d, 0, 0, 0, 1 << 30].iter().flat_map(|n: &i32| n.to_be_bytes()).collect()
    };
    let mut bytes = std::fs::read(file).unwrap();
    let identity = of([1 << 16, 0, 0, 1 << 16]);
    let header = bytes.windows(4).position(|four| four == b"tkhd").unwrap();
    let at = header + bytes[header..].windows(36).position(|found| found == identity).unwrap();
    bytes[at..at + 36].copy_from_slice(&of([a, b, c, d]));
    std::fs::write(file, bytes).unwrap();
}

/// The largest difference between two byte strings of the same length.
pub fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len(), "the number of bytes");
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

/// A real clip of the project's media folder; `None`, and a skip, when it is absent.
pub fn clip(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media").join(name);
    if !path.exists() {
        skip("media", format_args!("{} is missing", path.display()));
        return None;
    }
    Some(path.to_str().unwrap().to_owned())
}
