//! FFmpeg's error numbers as framelane errors.

use std::ffi::{CStr, c_char, c_int};

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::log;

/// FFmpeg's own text for an error number.
pub(crate) fn text(code: c_int) -> String {
    let mut buffer = [0 as c_char; ff::AV_ERROR_MAX_STRING_SIZE];
    // SAFETY: the buffer is writable for exactly the length given.
    unsafe { ff::av_strerror(code, buffer.as_mut_ptr(), buffer.len()) };
    // SAFETY: av_strerror always ends its text with a zero byte within the length given.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}

/// The kind that an FFmpeg error number belongs to.
pub(crate) fn kind(code: c_int) -> ErrorKind {
    use rustix::io::Errno;
    match code {
        ff::AVERROR_EXIT => ErrorKind::Interrupted,
        ff::AVERROR_INVALIDDATA => ErrorKind::Damaged,
        ff::AVERROR_HTTP_NOT_FOUND | ff::AVERROR_STREAM_NOT_FOUND => ErrorKind::NotFound,
        ff::AVERROR_HTTP_UNAUTHORIZED | ff::AVERROR_HTTP_FORBIDDEN => ErrorKind::PermissionDenied,
        ff::AVERROR_OPTION_NOT_FOUND | ff::AVERROR_PROTOCOL_NOT_FOUND | ff::AVERROR_PATCHWELCOME => {
            ErrorKind::InvalidOption
        }
        code if code == -Errno::NOENT.raw_os_error() => ErrorKind::NotFound,
        code if code == -Errno::ACCESS.raw_os_error() => ErrorKind::PermissionDenied,
        code if code == -Errno::TIMEDOUT.raw_os_error() => ErrorKind::Timeout,
        _ => ErrorKind::SystemFailure,
    }
}

/// An error from an FFmpeg call, with the lines that FFmpeg has logged on this thread since they were last
/// taken.
pub(crate) fn make(what: impl std::fmt::Display, code: c_int) -> Error {
    Error::new(kind(code), format!("{what}: {}{}", text(code), logged()))
}

/// The lines that FFmpeg has logged, in brackets; nothing when there are none.
pub(crate) fn logged() -> String {
    let lines = log::take();
    if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
}

/// `Ok` with the value for 0 and above, else the error.
pub(crate) fn check(what: &str, code: c_int) -> Result<c_int, Error> {
    if code < 0 { Err(make(what, code)) } else { Ok(code) }
}

/// FFmpeg could not allocate.
pub(crate) fn no_memory(what: &str) -> Error {
    Error::new(ErrorKind::SystemFailure, format!("FFmpeg has no memory left for {what}"))
}
