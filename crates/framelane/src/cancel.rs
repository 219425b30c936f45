//! Cancellation of waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Cancels the waits of the handles that were opened with it.
///
/// [`PublisherOptions::cancel`](crate::PublisherOptions::cancel) and
/// [`SubscriberOptions::cancel`](crate::SubscriberOptions::cancel) take a token. Clones are one token, and
/// one token serves any number of handles. After [`CancelToken::cancel`] every call that would wait returns
/// an error of kind [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted). Calls that need not wait still
/// succeed, so frames that have arrived can be received.
///
/// A waiting call notices the token within half a second, and at once if a signal interrupts it.
///
/// ```
/// use framelane::{CancelToken, SubscriberOptions};
/// # let directory = tempfile::tempdir().unwrap();
/// # let options = SubscriberOptions::new().directory(directory.path());
/// # /*
/// let options = SubscriberOptions::new();
/// # */
/// let cancel = CancelToken::new();
/// let options = options.cancel(cancel.clone());
/// let waiting = std::thread::spawn(move || options.open("cam0"));
/// cancel.cancel();
/// assert!(waiting.join().unwrap().is_err());
/// ```
#[derive(Clone, Default)]
#[must_use = "a token has an effect in the options of a publisher or subscriber"]
pub struct CancelToken(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Set once. Carries no data, so no ordering is needed.
    cancelled: AtomicBool,
    check: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    sources: Vec<CancelToken>,
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a token with a check. A call that waits runs `check` at least twice a second and after each
    /// signal, in its thread, and ends when `check` returns true.
    ///
    /// That ends this call only: the token is not cancelled.
    pub fn with_check(check: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        CancelToken(Arc::new(Inner { check: Some(Box::new(check)), ..Inner::default() }))
    }

    /// Creates a token that is also cancelled when any of `sources` is, and runs their checks.
    pub fn any(sources: impl IntoIterator<Item = CancelToken>) -> Self {
        CancelToken(Arc::new(Inner { sources: sources.into_iter().collect(), ..Inner::default() }))
    }

    /// Cancels the token permanently. Never blocks, and is async-signal-safe. Any thread may call it, any
    /// number of times.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Relaxed);
    }

    /// Returns whether the token was cancelled. Does not run the check.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Relaxed) || self.0.sources.iter().any(Self::is_cancelled)
    }

    /// Returns whether a wait is to end: the token was cancelled, or its check returns true. For links and
    /// bindings, which wait by themselves.
    #[doc(hidden)]
    pub fn ends_wait(&self) -> bool {
        self.0.cancelled.load(Relaxed)
            || self.0.check.as_ref().is_some_and(|check| check())
            || self.0.sources.iter().any(Self::ends_wait)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone_of_a_cancelled_token_is_cancelled() {
        let token = CancelToken::new();
        let clone = token.clone();
        assert!(!clone.is_cancelled() && !clone.ends_wait());
        token.cancel();
        assert!(clone.is_cancelled() && clone.ends_wait());
    }

    #[test]
    fn check_that_returns_true_ends_the_wait_only() {
        let token = CancelToken::with_check(|| true);
        assert!(token.ends_wait() && !token.is_cancelled());
    }

    #[test]
    fn token_of_several_sources_follows_each_of_them() {
        let (one, other) = (CancelToken::new(), CancelToken::with_check(|| true));
        let quiet = CancelToken::any([one.clone()]);
        let both = CancelToken::any([quiet.clone(), other]);
        assert!(both.ends_wait() && !both.is_cancelled() && !quiet.ends_wait());
        one.cancel();
        assert!(both.is_cancelled() && quiet.is_cancelled());
        let child = CancelToken::any([CancelToken::new()]);
        child.cancel();
        assert!(child.is_cancelled());
    }
}
