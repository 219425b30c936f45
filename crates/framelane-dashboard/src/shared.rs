//! State that all requests share.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use framelane::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::Fault;
use crate::feed::Feeds;
use crate::guard::Guard;
use crate::observer::Updates;

/// State that all requests share.
pub(crate) struct Shared {
    pub(crate) guard: Arc<Guard>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) updates: Arc<Updates>,
    /// Places of pages and streams.
    pub(crate) clients: Arc<Semaphore>,
    pub(crate) max_clients: usize,
}

impl Shared {
    /// Returns a place for a page or a stream.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.clients.clone().try_acquire_owned().map_err(|_| Fault {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: Error::new(
                ErrorKind::InvalidOption,
                format!("all {} places for pages and streams are in use", self.max_clients),
            )
            .with_hint("close other pages, or raise `--max-clients`"),
        })
    }
}
