//! `framelane send` over a link.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use framelane_net::{LinkEvent, LinkUrl, SendStatistics, Sending};
use serde::Serialize;

use super::Send;
use crate::failure::{Failure, print_json};
use crate::global::Global;
use crate::notes::Notes;
use crate::signals::Stop;
use crate::table::{counted, human_bytes, human_rate, rate};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Started { channel: &'e str, target: String },
    Connected,
    Lost { reason: String, next_try_s: f64 },
    Summary { frames: u64, skipped: u64, bytes: u64, frames_per_second: Option<f64> },
}

/// What both threads of the link tell.
struct Reporter {
    notes: Notes,
    first: Option<Instant>,
    elapsed: Duration,
    frames: u64,
    connected: bool,
    /// Printed once for the same trouble.
    trouble: String,
}

/// Sends until the channel closes, or as many frames as were asked for.
pub fn run(send: &Send, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
    let link = send.link.link(&send.target, send.stream.size, send.stream.idle_timeout, send.insecure)?;
    let notes = Notes::new(global.json);
    // The channel first: a wrong name is reported before the first connection, and what comes until
    // then is not lost.
    let subscriber = send.open(global, global.subscriber().delivery(link.options.delivery), &notes, stop)?;
    started(send, &link, &notes, global.json)?;
    notes.start_progress(send.count);
    let reporter = Reporter {
        notes,
        first: None,
        elapsed: Duration::ZERO,
        frames: 0,
        connected: false,
        trouble: String::new(),
    };
    let reporter = Mutex::new(reporter);
    let began = Instant::now();
    // A try that has begun may end, however short the time is.
    let late = |reporter: &Reporter| {
        !reporter.connected
            && send.open_timeout.is_some_and(|limit| {
                began.elapsed() >= limit && (limit > Duration::ZERO || !reporter.trouble.is_empty())
            })
    };
    let sending = Sending { subscriber: global.subscriber(), count: send.count, reconnect: send.reconnect };
    let keep = || {
        let reporter = reporter.lock().unwrap_or_else(PoisonError::into_inner);
        !stop.is_set() && !late(&reporter)
    };
    let events = |event: LinkEvent<'_, SendStatistics>| {
        tell(&mut reporter.lock().unwrap_or_else(PoisonError::into_inner), &event, global.json);
    };
    let result = framelane_net::send(&link, subscriber, &sending, &events, &keep);
    let reporter = reporter.into_inner().unwrap_or_else(PoisonError::into_inner);
    reporter.notes.end_progress();
    let SendStatistics { frames, skipped, bytes, .. } = result?;
    if late(&reporter) && !stop.is_set() {
        let limit = send.open_timeout.unwrap_or_default().as_secs_f64();
        let why = if reporter.trouble.is_empty() { "no answer" } else { &reporter.trouble };
        return Err(Error::new(ErrorKind::Timeout, format!("expected a connection within {limit} s: {why}"))
            .with_hint(
                "start `framelane serve` there, check host and port, or allow more time (--open-timeout)",
            )
            .into());
    }
    let frames_per_second = rate(frames, reporter.elapsed);
    if global.json {
        print_json(&Event::Summary { frames, skipped, bytes, frames_per_second })?;
    }
    let sent = counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
    reporter.notes.say(&format!(
        "{sent} sent ({}), {} a second, {skipped} skipped",
        human_bytes(bytes),
        human_rate(frames_per_second)
    ));
    Ok(ExitCode::SUCCESS)
}

fn started(send: &Send, link: &LinkUrl, notes: &Notes, json: bool) -> Result<(), Failure> {
    if json {
        print_json(&Event::Started { channel: &send.channel, target: link.to_string() })?;
    }
    notes.say(&format!("channel {} to {link} ({})", send.channel, link.options.codec));
    Ok(())
}

fn tell(reporter: &mut Reporter, event: &LinkEvent<'_, SendStatistics>, json: bool) {
    match event {
        LinkEvent::Connected => {
            reporter.trouble.clear();
            reporter.connected = true;
            // Whoever reads our output may be gone: the link does not end for that.
            let _ = if json { print_json(&Event::Connected) } else { Ok(()) };
            reporter.notes.say("connected");
        }
        LinkEvent::Lost { error, wait } => {
            let reason = lost(error);
            if json {
                let _ = print_json(&Event::Lost { reason: reason.clone(), next_try_s: wait.as_secs_f64() });
            }
            if reporter.trouble != reason {
                reporter.notes.say(&format!("{reason}; trying again"));
                reporter.trouble = reason;
            }
        }
        LinkEvent::Progress(sent) if sent.frames > reporter.frames => {
            reporter.frames = sent.frames;
            reporter.elapsed = reporter.first.get_or_insert_with(Instant::now).elapsed();
            reporter.notes.progress(sent.frames, format!("frames, {} skipped", sent.skipped));
        }
        _ => {}
    }
}

/// Why a connection is gone, with what to do about it.
pub fn lost(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    }
}
