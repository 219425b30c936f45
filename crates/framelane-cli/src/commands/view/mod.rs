//! `framelane view`

mod event;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use framelane::CancelToken;
use framelane_view::{BoxMode, ViewOptions};

use self::event::{Event, text};
use crate::failure::Failure;
use crate::global::Global;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// Show channels in a window.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane view cam0
  framelane view cam0 cam1 cam2 cam3              a grid
  framelane view 'tls://HOST:7420/cam0?fingerprint=sha256:…'
                                                  a channel of another machine
  framelane view cam0 --boxes newest              no frame waits for its boxes
  framelane view cam0 --save-to pictures --json   the key s saves to pictures/cam0-000123.png

Keys:
  q, Esc       quit                    s     save the frames as PNG, in their size, without boxes
  Space        pause, continue         o     overlay on, off
  + - 0        zoom in, out, fit       b     boxes on, off
  arrow keys   move the zoomed part    f     full screen on, off

Shows the newest frame only. The overlay has the frame rate, the latency from the capture until the display
server has the picture, the sequence, and the frames that were dropped. Boxes of CHANNEL/detections are
drawn on the frame in which they were found. A frame waits up to 150 ms for its boxes. After that, boxes of
an earlier frame are dashed. Matrices are shown as cv::imshow does; with 2 or more than 4 channels, the
first one as gray.

Needs a display: X11 or Wayland. Without one, `framelane dashboard` shows channels in a browser.

With --json, each line is an object with an \"event\":
  opened       the window, with its size in pixels
  waiting, live, stalled, failed    the state of a channel, when it changes
  format       the size or format of the frames, with the first frame and whenever it changes
  statistics   once a second for each channel
  saved, not_saved, paused, resumed
  summary      at the end")]
pub struct View {
    /// Names or URLs of channels
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// matched: boxes of the frame, which waits for them; newest: without wait; off: none
    #[arg(long, value_name = "matched|newest|off", default_value = "matched", hide_possible_values = true)]
    boxes: Boxes,
    /// Start without the overlay
    #[arg(long)]
    no_overlay: bool,
    /// Start in full screen
    #[arg(long)]
    full_screen: bool,
    /// Set the size of the window [default: that of the frames]
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = parse::size)]
    size: Option<(u32, u32)>,
    /// Save pictures in this folder
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    save_to: PathBuf,
    /// End after this many pictures
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    duration: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Boxes {
    Matched,
    Newest,
    Off,
}

impl View {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let reporter = Reporter::new(global.json);
        let mut options = ViewOptions::new(&self.channels);
        options.subscriber = global.subscriber();
        options.directory.clone_from(&global.dir);
        options.boxes = if self.boxes == Boxes::Newest { BoxMode::Newest } else { BoxMode::Matched };
        options.show_boxes = self.boxes != Boxes::Off;
        options.show_overlay = !self.no_overlay;
        options.full_screen = self.full_screen;
        options.size = self.size;
        options.save_to.clone_from(&self.save_to);
        options.count = self.count;
        let began = Instant::now();
        let duration = self.duration;
        let ended = CancelToken::with_check(move || duration.is_some_and(|time| began.elapsed() >= time));
        options.cancel = CancelToken::any([stop.token(), ended]);
        let mut reported = Ok(());
        let summary = framelane_view::view(options, &mut |event| {
            reported = report(&reporter, event);
            if reported.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        reported?;
        let seconds = began.elapsed().as_secs_f64();
        reporter.json(&Event::summary(summary, seconds))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Paths of pictures are results. Other events are notes.
fn report(reporter: &Reporter, event: &framelane_view::ViewEvent) -> Result<(), Failure> {
    let Some(json) = Event::new(event) else { return Ok(()) };
    if let framelane_view::ViewEvent::Saved { path, .. } = event {
        return reporter.result(&json, || path.display().to_string());
    }
    if let Some(text) = text(event) {
        reporter.note(&text);
    }
    reporter.json(&json)
}
