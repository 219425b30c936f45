//! How a read that waits is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the user (from any thread or a signal handler) or by the end of publishing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    /// Written by the user, read here.
    user: Option<Arc<AtomicBool>>,
    /// Written by the publishing thread when it has had enough, read by the decoding thread.
    enough: AtomicBool,
}

impl Interrupt {
    pub(crate) fn new(user: Option<Arc<AtomicBool>>) -> Self {
        Interrupt(Arc::new(Flags { user, enough: AtomicBool::new(false) }))
    }

    /// The user wants an end. The flags carry no data, so no ordering is needed.
    pub(crate) fn by_user(&self) -> bool {
        self.0.user.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.by_user() || self.0.enough.load(Ordering::Relaxed)
    }

    pub(crate) fn set_enough(&self, enough: bool) {
        self.0.enough.store(enough, Ordering::Relaxed);
    }
}
