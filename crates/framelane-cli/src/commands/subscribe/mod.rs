//! `framelane subscribe`

mod frames;
mod statistics;
mod y4m;

use std::process::ExitCode;
use std::time::Duration;

use framelane::{Layout, RecvError, Subscriber};

use self::frames::{Container, FrameWriter, ffplay_arguments, same_shape};
use self::statistics::{Event, Statistics, latency_ns};
use crate::delivery::DeliveryArgs;
use crate::describe::LayoutReport;
use crate::failure::{Failure, print_json, print_line};
use crate::global::Global;
use crate::notes::Notes;
use crate::parse;
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
  framelane subscribe cam0 --reconnect    continues after the publisher was stopped and started again
  framelane subscribe cam0 --open-timeout 0    fails at once if there is no such channel

Waits for the channel, continues with the next publisher after a crash, and ends when the channel closes.
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
  summary      at the end, for the whole time; rates from the first frame to the last, null below two
               frames
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
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let mut output = Output::new(global.json, self.stdout, self.fps)?;
        let mut subscriber = self.open(global, &output, stop)?;
        output.attached(&subscriber)?;
        let mut statistics = Statistics::new();
        let received = self.receive(global, &mut subscriber, &mut statistics, &mut output, stop);
        output.notes.end_progress();
        match received {
            // Whoever read the frames has had enough; the summary has a way of its own.
            Err(Failure::OutputClosed) if self.stdout.is_some() => {}
            other => other?,
        }
        output.event(&Event::Summary(statistics.summary()))?;
        output.line(&statistics.summary_text())?;
        Ok(ExitCode::SUCCESS)
    }

    fn open(&self, global: &Global, output: &Output, stop: &Stop) -> Result<Subscriber, Failure> {
        let options = global
            .subscriber()
            .delivery(self.delivery.delivery())
            .open_timeout(self.open_timeout)
            .reconnect(self.reconnect);
        let mut told = Ok(());
        let mut first = true;
        let opened = options.open_while(&self.channel, &mut || {
            if std::mem::take(&mut first) {
                output.notes.say(&global.waiting_for(&self.channel));
                told = output.event(&Event::Waiting { channel: &self.channel });
            }
            told.is_ok() && !stop.is_set()
        });
        told?;
        Ok(opened?)
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
                output.progress(statistics.received(), second.text())?;
                output.event(&Event::Statistics(second))?;
            }
            let wait = PUBLISHER_POLL_INTERVAL.min(statistics.until_tick());
            let frame = match subscriber.recv_while(Some(wait), &mut || !stop.is_set()) {
                Ok(frame) => frame,
                Err(RecvError::Timeout) => {
                    if !publisher_died && !subscriber.publisher_alive() {
                        publisher_died = true;
                        let place = global.place_of(&self.channel);
                        output.notes.say(&format!(
                            "channel {} has no publisher any more; waiting for one{place}",
                            self.channel
                        ));
                        output.event(&Event::PublisherDied)?;
                    }
                    continue;
                }
                Err(RecvError::Closed | RecvError::Interrupted) => break,
                Err(error) => return Err(error.into()),
            };
            let latency = latency_ns(&frame);
            statistics.add(&frame, latency);
            if std::mem::take(&mut publisher_died) {
                output.notes.say("the channel has a publisher again");
                output.event(&Event::PublisherReturned { epoch: subscriber.epoch() })?;
            }
            output.format(frame.layout())?;
            if self.per_frame {
                output.event(&Event::frame(&frame, latency))?;
            }
            output.write(&frame)?;
        }
        Ok(())
    }
}

/// Where frames, events and text go.
struct Output {
    notes: Notes,
    json: bool,
    writer: Option<FrameWriter>,
    container: Option<Container>,
    layout: Option<Layout>,
}

impl Output {
    fn new(json: bool, container: Option<Container>, fps: Option<f64>) -> Result<Self, Failure> {
        let writer = container.map(|container| FrameWriter::new(container, fps)).transpose()?;
        Ok(Output { notes: Notes::new(json), json, writer, container, layout: None })
    }

    fn attached(&mut self, subscriber: &Subscriber) -> Result<(), Failure> {
        let delivery = subscriber.delivery().name();
        self.event(&Event::Attached { channel: subscriber.channel(), epoch: subscriber.epoch(), delivery })?;
        self.notes.say(&format!("attached to channel {}, {delivery} frames", subscriber.channel()));
        self.notes.start_progress(None);
        Ok(())
    }

    fn event(&self, event: &Event<'_>) -> Result<(), Failure> {
        match (self.json, &self.writer) {
            (false, _) => Ok(()),
            (true, None) => print_json(event),
            (true, Some(_)) => {
                Notes::new(false).say(&crate::failure::json(event));
                Ok(())
            }
        }
    }

    /// A result for people: standard output, unless the frames are there.
    fn line(&self, text: &str) -> Result<(), Failure> {
        match (self.json, &self.writer) {
            (true, _) => Ok(()),
            (false, None) => print_line(text),
            (false, Some(_)) => {
                self.notes.say(text);
                Ok(())
            }
        }
    }

    /// On a terminal in one place; else a line each, unless there are frames to look at.
    fn progress(&self, received: u64, text: String) -> Result<(), Failure> {
        if self.notes.on_terminal() {
            self.notes.progress(received, format!("frames  {text}"));
            return Ok(());
        }
        if self.writer.is_some() { Ok(()) } else { self.line(&text) }
    }

    /// Prints the size and format when they differ from the previous frame. Strides may differ from frame
    /// to frame: what a decoder writes into a slot has padding, what is copied there has none.
    fn format(&mut self, layout: &Layout) -> Result<(), Failure> {
        if self.layout.as_ref().is_some_and(|old| same_shape(old, layout)) {
            return Ok(());
        }
        self.layout = Some(layout.clone());
        self.event(&Event::Format(LayoutReport::new(layout)))?;
        let mut text = format!("frames are {}x{} {}", layout.width(), layout.height(), layout.format());
        if self.container == Some(Container::Raw)
            && let Some(arguments) = ffplay_arguments(layout)
        {
            text = format!("{text}; for ffmpeg and ffplay: {arguments}");
        }
        self.notes.say(&text);
        Ok(())
    }

    fn write(&mut self, frame: &framelane::Frame) -> Result<(), Failure> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write(frame))
    }
}
