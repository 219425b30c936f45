//! `framelane publish`

mod progress;
mod source;

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use framelane::{Backpressure, ChannelState, Error, ErrorKind, PixelFormat, Publisher, PublisherOptions};
use framelane_video::{End, Rate, RawFormat, Repeat, Rotate, Source, SourceInfo, SourceOptions};

use self::progress::{Counters, Event};
use self::source::SourceReporter;
use crate::arguments;
use crate::drain::drain;
use crate::failure::Failure;
use crate::global::Global;
use crate::parse::{self, OutputFormat};
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::{counted, human_rate};
use crate::transport::check_local;

/// Slots in addition to those that a decoder needs.
const BASE_SLOTS: usize = 6;
/// Time between two counts of the subscribers that are waited for.
const SUBSCRIBER_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Publish a file, a stream, a camera, standard input or a test pattern.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane publish film.mp4 cam0           at the film's own pace
  framelane publish film.mp4 cam0 --loop    repeated; --loop=3: three times
  framelane publish rtsp://10.0.0.5/live cam0 --ffmpeg-option rtsp_transport=tcp
  FRAMELANE_SECRET=… framelane publish 'rtsp://admin:***@10.0.0.5/live' cam0
      *** is the secret of the variable or of --secret-file; no secret is printed or shown by ps
  framelane publish http://10.0.0.5/mjpeg cam0 --reconnect on --read-timeout 3
      also retries at the start; without the option, only a camera that was open is opened again
  framelane publish /dev/video0 cam0 --size 1280x720 --format rgb8
  framelane publish testsrc=1920x1080@60 test --count 600
  framelane publish film.mp4 cam0 --rate max --backpressure block --wait-subscribers 1
      without loss, to all subscribers with --every
  ffmpeg -i film.mp4 -f yuv4mpegpipe - | framelane publish - cam0
  ffmpeg -i film.mp4 -f rawvideo -pix_fmt bgr24 -s 640x480 - |
      framelane publish - cam0 --raw bgr8:640x480@25

