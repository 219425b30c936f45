//! The WebSocket of a page.
//!
//! The page says which channels it shows, and acknowledges each picture. At most two pictures of a channel
//! are not acknowledged at a time, so that a slow page gets fewer pictures, and new ones. A session keeps no
//! picture: it sends the newest one when it may.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use framelane::Origin;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use crate::feed::{Feeds, Size, Viewing};
use crate::latency::now_ns;
use crate::observer::News;

/// Longest message of a page. The list of its channels is the only long one.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 * 1024;
/// Most channels that a page shows at once.
const MAX_CHANNELS: usize = 128;
/// Pictures of a channel that are not acknowledged.
const MAX_UNACKNOWLEDGED: usize = 2;
/// A message that takes longer than this ends the session.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of pings. A page that sends nothing for three of them is disconnected.
const PING: Duration = Duration::from_secs(10);

/// A message of a page.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// The channels that it shows, instead of those before.
    Watch { channels: BTreeMap<String, Size> },
    /// It has shown a picture.
    Ack { channel: String, size: Size, sequence: u64 },
    /// It asks for the time, to compare its clock.
    Clock { sent: f64 },
}

#[derive(Serialize)]
struct Clock {
    r#type: &'static str,
    sent: f64,
    now_ns: u64,
}

/// A channel that the page shows.
struct Shown {
    /// `None` while the channel does not exist.
    viewing: Option<Viewing>,
    size: Size,
    /// The picture sent last.
    sent: Option<Origin>,
    /// Sequences of pictures that were sent and not acknowledged.
    unacknowledged: Vec<u64>,
}

struct Session {
    feeds: Arc<Feeds>,
    sink: SplitSink<WebSocket, Message>,
    shown: BTreeMap<String, Shown>,
    notify: Arc<Notify>,
}

/// Serves a page until it leaves, breaks a rule or stalls.
pub(crate) async fn run(
    socket: WebSocket,
    feeds: Arc<Feeds>,
    mut updates: watch::Receiver<Option<News>>,
    _permit: OwnedSemaphorePermit,
) {
    let (sink, mut stream) = socket.split();
    let mut session = Session { feeds, sink, shown: BTreeMap::new(), notify: Arc::new(Notify::new()) };
    let result = session.serve(&mut stream, &mut updates).await;
    if let ControlFlow::Break(Some((code, reason))) = result {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = session.send(Message::Close(Some(frame))).await;
    }
}

/// The end of a session, with the reason if the page is at fault.
type Next = ControlFlow<Option<(u16, &'static str)>>;

impl Session {
    async fn serve(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        updates: &mut watch::Receiver<Option<News>>,
    ) -> Next {
        let mut ping = tokio::time::interval(PING);
        let mut heard = Instant::now();
        let notify = self.notify.clone();
        loop {
            tokio::select! {
                message = stream.next() => {
                    heard = Instant::now();
                    let Some(Ok(message)) = message else { return ControlFlow::Break(None) };
                    self.receive(message).await?;
                }
                () = notify.notified() => self.send_pictures().await?,
                changed = updates.changed() => {
                    if changed.is_err() {
                        return ControlFlow::Break(Some((close_code::AWAY, "the dashboard ends")));
                    }
                    let news = updates.borrow_and_update().clone();
                    if let Some(News { text, .. }) = news {
                        self.send(Message::Text(text)).await?;
                    }
                    self.view_missing().await?;
                }
                _ = ping.tick() => {
                    if heard.elapsed() > 3 * PING {
                        return ControlFlow::Break(Some((close_code::POLICY, "the page does not answer")));
                    }
                    self.send(Message::Ping(axum::body::Bytes::new())).await?;
                }
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Next {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return ControlFlow::Continue(()),
            Message::Close(_) => return ControlFlow::Break(None),
            Message::Binary(_) => {
                return ControlFlow::Break(Some((close_code::UNSUPPORTED, "expected a text message")));
            }
        };
        match serde_json::from_str(&text) {
            Ok(Request::Watch { channels }) => self.watch(channels).await,
            Ok(Request::Ack { channel, size, sequence }) => {
                self.acknowledge(&channel, size, sequence);
                self.send_pictures().await
            }
            Ok(Request::Clock { sent }) => {
                let clock = Clock { r#type: "clock", sent, now_ns: now_ns() };
                let text = serde_json::to_string(&clock).expect("a clock has string keys only");
                self.send(Message::Text(text.into())).await
            }
            Err(_) => ControlFlow::Break(Some((close_code::POLICY, "expected a request of the page"))),
        }
    }

    async fn watch(&mut self, channels: BTreeMap<String, Size>) -> Next {
        if channels.len() > MAX_CHANNELS {
            return ControlFlow::Break(Some((close_code::POLICY, "expected at most 128 channels")));
        }
        self.shown.retain(|channel, shown| channels.get(channel) == Some(&shown.size));
        for (channel, size) in channels {
            self.shown.entry(channel).or_insert(Shown {
                viewing: None,
                size,
                sent: None,
                unacknowledged: Vec::new(),
            });
        }
        self.view_missing().await?;
        self.send_pictures().await
    }

    /// Begins to view the channels that exist now.
    async fn view_missing(&mut self) -> Next {
        for (channel, shown) in self.shown.iter_mut().filter(|(_, shown)| shown.viewing.is_none()) {
            let (feeds, channel, size) = (self.feeds.clone(), channel.clone(), shown.size);
            let notify = self.notify.clone();
            let view = tokio::task::spawn_blocking(move || feeds.view(&channel, size, notify));
            // Most errors end when the publisher starts. The page sees the others in the updates.
            shown.viewing = view.await.ok().and_then(Result::ok);
        }
        ControlFlow::Continue(())
    }

    fn acknowledge(&mut self, channel: &str, size: Size, sequence: u64) {
        if let Some(shown) = self.shown.get_mut(channel).filter(|shown| shown.size == size) {
            // Pictures arrive in order, so those before have been shown or skipped.
            if let Some(at) = shown.unacknowledged.iter().position(|sent| *sent == sequence) {
                shown.unacknowledged.drain(..=at);
            }
        }
    }

    /// Sends the newest picture of each channel, unless the page has it or has not shown others yet.
    async fn send_pictures(&mut self) -> Next {
        let mut messages = Vec::new();
        for shown in self.shown.values_mut() {
            let Some(picture) = shown.viewing.as_ref().and_then(Viewing::newest) else { continue };
            if shown.sent == Some(picture.origin) || shown.unacknowledged.len() >= MAX_UNACKNOWLEDGED {
                continue;
            }
            shown.sent = Some(picture.origin);
            shown.unacknowledged.push(picture.origin.sequence);
            messages.push(picture.message());
        }
        for message in messages {
            self.send(Message::Binary(message)).await?;
        }
        ControlFlow::Continue(())
    }

    async fn send(&mut self, message: Message) -> Next {
        match tokio::time::timeout(SEND_TIMEOUT, self.sink.send(message)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(None),
        }
    }
}
