//! `framelane subscribe`

mod frames;
mod statistics;
mod y4m;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use framelane::{CancelToken, Layout, RecvError, Subscriber};

use self::frames::{Container, FrameWriter, ffplay_arguments, same_shape};
use self::statistics::{Counts, Event, Statistics, latency_ns};
use crate::delivery::DeliveryArgs;
use crate::describe::LayoutReport;
use crate::failure::Failure;
use crate::global::Global;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// The longest wait for a frame between two checks of the publisher.
const PUBLISHER_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Measure a channel, or write its frames to standard output.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane subscribe cam0                a line a second, until the channel closes
  framelane subscribe cam0 --count 100 --json | tail -n 1 | jq .latency
  framelane subscribe cam0 --every --per-frame --json
  framelane subscribe cam0 --stdout y4m | ffplay -
  framelane subscribe cam0 --stdout y4m --every | ffmpeg -i - -c:v libx264 cam0.mkv
  framelane subscribe cam0 --stdout raw |
      ffplay -f rawvideo -pixel_format bgr24 -video_size 1920x1080 -
  framelane subscribe cam0 --reconnect    continues after a restart of the publisher
  framelane subscribe cam0 --open-timeout 0    fails at once if there is no such channel

Waits for the channel, continues with the next publisher after a crash, and ends when the channel closes. \
With --reconnect it does not end then, but waits until the channel is published again.
Latency: from the publish call until this process has the frame. For a frame from a link: from its capture.
A publisher that takes over a channel skips one frame number, which counts as dropped.

With --json, each line is an object with an \"event\":
  waiting      while the channel does not exist yet
  attached     when it does
  format       the size or format, with the first frame and whenever it changes
  statistics   once a second
  frame        every frame, with --per-frame
  publisher_died, publisher_returned; with --reconnect also after the channel was closed
  summary      at the end, for the whole time; rates are null if fewer than two frames arrived
With --stdout, the lines go to standard error.")]
pub struct Subscribe {
    /// The channel's name
    channel: String,
    #[command(flatten)]
    delivery: DeliveryArgs,
    /// End after this many frames
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Wait for the channel at most this long; 0: not at all [default: without limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    open_timeout: Option<Duration>,
    /// Wait for the channel again after it closes
    #[arg(long)]
    reconnect: bool,
    /// Write the frames to standard output
    #[arg(long, value_name = "CONTAINER")]
    stdout: Option<Container>,
    /// Frames a second for the y4m header [default: from the frames]
    #[arg(long, value_parser = parse::fps, requires = "stdout")]
    fps: Option<f64>,
    /// Write a line for each frame, with --json
    #[arg(long)]
    per_frame: bool,
}

impl Subscribe {
    /// Returns the contradiction among the options, if there is one.
    pub fn conflict(&self, global: &Global) -> Option<String> {
        if self.per_frame && !global.json {
            return Some("--per-frame needs --json".to_owned());
        }
        (self.stdout == Some(Container::Raw) && self.fps.is_some())
            .then(|| "--fps is for the header of y4m, and has no effect with --stdout raw".to_owned())
    }

    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let mut output = Output::new(global.json, self.stdout, self.fps)?;
        let mut subscriber = self.open(global, &output, stop)?;
        output.attached(&subscriber)?;
        let mut statistics = Statistics::new();
        let received = self.receive(global, &mut subscriber, &mut statistics, &mut output, stop);
        output.reporter.end_progress();
        match received {
            // The reader of the frames has closed the pipe. The summary goes to standard error.
            Err(Failure::OutputClosed) if self.stdout.is_some() => {}
            other => other?,
        }
        output.reporter.result(&Event::Summary(statistics.summary()), || statistics.summary_text())?;
        Ok(ExitCode::SUCCESS)
    }

