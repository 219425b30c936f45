//! Pictures for programs that are no browser: one JPEG, or a stream of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use framelane::{Error, ErrorKind, Origin};
use futures_util::stream;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::fault::Fault;
use crate::feed::{Feeds, Picture, Size, Viewing};

/// Longest wait for the first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(5);
/// Separates the parts of a stream.
const BOUNDARY: &str = "framelane";

/// A viewer of one channel.
struct Viewer {
    viewing: Viewing,
    notify: Arc<Notify>,
    sent: Option<Origin>,
    _permit: OwnedSemaphorePermit,
}

impl Viewer {
    async fn new(
        feeds: &Arc<Feeds>,
        channel: &str,
        size: Size,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Fault> {
        let notify = Arc::new(Notify::new());
        let (feeds, channel, theirs) = (feeds.clone(), channel.to_owned(), notify.clone());
        let view = tokio::task::spawn_blocking(move || feeds.view(&channel, size, theirs));
        let viewing = view.await.map_err(Fault::internal)??;
        Ok(Viewer { viewing, notify, sent: None, _permit: permit })
    }

    /// Waits for a picture that is newer than the one before.
    async fn next(&mut self) -> Arc<Picture> {
        loop {
            match self.viewing.newest() {
                Some(picture) if self.sent != Some(picture.origin) => {
                    self.sent = Some(picture.origin);
                    return picture;
                }
                _ => self.notify.notified().await,
            }
        }
    }

    /// Waits for the first picture.
    async fn first(&mut self) -> Result<Arc<Picture>, Fault> {
        match tokio::time::timeout(FIRST_PICTURE, self.next()).await {
            Ok(picture) => Ok(picture),
            Err(_) => Err(Fault {
                status: StatusCode::SERVICE_UNAVAILABLE,
                error: self.viewing.fault().unwrap_or_else(|| {
                    Error::new(ErrorKind::Timeout, "the channel had no new picture within 5 s")
                        .with_hint("check its publisher with `framelane info CHANNEL`")
                }),
            }),
        }
    }
}

/// Returns the newest picture.
pub(crate) async fn snapshot(
    feeds: &Arc<Feeds>,
    channel: &str,
    size: Size,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Fault> {
    let picture = Viewer::new(feeds, channel, size, permit).await?.first().await?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], picture.jpeg()).into_response())
}

/// Returns each picture that the client has time for.
pub(crate) async fn motion_jpeg(
    feeds: &Arc<Feeds>,
    channel: &str,
    size: Size,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Fault> {
    let mut viewer = Viewer::new(feeds, channel, size, permit).await?;
    let first = viewer.first().await?;
    let parts = stream::unfold((viewer, Some(first)), |(mut viewer, first)| async move {
        let picture = match first {
            Some(picture) => picture,
            None => viewer.next().await,
        };
        Some((Ok::<Bytes, std::convert::Infallible>(part(&picture.jpeg())), (viewer, None)))
    });
    let media_type = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(parts)).into_response())
}

/// A part of the stream. The boundary follows at once, so that a client shows the picture without waiting for
/// the next one.
fn part(jpeg: &[u8]) -> Bytes {
    let head = format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    [head.as_bytes(), jpeg, b"\r\n"].concat().into()
}
