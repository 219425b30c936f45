//! `framelane send` over a link.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, ErrorKind};
use framelane_net::{LinkEvent, LinkUrl, SendOptions, SendStatistics, WhenClosed};
use serde::Serialize;

use super::options::Options;
use crate::failure::Failure;
use crate::global::Global;
use crate::link_report::Connection;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::human_bytes;
use crate::tally::Tally;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String },
    Summary { frames: u64, skipped: u64, bytes: u64, frames_per_second: Option<f64> },
}

/// Sends until the channel closes, or until `--count` frames were sent.
pub fn run(options: &Options, link: &LinkUrl, global: &Global, stop: &Stop) -> Result<(), Failure> {
    let reporter = Reporter::new(global.json);
    // The channel first: a wrong name is reported before the first connection, and frames are kept meanwhile.
    let of_link = global.subscriber().delivery(link.options.delivery);
    let subscriber = options.subscribe(global, of_link, &reporter, stop)?;
    reporter.event(
        &Event::Started { channel: &options.channel, target: link.to_string() },
        &format!("channel {} to {link} ({})", options.channel, link.options.codec),
    )?;
    reporter.start_progress(options.count);
    let state = Arc::new(Mutex::new((Connection::new(reporter.clone()), Tally::default())));
    let (began, open_timeout) = (Instant::now(), options.open_timeout);
    // An attempt that has begun may end, however short the time is.
    let is_late = move |connection: &Connection| {
        let is_over =
            |limit| began.elapsed() >= limit && (limit > Duration::ZERO || !connection.trouble().is_empty());
        !connection.is_connected() && open_timeout.is_some_and(is_over)
    };
    let watched = state.clone();
    let late = CancelToken::with_check(move || is_late(&locked(&watched).0));
    let sending = SendOptions::new(global.subscriber())
        .count(options.count)
        .when_closed(if options.reconnect { WhenClosed::Wait } else { WhenClosed::Return })
        .cancel(CancelToken::any([stop.token(), late]));
    let events = |event: LinkEvent<'_, SendStatistics>| {
        let (connection, tally) = &mut *locked(&state);
        match event {
            LinkEvent::Connected => connection.connected(),
            LinkEvent::Lost { error, wait, .. } => connection.lost(error, wait),
            LinkEvent::Progress(sent) if tally.update(sent.frames) => {
                reporter.progress(sent.frames, format!("frames, {} skipped", sent.skipped));
            }
            _ => {}
        }
    };
    let result = framelane_net::send(link, subscriber, &sending, &events);
    let (connection, tally) = &*locked(&state);
    reporter.end_progress();
    let SendStatistics { frames, skipped, bytes, .. } = result?;
    if is_late(connection) && !stop.is_set() {
        let limit = options.open_timeout.unwrap_or_default().as_secs_f64();
        let cause = if connection.trouble().is_empty() { "no answer" } else { connection.trouble() };
        return Err(Error::new(
            ErrorKind::Timeout,
            format!("expected a connection within {limit} s: {cause}"),
        )
        .with_hint("start `framelane serve` there, check host and port, or allow more time (--open-timeout)")
        .into());
    }
    reporter.event(
        &Event::Summary { frames, skipped, bytes, frames_per_second: tally.frames_per_second() },
        &format!("{}, {} in all, {skipped} skipped", tally.text("sent"), human_bytes(bytes)),
    )
}

/// Both threads of the link report here.
fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
