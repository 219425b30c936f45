//! What every function needs at the border to C: panics, NULL, text, time.

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use framelane::{Error, ErrorKind};

use crate::error::framelane_error;

/// Waits without limit.
pub const FRAMELANE_FOREVER: i64 = -1;

/// Runs the body of a function that can fail.
pub(crate) fn fallible(body: impl FnOnce() -> Result<(), Error>) -> *mut framelane_error {
    let result = catch_unwind(AssertUnwindSafe(body));
    match result.unwrap_or_else(|panic| Err(internal(&*panic))) {
        Ok(()) => std::ptr::null_mut(),
        Err(error) => Box::into_raw(Box::new(framelane_error::from(error))),
    }
}

/// Runs the body of a function that gives a value; 0 or NULL for a NULL handle and after a panic.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    catch_unwind(AssertUnwindSafe(body)).ok().flatten().unwrap_or(otherwise)
}

/// Drops a handle. Nothing is known to panic there; if something does, it does not reach C.
pub(crate) fn free<T>(handle: Option<Box<T>>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
}

fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    Error::new(ErrorKind::Internal, format!("framelane has a fault: {text}"))
        .with_remedy("report it, with what the program did; open the channel anew before going on")
}

/// The error for a NULL where something must be.
pub(crate) fn null(argument: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("{argument}: expected a pointer, found NULL"))
}

/// An argument that must not be NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Error> {
    argument.ok_or_else(|| null(name))
}

/// Gives a value through a pointer that may be NULL.
pub(crate) fn give<T>(to: Option<&mut MaybeUninit<T>>, value: T) {
    if let Some(to) = to {
        to.write(value);
    }
}

/// The text at `text`.
pub(crate) fn text<'t>(text: *const c_char, name: &str) -> Result<&'t str, Error> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, so by the contract of this crate a text that ends with a NUL and stays during the call.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| {
        Error::new(
            ErrorKind::InvalidOption,
            format!("{name}: expected UTF-8, found {:?}", text.to_string_lossy()),
        )
    })
}

/// The `count` values at `start`; `start` may be NULL when there are none.
pub(crate) fn array<'a, T>(start: *const T, count: usize, name: &str) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(null(name));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) || !start.is_aligned() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("{name}: expected an array, found {count} values at {start:p}"),
        ));
    }
    // SAFETY: not NULL, aligned, not too long, and by the contract of this crate `count` values that nobody changes
    // during the call; every `T` here is made of numbers and pointers, which have no invalid values.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// A text for C. It ends at the first NUL, should there be one inside.
pub(crate) fn c_text(text: &str) -> CString {
    let upto = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    CString::new(&text.as_bytes()[..upto]).unwrap_or_default()
}

/// A timeout of C: `None` without limit.
pub(crate) fn timeout(ns: i64) -> Option<Duration> {
    u64::try_from(ns).ok().map(Duration::from_nanos)
}

/// Locks what calls take turns with; a call that panicked has left nothing half done that is not checked later.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_a_value_its_default() {
        let error = fallible(|| panic!("of the {}", "test"));
        // SAFETY: `fallible` gives a box's pointer, once.
        let error = unsafe { Box::from_raw(error) };
        assert_eq!(error.error.kind(), ErrorKind::Internal);
        assert!(error.error.message().contains("of the test"), "{}", error.error);
        assert_eq!(value(7, || panic!()), 7);
    }

    #[test]
    fn text_for_c_ends_at_a_nul() {
        assert_eq!(c_text("a\0b").as_c_str(), c"a");
    }
}
