//! `framelane run`

mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use serde::Serialize;

use self::worker::{Polled, Report, Watched, Worker, WorkerOptions};
use crate::delivery::DeliveryArgs;
use crate::failure::{Failure, print_line};
use crate::global::Global;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::counted;

/// Time between two checks of the worker, of signals and of files.
const WORKER_POLL_INTERVAL: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A worker that ran this long ran well: the next failure is a first one again.
const RAN_WELL: Duration = Duration::from_secs(10);

/// Run a Python function on each frame and publish the boxes that it finds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane run cam0 detect.py      calls detect(image); boxes go to cam0/detections
  framelane run cam0 detect.py:people --reload
      restarts it when a Python file in its directory changes
  framelane run cam0 package.module:detect --python ~/venv/bin/python --labels person,car
  framelane run cam0 detect.py --every --count 100 --json
  framelane run 'tls://camera:7420/cam0?fingerprint=sha256:…' detect.py
      frames of another machine; the boxes are sent to cam0/detections there

The function gets the newest frame as a numpy array (read-only, no copy) and returns boxes:
  def detect(image):
      return boxes                          # (N, 4): x1, y1, x2, y2; or None
  or (boxes, scores, class_ids, track_ids), where the last ones are optional, or a dict with these
  names. A function with two arguments, detect(image, frame), also gets the frame:
  frame.sequence, frame.format, … A list `labels` in the module names the classes.

The function runs in a separate process. A crash or an exception is logged, and the process restarts \
after a pause that doubles up to 30 seconds. When the publisher closes the channel, the function stays \
loaded and waits until the channel is published again. With --end-with-channel, `run` ends then. \
Python: --python, else $FRAMELANE_PYTHON, $VIRTUAL_ENV/bin/python, python3.

With --json, each line is an object with an \"event\": loaded, started, statistics (once a second), \
waiting (the channel has no publisher), starved (readers hold all slots), resumed, failed, crashed, \
restarting, reloading, ended.")]
pub struct Run {
    /// The channel's name, or the URL of a channel on another machine
    channel: String,
    /// FILE.py[:FUNCTION] or MODULE:FUNCTION [default function: detect]
    target: String,
    /// The channel for the boxes [default: CHANNEL/detections]
    #[arg(long, value_name = "CHANNEL")]
    detections: Option<String>,
    /// Python interpreter with the framelane package
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// Names of the classes, instead of the module's `labels`
    #[arg(long, value_name = "A,B,…", default_value = "", hide_default_value = true)]
    labels: String,
    /// Name of the model in the detections [default: the target]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// End after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Restart when a Python file in the target's directory changes
    #[arg(long)]
    reload: bool,
    /// End when the function fails, instead of restarting it
    #[arg(long)]
    no_restart: bool,
    /// End when the channel closes, instead of waiting for it
    #[arg(long)]
    end_with_channel: bool,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Restarting { pause_seconds: f64 },
    Reloading { changed: String },
    Crashed { status: &'e str, frames: u64 },
    Ended { frames: u64, boxes: u64, restarts: u64 },
}

/// The end of a worker.
enum End {
    /// The channel was closed (with --end-with-channel), or enough frames were received.
    Done,
    /// The user wants an end.
    Stopped,
    /// A file has changed: restart at once.
    Changed(String),
    /// It failed, before the first frame if `while_loading`.
    Failed { while_loading: bool },
}

impl Run {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let mut watched = Watched::new(&self.target)?;
        let reporter = Reporter::new(global.json);
        let mut totals = Totals::default();
        reporter.note(&format!(
            "{} on the frames of {}, boxes to {}",
            self.target,
            self.channel,
            self.detections()
        ));
        reporter.start_progress(self.count);
        let result = self.supervise(global, &mut watched, &reporter, &mut totals, stop);
        reporter.end_progress();
        result?;
        let Totals { frames, boxes, restarts, .. } = totals;
        reporter.event(
            &Event::Ended { frames, boxes, restarts },
            &format!("{}, {boxes} boxes, {}", counted(frames, "frame"), counted(restarts, "restart")),
        )?;
        Ok(ExitCode::SUCCESS)
    }

