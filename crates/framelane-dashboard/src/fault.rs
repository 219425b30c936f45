//! Errors of requests, as JSON.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use framelane::{Error, ErrorKind};
use serde::Serialize;

/// An error for a client.
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) error: Error,
}

#[derive(Serialize)]
struct Body<'e> {
    error: Fields<'e>,
}

/// The fields of an error of `framelane --json`.
#[derive(Serialize)]
struct Fields<'e> {
    code: u32,
    kind: &'static str,
    message: &'e str,
    hint: &'e str,
}

impl Fault {
    pub(crate) fn not_found(message: &str) -> Self {
        let error = Error::new(ErrorKind::NotFound, message).with_hint("see /api/openapi.json");
        Fault { status: StatusCode::NOT_FOUND, error }
    }

    pub(crate) fn internal(error: tokio::task::JoinError) -> Self {
        let error = Error::new(ErrorKind::InternalFailure, error.to_string());
        Fault { status: StatusCode::INTERNAL_SERVER_ERROR, error }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::InvalidName | ErrorKind::InvalidOption => StatusCode::BAD_REQUEST,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Fault { status, error }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let error = &self.error;
        let (message, hint) = (error.message(), error.advice());
        let body = Body { error: Fields { code: error.code(), kind: error.kind().name(), message, hint } };
        let json = serde_json::to_string(&body).expect("errors have string keys only");
        (self.status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
    }
}
