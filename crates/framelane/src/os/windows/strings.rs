//! Names and handles in the form that the system takes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};

/// UTF-16 with a zero at the end.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// An absolute path for calls, without the limit of 260 characters.
pub(super) fn wide_path(path: &Path) -> Vec<u16> {
    let is_drive = path.as_os_str().encode_wide().nth(1) == Some(u16::from(b':'));
    let mut long = OsString::from(if is_drive { r"\\?\" } else { "" });
    long.push(path);
    wide(long)
}

/// Takes a handle that a call has returned. The call's error if it is none.
///
/// # Safety
/// `handle` is null, `INVALID_HANDLE_VALUE`, or an open handle that nothing else closes.
pub(super) unsafe fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise; it is none of the two values that are no handle.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// The error of a call that returned zero.
pub(super) fn checked(result: windows_sys::core::BOOL) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns whether an error is this one of the system.
pub(super) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}
