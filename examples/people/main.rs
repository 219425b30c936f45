//! Real video in, boxes back.
//!
//! Decodes a video into a channel, starts a detector in another process and another language, receives its
//! detections, matches them to the frames they were found in, and saves pictures of those with people.

mod detector;
mod pictures;
mod recent;
mod report;

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use framelane::{
    DetectionSubscriber, Error, ErrorKind, Mode, PixelFormat, Publisher, PublisherOptions, RecvError,
    SubscriberOptions,
};
use framelane_video::{Rate, Repeat, SourceOptions};

use detector::Detector;
use pictures::Pictures;
use recent::Recent;
use report::Report;

/// Publishes a video, has people found in it by another process, and saves pictures of them.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  people street.mp4 --output out -- python3 examples/people/detect.py people\n  \
                        people /dev/video0 -- python3 examples/people/detect.py people"
)]
struct Arguments {
    /// File, rtsp:// or http:// address, /dev/videoN, or testsrc.
    source: String,
    /// The channel to publish on.
    #[arg(long, default_value = "people")]
    channel: String,
    /// Folder for the pictures and index.html.
    #[arg(long, default_value = "demo-output")]
    output: PathBuf,
    /// How many pictures to save at most.
    #[arg(long, default_value_t = 24)]
    pictures: usize,
    /// Play the video this often.
    #[arg(long, default_value = "1")]
    repeat: NonZeroU32,
    /// Stop after this many frames.
    #[arg(long)]
    frames: Option<u64>,
    /// The detector to start.
    #[arg(last = true, required = true)]
    detector: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error.message());
            if let Some(remedy) = error.remedy() {
                eprintln!("  remedy: {remedy}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What the threads share.
struct Shared {
    stop: Arc<AtomicBool>,
    report: Mutex<Report>,
    recent: Mutex<Recent>,
}

fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Error::from_io("signals", error))?;
    }
    let mut source = SourceOptions::new()
        .format(PixelFormat::Bgr8)
        .rate(Rate::Realtime)
        .repeat(Repeat::Times(arguments.repeat))
        .frames(arguments.frames)
        .stop_flag(stop.clone())
        .open(&arguments.source)?;
    let info = source.info().clone();
    println!("{}: {} {}x{} {}", arguments.source, info.codec, info.width, info.height, info.pixel_format);
    let mut publisher = PublisherOptions::new().slots(source.slots_needed(6)).create(&arguments.channel)?;
    let shared = Arc::new(Shared {
        stop: stop.clone(),
        report: Mutex::new(Report::new(info.frames)),
        recent: Mutex::new(Recent::new()),
    });
    let pictures = Pictures::create(&arguments.output, arguments.pictures)?;

    let mut detector = Detector::start(&arguments.detector, shared.clone())?;
    let results = wait_for_detector(&mut publisher, &mut detector, &arguments.channel, &stop)?;
    let matching = {
        let shared = shared.clone();
        thread::spawn(move || match_results(results, pictures, &shared))
    };
    let printing = {
        let shared = shared.clone();
        let done = Arc::new(AtomicBool::new(false));
        let thread = {
            let done = done.clone();
            thread::spawn(move || print_rows(&shared, &done))
        };
        (thread, done)
    };

    let epoch = publisher.epoch();
    let summary = source.publish_to(&mut publisher, &mut |progress| {
        if let (Some(sequence), Some(bytes)) = (progress.sequence, progress.bytes) {
            shared.recent.lock().expect("no thread panics").remember(epoch, sequence, progress.layout, bytes);
        }
        shared.report.lock().expect("no thread panics").published(progress.frames, progress.dropped);
        ControlFlow::Continue(())
    })?;
    // The detector takes the newest frame: the last one is always among those it looks at.
    wait_for_last(&publisher, &shared, &mut detector);
    // Closing ends the detector's loop, and with it the results.
    publisher.close();
    let detector_ended_well = detector.join();
    let pictures = matching.join().expect("the matching thread does not panic")?;
    printing.1.store(true, Ordering::Relaxed);
    printing.0.join().expect("the printing thread does not panic");

    for warning in &summary.warnings {
        println!("note: {warning}");
    }
    let report = shared.report.lock().expect("no thread panics");
    report.print_summary(&summary, &pictures);
    if stop.load(Ordering::Relaxed) {
        return Ok(ExitCode::from(130));
    }
    if summary.frames == 0 || report.matched() == 0 || !detector_ended_well {
        eprintln!(
            "error: {} frames were published, {} detections came back and matched, the detector ended {}",
            summary.frames,
            report.matched(),
            if detector_ended_well { "well" } else { "with an error" }
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the detector reads the channel and its own channel is there, so that no frame plays unseen.
fn wait_for_detector(
    publisher: &mut Publisher,
    detector: &mut Detector,
    channel: &str,
    stop: &AtomicBool,
) -> Result<DetectionSubscriber, Error> {
    let options = SubscriberOptions::new().mode(Mode::Every);
    let mut ended = false;
    let mut go_on = || {
        ended = detector.has_ended();
        !ended && !stop.load(Ordering::Relaxed)
    };
    let results = options.open_while(&format!("{channel}/detections"), &mut go_on);
    while results.is_ok() && publisher.subscribers() == 0 && go_on() {
        thread::sleep(Duration::from_millis(20));
    }
    if ended {
        return Err(Error::new(ErrorKind::Closed, "the detector ended before it received a frame")
            .with_remedy("see its message above; `make demo` installs what it needs"));
    }
    results.map(DetectionSubscriber::new)
}

/// Waits for the detections of the last frame, unless the detector has ended or the user wants to stop.
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
