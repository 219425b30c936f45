//! Statistics of `subscribe`, for each second and in all.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use framelane::Frame;
use serde::Serialize;

use crate::describe::LayoutReport;
use crate::latency::{Latencies, Percentiles, human_us};
use crate::table::{counted, human_rate, rate};

const SECOND: Duration = Duration::from_secs(1);

/// Counts frames.
pub struct Statistics {
    all: Period,
    second: Period,
}

struct Period {
    began: Instant,
    frames: u64,
    dropped: u64,
    bytes: u64,
    /// Times of publication of the first and the last frame. Times of arrival would be too close: the first
    /// frame is often there already.
    published_ns: Option<(u64, u64)>,
    first_bytes: u64,
    latencies: Latencies,
    from: LatencyFrom,
}

/// Counts of a period.
#[derive(Debug, Serialize)]
pub struct Counts {
    pub seconds: f64,
    pub frames: u64,
    /// Frames that the channel had and this subscriber did not get.
    pub dropped: u64,
    /// In a summary from the first frame to the last, none below two.
    pub frames_per_second: Option<f64>,
    pub bytes_per_second: Option<f64>,
    pub latency: Option<Percentiles>,
    /// The start of these latencies, by the last frame.
    pub latency_from: LatencyFrom,
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'e> {
    Waiting { channel: &'e str },
    Attached { channel: &'e str, epoch: u64, delivery: &'static str },
    Format(LayoutReport),
    Statistics(Counts),
    Frame(FrameReport),
    PublisherDied,
    PublisherReturned { epoch: u64 },
    Summary(Counts),
}

/// One frame.
#[derive(Serialize)]
pub struct FrameReport {
    sequence: u64,
    epoch: u64,
    dropped: u64,
    width: u32,
    height: u32,
    format: String,
    size_bytes: usize,
    timestamp_ns: u64,
    published_ns: u64,
    pts_ns: Option<i64>,
    duration_ns: Option<u64>,
    keyframe: bool,
    rotation_degrees: u16,
    latency_us: f64,
    /// The start of the latency.
    latency_from: LatencyFrom,
}

/// The start of latencies. A link converts capture times to this machine's clock, so that latencies include
/// the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyFrom {
    Publication,
    Capture,
}

/// Nanoseconds from the frame's publication, or from its capture when a link has brought it.
pub fn latency_ns(frame: &Frame) -> (u64, LatencyFrom) {
    if frame.info().origin.is_none() {
        return (frame.age_ns(), LatencyFrom::Publication);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    (now_ns.saturating_sub(frame.timestamp_ns()), LatencyFrom::Capture)
}

impl Event<'_> {
    pub fn frame(frame: &Frame, (latency_ns, from): (u64, LatencyFrom)) -> Self {
        Event::Frame(FrameReport {
            sequence: frame.sequence(),
            epoch: frame.epoch(),
            dropped: frame.dropped(),
            width: frame.width(),
            height: frame.height(),
            format: frame.format().name().into_owned(),
            size_bytes: frame.layout().size_bytes(),
            timestamp_ns: frame.timestamp_ns(),
            published_ns: frame.published_ns(),
            pts_ns: frame.info().pts_ns,
            duration_ns: frame.info().duration_ns,
            keyframe: frame.info().keyframe,
            rotation_degrees: frame.info().rotation_degrees,
            latency_us: latency_ns as f64 / 1000.0,
            latency_from: from,
        })
    }
}

impl Statistics {
    pub fn new() -> Self {
        Statistics { all: Period::new(), second: Period::new() }
    }

    /// Counts a frame.
    pub fn add(&mut self, frame: &Frame, latency: (u64, LatencyFrom)) {
        if self.all.frames == 0 {
            // The wait for the first frame is no part of the rate.
            (self.all.began, self.second.began) = (Instant::now(), Instant::now());
        }
        self.all.add(frame, latency);
        self.second.add(frame, latency);
    }

    pub fn received(&self) -> u64 {
        self.all.frames
    }

    /// Time left of this second, and a moment more.
    pub fn until_tick(&self) -> Duration {
        SECOND.saturating_sub(self.second.began.elapsed()) + Duration::from_millis(1)
    }

    /// The second that has just ended.
    pub fn tick(&mut self) -> Option<Counts> {
        if self.second.began.elapsed() < SECOND {
            return None;
        }
        let counts = self.second.counts(None);
        self.second.restart();
        Some(counts)
    }

    pub fn summary(&self) -> Counts {
        self.all.counts(Some(self.all.first_to_last()))
    }

    pub fn summary_text(&self) -> String {
        let counts = self.summary();
        let frames = counted(counts.frames, "frame");
        format!("{frames} in {:.1} s: {}", counts.seconds, counts.text())
    }
}

impl Period {
    fn new() -> Self {
        Period {
            began: Instant::now(),
            frames: 0,
            dropped: 0,
            bytes: 0,
            published_ns: None,
            first_bytes: 0,
            latencies: Latencies::new(),
            from: LatencyFrom::Publication,
        }
    }

    fn restart(&mut self) {
        self.latencies.clear();
        (self.began, self.frames, self.dropped, self.bytes) = (Instant::now(), 0, 0, 0);
    }

    fn add(&mut self, frame: &Frame, (latency_ns, from): (u64, LatencyFrom)) {
        self.frames += 1;
        self.dropped += frame.dropped();
        let (bytes, now) = (frame.layout().size_bytes() as u64, frame.published_ns());
        self.bytes += bytes;
        match &mut self.published_ns {
            Some((_, last)) => *last = now,
            None => (self.published_ns, self.first_bytes) = (Some((now, now)), bytes),
        }
        self.latencies.record(latency_ns);
        self.from = from;
    }

    fn first_to_last(&self) -> Duration {
        let span_ns = self.published_ns.map_or(0, |(first, last)| last.saturating_sub(first));
        Duration::from_nanos(span_ns)
    }

    /// With `first_to_last`, the rates are those between these two frames: a run of a few frames is no second
    /// long. Without it, of the whole period, in which a pause counts.
    fn counts(&self, first_to_last: Option<Duration>) -> Counts {
        let seconds = self.began.elapsed().as_secs_f64();
        let (frames_per_second, bytes_per_second) = match first_to_last {
            Some(span) => {
                let frames = rate(self.frames, span);
                (frames, frames.map(|_| (self.bytes - self.first_bytes) as f64 / span.as_secs_f64()))
            }
            None => {
                let each_second = |count: u64| Some(count as f64 / seconds.max(1e-9));
                (each_second(self.frames), each_second(self.bytes))
            }
        };
        Counts {
            seconds,
            frames: self.frames,
            dropped: self.dropped,
            frames_per_second,
            bytes_per_second,
            latency: self.latencies.percentiles(),
            latency_from: self.from,
        }
    }
}

impl Counts {
    /// For people.
    pub fn text(&self) -> String {
        let latency = self.latency.map(|latency| {
            let from = match self.latency_from {
                LatencyFrom::Publication => "publication",
                LatencyFrom::Capture => "capture",
            };
            format!(
                "  latency p50 {}  p99 {} from {from}",
                human_us(latency.p50_us),
                human_us(latency.p99_us)
            )
        });
        format!(
            "{} frames/s  {} MB/s{}  {} dropped",
            human_rate(self.frames_per_second),
            self.bytes_per_second.map_or_else(|| "-".to_owned(), |bytes| format!("{:.0}", bytes / 1e6)),
            latency.unwrap_or_default(),
            self.dropped
        )
    }
}
