//! The live table and the summary.

use std::time::Instant;

use framelane::Detections;
use hdrhistogram::Histogram;

use crate::detector::Line;
use crate::pictures::Pictures;

/// Counts and times measured so far.
pub(crate) struct Report {
    started: Instant,
    last_row: Instant,
    total: Option<u64>,
    frames: u64,
    dropped: u64,
    /// Frames published and dropped in earlier videos.
    earlier: (u64, u64),
    skipped: u64,
    batches: u64,
    matched: u64,
    faces: u64,
    frames_with_faces: u64,
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
            earlier: (0, 0),
            skipped: 0,
            batches: 0,
            matched: 0,
            faces: 0,
            frames_with_faces: 0,
            newest_result: 0,
            frames_at_last_row: 0,
            batches_at_last_row: 0,
            handoff_ns: histogram(),
            detection_ns: histogram(),
        }
    }

    /// Starts the counts of the next video.
    pub(crate) fn begin_video(&mut self) {
        self.earlier = (self.frames, self.dropped);
    }

    /// Records the frames published and dropped so far in this video.
    pub(crate) fn published(&mut self, frames: u64, dropped: u64) {
        self.frames = self.earlier.0 + frames;
        self.dropped = self.earlier.1 + dropped;
    }

    pub(crate) fn detector_printed(&mut self, line: &Line) {
        match *line {
            Line::Arrived { handoff_ns } => self.handoff_ns.saturating_record(handoff_ns.max(1)),
            Line::Processed { skipped } => self.skipped += skipped,
        }
    }

    pub(crate) fn result(&mut self, batch: &Detections, matched: bool) {
        self.batches += 1;
        self.matched += u64::from(matched);
        self.faces += batch.boxes.len() as u64;
        self.frames_with_faces += u64::from(!batch.boxes.is_empty());
        self.newest_result = self.newest_result.max(batch.frame.sequence);
        self.detection_ns.saturating_record(batch.latency_ns().max(1));
    }

    pub(crate) fn matched(&self) -> u64 {
        self.matched
    }

    /// Returns the newest frame whose detections have arrived.
    pub(crate) fn newest_result(&self) -> u64 {
        self.newest_result
    }

    pub(crate) fn print_header() {
        println!(
            "dropped: no slot was free; skipped: a newer frame was there when the detector was ready\n\
             hand-off: from publication to numpy array; detection: from publication to boxes"
        );
        println!(
            "{:>6} {:>11} {:>9} {:>7} {:>8} {:>10} {:>7} {:>18} {:>19}",
            "time",
            "frames",
            "frames/s",
            "dropped",
            "skipped",
            "detected/s",
            "faces",
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
            self.faces,
            percentiles(&self.handoff_ns, 1e3, "µs"),
            percentiles(&self.detection_ns, 1e6, "ms"),
        );
        self.last_row = Instant::now();
        self.frames_at_last_row = self.frames;
        self.batches_at_last_row = self.batches;
    }

    pub(crate) fn print_summary(&self, pictures: &Pictures) {
        println!(
            "\n{} frames published in {:.1} s, {} dropped; the detector processed {} and skipped {}",
            self.frames,
            self.started.elapsed().as_secs_f64(),
            self.dropped,
            self.batches,
            self.skipped
        );
        println!(
            "hand-off to numpy in Python, zero-copy: {} (p50/p99)",
            percentiles(&self.handoff_ns, 1e3, "µs")
        );
        println!(
            "boxes back: {} (p50/p99) after publication; {} of {} batches matched to their frame",
            percentiles(&self.detection_ns, 1e6, "ms"),
            self.matched,
            self.batches
        );
        if self.faces == 0 {
            println!("found no face; {} says so too", pictures.page().display());
        } else {
            println!(
                "found {} faces in {} frames; {} pictures, side by side: open {}",
                self.faces,
                self.frames_with_faces,
                pictures.saved(),
                pictures.page().display()
            );
        }
    }
}

fn percentiles(histogram: &Histogram<u64>, unit_ns: f64, unit: &str) -> String {
    if histogram.is_empty() {
        return "-".to_owned();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit_ns;
    format!("{:.0}/{:.0} {unit}", at(0.5), at(0.99))
}
