//! Network streams and standard input.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{CancelToken, ErrorKind, PixelFormat};
use framelane_video::{End, Rate, RawFormat, SourceOptions};
use support::{Folder, decoded_by_ffmpeg, ffmpeg, take_all};

const HALF_SECOND: &str = "-f lavfi -i testsrc2=size=160x120:rate=20:duration=0.5 -pix_fmt yuv420p";

/// Answers one request with a file, then nothing more; without `whole` the answer stops in the middle and
/// stays open.
fn serve(bytes: Vec<u8>, whole: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/clip", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            read_request(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            let sent = if whole { &bytes[..] } else { &bytes[..bytes.len() / 2] };
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
            if !whole {
                open.push(stream);
            }
        }
    });
    url
}

fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
}

#[test]
fn http_is_played() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", &format!("{HALF_SECOND} -c:v libx264"));
    let url = serve(std::fs::read(&file).unwrap(), true);
    let (frames, summary) = take_all(SourceOptions::new(), &url);
    assert_eq!((frames.len(), summary.end, summary.warnings), (10, End::Finished, vec![]));
    assert!(
        frames
            .iter()
            .flat_map(|frame| frame.bytes.iter().copied())
            .eq(decoded_by_ffmpeg(&file, "-pix_fmt bgr24"))
    );
}

#[test]
fn refused_connection_and_missing_page_are_errors_with_a_hint() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let missing = format!("http://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            read_request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for (url, kind) in [
        (format!("http://{unused}/x"), ErrorKind::SystemFailure),
        (format!("rtsp://{unused}/x"), ErrorKind::SystemFailure),
        (missing, ErrorKind::NotFound),
    ] {
        let error = SourceOptions::new().open(&url).err().unwrap_or_else(|| panic!("{url} was opened"));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn text_of_a_server_cannot_change_a_terminal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            read_request(&mut stream);
            let answer = "RTSP/1.0 454 a\u{1b}]0;owned\u{7}b\u{202e}c\r\nCSeq: 1\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let error = SourceOptions::new().open(&url).err().unwrap();
    assert!(error.message().contains("a?]0;owned?b?c"), "{:?}", error.message());
}

#[test]
fn cancel_ends_opening_a_silent_stream() {
    // Accepts, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "rtsp"] {
        let url = format!("{scheme}://{}/x", listener.local_addr().unwrap());
        let stop = CancelToken::new();
        let flag = stop.clone();
        let opening = std::thread::spawn(move || SourceOptions::new().cancel(flag).open(&url).err());
        stop.cancel();
        let error = opening.join().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    }
}

