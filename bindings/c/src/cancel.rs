//! Cancel tokens of C.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use framelane::{CancelToken, Error};

use crate::boundary::{given, handle, share, unshare, value};
use crate::error::{fallible, framelane_error};

/// Cancels the waits of the publishers and subscribers that were opened with it: see `cancel` in their
/// options.
pub struct framelane_cancel_token {
    pub(crate) token: CancelToken,
}

/// Called at least twice a second, and after each signal, while a call waits. Not 0 ends the wait with
/// FRAMELANE_ERROR_INTERRUPTED.
///
/// Runs in the thread that waits. Calls of the handle that waits fail with FRAMELANE_ERROR_MISUSE, as do
/// calls that would wait for another thread's call of another handle. Counters and names can be read. The
/// handle can be closed or freed: the call that waits then ends with FRAMELANE_ERROR_CHANNEL_CLOSED.
pub type framelane_cancel_check = Option<extern "C" fn(context: *mut c_void) -> c_int>;

/// Called once when a token and all handles that were opened with it are freed, with the context of the
/// token. Any thread may run it.
pub type framelane_cancel_release = Option<extern "C" fn(context: *mut c_void)>;

/// The caller's check and what it is called with.
struct Check {
    check: extern "C" fn(context: *mut c_void) -> c_int,
    context: *mut c_void,
    release: framelane_cancel_release,
}

// SAFETY: the context is only handed to the caller's functions, in any thread, as their documentation says.
unsafe impl Send for Check {}
// SAFETY: as above.
unsafe impl Sync for Check {}

impl Check {
    fn ends(&self) -> bool {
        (self.check)(self.context) != 0
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            release(self.context);
        }
    }
}

/// The token of options; one that is never cancelled for NULL.
pub(crate) fn token(token: *const framelane_cancel_token) -> Result<CancelToken, Error> {
    if token.is_null() { Ok(CancelToken::new()) } else { Ok(share(token, "cancel")?.token.clone()) }
}

/// Creates a token. NULL only when memory is exhausted.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_cancel_token_new() -> *mut framelane_cancel_token {
    value(std::ptr::null_mut(), || Some(handle(framelane_cancel_token { token: CancelToken::new() })))
}

/// Creates a token with a check, which ends the wait that runs it and does not cancel the token. `context` is
/// passed to `check`, and to `release` (may be NULL) when the token is no longer used.
///
/// Errors: FRAMELANE_ERROR_INVALID_OPTION when `check` is NULL. `release` is not called then.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_cancel_token_with_check(
    check: framelane_cancel_check,
    context: *mut c_void,
    release: framelane_cancel_release,
    token: Option<&mut MaybeUninit<*mut framelane_cancel_token>>,
) -> *mut framelane_error {
    fallible(|| {
        let token = given(token, "token")?.write(std::ptr::null_mut());
        let check = Check { check: given(check, "check")?, context, release };
        *token = handle(framelane_cancel_token { token: CancelToken::with_check(move || check.ends()) });
        Ok(())
    })
}

/// Cancels the token permanently. Every call that would wait, of every handle that was opened with it, ends
/// with FRAMELANE_ERROR_INTERRUPTED. A waiting call does so within half a second. Calls that need not wait
/// still succeed. Never blocks. Any thread may call it, and signal handlers too.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_cancel_token_cancel(token: Option<&framelane_cancel_token>) {
    if let Some(token) = token {
        token.token.cancel();
    }
}

/// 1 when the token was cancelled, else 0. Does not run the check. Any thread may call it, and signal
/// handlers too.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_cancel_token_is_cancelled(token: Option<&framelane_cancel_token>) -> u8 {
    token.map_or(0, |token| u8::from(token.token.is_cancelled()))
}

/// Frees the token. Handles that were opened with it stay valid, but can no longer be cancelled with it.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_cancel_token_free(token: *mut framelane_cancel_token) {
    value((), || {
        drop(unshare(token));
        Some(())
    });
}
