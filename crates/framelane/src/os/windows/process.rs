//! Processes, seen through the system.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, QueryFullProcessImageNameW,
    WaitForSingleObject,
};

use super::strings::{checked, is, owned};
use crate::terminal::plain;

fn open(pid: u32, rights: u32) -> io::Result<std::os::windows::io::OwnedHandle> {
    // SAFETY: has no conditions.
    let handle = unsafe { OpenProcess(rights, 0, pid) };
    // SAFETY: the call has opened the handle for us.
    unsafe { owned(handle) }
}

/// The name of a process; `None` when the system does not show it. The caller knows that it uses `_file`: a
/// lock of it is held.
pub(crate) fn process_name(pid: u32, _file: impl AsHandle) -> Option<String> {
    let process = open(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
    let mut name = [0_u16; 1024];
    let mut len = name.len() as u32;
    // SAFETY: the handle is open for queries, and `name` may be written to for `len` units.
    let found =
        unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), 0, name.as_mut_ptr(), &mut len) };
    checked(found).ok()?;
    let path = String::from_utf16_lossy(name.get(..len as usize)?);
    let name = plain(&Path::new(&path).file_stem()?.to_string_lossy());
    (!name.is_empty()).then_some(name)
}

/// Returns whether a process with this id runs. Also true when the system does not let us know.
pub(super) fn is_running(pid: u32) -> bool {
    match open(pid, PROCESS_SYNCHRONIZE) {
        // SAFETY: the handle is open for waiting.
        Ok(process) => unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_TIMEOUT },
        Err(error) => !is(&error, ERROR_INVALID_PARAMETER),
    }
}

/// Ends this process at once, with the code that Rust's `Child::kill` uses too.
#[cfg(framelane_testing)]
pub(crate) fn kill_this_process() {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
    // SAFETY: has no conditions.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: a process may end itself.
    unsafe { TerminateProcess(this, 1) };
}

/// Stops this process. Windows has no call that stops all threads, so the calling thread sleeps indefinitely.
#[cfg(framelane_testing)]
pub(crate) fn stop_this_process() {
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_has_ended_is_not_running() {
        assert!(is_running(std::process::id()));
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--list"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        child.wait().unwrap();
        // The handle of `child` keeps the id from being used again.
        assert!(!is_running(pid));
    }
}
