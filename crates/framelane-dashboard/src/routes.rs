//! Paths and their handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use framelane::{Error, ErrorKind, check_name};

use crate::fault::Fault;
use crate::feed::Size;
use crate::report::Report;
use crate::session::{self, MAX_MESSAGE_BYTES};
use crate::shared::Shared;
use crate::{guard, metrics, pages, streams};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(file))
        .route("/assets/{name}", get(file))
        .route("/api/openapi.json", get(file))
        .route("/api/channels", get(channels))
        .route("/metrics", get(all_metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/session", post(open_session))
        .route("/channels/{*path}", get(picture))
        .route("/ws", any(socket))
        .fallback(async || Fault::not_found("there is no such page"))
        .method_not_allowed_fallback(async || Fault {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error: Error::new(ErrorKind::InvalidOption, "expected GET").with_hint("see /api/openapi.json"),
        })
        .layer(middleware::from_fn_with_state(shared.guard.clone(), guard::check))
        .with_state(shared)
}

async fn file(uri: Uri) -> Response {
    match pages::file(uri.path()) {
        Some((media_type, content)) => ([(header::CONTENT_TYPE, media_type)], content).into_response(),
        None => Fault::not_found("there is no such file").into_response(),
    }
}

async fn channels(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    let report = tokio::task::spawn_blocking(move || Report::of(shared.directory.as_deref()));
    let report = report.await.map_err(Fault::internal)??;
    let json = serde_json::to_string(&report).expect("reports have string keys only");
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn all_metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Fault> {
    let text = tokio::task::spawn_blocking(move || metrics::text(&shared));
    let text = text.await.map_err(Fault::internal)??;
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

/// Sets the cookie of a page that has presented the token.
async fn open_session(State(shared): State<Arc<Shared>>) -> Response {
    let cookie = shared.guard.set_cookie().unwrap_or(HeaderValue::from_static(""));
    let mut response = StatusCode::NO_CONTENT.into_response();
    if !cookie.is_empty() {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

async fn picture(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    let size = match query.as_deref() {
        None | Some("" | "size=full") => Size::Full,
        Some("size=tile") => Size::Tile,
        Some(_) => {
            let message = "expected ?size=tile or ?size=full";
            return Err(Error::new(ErrorKind::InvalidOption, message).into());
        }
    };
    let (channel, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if !matches!(name, "snapshot.jpg" | "stream.mjpg") {
        return Err(Fault::not_found("there is no such page"));
    }
    check_name(channel)?;
    let permit = shared.permit()?;
    match name {
        "snapshot.jpg" => streams::snapshot(&shared.feeds, channel, size, permit).await,
        _ => streams::motion_jpeg(&shared.feeds, channel, size, permit).await,
    }
}

async fn socket(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Result<Response, Fault> {
    let permit = shared.permit()?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| {
        session::run(socket, shared.feeds.clone(), shared.updates.subscribe(), permit)
    }))
}
