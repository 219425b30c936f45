//! FFmpeg's log: kept off stderr, its last errors kept for the message of the next error.
//!
//! The lines are kept for each thread by itself: opening and demuxing run on the caller's thread, so that
//! two sources in one process do not mix theirs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Mutex, Once, PoisonError};

use ffmpeg_sys_next as ff;
use framelane::internals::terminal;
use framelane::redact;

/// More lines than these do not help a user.
const KEPT_LINES: usize = 3;

/// A shorter text occurs by chance; it is hidden within URLs only.
const SHORTEST_SECRET: usize = 4;
/// Secrets of more sources than a process has open.
const KEPT_SECRETS: usize = 256;

thread_local! {
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Takes the lines logged on this thread, oldest first, without secrets and for a terminal: FFmpeg repeats
/// the text of servers and files.
pub(crate) fn take() -> Vec<String> {
    let lines: Vec<String> =
        LINES.try_with(|lines| lines.borrow_mut().drain(..).collect()).unwrap_or_default();
    lines.iter().map(|line| terminal::plain(&without_secrets(line))).collect()
}

/// The lines logged on this thread, oldest first, which stay.
pub(super) fn lines() -> Vec<String> {
    LINES.try_with(|lines| lines.borrow().iter().cloned().collect()).unwrap_or_default()
}

/// The secrets of the sources opened last: FFmpeg may log them in any form. Written and read under the lock.
static SECRETS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Hides these texts in all lines from now on.
pub(crate) fn hide(secrets: Vec<String>) {
    let mut hidden = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets {
        if secret.len() >= SHORTEST_SECRET && !hidden.contains(&secret) {
            hidden.push_back(secret);
        }
    }
    let excess = hidden.len().saturating_sub(KEPT_SECRETS);
    hidden.drain(..excess);
}

fn without_secrets(line: &str) -> String {
    let hidden = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    let line = hidden.iter().fold(line.to_owned(), |line, secret| line.replace(secret, redact::HIDDEN));
    redact::text(&line).into_owned()
}

/// Routes FFmpeg's log here, once in a process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the callback is a function of the type that FFmpeg calls, and lives as long as the program.
        unsafe {
            ff::av_log_set_callback(Some(on_line));
        }
        // The type of a va_list parameter differs between architectures; elsewhere the log is only silenced.
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: sets an atomic number in FFmpeg.
        unsafe {
            ff::av_log_set_level(ff::AV_LOG_QUIET);
        }
    });
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn on_line(
    context: *mut std::ffi::c_void,
    level: std::ffi::c_int,
    format: *const std::ffi::c_char,
    arguments: *mut ff::__va_list_tag,
) {
    if level > ff::AV_LOG_ERROR {
        return;
    }
    let mut line = [0_u8; 512];
    let mut print_prefix = 0;
    // SAFETY: context, format and arguments are FFmpeg's own, passed on unchanged and once; the buffer is
    // writable for the length given, and the text ends with a zero within it.
    let length = unsafe {
        ff::av_log_format_line2(
            context,
            level,
            format,
            arguments,
            line.as_mut_ptr().cast(),
            line.len() as std::ffi::c_int,
            &mut print_prefix,
        )
    };
    let length = usize::try_from(length).unwrap_or(0).min(line.len() - 1);
    let text = String::from_utf8_lossy(&line[..length]).trim().to_owned();
    if text.is_empty() {
        return;
    }
    // A thread that is ending has no lines any more; nothing to keep then.
    let _ = LINES.try_with(|lines| {
        if let Ok(mut lines) = lines.try_borrow_mut() {
            if lines.len() == KEPT_LINES {
                lines.pop_front();
            }
            if lines.back() != Some(&text) {
                lines.push_back(text);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_line_with_a_secret_is_hidden() {
        hide(vec!["s3cret".to_owned(), "h".to_owned()]);
        assert_eq!(
            without_secrets("[http] user s3cret at http://me:x@host"),
            "[http] user *** at http://me:***@host"
        );
    }
}
