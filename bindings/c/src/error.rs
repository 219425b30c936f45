//! Errors as C sees them.

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use framelane::{Error, ErrorKind};

use crate::boundary::{c_text, free, value};

/// The error of a call: a code that does not change between versions, and a message for users.
pub struct framelane_error {
    pub(crate) error: Error,
    message: CString,
    hint: CString,
    /// Message and hint in one.
    text: CString,
}

impl From<Error> for framelane_error {
    fn from(error: Error) -> Self {
        framelane_error {
            message: c_text(error.message()),
            hint: c_text(error.advice()),
            text: c_text(&error.to_string()),
            error,
        }
    }
}

/// Runs the body of a function that can fail.
pub(crate) fn fallible(body: impl FnOnce() -> Result<(), Error>) -> *mut framelane_error {
    let result = catch_unwind(AssertUnwindSafe(body));
    match result.unwrap_or_else(|panic| Err(internal(&*panic))) {
        Ok(()) => std::ptr::null_mut(),
        Err(error) => Box::into_raw(Box::new(framelane_error::from(error))),
    }
}

fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    Error::new(ErrorKind::InternalFailure, format!("framelane has a fault: {text}"))
        .with_hint("report it, with what the program did; reopen the channel before you continue")
}

/// One of the `FRAMELANE_ERROR_` codes; 0 for NULL, which means success.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_code(error: Option<&framelane_error>) -> u32 {
    value(0, || Some(error?.error.code()))
}

/// Returns the code's name, such as "no_space", or "ok" for NULL. Valid indefinitely.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_name(error: Option<&framelane_error>) -> *const c_char {
    error.map_or(c"ok", |error| name_of(error.error.kind())).as_ptr()
}

/// Returns the message: what was expected and found, and a hint. Valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_text(error: Option<&framelane_error>) -> *const c_char {
    error.map_or(c"ok", |error| error.text.as_c_str()).as_ptr()
}

/// Returns the message without the hint.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_message(error: Option<&framelane_error>) -> *const c_char {
    error.map_or(c"ok", |error| error.message.as_c_str()).as_ptr()
}

/// Returns the hint. NULL only for NULL. Valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_hint(error: Option<&framelane_error>) -> *const c_char {
    error.map_or(std::ptr::null(), |error| error.hint.as_ptr())
}

/// Frees an error.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_error_free(error: Option<Box<framelane_error>>) {
    free(error);
}

/// Names with a NUL behind them, made once.
fn name_of(kind: ErrorKind) -> &'static CStr {
    static NAMES: std::sync::OnceLock<Vec<CString>> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| ErrorKind::ALL.iter().map(|kind| c_text(kind.name())).collect());
    names.get(kind.code() as usize - 1).map_or(c"?", CString::as_c_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_a_value_its_default() {
        let error = fallible(|| panic!("of the {}", "test"));
        // SAFETY: `fallible` returns the pointer of a box, once.
        let error = unsafe { Box::from_raw(error) };
        assert_eq!(error.error.kind(), ErrorKind::InternalFailure);
        assert!(error.error.message().contains("of the test"), "{}", error.error);
        assert_eq!(value(7, || panic!()), 7);
    }
}
