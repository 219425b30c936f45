//! A film into a channel and into a window: every writer with every reader sums up the same bytes.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use framelane_test_kit::{Display, Place, finish_all};
use support::{example, with};

const LANGUAGES: [&str; 3] = ["rust", "cpp", "python"];

fn rust(name: &str) -> &'static str {
    if name == "write" { env!("CARGO_BIN_EXE_video-write") } else { env!("CARGO_BIN_EXE_video-show") }
}

/// A film without loss, so that all decoders give the same pixels; and the sum of its bytes.
fn film(path: &Path) -> (String, u64) {
    let source = [
        "-hide_banner",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=320x240:rate=25:duration=2",
    ];
    let made = Command::new("ffmpeg")
        .args(source)
        .args(["-c:v", "ffv1", "-pix_fmt", "bgr0"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let raw = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "bgr24", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(raw.stdout.len(), 50 * 320 * 240 * 3);
    (path.display().to_string(), raw.stdout.iter().copied().map(u64::from).sum())
}

/// Plays the film from one language to another. Returns the output of both.
fn play(film: &str, writer: &str, reader: &str, display: Option<&Display>) -> Option<(String, String)> {
    let write = example(writer, "video", "write", rust)?;
    let mut show = example(reader, "video", "show", rust)?;
    let place = Place::new();
    match display {
        Some(display) => show.arg("film").env("DISPLAY", display.name()),
        None => show.args(["film", "--headless"]),
    };
    let commands = [with(write, &[film, "film"]), show];
    let mut texts = finish_all(commands.map(|command| place.start_command(command)).into()).into_iter();
    Some((texts.next()?, texts.next()?))
}

#[test]
fn every_reader_sees_what_every_writer_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (film, sum) = film(&folder.path().join("film.mkv"));
    for writer in LANGUAGES {
        for reader in LANGUAGES {
            let Some((written, shown)) = play(&film, writer, reader, None) else { continue };
            assert_eq!(shown, format!("50 frames, sum {sum}\n"), "{writer} to {reader}");
            assert!(shown.starts_with(written.trim()), "{writer} to {reader}: {written}");
        }
    }
}

#[test]
fn windows_show_every_frame() {
    let Some(display) = Display::start(800, 600) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (film, sum) = film(&folder.path().join("film.mkv"));
    for reader in ["cpp", "rust"] {
        let Some((_, shown)) = play(&film, "rust", reader, Some(&display)) else { continue };
        assert_eq!(shown, format!("50 frames, sum {sum}\n"), "{reader}");
    }
}