Live sources (cameras, streams, pipes without a duration) are never paced, and the newest frame wins. \
A pipe whose producer is faster than its timestamps is treated as a file and paced: see \
docs/live-sources.md.
With --json: a line at the start, each second, for each loss and return of the source, when subscribers \
hold all slots (starved), when slots are free again (slots_free), and a summary.")]
pub struct Publish {
    /// A file, rtsp://…, http://…, /dev/videoN, testsrc[=WxH@FPS], or - for standard input (y4m, other
    /// containers, --raw)
    source: OsString,
    /// The channel's name, as in cam0 or hall/cam1
    channel: String,
    /// Pixel format, or native for the decoder's [default: bgr8; with --raw the input's]
    #[arg(long, value_parser = parse::output_format)]
    format: Option<OutputFormat>,
    /// Scale to this size [default: the source's, which may change while it plays]
    #[arg(long, value_name = "WxH", value_parser = parse::size)]
    size: Option<(u32, u32)>,
    /// realtime, max, or frames a second
    #[arg(long, default_value = "realtime", value_name = "RATE", value_parser = parse::named::<Rate>)]
    rate: Rate,
    /// Repeat the source without end, or play it N times
    #[arg(
        long = "loop", value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "forever",
        value_parser = parse::repeat
    )]
    repeat: Option<Repeat>,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Slots of the ring, 2 to 128 [default: 6, and what a decoder that writes into slots needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: Option<u8>,
    /// Without a free slot: drop the frame, or block (lossless for subscribers with --every)
    #[arg(long, value_name = "drop|block", default_value = "drop", value_parser = parse::named::<Backpressure>)]
    backpressure: Backpressure,
    /// Start when this many subscribers are attached
    #[arg(long, default_value = "0", value_name = "N", value_parser = clap::value_parser!(u8).range(0..=64))]
    wait_subscribers: u8,
    /// Decode on a device: vaapi, cuda, … or auto
    #[arg(long, value_name = "DEVICE")]
    hwaccel: Option<String>,
    /// Frames without a container: FORMAT:WxH[@FPS]
    #[arg(long, value_name = "FORMAT:WxH@FPS", value_parser = parse::raw)]
    raw: Option<RawFormat>,
    /// Name FFmpeg's input format, required for playlist files
    #[arg(long, value_name = "NAME")]
    input_format: Option<String>,
    /// Pass an option to FFmpeg's demuxer, protocol or device; repeatable
    #[arg(long = "ffmpeg-option", value_name = "NAME=VALUE", value_parser = parse::assignment)]
    ffmpeg_options: Vec<(String, String)>,
    /// Read the secret for *** in SOURCE from a file of mode 0600 [default: $FRAMELANE_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Select a video stream of the file, from 0 [default: FFmpeg's choice]
    #[arg(long, value_name = "N")]
    video_stream: Option<usize>,
    /// auto: rotate upright by display matrix or EXIF; none: as coded
    #[arg(long, default_value = "auto", value_name = "WHEN")]
    rotate: RotateName,
    /// Never pace the source, publish the newest frame
    #[arg(long, conflicts_with = "no_live")]
    live: bool,
    /// Pace the source by its times, skip no frame
    #[arg(long)]
    no_live: bool,
    /// on: retry at the start too; off: end at a loss [default: reopen after a loss]
    #[arg(long, value_name = "WHEN")]
    reconnect: Option<Switch>,
    /// End a read without data after this time, 0: never [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    read_timeout: Option<Duration>,
    /// Permissions of the channel's files; 660 lets the group subscribe
    #[arg(long, default_value = "600", value_parser = parse::permissions)]
    permissions: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RotateName {
    Auto,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// The error of a live source that is not opened again.
fn lost(source: &str, reason: &str) -> Error {
    Error::new(ErrorKind::ChannelClosed, format!("lost {source}: {reason}"))
        .with_hint("remove --reconnect off to reopen a lost source")
}

impl Publish {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        self.check_channel(global)?;
        // A URL is text, a file name may not be.
        let named = match (self.source.to_str(), self.secret_file.as_deref()) {
            (None, None) => self.source.clone(),
            (text, file) => {
                let shown = self.source.to_string_lossy();
                OsString::from(&*arguments::with_secret(text.unwrap_or(&shown), file)?)
            }
        };
        let reporter = Reporter::new(global.json);
        let of_source = SourceReporter::new(&named.to_string_lossy(), reporter.clone());
        let options = self.source_options(stop).on_event(move |event| of_source.report(event));
        let mut source = options.open(&named)?;
        let mut publisher = self.publisher_options(global, &source).create(&self.channel)?;
        let started = Event::started(&publisher, source.info());
        reporter.event(&started, &self.headline(&publisher, &source))?;
        if !self.wait_for_subscribers(&publisher, &reporter, stop) {
            return Ok(ExitCode::SUCCESS);
        }
        reporter.start_progress(self.total(&source));
        let counters = Counters::default();
        let ticker = progress::Ticker {
            reporter: &reporter,
            counters: &counters,
            directory: global.dir.as_deref(),
            channel: &self.channel,
            info: source.info().clone(),
            stop,
        };
        let published = std::thread::scope(|scope| {
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let ticking = scope.spawn(move || ticker.run(&ended));
            let published = source.publish_to(&mut publisher, &mut |progress| {
                counters.update(progress);
                if stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            // Subscribers with delivery every receive the last frames too.
            let published = published.and_then(|summary| drain(&mut publisher, stop).map(|()| summary));
            drop(end);
            let ticked = ticking.join().unwrap_or(Ok(()));
            let summary = published?;
            ticked.map(|()| summary)
        });
        reporter.end_progress();
        let summary = published?;
        for warning in &summary.warnings {
            reporter.note(&format!("warning: {warning}"));
        }
        drop(publisher);
        let seconds = summary.elapsed.as_secs_f64();
        let ended = match summary.end {
            End::Finished => "",
            End::Lost => ", source lost",
            _ => ", stopped",
        };
        let frames_per_second = counters.frames_per_second();
        reporter.event(
            &Event::summary(&summary, frames_per_second),
            &format!(
                "{} in {seconds:.1} s, {} a second, {} dropped{ended}",
                counted(summary.frames, "frame"),
                human_rate(frames_per_second),
                summary.dropped
            ),
        )?;
        match &summary.reason {
            Some(reason) if summary.end == End::Lost => Err(lost(&source.info().source, reason).into()),
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    /// Refuses a bad name or a busy channel before a camera is opened. Creating the channel checks again.
    fn check_channel(&self, global: &Global) -> Result<(), Error> {
        check_local(
            &self.channel,
            "publish to a channel here, as cam0, and also run `framelane send cam0 URL`",
        )?;
        match framelane::status(global.dir.as_deref(), &self.channel) {
            Ok(status) if status.state == ChannelState::Live => {
                let (channel, pid) = (&self.channel, status.publisher_pid);
                Err(Error::new(
                    ErrorKind::ChannelBusy,
                    format!("channel {channel} already has a live publisher, process {pid}"),
                )
                .with_hint(format!("end process {pid}, or publish under another name")))
            }
            Err(error) if error.kind() == ErrorKind::InvalidName => Err(error),
            _ => Ok(()),
        }
    }

    fn source_options(&self, stop: &Stop) -> SourceOptions {
        let format = match (self.format, self.raw) {
            (Some(OutputFormat(format)), _) => format,
            (None, Some(_)) => None,
            (None, None) => Some(PixelFormat::Bgr8),
        };
        let options = SourceOptions::new()
            .format(format)
            .size(self.size)
            .rate(self.rate)
            .repeat(self.repeat.unwrap_or_default())
            .count(self.count)
            .hwaccel(self.hwaccel.as_deref())
            .rotate(match self.rotate {
                RotateName::Auto => Rotate::Auto,
                RotateName::None => Rotate::None,
            })
            .video_stream(self.video_stream)
            .raw(self.raw)
            .input_format(self.input_format.as_deref())
            .live(self.live.then_some(true).or(self.no_live.then_some(false)))
            .reconnect(self.reconnect.map(|switch| switch == Switch::On))
            .cancel(stop.token());
        let options = match self.read_timeout {
            Some(timeout) => options.read_timeout(Some(timeout).filter(|timeout| !timeout.is_zero())),
            None => options,
        };
        self.ffmpeg_options.iter().fold(options, |options, (name, value)| options.ffmpeg_option(name, value))
    }

    fn publisher_options(&self, global: &Global, source: &Source) -> PublisherOptions {
        let slots = self.slots.map_or_else(|| source.slots_needed(BASE_SLOTS), usize::from);
        global.publisher().slots(slots).backpressure(self.backpressure).permissions(self.permissions)
    }

    /// Remaining frames, for the progress bar.
    fn total(&self, source: &Source) -> Option<u64> {
        let times = match self.repeat.unwrap_or_default() {
            Repeat::Times(times) => Some(u64::from(times.get())),
            _ => None,
        };
        let of_source = source.info().frames.zip(times).map(|(frames, times)| frames * times);
        match (of_source, self.count) {
            (Some(frames), Some(limit)) => Some(frames.min(limit)),
            (frames, limit) => frames.or(limit),
        }
    }

    /// Describes the rotation of the source. Empty for upright pictures.
    fn turn(&self, info: &SourceInfo) -> String {
        let asked = match (info.odd_rotation_degrees.unwrap_or(info.rotation_degrees), info.mirrored) {
            (0, false) => return String::new(),
            (0, true) => "mirrored".to_owned(),
            (degrees, false) => format!("rotated by {degrees}°"),
            (degrees, true) => format!("rotated by {degrees}° and mirrored"),
        };
        let applied = self.rotate == RotateName::Auto && info.odd_rotation_degrees.is_none();
        if applied { format!(", {asked}") } else { format!(", not {asked}") }
    }

    fn headline(&self, publisher: &Publisher, source: &Source) -> String {
        let info = source.info();
        let (width, height) = info.output_size;
        let fps = info.fps.map(|fps| format!(", {fps:.4} frames/s").replace(".0000", "")).unwrap_or_default();
        format!(
            "{} ({} {}x{}{fps}{}) on channel {}: {width}x{height} {}, {} slots, backpressure {}",
            info.source,
            info.codec,
            info.width,
            info.height,
            self.turn(info),
            self.channel,
            info.output_format,
            publisher.slots(),
            publisher.backpressure().name()
        )
    }

    /// Waits for `--wait-subscribers`. Returns false at the end.
    fn wait_for_subscribers(&self, publisher: &Publisher, reporter: &Reporter, stop: &Stop) -> bool {
        let wanted = usize::from(self.wait_subscribers);
        let subscribers = counted(self.wait_subscribers.into(), "subscriber");
        let mut reported = Instant::now();
        let mut found = publisher.subscribers();
        if found < wanted {
            reporter.note(&format!("waiting for {subscribers}, found {found}"));
        }
        while found < wanted {
            if !stop.sleep(SUBSCRIBER_POLL_INTERVAL) {
                return false;
            }
            let now = publisher.subscribers();
            if now != found && now < wanted && reported.elapsed() > Duration::from_secs(1) {
                reporter.note(&format!("found {now} of {subscribers}"));
                reported = Instant::now();
            }
            found = now;
        }
        true
    }
}