    /// One life of the worker after the other, until the channel closes or the user wants an end.
    fn supervise(
        &self,
        global: &Global,
        watched: &mut Watched,
        reporter: &Reporter,
        totals: &mut Totals,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            match self.one_life(global, watched, reporter, totals, stop)? {
                End::Done | End::Stopped => return Ok(()),
                End::Changed(file) => reloading(reporter, file)?,
                End::Failed { while_loading } => {
                    if self.no_restart || (while_loading && !self.reload) {
                        let what = if while_loading { "could not be loaded" } else { "has failed" };
                        return Err(Error::new(
                            ErrorKind::SystemFailure,
                            format!("{} {what} (see the output above)", self.target),
                        )
                        .with_hint(
                            "correct the program, or use --reload to load it again when its file changes",
                        )
                        .into());
                    }
                    if began.elapsed() >= RAN_WELL {
                        pause = FIRST_PAUSE;
                    }
                    let wait = (!while_loading).then_some(pause);
                    if !self.pause(watched, reporter, wait, stop)? {
                        return Ok(());
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            totals.restarts += 1;
        }
    }

    fn detections(&self) -> String {
        self.detections.clone().unwrap_or_else(|| {
            // Of a URL, the options stay behind the channel.
            let (channel, options) = self.channel.split_once('?').unwrap_or((&self.channel, ""));
            let mark = if options.is_empty() { "" } else { "?" };
            format!("{channel}/detections{mark}{options}")
        })
    }

    fn worker(&self, global: &Global, done: u64) -> Result<Worker, Error> {
        Worker::start(&WorkerOptions {
            python: self.python.clone(),
            directory: global.dir.clone(),
            arguments: vec![
                self.channel.clone(),
                self.target.clone(),
                format!("--detections={}", self.detections()),
                format!("--delivery={}", self.delivery.delivery().name()),
                format!("--labels={}", self.labels),
                format!("--model={}", self.model.as_deref().unwrap_or(&self.target)),
                format!("--count={}", self.count.map_or(0, |count| count.saturating_sub(done))),
            ]
            .into_iter()
            .chain(self.end_with_channel.then(|| "--end-with-channel".to_owned()))
            .collect(),
        })
    }

    /// From a worker's start to its end.
    fn one_life(
        &self,
        global: &Global,
        watched: &mut Watched,
        reporter: &Reporter,
        totals: &mut Totals,
        stop: &Stop,
    ) -> Result<End, Failure> {
        let mut worker = self.worker(global, totals.frames)?;
        let mut while_loading = true;
        let mut failed = false;
        let mut attached = false;
        totals.begin_life();
        loop {
            if stop.is_set() {
                worker.end();
                return Ok(End::Stopped);
            }
            if self.reload
                && let Some(file) = watched.changed()
            {
                worker.end();
                return Ok(End::Changed(file));
            }
            let report = match worker.poll(WORKER_POLL_INTERVAL) {
                Polled::Nothing => {
                    if !while_loading && !std::mem::replace(&mut attached, true) {
                        reporter.note(&global.waiting_for(&self.channel));
                    }
                    continue;
                }
                Polled::Gone => break,
                Polled::Reported { line, report } => {
                    // This command reports how a worker ended, over all restarts.
                    if global.json && !matches!(report, Report::Finished { .. } | Report::Refused { .. }) {
                        print_line(&line)?;
                    }
                    report
                }
            };
            match report {
                Report::Loaded => while_loading = false,
                Report::Started => attached = true,
                Report::Waiting => reporter.note(&format!(
                    "channel {} has no publisher, waiting for one{}",
                    self.channel,
                    global.place_of(&self.channel)
                )),
                Report::Starved { error, hint } => reporter.note(&format!("{error}\n  hint: {hint}")),
                Report::Resumed => reporter.note(&format!("channel {} is published again", self.channel)),
                Report::Unknown => {}
                Report::Statistics { frames, boxes, detect_ms } => {
                    totals.count(frames, boxes);
                    let text = format!("frames  {} boxes  {detect_ms:.1} ms in detect", totals.boxes);
                    reporter.progress(totals.frames, text);
                }
                Report::Finished { frames, boxes } => totals.count(frames, boxes),
                Report::Failed { traceback, sequence, frames } => {
                    failed = true;
                    totals.count(frames, totals.boxes_of_life);
                    let at = sequence.map_or(String::new(), |sequence| format!(" at frame {sequence}"));
                    reporter.note(&format!("{} failed{at}:\n{traceback}", self.target));
                }
                Report::Refused { code, error, hint } => {
                    let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == code);
                    let error = Error::new(kind.copied().unwrap_or(ErrorKind::InternalFailure), error);
                    let error = if hint.is_empty() { error } else { error.with_hint(hint) };
                    return Err(error.into());
                }
            }
        }
        let status = worker.wait()?;
        if status.success() {
            return Ok(End::Done);
        }
        if !failed && while_loading {
            return Err(worker.could_not_start(status).into());
        }
        if !failed {
            let status = status.to_string();
            let crashed = Event::Crashed { status: &status, frames: totals.frames };
            reporter.event(&crashed, &format!("the process of {} has died: {status}", self.target))?;
        }
        Ok(End::Failed { while_loading })
    }

    /// Waits before the next start: for `pause`, or (`None`) for a change of the file. Returns false at
    /// the end.
    fn pause(
        &self,
        watched: &mut Watched,
        reporter: &Reporter,
        pause: Option<Duration>,
        stop: &Stop,
    ) -> Result<bool, Failure> {
        match pause {
            None => reporter.note("waiting for a change of the file"),
            Some(pause) => {
                let pause_seconds = pause.as_secs_f64();
                let text = format!("restarting in {pause_seconds} s");
                reporter.event(&Event::Restarting { pause_seconds }, &text)?;
            }
        }
        let until = pause.map(|pause| Instant::now() + pause);
        while until.is_none_or(|until| Instant::now() < until) {
            if !stop.sleep(WORKER_POLL_INTERVAL) {
                return Ok(false);
            }
            if self.reload
                && let Some(file) = watched.changed()
            {
                reloading(reporter, file)?;
                return Ok(true);
            }
        }
        Ok(true)
    }
}

fn reloading(reporter: &Reporter, changed: String) -> Result<(), Failure> {
    let text = format!("{changed} has changed: restarting");
    reporter.event(&Event::Reloading { changed }, &text)
}

/// Over all lives of the worker.
#[derive(Default)]
struct Totals {
    frames: u64,
    boxes: u64,
    frames_of_life: u64,
    boxes_of_life: u64,
    restarts: u64,
}

impl Totals {
    fn begin_life(&mut self) {
        (self.frames_of_life, self.boxes_of_life) = (0, 0);
    }

    /// The counts of this life so far.
    fn count(&mut self, frames: u64, boxes: u64) {
        self.frames += frames - self.frames_of_life.min(frames);
        self.boxes += boxes - self.boxes_of_life.min(boxes);
        (self.frames_of_life, self.boxes_of_life) = (frames, boxes);
    }
}