#[test]
fn cancel_and_a_break_end_a_stalled_stream() {
    let folder = Folder::new();
    let file = folder
        .make("a.ts", &format!("{HALF_SECOND} -b:v 8M -minrate 8M -maxrate 8M -bufsize 1M -c:v mpeg2video"));
    let bytes = std::fs::read(&file).unwrap();
    for breaks in [true, false] {
        let url = serve(bytes.clone(), false);
        let stop = CancelToken::new();
        // A small probe, because the server never sends the rest.
        let options =
            SourceOptions::new().rate(Rate::Max).cancel(stop.clone()).ffmpeg_option("probesize", "50000");
        let mut source = options.open(&url).unwrap();
        let summary = source
            .decode(&mut |_| {
                if breaks {
                    return ControlFlow::Break(());
                }
                stop.cancel();
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(summary.end, if breaks { End::Broken } else { End::Stopped });
    }
}

#[test]
fn rtsp_is_played() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", &format!("{HALF_SECOND} -c:v libx264 -bf 0 -g 5"));
    // The source listens, the ffmpeg program sends: no server is needed.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("rtsp://127.0.0.1:{port}/live");
    let sender_url = url.clone();
    let done = Arc::new(AtomicBool::new(false));
    let sender_done = done.clone();
    let sending = std::thread::spawn(move || {
        while !sender_done.load(Ordering::Relaxed) {
            // Refused until the source listens.
            let _ = ffmpeg()
                .args(["-re", "-i", &file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &sender_url])
                .status();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut source = SourceOptions::new()
        .ffmpeg_option("rtsp_flags", "listen")
        // Said, because the default of FFmpeg 9 is refused by its own check.
        .ffmpeg_option("listen_timeout", "60")
        .ffmpeg_option("probesize", "32")
        .open(&url)
        .unwrap();
    assert!(source.info().live);
    let mut sizes = Vec::new();
    let summary = source
        .decode(&mut |progress| {
            sizes.push((progress.layout.width(), progress.layout.height()));
            if sizes.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    done.store(true, Ordering::Relaxed);
    drop(source);
    sending.join().unwrap();
    assert_eq!((sizes, summary.end), (vec![(160, 120); 5], End::Broken));
}

/// The part of the next tests that runs in a separate process, with its standard input from a pipe.
#[test]
fn child() {
    let Ok(how) = std::env::var("FRAMELANE_TEST_STDIN") else { return };
    let raw = RawFormat { format: PixelFormat::Nv12, width: 160, height: 120, fps: 20.0 };
    let options = match how.as_str() {
        "raw" => SourceOptions::new().format(PixelFormat::Nv12).raw(Some(raw)),
        "raw converted" => SourceOptions::new().raw(Some(raw)),
        _ => SourceOptions::new().format(PixelFormat::I420),
    };
    let stop = CancelToken::new();
    let mut source = options.rate(Rate::Max).cancel(stop.clone()).open("-").unwrap();
    let mut sum = 0_u64;
    let summary = source
        .decode(&mut |progress| {
            sum += support::packed(progress.layout, progress.bytes.unwrap())
                .iter()
                .map(|byte| u64::from(*byte))
                .sum::<u64>();
            if how == "endless" && progress.frames == 3 {
                stop.cancel();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    println!("RESULT {} {sum} {:?} {}", summary.frames, summary.end, summary.warnings.join("; "));
}

fn run_child(how: &str, input: &[u8], stays_open: bool) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("FRAMELANE_TEST_STDIN", how)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
        stays_open.then_some(stdin)
    });
    let output = child.wait_with_output().unwrap();
    drop(writing.join().unwrap());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("RESULT ")).unwrap();
    line.1.to_owned()
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[test]
fn y4m_and_containers_come_through_standard_input() {
    let folder = Folder::new();
    for (name, codec) in [("a.y4m", ""), ("a.mkv", "-c:v libx264"), ("a.ts", "-c:v libx264")] {
        let file = folder.make(name, &format!("{HALF_SECOND} {codec}"));
        let expected = sum(&decoded_by_ffmpeg(&file, "-pix_fmt yuv420p"));
        assert_eq!(
            run_child("", &std::fs::read(&file).unwrap(), false),
            format!("10 {expected} Finished "),
            "{name}"
        );
    }
}

#[test]
fn cancel_ends_a_wait_for_standard_input() {
    let folder = Folder::new();
    let file = folder.make("a.y4m", HALF_SECOND);
    let result = run_child("endless", &std::fs::read(&file).unwrap(), true);
    assert!(result.contains("Stopped"), "{result}");
}

#[test]
fn raw_frames_on_stdin_are_published_and_a_short_one_reported() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", &format!("{HALF_SECOND} -c:v libx264"));
    let frames = decoded_by_ffmpeg(&file, "-pix_fmt nv12");
    assert_eq!(run_child("raw", &frames, false), format!("10 {} Finished ", sum(&frames)));
    let frame_bytes = frames.len() / 10;
    let result = run_child("raw", &frames[..frames.len() - 100], false);
    assert!(result.starts_with(&format!("9 {} Finished ", sum(&frames[..9 * frame_bytes]))), "{result}");
    assert!(
        result.contains(&format!("expected {frame_bytes} bytes, found {}", frame_bytes - 100)),
        "{result}"
    );
    let whole = folder.file("a.nv12");
    std::fs::write(&whole, &frames).unwrap();
    let converted = decoded_by_ffmpeg(&file, "-pix_fmt nv12");
    let raw = RawFormat { format: PixelFormat::Nv12, width: 160, height: 120, fps: 20.0 };
    let (of_file, _) = take_all(SourceOptions::new().format(None).raw(Some(raw)), whole.to_str().unwrap());
    assert!(of_file.iter().flat_map(|frame| frame.bytes.iter().copied()).eq(converted));
    let (bgr8, _) = take_all(SourceOptions::new().raw(Some(raw)), whole.to_str().unwrap());
    let bytes: Vec<_> = bgr8.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
    assert_eq!(run_child("raw converted", &frames, false), format!("10 {} Finished ", sum(&bytes)));
    assert_eq!(bgr8[3].info.pts_ns, Some(150_000_000));
}

#[test]
fn empty_and_impossible_raw_sources_are_refused() {
    let folder = Folder::new();
    let file = folder.file("empty.raw");
    std::fs::write(&file, "").unwrap();
    let raw = RawFormat { format: PixelFormat::Bgr8, width: 4, height: 4, fps: 20.0 };
    let mut source = SourceOptions::new().raw(Some(raw)).open(file.to_str().unwrap()).unwrap();
    let error = source.decode(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let missing = SourceOptions::new().raw(Some(raw)).open("/nowhere/x.raw").err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let slow = RawFormat { fps: 0.0, ..raw };
    assert_eq!(
        SourceOptions::new().raw(Some(slow)).open("-").err().unwrap().kind(),
        ErrorKind::InvalidOption
    );
}
