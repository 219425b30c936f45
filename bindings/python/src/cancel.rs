//! `CancelToken`, and the tokens that an object of the core waits with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// Cancels the waits of the publishers and subscribers that were opened with it (`cancel=`).
///
/// After `cancel()`, every call that would wait raises Interrupted. A waiting call does so within half a
/// second. Calls that need not wait still succeed. One token serves any number of objects. Any thread may use
/// it.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct CancelToken(framelane::CancelToken);

#[pymethods]
impl CancelToken {
    /// Creates a token that is not cancelled.
    #[new]
    fn new() -> Self {
        CancelToken(framelane::CancelToken::new())
    }

    /// Cancels the token permanently. Never blocks. May be called again.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// True after `cancel`.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "CancelToken",
            "it belongs to the process that has made it",
            "make a token in the other process",
        ))
    }

    fn __repr__(&self) -> &'static str {
        if self.cancelled() { "<framelane.CancelToken, cancelled>" } else { "<framelane.CancelToken>" }
    }
}

/// The tokens of one object: the user's, and one that ends each wait of the core after a slice.
pub(crate) struct Tokens {
    user: framelane::CancelToken,
    slices: framelane::CancelToken,
    /// The last wait was at the end of a slice.
    sliced: Arc<AtomicBool>,
}

impl Tokens {
    pub(crate) fn new(user: Option<&Bound<'_, CancelToken>>) -> Self {
        let user = user.map_or_else(framelane::CancelToken::new, |user| user.get().0.clone());
        let sliced = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&sliced);
        let slice = framelane::CancelToken::with_check(move || {
            ended.store(true, Ordering::Relaxed);
            true
        });
        let slices = framelane::CancelToken::any([user.clone(), slice]);
        Tokens { user, slices, sliced }
    }

    /// The token that ends each wait after a slice.
    pub(crate) fn slices(&self) -> framelane::CancelToken {
        self.slices.clone()
    }

    /// A token that ends a wait when `check` returns true, and when the user's token is cancelled.
    pub(crate) fn with_check(
        &self,
        check: impl Fn() -> bool + Send + Sync + 'static,
    ) -> framelane::CancelToken {
        framelane::CancelToken::any([self.user.clone(), framelane::CancelToken::with_check(check)])
    }

    /// A token that ends a wait when the user's token or `other` is cancelled.
    pub(crate) fn or(&self, other: &Bound<'_, CancelToken>) -> framelane::CancelToken {
        framelane::CancelToken::any([self.user.clone(), other.get().0.clone()])
    }

    /// Returns true if the user's token was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.user.is_cancelled()
    }

    /// Returns whether a wait was ended by a token since the last call of this function.
    pub(crate) fn has_ended_a_wait(&self) -> bool {
        self.sliced.swap(false, Ordering::Relaxed) || self.is_cancelled()
    }
}
