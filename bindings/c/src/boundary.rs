//! The boundary to C: panics, NULL, text, time.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};

/// Waits without limit.
pub const FRAMELANE_FOREVER: i64 = -1;

/// Runs the body of a function that returns a value. Returns 0 or NULL for a NULL handle and after a panic.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    catch_unwind(AssertUnwindSafe(body)).ok().flatten().unwrap_or(otherwise)
}

/// Drops a handle. Nothing is known to panic there; if something does, it does not reach C.
pub(crate) fn free<T>(handle: Option<Box<T>>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(handle)));
}

/// The error for a NULL where something must be.
pub(crate) fn null(argument: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("{argument}: expected a pointer, found NULL"))
}

/// An argument that must not be NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Error> {
    argument.ok_or_else(|| null(name))
}

/// A handle as C has it: one reference of the count.
pub(crate) fn handle<T>(value: T) -> *mut T {
    Arc::into_raw(Arc::new(value)).cast_mut()
}

/// Another reference to the object of a handle: a call continues when the handle is freed meanwhile.
pub(crate) fn share<T>(handle: *const T, name: &str) -> Result<Arc<T>, Error> {
    if handle.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, so by the contract of this crate made by `handle`, with the reference that C has.
    unsafe { Arc::increment_strong_count(handle) };
    // SAFETY: as above. Takes the reference that was just added.
    Ok(unsafe { Arc::from_raw(handle) })
}

/// Takes the reference that C has.
pub(crate) fn unshare<T>(handle: *mut T) -> Option<Arc<T>> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: not NULL, so by the contract of this crate it was created by `handle`. C releases its
    // reference, and does so once.
    Some(unsafe { Arc::from_raw(handle) })
}

/// Writes a value through a pointer that may be NULL.
pub(crate) fn give<T>(to: Option<&mut MaybeUninit<T>>, value: T) {
    if let Some(to) = to {
        to.write(value);
    }
}

/// The bytes at `text`, without the NUL.
fn bytes<'t>(text: *const c_char, name: &str) -> Result<&'t [u8], Error> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, so by the contract of this crate a text that ends with a NUL and stays during the
    // call.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The text at `text`.
pub(crate) fn text<'t>(text: *const c_char, name: &str) -> Result<&'t str, Error> {
    let bytes = bytes(text, name)?;
    std::str::from_utf8(bytes).map_err(|_| {
        let found = String::from_utf8_lossy(bytes);
        Error::new(ErrorKind::InvalidOption, format!("{name}: expected UTF-8, found {found:?}"))
    })
}

/// The name of a channel, or a URL in its place.
pub(crate) fn channel<'t>(channel: *const c_char) -> Result<&'t str, Error> {
    let bytes = bytes(channel, "channel")?;
    std::str::from_utf8(bytes).map_err(|_| {
        let found = String::from_utf8_lossy(bytes);
        Error::new(
            ErrorKind::InvalidName,
            format!("the channel name {found:?} is not valid: it is not UTF-8"),
        )
        .with_hint("use letters, digits, '.', '_' and '-', with '/' between parts, as in cam0/detections")
    })
}

/// A path of the file system: any bytes. `None` for NULL.
#[cfg(unix)]
pub(crate) fn path<'t>(path: *const c_char) -> Result<Option<&'t Path>, Error> {
    use std::os::unix::ffi::OsStrExt;
    if path.is_null() {
        return Ok(None);
    }
    Ok(Some(Path::new(std::ffi::OsStr::from_bytes(bytes(path, "directory")?))))
}

/// A path of the file system, in UTF-8. `None` for NULL.
#[cfg(not(unix))]
pub(crate) fn path<'t>(path: *const c_char) -> Result<Option<&'t Path>, Error> {
    if path.is_null() { Ok(None) } else { text(path, "directory").map(|path| Some(Path::new(path))) }
}

/// Checks a field that has no meaning yet.
pub(crate) fn reserved(value: u64, name: &str) -> Result<(), Error> {
    if value == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOption, format!("{name}: expected 0, found {value}"))
        .with_hint("begin with the _INIT macro of the struct, or zero it"))
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
    // SAFETY: not NULL, aligned, not too long, and by the contract of this crate `count` values that no
    // thread changes during the call; every `T` here is made of numbers and pointers, which have no invalid
    // values.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// A text for C. A NUL inside would end it there, so the symbol for NUL replaces it.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text).or_else(|_| CString::new(text.replace('\0', "\u{2400}"))).unwrap_or_default()
}

/// A timeout of C, with the time that it ends.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// `None` without limit.
    pub timeout: Option<Duration>,
    pub deadline: Option<Instant>,
}

impl Wait {
    pub(crate) fn new(name: &str, timeout_ns: i64) -> Result<Self, Error> {
        let timeout = match timeout_ns {
            FRAMELANE_FOREVER => None,
            _ => Some(Duration::from_nanos(u64::try_from(timeout_ns).map_err(|_| {
                Error::new(
                    ErrorKind::InvalidOption,
                    format!("{name}: expected nanoseconds from 0, or FRAMELANE_FOREVER, found {timeout_ns}"),
                )
                .with_hint("pass 0 when a deadline has passed")
            })?)),
        };
        Ok(Wait { timeout, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) })
    }

    /// The time left. `None` without limit.
    pub(crate) fn left(self) -> Option<Duration> {
        if self.timeout == Some(Duration::ZERO) {
            return self.timeout;
        }
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// Locks what calls take turns with; a call that panicked has left nothing half done that is not checked
/// later.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_c_shows_a_nul_and_goes_on() {
        assert_eq!(c_text("a\0b").as_c_str(), c"a\u{2400}b");
    }

    #[test]
    fn timeout_below_zero_is_refused_unless_forever() {
        assert_eq!(Wait::new("timeout_ns", FRAMELANE_FOREVER).unwrap().left(), None);
        assert_eq!(Wait::new("timeout_ns", 0).unwrap().left(), Some(Duration::ZERO));
        assert!(Wait::new("timeout_ns", i64::MAX).unwrap().left() > Some(Duration::from_secs(1)));
        for ns in [-2, i64::MIN] {
            assert_eq!(Wait::new("timeout_ns", ns).err().unwrap().kind(), ErrorKind::InvalidOption);
        }
    }
}
