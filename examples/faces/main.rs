//! Real video in, boxes back.
//!
//! Decodes videos into a channel, starts a detector in another process and another language, receives its
//! detections, matches each batch to its frame, and saves pictures of frames with faces.

mod dashboard;
mod detector;
mod pictures;
mod recent;
mod report;

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use framelane::{
    CancelToken, Delivery, DetectionSubscriber, Error, ErrorKind, PixelFormat, Publisher, PublisherOptions,
    RecvError, SubscriberOptions,
};
use framelane_video::{Rate, Repeat, Source, SourceOptions};

use dashboard::Served;
use detector::Detector;
use pictures::Pictures;
use recent::{Kept, Recent};
use report::Report;

/// Publishes videos, receives the faces that a detector finds in them, and saves pictures of them.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  faces film.mp4 --output out -- python3 examples/faces/detect.py faces\n  \
                        faces /dev/video0 -- python3 examples/faces/detect.py faces"
)]
struct Arguments {
    /// Files, rtsp:// or http:// addresses, /dev/videoN, or testsrc. They are published one after the other.
    #[arg(required = true, num_args = 1..)]
    sources: Vec<String>,
    /// Channel to publish on.
    #[arg(long, default_value = "faces")]
    channel: String,
    /// Folder for the pictures and index.html.
    #[arg(long, default_value = "demo-output")]
    output: PathBuf,
    /// Largest number of pictures to save.
    #[arg(long, default_value_t = 24)]
    pictures: usize,
    /// Play each video this often.
    #[arg(long, default_value = "1")]
    repeat: NonZeroU32,
    /// Play the videos again and again, until Ctrl-C.
    #[arg(long = "loop")]
    looped: bool,
    /// Port of the dashboard on this machine. A free one is used if it is taken.
    #[arg(long, default_value_t = 7480)]
    port: u16,
    /// Stop each video after this many frames.
    #[arg(long)]
    count: Option<u64>,
    /// Command that starts the detector.
    #[arg(last = true, required = true)]
    detector: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.message());
            if let Some(hint) = error.hint() {
                eprintln!("  hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// State shared by the threads.
struct Shared {
    stop: Arc<AtomicBool>,
    report: Mutex<Report>,
    recent: Mutex<Recent>,
}

/// A video that is about to be published.
struct Video {
    name: Arc<str>,
    source: Source,
}

impl Video {
    fn open(source: &str, arguments: &Arguments, stop: &Arc<AtomicBool>) -> Result<Self, Error> {
        let name = display_name(source).into();
        let stop = stop.clone();
        let cancel = CancelToken::with_check(move || stop.load(Ordering::Relaxed));
        let source = SourceOptions::new()
            .format(PixelFormat::Bgr8)
            .rate(Rate::Realtime)
            .repeat(Repeat::Times(arguments.repeat))
            .count(arguments.count)
            .cancel(cancel)
            .open(source)?;
        Ok(Video { name, source })
    }
}

fn open_all(arguments: &Arguments, stop: &Arc<AtomicBool>) -> Result<Vec<Video>, Error> {
    arguments.sources.iter().map(|source| Video::open(source, arguments, stop)).collect()
}

/// Returns the file name, or the scheme and host of a URL: pictures and terminals are shown to others.
fn display_name(source: &str) -> String {
    match source.split_once("://") {
        Some((scheme, rest)) => {
            let after_password = rest.rsplit('@').next().unwrap_or_default();
            let host = after_password.split(['/', '?', '#']).next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => Path::new(source).file_name().unwrap_or(source.as_ref()).to_string_lossy().into_owned(),
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Error::from_io("signals", error))?;
    }
    let mut videos = open_all(arguments, &stop)?;
    for Video { name, source } in &videos {
        let info = source.info();
        println!("video {name}: {} {}x{} {}", info.codec, info.width, info.height, info.pixel_format);
    }
    let slots = videos.iter().map(|video| video.source.slots_needed(6)).max().unwrap_or(6);
    let mut publisher = PublisherOptions::new().slots(slots).create(&arguments.channel)?;
    let total =
        if arguments.looped { None } else { videos.iter().map(|video| video.source.info().frames).sum() };
    let shared = Arc::new(Shared {
        stop: stop.clone(),
        report: Mutex::new(Report::new(total)),
        recent: Mutex::new(Recent::new()),
    });
    let pictures = Pictures::create(&arguments.output, arguments.pictures)?;

    println!("starting the detector: {}", arguments.detector.join(" "));
    let mut detector = Detector::start(&arguments.detector, shared.clone())?;
    let results = wait_for_detector(&mut publisher, &mut detector, &arguments.channel, &stop)?;
    let served = Served::start(arguments.port)?;
    println!(
        "open {}#/channels/{} in a browser to see the boxes. Ctrl-C ends the demo.",
        served.url(),
        arguments.channel
    );
    let matching = {
        let shared = shared.clone();
        thread::spawn(move || match_results(results, pictures, &shared))
    };
    let done = Arc::new(AtomicBool::new(false));
    let printing = {
        let (shared, done) = (shared.clone(), done.clone());
        thread::spawn(move || print_rows(&shared, &done))
    };

    let mut warnings = Vec::new();
    loop {
        for video in &mut videos {
            if !stop.load(Ordering::Relaxed) {
                warnings.extend(publish(video, &mut publisher, &shared)?);
            }
        }
        if !arguments.looped || stop.load(Ordering::Relaxed) {
            break;
        }
        videos = open_all(arguments, &stop)?;
    }
    // The detector receives the newest frame, so it always processes the last one.
    wait_for_last(&publisher, &shared, &mut detector);
    // Closing ends the detector's loop, and with it the results.
    publisher.close();
    let detector_succeeded = detector.join();
    let pictures = matching.join().expect("the matching thread does not panic")?;
    done.store(true, Ordering::Relaxed);
    printing.join().expect("the printing thread does not panic");

    drop(served);

    // Each round of a loop repeats the warnings of the first.
    warnings.sort();
    warnings.dedup();
    for warning in &warnings {
        println!("note: {warning}");
    }
    let report = shared.report.lock().expect("no thread panics");
    report.print_summary(&pictures);
    if stop.load(Ordering::Relaxed) {
        return Ok(if arguments.looped { ExitCode::SUCCESS } else { ExitCode::from(130) });
    }
    if report.matched() == 0 || !detector_succeeded {
        eprintln!(
            "error: expected detections and a detector that exits with code 0, found {} matched batches and a \
             detector that {}\n  hint: read the detector's messages above",
            report.matched(),
            if detector_succeeded { "succeeded" } else { "failed" }
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Publishes one video and keeps copies of its newest frames. Returns warnings about the video.
fn publish(video: &mut Video, publisher: &mut Publisher, shared: &Shared) -> Result<Vec<String>, Error> {
    let epoch = publisher.epoch();
    shared.report.lock().expect("no thread panics").begin_video();
    let summary = video.source.publish_to(publisher, &mut |progress| {
        if let (Some(sequence), Some(bytes)) = (progress.sequence, progress.bytes) {
            shared.recent.lock().expect("no thread panics").remember(Kept {
                source: video.name.clone(),
                epoch,
                sequence,
                layout: progress.layout.clone(),
                bytes: bytes.to_vec(),
            });
        }
        shared.report.lock().expect("no thread panics").published(progress.frames, progress.dropped);
        ControlFlow::Continue(())
    })?;
    Ok(summary.warnings)
}

/// Waits until the detector subscribes and its own channel exists, so that it misses no frame.
fn wait_for_detector(
    publisher: &mut Publisher,
    detector: &mut Detector,
    channel: &str,
    stop: &AtomicBool,
) -> Result<DetectionSubscriber, Error> {
    let options = SubscriberOptions::new().delivery(Delivery::Every);
    let mut ended = false;
    let mut go_on = || {
        ended = detector.has_ended();
        !ended && !stop.load(Ordering::Relaxed)
    };
    let options = options.open_timeout(Some(Duration::from_millis(100)));
    let results = loop {
        match options.open(&format!("{channel}/detections")) {
            Err(error) if error.kind() == ErrorKind::NotFound && go_on() => {}
            opened => break opened,
        }
    };
    while results.is_ok() && publisher.subscribers() == 0 && go_on() {
        thread::sleep(Duration::from_millis(20));
    }
    if ended {
        return Err(Error::new(ErrorKind::ChannelClosed, "the detector ended before it received a frame")
            .with_hint("read its message above; `make demo` installs what it needs"));
    }
    results.map(DetectionSubscriber::new)
}

/// Waits for the detections of the last frame, unless the detector exits or the user stops the program.
fn wait_for_last(publisher: &Publisher, shared: &Shared, detector: &mut Detector) {
    let started = Instant::now();
    while shared.report.lock().expect("no thread panics").newest_result() < publisher.sequence()
        && !shared.stop.load(Ordering::Relaxed)
        && !detector.has_ended()
        && started.elapsed() < Duration::from_secs(30)
    {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Receives detections until their channel closes, and matches each batch to its frame.
fn match_results(
    mut results: DetectionSubscriber,
    mut pictures: Pictures,
    shared: &Shared,
) -> Result<Pictures, Error> {
    loop {
        match results.recv() {
            Ok(batch) => {
                let frame = shared.recent.lock().expect("no thread panics").find(&batch.frame);
                let matched = frame.is_some();
                if let (Some(frame), false) = (frame, batch.boxes.is_empty()) {
                    pictures.save(&frame, &batch)?;
                }
                shared.report.lock().expect("no thread panics").result(&batch, matched);
            }
            Err(RecvError::Closed) => return pictures.finish(),
            Err(error) => return Err(error.into()),
        }
    }
}

fn print_rows(shared: &Shared, done: &AtomicBool) {
    Report::print_header();
    while !done.load(Ordering::Relaxed) {
        for _ in 0..10 {
            if !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
            }
        }
        shared.report.lock().expect("no thread panics").print_row();
    }
}

#[cfg(test)]
mod tests {
    use super::display_name;

    #[test]
    fn display_name_of_a_url_has_no_password_and_no_query() {
        for (source, shown) in [
            ("films/street.mp4", "street.mp4"),
            ("testsrc", "testsrc"),
            ("rtsp://user:s3cret@camera:554/stream", "rtsp://camera:554"),
            ("rtsp://user:s3/cr@et@camera/stream", "rtsp://camera"),
            ("http://camera/video?token=s3cret", "http://camera"),
        ] {
            assert_eq!(display_name(source), shown);
        }
    }
}
