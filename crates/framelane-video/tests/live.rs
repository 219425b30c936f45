//! Live sources: never paced, at the live edge, and no producer is blocked.

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use framelane::{Backpressure, ErrorKind, PixelFormat, PublisherOptions};
use framelane_video::{End, Rate, RawFormat, SourceEvent, SourceOptions};
use support::Folder;
use support::cameras::{Counter, Mjpeg, Rtsp, by_ffmpeg, h264, jpegs, request, serve};

#[test]
fn mjpeg_camera_faster_than_its_claim_stays_at_the_live_edge() {
    let (small, large) = (jpegs(64, 48, 25), jpegs(96, 48, 25));
    let (seen, sent_at_sight) = (Counter::default(), Counter::default());
    let (server_seen, noted) = (seen.clone(), sent_at_sight.clone());
    // FFmpeg takes MJPEG for 25 frames a second. Later frames are larger. A reader that is paced sees the
    // first of them long after the last was sent.
    let address = serve(move |stream, _| {
        let mut camera = Mjpeg::accept(stream);
        for frame in 0..1500 {
            let jpegs = if frame < 300 { &small } else { &large };
            if server_seen.get() == 96 {
                noted.set(frame);
                break;
            }
            if !camera.send(&jpegs[frame as usize % 25]) {
                break;
            }
            sleep(Duration::from_millis(5));
        }
    });
    let mut source = SourceOptions::new().open(format!("http://{address}/")).unwrap();
    assert!(source.info().live && source.info().duration.is_none());
    let summary = source
        .decode(&mut |progress| {
            seen.set(progress.layout.width().into());
            if seen.get() == 96 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(summary.end, End::Broken, "{summary:?}");
}

#[test]
fn http_stream_that_begins_with_a_backlog_reaches_the_live_edge() {
    const RATE: usize = 40_000;
    let bytes = by_ffmpeg(
        "-i testsrc2=size=64x48:rate=10:duration=30 -c:v mpeg2video -b:v 60k -maxrate 60k -bufsize 60k \
         -f mpegts -muxrate 320k",
    );
    let (sent, seen) = (Counter::default(), Counter::default());
    let (server_sent, server_seen) = (sent.clone(), seen.clone());
    let address = serve(move |mut stream, _| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n");
        // Six seconds at once, then 24 as they are made.
        let (backlog, live) = bytes.split_at(6 * RATE);
        let _ = stream.write_all(backlog);
        for (tenth, part) in live.chunks(RATE / 10).enumerate() {
            server_sent.set(60 + tenth as u64);
            if server_seen.get() == u64::MAX || stream.write_all(part).is_err() {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        server_sent.set(u64::MAX);
    });
    let mut source = SourceOptions::new().open(format!("http://{address}/x.ts")).unwrap();
    assert!(source.info().live);
    let mut reached = false;
    source
        .decode(&mut |progress| {
            let tenths = progress.info.pts_ns.unwrap() as u64 / 100_000_000;
            // The encoder and the multiplexer hold back about a second.
            reached = tenths >= 60 && tenths + 20 >= sent.get();
            if reached { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    seen.set(u64::MAX);
    assert!(reached, "the live edge was not reached");
}

#[test]
fn playlist_is_live_as_long_as_it_has_no_end() {
    let folder = Folder::new();
    let playlist = folder.make(
        "a.m3u8",
        "-f lavfi -i testsrc2=size=64x48:rate=25:duration=9 -c:v libx264 -g 50 -hls_time 2 -hls_list_size 0 \
         -f hls",
    );
    let options = SourceOptions::new().input_format(Some("hls"));
    let whole = options.clone().open(&playlist).unwrap();
    assert!(!whole.info().live && whole.info().duration.is_some());
    let text = std::fs::read_to_string(&playlist).unwrap();
    std::fs::write(&playlist, text.replace("#EXT-X-ENDLIST", "")).unwrap();
    let live = options.read_timeout(Some(Duration::from_secs(30))).open(&playlist).unwrap();
    assert!(live.info().live && live.info().duration.is_none());
    // From the newest segment: the last of nine seconds, not the first.
    let mut live = live;
    let mut frames = 0;
    live.decode(&mut |_| {
        frames += 1;
        if frames == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(frames, 20);
}

/// A y4m picture of one level.
fn y4m_frame(level: u8) -> Vec<u8> {
    [b"FRAME\n".to_vec(), vec![level; 64 * 48], vec![128; 64 * 48 / 2]].concat()
}

fn make_fifo(folder: &Folder) -> String {
    let path = folder.file("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns true if a reader of a FIFO keeps up with a producer that is faster than its header says, y4m or
/// raw.
fn keeps_up(raw: bool) -> bool {
    let folder = Folder::new();
    let fifo = make_fifo(&folder);
    let (seen, path) = (Counter::default(), fifo.clone());
    let writer_seen = seen.clone();
    let writing = std::thread::spawn(move || {
        let mut fifo = OpenOptions::new().write(true).open(path).unwrap();
        if !raw {
            fifo.write_all(b"YUV4MPEG2 W64 H48 F15:1 Ip C420\n").unwrap();
        }
        // 20 a second, where 15 are claimed: a paced reader is 20 behind after four seconds, and ever more.
        for frame in 0..220_u8 {
            let picture = y4m_frame(frame);
            if fifo.write_all(if raw { &picture[6..] } else { &picture }).is_err() {
                return false;
            }
            if frame > 100 && writer_seen.get() + 5 >= frame.into() {
                return true;
            }
            sleep(Duration::from_millis(50));
        }
        false
    });
    let format = RawFormat { format: PixelFormat::I420, width: 64, height: 48, fps: 15.0 };
    let options = SourceOptions::new().format(PixelFormat::I420).raw(raw.then_some(format));
    let mut source = options.open(&fifo).unwrap();
    assert!(source.info().live);
    let summary = source
        .decode(&mut |progress| {
            seen.set(progress.bytes.unwrap()[0].into());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(summary.end, End::Finished);
    writing.join().unwrap()
}

#[test]
fn live_producer_of_a_fifo_is_not_held_back() {
    assert!(keeps_up(false));
}

#[test]
fn live_producer_of_raw_frames_is_not_held_back() {
    assert!(keeps_up(true));
}

#[test]
fn file_through_a_fifo_is_paced_and_loses_nothing() {
    let folder = Folder::new();
    let fifo = make_fifo(&folder);
    let path = fifo.clone();
    std::thread::spawn(move || {
        let frames = (0..40).flat_map(y4m_frame);
        let stream: Vec<u8> = b"YUV4MPEG2 W64 H48 F20:1 Ip C420\n".iter().copied().chain(frames).collect();
        OpenOptions::new().write(true).open(path).unwrap().write_all(&stream).unwrap();
    });
    let mut source = SourceOptions::new().format(PixelFormat::I420).open(&fifo).unwrap();
    let mut levels = Vec::new();
    let summary = source
        .decode(&mut |progress| {
            levels.push(progress.bytes.unwrap()[0]);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(levels.into_iter().eq(0..40), "{summary:?}");
    assert!(summary.elapsed >= Duration::from_millis(39 * 50), "{summary:?}");
    assert_eq!((summary.end, summary.skipped), (End::Finished, 0));
}

#[test]
fn source_said_to_be_live_is_not_paced() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", "-f lavfi -i testsrc2=size=64x48:rate=1:duration=600 -c:v libx264");
    let mut source = SourceOptions::new().live(Some(true)).reconnect(Some(false)).open(&file).unwrap();
    let mut last_ns = None;
    let summary = source
        .decode(&mut |progress| {
            last_ns = progress.info.pts_ns;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((last_ns, summary.end), (Some(599_000_000_000), End::Lost));
    assert_eq!(summary.frames + summary.skipped, 600);
}

#[test]
fn live_source_with_a_rate_is_thinned_out() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", "-f lavfi -i testsrc2=size=64x48:rate=50:duration=20 -c:v libx264");
    let options = SourceOptions::new().live(Some(true)).reconnect(Some(false)).rate(Rate::Fps(20.0));
    let mut last_ns = None;
    let summary = options
        .open(&file)
        .unwrap()
        .decode(&mut |progress| {
            last_ns = progress.info.pts_ns;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(last_ns, Some(19_980_000_000));
    assert_eq!(summary.frames + summary.skipped, 1000);
    assert!(summary.skipped > 0);
}

#[test]
fn live_source_with_backpressure_loses_nothing() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", "-f lavfi -i testsrc2=size=64x48:rate=50:duration=2 -c:v libx264");
    let mut publisher = PublisherOptions::new()
        .directory(folder.path())
        .backpressure(Backpressure::Block)
        .create("cam0")
        .unwrap();
    let mut source = SourceOptions::new().live(Some(true)).reconnect(Some(false)).open(&file).unwrap();
    let summary = source.publish_to(&mut publisher, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((summary.frames, summary.skipped), (100, 0));
}

#[test]
fn live_source_that_is_lost_keeps_its_times_growing() {
    let (small, large) = (jpegs(64, 48, 25), jpegs(96, 48, 25));
    let address = serve(move |stream, number| {
        let mut camera = Mjpeg::accept(stream);
        let jpegs = if number == 1 { &small } else { &large };
        for jpeg in jpegs {
            camera.send(jpeg);
        }
        if number > 1 {
            camera.stall();
        }
    });
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let options = SourceOptions::new().on_event(move |event| seen.lock().unwrap().push(event.clone()));
    let folder = Folder::new();
    let mut publisher = PublisherOptions::new().directory(folder.path()).create("cam0").unwrap();
    let mut source = options.open(format!("http://me:hunter22@{address}/")).unwrap();
    let (mut times, mut widths) = (Vec::new(), Vec::new());
    let summary = source
        .publish_to(&mut publisher, &mut |progress| {
            times.extend(progress.info.pts_ns);
            widths.push(progress.layout.width());
            if progress.layout.width() == 96 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!((widths[0], widths.last(), summary.end), (64, Some(&96), End::Broken));
    let events = events.lock().unwrap();
    assert!(matches!(&events[0], SourceEvent::Lost { retry_in: Some(_), .. }), "{events:?}");
    assert!(matches!(events.last(), Some(SourceEvent::Restored { connections: 2, .. })), "{events:?}");
    let status = framelane::status(Some(folder.path()), "cam0").unwrap().source.unwrap();
    assert_eq!((status.receiving, status.connections), (true, 2));
    assert_eq!(
        (status.name, status.reason),
        (format!("http://me:***@{address}/"), "the server closed the connection".to_owned())
    );
}

#[test]
fn silent_server_is_an_error_after_the_read_timeout() {
    // Accepts, and never answers.
    let address = serve(|mut stream, _| while !request(&mut stream).is_empty() {});
    for scheme in ["http", "rtsp", "rtmp", "tcp"] {
        let options = SourceOptions::new().read_timeout(Some(Duration::from_millis(300)));
        let error = options.open(format!("{scheme}://{address}/x")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{scheme}: {error}");
        assert!(error.message().contains("no data for 0.3 s"), "{error}");
    }
}

#[test]
fn datagrams_that_stop_are_a_loss_by_the_read_timeout() {
    let bytes = by_ffmpeg("-i testsrc2=size=64x48:rate=25:duration=4 -c:v mpeg2video -g 5 -f mpegts");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let done = Counter::default();
    let sender_done = done.clone();
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Two times, with a silence between them.
        while sender_done.get() < 2 {
            for packet in bytes.chunks(188 * 7) {
                // Refused until the reader listens.
                let _ = socket.send_to(packet, ("127.0.0.1", port));
                sleep(Duration::from_millis(2));
            }
            if sender_done.get() == 1 {
                sleep(Duration::from_millis(1500));
            }
        }
    });
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let (heard, restored) = (reasons.clone(), done.clone());
    let options = SourceOptions::new().read_timeout(Some(Duration::from_millis(500))).on_event(
        move |event| match event {
            SourceEvent::Lost { reason, .. } => heard.lock().unwrap().push(reason.clone()),
            _ => restored.set(2),
        },
    );
    let mut source = options.open(format!("udp://127.0.0.1:{port}")).unwrap();
    assert!(source.info().live);
    let summary = source
        .decode(&mut |_| {
            if done.get() == 2 {
                return ControlFlow::Break(());
            }
            done.set(1);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(summary.end, End::Broken);
    let reasons = reasons.lock().unwrap();
    assert_eq!(reasons[0], "no data for 0.5 s", "{reasons:?}");
}

/// An RTSP camera whose first connection stalls, or ends, after some frames.
fn rtsp_comes_back(over_udp: bool, stalls: bool) {
    let (small, large) = (h264(64, 48, 50), h264(96, 48, 50));
    let address = serve(move |stream, number| {
        let Some(mut camera) = Rtsp::accept(stream, over_udp) else { return };
        let units = if number == 1 { &small } else { &large };
        for unit in units.iter().cycle().take(if number == 1 { 50 } else { 10_000 }) {
            if !camera.send(unit) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        if stalls {
            camera.stall();
        }
    });
    let options = SourceOptions::new()
        .read_timeout(Some(Duration::from_millis(1500)))
        .ffmpeg_option("rtsp_transport", if over_udp { "udp" } else { "tcp" });
    let mut source = options.open(format!("rtsp://{address}/cam")).unwrap();
    assert!(source.info().live);
    let mut widths = Vec::new();
    let summary = source
        .decode(&mut |progress| {
            widths.push(progress.layout.width());
            if progress.layout.width() == 96 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((widths[0], widths.last(), summary.end), (64, Some(&96), End::Broken));
}

#[test]
fn rtsp_over_tcp_that_ends_or_stalls_comes_back() {
    rtsp_comes_back(false, false);
    rtsp_comes_back(false, true);
}

#[test]
fn rtsp_over_udp_that_ends_or_stalls_comes_back() {
    rtsp_comes_back(true, false);
    rtsp_comes_back(true, true);
}

#[test]
fn reconnecting_to_what_cannot_come_back_is_refused() {
    let folder = Folder::new();
    let file = folder.make("a.mkv", "-f lavfi -i testsrc2=size=64x48:rate=5:duration=1 -c:v libx264");
    let error = SourceOptions::new().reconnect(Some(true)).open(&file).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.message().contains("expected a live source"), "{error}");
}
