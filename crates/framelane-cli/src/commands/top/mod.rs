//! `framelane top`

mod rates;
mod screen;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::rates::{Meter, Sample};
use self::screen::{Screen, Woken};
use self::table::{Line, cut, summary, table, within};
use super::list;
use crate::failure::{Failure, print_line};
use crate::global::Global;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;

/// Lines above the channels: the summary and the heading.
const ABOVE: usize = 2;

/// Watch all channels: rates, readers, links.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane top                           a table, updated every second
  framelane top --interval 0.2 --sort rate
  framelane top --count 1                 one table, for the next second
  framelane top --json --count 1 | jq '.channels[] | {name, frames_per_second, most_behind}'
  framelane top --json --interval 10 >> rates.jsonl

Keys on a terminal: n sorts by name, r by rate, q quits. Otherwise a table is printed each interval.

FRAMES/S  rate in the interval, \"-\" for a new publisher
MB/S      the same, with the size of the newest frame
DROPS/S   frames that found no free slot
READERS   subscribers
BEHIND    frames between the newest frame and the slowest subscriber
AGE       time since the newest frame was published
SOURCE    of a camera or stream: up or lost
LINK      of a channel from a link: up, down, or \"no source\" while the peer has no publisher
TRIP      the shortest recent round trip of the link
LATENCY   from capture to publication here, for the newest frame
CLOCK     how far the peer's clock is ahead (+) of this machine's, or behind (-)
HELD      the processes that hold slots, if no slot is free
Columns without space or values are not shown.

With --json, each line is an object: \"seconds\", the length of the interval, and \"channels\", each as in \
`framelane list --json`, with frames_per_second, bytes_per_second, dropped_per_second, \
link_bytes_per_second, link_missed_per_second and most_behind. Unknown values are null. \
dropped_per_second includes frames that a link skipped, and DROPS/S does not.")]
pub struct Top {
    /// Interval of updates
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = parse::interval)]
    interval: Duration,
    /// End after this many intervals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Sort by name, or by frame rate with the highest first
    #[arg(long, default_value = "name", value_enum, value_name = "ORDER")]
    sort: Order,
}

/// The order of channels.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Order {
    Name,
    Rate,
}

#[derive(serde::Serialize)]
struct Report<'r> {
    /// Length of the interval.
    seconds: f64,
    channels: &'r [Line],
}

impl Top {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let mut watch = Watch { global, order: self.sort, meter: Meter::default(), polled: Instant::now() };
        let (_, mut lines) = watch.poll()?;
        let reporter = Reporter::new(global.json);
        let mut screen = if global.json { None } else { Screen::open()? };
        let (mut due, mut intervals) = (watch.polled, 0);
        while self.count.is_none_or(|count| intervals < count) {
            due = (due + self.interval).max(Instant::now());
            let go_on = match &mut screen {
                Some(screen) => watch_until(due, screen, &mut watch, &mut lines, stop)?,
                None => stop.sleep(due.saturating_duration_since(Instant::now())),
            };
            if !go_on {
                return Ok(ExitCode::SUCCESS);
            }
            let elapsed;
            (elapsed, lines) = watch.poll()?;
            if screen.is_none() {
                let report = Report { seconds: elapsed.as_secs_f64(), channels: &lines };
                let gap = if intervals > 0 { "\n" } else { "" };
                reporter.result(&report, || format!("{gap}{}", text(global, &lines)))?;
            }
            intervals += 1;
        }
        // With the other screen, all that was on it is gone.
        if screen.take().is_some() {
            print_line(&text(global, &lines))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Polls the channels.
struct Watch<'w> {
    global: &'w Global,
    order: Order,
    meter: Meter,
    polled: Instant,
}

impl Watch<'_> {
    /// Returns the time since the last poll, and the channels.
    fn poll(&mut self) -> Result<(Duration, Vec<Line>), Failure> {
        let channels = framelane_dashboard::report::channels(self.global.dir.as_deref())?;
        let now = Instant::now();
        let elapsed = now.duration_since(std::mem::replace(&mut self.polled, now));
        let samples = channels.iter().map(|channel| (channel.name.clone(), Sample::new(channel))).collect();
        let rates = self.meter.rates(samples, elapsed);
        let mut lines: Vec<_> =
            channels.into_iter().zip(rates).map(|(channel, rates)| Line::new(channel, rates)).collect();
        self.order.sort(&mut lines);
        Ok((elapsed, lines))
    }
}

impl Order {
    fn sort(self, lines: &mut [Line]) {
        lines.sort_by(|a, b| framelane::compare_names(&a.channel.name, &b.channel.name));
        if matches!(self, Order::Rate) {
            let rate = |line: &Line| line.rates.frames_per_second.unwrap_or(-1.0);
            lines.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        }
    }
}

/// Shows these lines until the next poll. Returns false at the end.
fn watch_until(
    due: Instant,
    screen: &mut Screen,
    watch: &mut Watch<'_>,
    lines: &mut [Line],
    stop: &Stop,
) -> Result<bool, Failure> {
    loop {
        draw(watch.global, screen, lines, watch.order)?;
        match screen.wait(due, stop)? {
            Woken::Due => return Ok(true),
            Woken::Stopped | Woken::Key(b'q' | b'Q') => return Ok(false),
            Woken::Key(b'n') => watch.order = Order::Name,
            Woken::Key(b'r') => watch.order = Order::Rate,
            Woken::Key(_) | Woken::Redraw => {}
        }
        watch.order.sort(lines);
    }
}

fn text(global: &Global, lines: &[Line]) -> String {
    match lines {
        [] => list::none(global),
        lines => table(lines, None).join("\n"),
    }
}

fn draw(global: &Global, screen: &mut Screen, lines: &[Line], order: Order) -> Result<(), Failure> {
    let (width, height) = screen.size();
    let by = match order {
        Order::Name => "by name",
        Order::Rate => "by rate",
    };
    let keys = if screen.has_keys() { "; n, r: by name, rate; q: quit" } else { "" };
    let title = format!("framelane top: {}, {by}{keys}", summary(lines));
    let mut table = table(lines, Some(width)).into_iter();
    let mut all = vec![cut(&title, width), table.next().unwrap_or_default()];
    match lines {
        [] => all.push(cut(&list::none(global), width)),
        _ => all.extend(within(table.collect(), height.saturating_sub(ABOVE))),
    }
    screen.draw(&all, ABOVE - 1)
}
