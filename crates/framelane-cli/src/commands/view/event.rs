//! Events of `view`, in JSON and for people.

use framelane_view::{ViewEvent, ViewSummary};
use serde::Serialize;

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'e> {
    Opened {
        width: u32,
        height: u32,
        system: &'static str,
    },
    Waiting {
        channel: &'e str,
    },
    Live {
        channel: &'e str,
    },
    Stalled {
        channel: &'e str,
        seconds: u64,
    },
    Failed {
        channel: &'e str,
        cause: &'e str,
    },
    Format {
        channel: &'e str,
        width: u32,
        height: u32,
        format: &'e str,
    },
    Statistics {
        channel: &'e str,
        seconds: f64,
        /// Frames that the channel delivered.
        received: u64,
        /// Pictures that the window showed.
        shown: u64,
        /// Frames of the channel that were not delivered.
        dropped: u64,
        frames_per_second: f64,
        /// From the capture to the display server.
        latency: Option<Latency>,
    },
    Saved {
        channel: &'e str,
        sequence: u64,
        path: String,
    },
    NotSaved {
        channel: &'e str,
        cause: &'e str,
    },
    Paused,
    Resumed,
    Summary {
        seconds: f64,
        received: u64,
        shown: u64,
        dropped: u64,
    },
}

/// Latencies in microseconds, as in `subscribe`.
#[derive(Serialize)]
pub struct Latency {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl<'e> Event<'e> {
    pub fn new(event: &'e ViewEvent) -> Option<Self> {
        let us = |ns: u64| ns as f64 / 1000.0;
        Some(match event {
            ViewEvent::Opened { width, height, system } => {
                Event::Opened { width: *width, height: *height, system }
            }
            ViewEvent::Waiting { channel } => Event::Waiting { channel },
            ViewEvent::Live { channel } => Event::Live { channel },
            ViewEvent::Stalled { channel, time } => Event::Stalled { channel, seconds: time.as_secs() },
            ViewEvent::Failed { channel, cause } => Event::Failed { channel, cause },
            ViewEvent::Format { channel, width, height, format } => {
                Event::Format { channel, width: *width, height: *height, format }
            }
            ViewEvent::Statistics { channel, time, received, shown, dropped, latency } => Event::Statistics {
                channel,
                seconds: time.as_secs_f64(),
                received: *received,
                shown: *shown,
                dropped: *dropped,
                frames_per_second: *received as f64 / time.as_secs_f64().max(1e-9),
                latency: latency.map(|latency| Latency {
                    p50_us: us(latency.p50_ns),
                    p99_us: us(latency.p99_ns),
                    max_us: us(latency.max_ns),
                }),
            },
            ViewEvent::Saved { channel, sequence, path } => {
                Event::Saved { channel, sequence: *sequence, path: path.display().to_string() }
            }
            ViewEvent::NotSaved { channel, cause } => Event::NotSaved { channel, cause },
            ViewEvent::Paused => Event::Paused,
            ViewEvent::Resumed => Event::Resumed,
            _ => return None,
        })
    }

    pub fn summary(summary: ViewSummary, seconds: f64) -> Self {
        let ViewSummary { received, shown, dropped, .. } = summary;
        Event::Summary { seconds, received, shown, dropped }
    }
}

/// The note about an event. `None`: the window shows it.
pub fn text(event: &ViewEvent) -> Option<String> {
    Some(match event {
        ViewEvent::Waiting { channel } => format!("waiting for channel {channel}"),
        ViewEvent::Failed { channel, cause } => format!("cannot show channel {channel}: {cause}"),
        ViewEvent::Format { channel, width, height, format } => {
            format!("frames of {channel} are {width}x{height} {format}")
        }
        ViewEvent::NotSaved { channel, cause } => format!("cannot save a frame of {channel}: {cause}"),
        _ => return None,
    })
}
