//! Looks at all channels once a second while a page is open, once for all pages.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::feed::Feeds;
use crate::latency::{Hops, now_ns};
use crate::report::{ChannelReport, channels};

/// Interval of updates.
const INTERVAL: Duration = Duration::from_secs(1);

/// The newest update, in JSON, for all pages.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) at: Instant,
    pub(crate) text: Utf8Bytes,
}

/// The updates of all pages.
pub(crate) struct Updates {
    news: watch::Sender<Option<News>>,
    /// Notified of the first page.
    opened: Notify,
}

impl Updates {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Updates { news: watch::Sender::new(None), opened: Notify::new() })
    }

    /// Begins to receive updates. The first one arrives at once.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<News>> {
        let mut receiver = self.news.subscribe();
        let is_new = receiver.borrow().as_ref().is_some_and(|news| news.at.elapsed() < 2 * INTERVAL);
        if is_new {
            receiver.mark_changed();
        } else {
            self.opened.notify_one();
        }
        receiver
    }
}

/// The message to all pages, once a second.
#[derive(Serialize)]
struct Update {
    r#type: &'static str,
    /// Time of this update, on `CLOCK_REALTIME`.
    now_ns: u64,
    channels: Vec<Line>,
    /// The reason why the channels cannot be listed.
    error: Option<String>,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    channel: ChannelReport,
    /// Frames published in a second. `null` until the second update.
    frames_per_second: Option<f64>,
    dropped_per_second: Option<f64>,
    latency: Hops,
    viewers: usize,
    /// The reason why there is no picture.
    fault: Option<String>,
}

/// Counts at the update before.
struct Before {
    epoch: u64,
    published: u64,
    dropped: u64,
}

/// Sends updates while there are pages. Never returns.
pub(crate) async fn run(feeds: Arc<Feeds>, directory: Option<PathBuf>, updates: Arc<Updates>) {
    let mut before = HashMap::new();
    let mut seen = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = updates.opened.notified() => ticks.reset(),
        }
        if updates.news.receiver_count() == 0 {
            // A page that opens later has rates from its second update on.
            before = HashMap::new();
            continue;
        }
        let (feeds, directory) = (feeds.clone(), directory.clone());
        let elapsed = std::mem::replace(&mut seen, Instant::now()).elapsed();
        let look = tokio::task::spawn_blocking(move || {
            let update = look(&feeds, directory, &mut before, elapsed);
            (serde_json::to_string(&update).expect("updates have string keys only"), before)
        });
        let Ok((text, counted)) = look.await else { return };
        before = counted;
        updates.news.send_replace(Some(News { at: Instant::now(), text: text.into() }));
    }
}

fn look(
    feeds: &Feeds,
    directory: Option<PathBuf>,
    before: &mut HashMap<String, Before>,
    elapsed: Duration,
) -> Update {
    let (reports, error) = match channels(directory.as_deref()) {
        Ok(reports) => (reports, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    feeds.retain(|channel| reports.iter().any(|report| report.name == channel));
    let mut counted = HashMap::new();
    let channels = reports.into_iter().map(|channel| {
        let now = Before {
            epoch: channel.epoch,
            published: channel.sequence.saturating_sub(channel.dropped),
            dropped: channel.dropped,
        };
        let last = before.remove(&channel.name).filter(|last| last.epoch == now.epoch);
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / elapsed.as_secs_f64();
        let feed = feeds.get(&channel.name);
        let line = Line {
            frames_per_second: last.as_ref().map(|last| per_second(now.published, last.published)),
            dropped_per_second: last.as_ref().map(|last| per_second(now.dropped, last.dropped)),
            latency: feed.as_ref().map(|feed| feed.latencies.take()).unwrap_or_default(),
            viewers: feed.as_ref().map_or(0, |feed| feed.viewers()),
            fault: feed.and_then(|feed| feed.fault()),
            channel,
        };
        counted.insert(line.channel.name.clone(), now);
        line
    });
    let channels = channels.collect();
    *before = counted;
    Update { r#type: "channels", now_ns: now_ns(), channels, error }
}
