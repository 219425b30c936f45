//! The live table and the summary.

use std::time::Instant;

use framelane::Detections;
use framelane_video::Summary;
use hdrhistogram::Histogram;

use crate::detector::Line;
use crate::pictures::Pictures;

/// What has been counted and measured so far.
pub(crate) struct Report {
    started: Instant,
    last_row: Instant,
    total: Option<u64>,
    frames: u64,
    dropped: u64,
    skipped: u64,
    batches: u64,
    matched: u64,
    people: u64,
    newest_result: u64,
    frames_at_last_row: u64,
    batches_at_last_row: u64,
    handoff_ns: Histogram<u64>,
    detection_ns: Histogram<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are valid")
}

impl Report {
    pub(crate) fn new(total: Option<u64>) -> Self {
        Report {
            started: Instant::now(),
            last_row: Instant::now(),
            total,
            frames: 0,
            dropped: 0,
            skipped: 0,
            batches: 0,
            matched: 0,
            people: 0,
            newest_result: 0,
            frames_at_last_row: 0,
            batches_at_last_row: 0,
            handoff_ns: histogram(),
            detection_ns: histogram(),
        }
    }

    pub(crate) fn published(&mut self, frames: u64, dropped: u64) {
        self.frames = frames;
        self.dropped = dropped;
    }

    pub(crate) fn detector_says(&mut self, line: &Line) {
        match *line {
            Line::Arrived { handoff_ns } => self.handoff_ns.saturating_record(handoff_ns.max(1)),
            Line::LookedAt { skipped } => self.skipped += skipped,
        }
    }

    pub(crate) fn result(&mut self, batch: &Detections, matched: bool) {
        self.batches += 1;
        self.matched += u64::from(matched);
        self.people += batch.boxes.len() as u64;
        self.newest_result = self.newest_result.max(batch.frame.sequence);
        self.detection_ns.saturating_record(batch.latency_ns().max(1));
    }

    pub(crate) fn matched(&self) -> u64 {
        self.matched
    }

    /// The newest frame whose detections are back.
    pub(crate) fn newest_result(&self) -> u64 {
        self.newest_result
    }

    pub(crate) fn print_header() {
        println!(
            "dropped: found no free slot; skipped: newer ones were there when the detector was done; hand-off: publication \
             to numpy array; detection: publication to boxes"
        );
        println!(
            "{:>6} {:>11} {:>9} {:>7} {:>8} {:>10} {:>7} {:>18} {:>19}",
            "time",
            "frames",
            "frames/s",
            "dropped",
            "skipped",
            "detected/s",
            "people",
            "hand-off p50/p99",
            "detection p50/p99"
        );
    }

    pub(crate) fn print_row(&mut self) {
        let seconds = self.last_row.elapsed().as_secs_f64();
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let of_total = self.total.map_or(String::new(), |total| format!("/{total}"));
        println!(
            "{:>5.0}s {:>11} {:>9.1} {:>7} {:>8} {:>10.1} {:>7} {:>18} {:>19}",
            self.started.elapsed().as_secs_f64(),
            format!("{}{of_total}", self.frames),
            rate(self.frames, self.frames_at_last_row),
            self.dropped,
            self.skipped,
            rate(self.batches, self.batches_at_last_row),
            self.people,
            percentiles(&self.handoff_ns, 1e3, "µs"),
            percentiles(&self.detection_ns, 1e6, "ms"),
        );
        self.last_row = Instant::now();
        self.frames_at_last_row = self.frames;
        self.batches_at_last_row = self.batches;
    }

    pub(crate) fn print_summary(&self, summary: &Summary, pictures: &Pictures) {
        println!();
        println!(
            "{} frames published in {:.1} s, {} dropped for want of a slot, {} passed over by the detector",
            summary.frames,
            summary.elapsed.as_secs_f64(),
            summary.dropped,
            self.skipped
        );
        println!(
            "hand-off to a numpy array in Python: {} (p50/p99), without a copy",
            percentiles(&self.handoff_ns, 1e3, "µs")
        );
        println!(
            "{} batches of detections back, {} matched to their frame, {} after its publication (p50/p99)",
            self.batches,
            self.matched,
            percentiles(&self.detection_ns, 1e6, "ms")
        );
        if self.people == 0 {
            println!("no people were found");
        }
        println!(
            "{} boxes around people (OpenCV's HOG is often wrong); {} pictures in {} (open {})",
            self.people,
            pictures.saved(),
            pictures.folder().display(),
            pictures.folder().join("index.html").display()
        );
    }
}

fn percentiles(histogram: &Histogram<u64>, unit_ns: f64, unit: &str) -> String {
    if histogram.is_empty() {
        return "-".to_owned();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit_ns;
    format!("{:.0}/{:.0} {unit}", at(0.5), at(0.99))
}
