//! Progress of `publish`: a bar on a terminal, or events in JSON.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use framelane::{Backpressure, Publisher};
use framelane_video::{End, Progress, SourceEvent, SourceInfo, Summary};
use serde::Serialize;

use crate::failure::Failure;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::{counted, human_time, rate};

/// Time between two updates of the bar.
const REDRAW: Duration = Duration::from_millis(250);
/// Time between two progress events.
const EVENT: Duration = Duration::from_secs(1);

/// Written by the thread that publishes, read by the [`Ticker`].
#[derive(Debug, Default)]
pub struct Counters {
    frames: AtomicU64,
    dropped: AtomicU64,
    position_ns: AtomicI64,
    /// Times of the first and the last frame, from the start of publishing.
    first_ns: AtomicU64,
    last_ns: AtomicU64,
}

impl Counters {
    /// Called for each frame: a few stores.
    pub fn update(&self, progress: &Progress<'_>) {
        self.frames.store(progress.frames, Relaxed);
        self.dropped.store(progress.dropped, Relaxed);
        self.position_ns.store(progress.info.pts_ns.unwrap_or(0), Relaxed);
        if progress.sequence.is_some() {
            let elapsed_ns = u64::try_from(progress.elapsed.as_nanos()).unwrap_or(u64::MAX);
            if progress.frames == 1 {
                self.first_ns.store(elapsed_ns, Relaxed);
            }
            self.last_ns.store(elapsed_ns, Relaxed);
        }
    }

    /// Frames a second from the first to the last: how long the source took to start, and the wait for
    /// readers at the end, are no part of it.
    pub fn frames_per_second(&self) -> Option<f64> {
        let span_ns = self.last_ns.load(Relaxed).saturating_sub(self.first_ns.load(Relaxed));
        rate(self.frames.load(Relaxed), Duration::from_nanos(span_ns))
    }
}

/// The reported state of the slots.
#[derive(Default)]
struct Starvation {
    frames: u64,
    dropped: u64,
    reported: bool,
}

/// Reports progress from a separate thread: publishing never waits for a terminal.
pub struct Ticker<'t> {
    pub reporter: &'t Reporter,
    pub counters: &'t Counters,
    pub directory: Option<&'t Path>,
    pub channel: &'t str,
    pub info: SourceInfo,
    pub stop: &'t Stop,
}

impl Ticker<'_> {
    /// Runs until the other end of `ended` is dropped. Stops publishing when standard output is closed.
    pub fn run(&self, ended: &Receiver<()>) -> Result<(), Failure> {
        let is_bar = self.reporter.shows_progress();
        let period = if is_bar { REDRAW } else { EVENT };
        let (mut last, mut last_frames) = (Instant::now(), 0);
        let mut fps = 0.0;
        let mut starvation = Starvation::default();
        while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            let reported = self.report_starvation(&mut starvation);
            if reported.is_err() {
                self.stop.set();
                return reported;
            }
            if !is_bar && !self.reporter.is_json() {
                continue;
            }
            let frames = self.counters.frames.load(Relaxed);
            if last.elapsed() >= EVENT || fps == 0.0 {
                fps = (frames - last_frames) as f64 / last.elapsed().as_secs_f64();
                (last, last_frames) = (Instant::now(), frames);
            }
            let reported = self.report_progress(frames, fps);
            if reported.is_err() {
                self.stop.set();
                return reported;
            }
        }
        Ok(())
    }

    /// Names the processes that hold all slots, once, when frames are dropped or wait for a slot. Reports
    /// free slots afterwards.
    fn report_starvation(&self, starvation: &mut Starvation) -> Result<(), Failure> {
        let (frames, dropped) = (self.counters.frames.load(Relaxed), self.counters.dropped.load(Relaxed));
        let dropping = dropped > starvation.dropped;
        let stuck = dropping || frames == starvation.frames;
        (starvation.frames, starvation.dropped) = (frames, dropped);
        if stuck && !starvation.reported {
            let Ok(status) = framelane::status(self.directory, self.channel) else { return Ok(()) };
            let waiting = status.backpressure == Backpressure::Block;
            let Some(fault) = status.starvation().filter(|_| dropping || waiting) else { return Ok(()) };
            starvation.reported = true;
            let outcome = if dropping { "frames are dropped" } else { "new frames wait" };
            let event = Event::Starved { message: fault.message(), hint: fault.hint() };
            return self.reporter.event(&event, &format!("warning: {outcome}: {fault}"));
        } else if !stuck && starvation.reported {
            starvation.reported = false;
            return self.reporter.event(&Event::SlotsFree, "slots are free again");
        }
        Ok(())
    }

    fn report_progress(&self, frames: u64, fps: f64) -> Result<(), Failure> {
        let dropped = self.counters.dropped.load(Relaxed);
        let position_seconds = self.counters.position_ns.load(Relaxed) as f64 / 1e9;
        let subscribers =
            framelane::status(self.directory, self.channel).map_or(0, |status| status.subscribers.len());
        let length = self.info.duration.map(|length| format!(" / {}", human_time(length.as_secs_f64())));
        self.reporter.progress(
            frames + dropped,
            format!(
                "frames  {}{}  {fps:.1} frames/s  {}  {dropped} dropped",
                human_time(position_seconds),
                length.unwrap_or_default(),
                counted(subscribers as u64, "subscriber")
            ),
        );
        self.reporter.json(&Event::Progress {
            frames,
            total_frames: self.info.frames,
            dropped,
            frames_per_second: fps,
            position_seconds,
            subscribers,
        })
    }
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'e> {
    Started {
        channel: &'e str,
        epoch: u64,
        pid: u32,
        slots: usize,
        backpressure: &'static str,
        source: SourceReport<'e>,
    },
    Progress {
        frames: u64,
        total_frames: Option<u64>,
        dropped: u64,
        frames_per_second: f64,
        position_seconds: f64,
        subscribers: usize,
    },
    /// Subscribers hold every slot: new frames are dropped, or wait.
    Starved { message: &'e str, hint: Option<&'e str> },
    /// Slots are free again.
    SlotsFree,
    /// The live source delivers no frames.
    SourceLost {
        reason: &'e str,
        /// None when it is not opened again.
        retry_seconds: Option<f64>,
    },
    /// The source delivers frames again.
    SourceRestored { outage_seconds: f64, connections: u32 },
    Summary {
        frames: u64,
        dropped: u64,
        /// Of a live source: replaced by newer frames before they were published.
        skipped: u64,
        direct: u64,
        decode_errors: u64,
        concealed: u64,
        rounds: u64,
        elapsed_seconds: f64,
        /// None below two frames.
        frames_per_second: Option<f64>,
        end: &'static str,
        /// Cause of the loss, if `end` is `lost`.
        reason: Option<&'e str>,
        warnings: &'e [String],
    },
}