    fn open(&self, global: &Global, output: &Output, stop: &Stop) -> Result<Subscriber, Failure> {
        let (reporter, channel) = (output.reporter.clone(), self.channel.clone());
        let text = global.waiting_for(&channel);
        let reported = Arc::new(Mutex::new(None));
        let report = reported.clone();
        let waiting = CancelToken::with_check(move || {
            let mut reported = report.lock().unwrap_or_else(PoisonError::into_inner);
            let event = Event::Waiting { channel: &channel };
            reported.get_or_insert_with(|| reporter.event(&event, &text)).is_err()
        });
        let options = global
            .subscriber()
            .delivery(self.delivery.delivery())
            .open_timeout(self.open_timeout)
            .reconnect(self.reconnect)
            .cancel(CancelToken::any([waiting, stop.token()]));
        let opened = options.open(&self.channel);
        if let Some(reported) = reported.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reported?;
        }
        let mut subscriber = opened?;
        subscriber.set_cancel_token(stop.token());
        Ok(subscriber)
    }

    /// Until the channel closes, enough frames were received, or the user wants an end.
    fn receive(
        &self,
        global: &Global,
        subscriber: &mut Subscriber,
        statistics: &mut Statistics,
        output: &mut Output,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut publisher_died = false;
        while !stop.is_set() && self.count.is_none_or(|count| statistics.received() < count) {
            if let Some(second) = statistics.tick() {
                output.statistics(statistics.received(), second)?;
            }
            let wait = PUBLISHER_POLL_INTERVAL.min(statistics.until_tick());
            let frame = match subscriber.recv_timeout(wait) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => {
                    if !publisher_died && !subscriber.publisher_alive() {
                        publisher_died = true;
                        let place = global.place_of(&self.channel);
                        let text = format!(
                            "channel {} has no publisher any more, waiting for one{place}",
                            self.channel
                        );
                        output.reporter.event(&Event::PublisherDied, &text)?;
                    }
                    continue;
                }
                Err(RecvError::Closed | RecvError::Interrupted) => break,
                Err(error) => return Err(error.into()),
            };
            let latency = latency_ns(&frame);
            statistics.add(&frame, latency);
            if std::mem::take(&mut publisher_died) {
                let returned = Event::PublisherReturned { epoch: subscriber.epoch() };
                output.reporter.event(&returned, "the channel has a publisher again")?;
            }
            output.format(frame.layout())?;
            if self.per_frame {
                output.reporter.json(&Event::frame(&frame, latency))?;
            }
            output.write(&frame)?;
        }
        Ok(())
    }
}

/// The output: frames, events and text.
struct Output {
    reporter: Reporter,
    writer: Option<FrameWriter>,
    container: Option<Container>,
    layout: Option<Layout>,
}

impl Output {
    fn new(json: bool, container: Option<Container>, fps: Option<f64>) -> Result<Self, Failure> {
        let writer = container.map(|container| FrameWriter::new(container, fps)).transpose()?;
        let reporter = Reporter::new(json);
        let reporter = if writer.is_some() { reporter.without_stdout() } else { reporter };
        Ok(Output { reporter, writer, container, layout: None })
    }

    fn attached(&mut self, subscriber: &Subscriber) -> Result<(), Failure> {
        let (channel, delivery) = (subscriber.channel(), subscriber.delivery().name());
        self.reporter.event(
            &Event::Attached { channel, epoch: subscriber.epoch(), delivery },
            &format!("attached to channel {channel}, {delivery} frames"),
        )?;
        self.reporter.start_progress(None);
        Ok(())
    }

    /// On a terminal in one place, else a line each. No lines while frames are written.
    fn statistics(&self, received: u64, counts: Counts) -> Result<(), Failure> {
        let text = counts.text();
        if self.reporter.shows_progress() {
            self.reporter.progress(received, format!("frames  {text}"));
        } else if self.reporter.is_json() || self.writer.is_none() {
            self.reporter.result(&Event::Statistics(counts), || text)?;
        }
        Ok(())
    }

    /// Reports the size and format when they differ from the previous frame. Strides may differ from frame to
    /// frame: a frame that a decoder wrote into its slot has padding, a copied frame has none.
    fn format(&mut self, layout: &Layout) -> Result<(), Failure> {
        if self.layout.as_ref().is_some_and(|old| same_shape(old, layout)) {
            return Ok(());
        }
        self.layout = Some(layout.clone());
        let mut text = format!("frames are {}x{} {}", layout.width(), layout.height(), layout.format());
        if self.container == Some(Container::Raw)
            && let Some(arguments) = ffplay_arguments(layout)
        {
            text = format!("{text}; for ffmpeg and ffplay: {arguments}");
        }
        self.reporter.event(&Event::Format(LayoutReport::new(layout)), &text)
    }

    fn write(&mut self, frame: &framelane::Frame) -> Result<(), Failure> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(frame))
    }
}