/// The source.
#[derive(Serialize)]
pub struct SourceReport<'e> {
    name: &'e str,
    container: &'e str,
    codec: &'e str,
    pixel_format: &'e str,
    width: u32,
    height: u32,
    output_format: String,
    output_width: u32,
    output_height: u32,
    frames_per_second: Option<f64>,
    duration_seconds: Option<f64>,
    frames: Option<u64>,
    live: bool,
    /// Rotation in the metadata of the source. `--rotate` decides whether it is applied.
    rotation_degrees: u16,
    mirrored: bool,
    /// Another angle, which is never applied.
    odd_rotation_degrees: Option<u16>,
}

impl<'e> Event<'e> {
    pub fn started(publisher: &'e Publisher, info: &'e SourceInfo) -> Self {
        Event::Started {
            channel: publisher.channel(),
            epoch: publisher.epoch(),
            pid: std::process::id(),
            slots: publisher.slots(),
            backpressure: publisher.backpressure().name(),
            source: SourceReport {
                name: &info.source,
                container: &info.container,
                codec: &info.codec,
                pixel_format: &info.pixel_format,
                width: info.width,
                height: info.height,
                output_format: info.output_format.name().into_owned(),
                output_width: info.output_size.0,
                output_height: info.output_size.1,
                frames_per_second: info.fps,
                duration_seconds: info.duration.map(|duration| duration.as_secs_f64()),
                frames: info.frames,
                live: info.live,
                rotation_degrees: info.rotation_degrees,
                mirrored: info.mirrored,
                odd_rotation_degrees: info.odd_rotation_degrees,
            },
        }
    }

    pub fn of_source(event: &'e SourceEvent) -> Option<Self> {
        match event {
            SourceEvent::Lost { reason, retry_in, .. } => {
                Some(Event::SourceLost { reason, retry_seconds: retry_in.map(|wait| wait.as_secs_f64()) })
            }
            SourceEvent::Restored { outage, connections, .. } => Some(Event::SourceRestored {
                outage_seconds: outage.as_secs_f64(),
                connections: *connections,
            }),
            _ => None,
        }
    }

    pub fn summary(summary: &'e Summary, frames_per_second: Option<f64>) -> Self {
        Event::Summary {
            frames: summary.frames,
            dropped: summary.dropped,
            skipped: summary.skipped,
            direct: summary.direct,
            decode_errors: summary.decode_errors,
            concealed: summary.concealed,
            rounds: summary.rounds,
            elapsed_seconds: summary.elapsed.as_secs_f64(),
            frames_per_second,
            end: match summary.end {
                End::Finished => "finished",
                End::Lost => "lost",
                _ => "stopped",
            },
            reason: summary.reason.as_deref(),
            warnings: &summary.warnings,
        }
    }
}
