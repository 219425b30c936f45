//! Sleeping until a word or a directory changes.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_NOTIFY_CHANGE_FILE_NAME, FindCloseChangeNotification, FindFirstChangeNotificationW,
    FindNextChangeNotification,
};
use windows_sys::Win32::System::Threading::{
    CreateEventExW, EVENT_MODIFY_STATE, OpenEventW, SYNCHRONIZATION_SYNCHRONIZE, SetEvent,
    WaitForMultipleObjects,
};

use super::console;
use super::maps::Map;
use super::strings::{checked, owned, wide_path};
use crate::os::Woken;

/// Sleepers on one word.
const SLEEPERS: usize = 64;
/// Interval between polls of a sleeper that has no event.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

impl Map {
    /// Sleeps while a word of this map is `expected`, for at most `timeout`. The map may be read-only.
    ///
    /// `sleeper` is below 64. No two sleepers on the word have the same number. No other word of the map has
    /// sleepers.
    pub(crate) fn wait_on(
        &self,
        word: &AtomicU32,
        expected: u32,
        sleeper: usize,
        timeout: Duration,
    ) -> Woken {
        let event = self.own_event(sleeper);
        // After the event exists. A waker changes the word before it looks for events: either it finds the
        // event, or the change is seen here. The event remembers a wake-up that comes before the wait.
        if word.load(Ordering::SeqCst) != expected {
            return Woken::Changed;
        }
        match event {
            Some(event) => sleep(event.as_raw_handle(), timeout).unwrap_or(Woken::Changed),
            None => {
                std::thread::sleep(timeout.min(POLL_INTERVAL));
                if timeout <= POLL_INTERVAL { Woken::TimedOut } else { Woken::Changed }
            }
        }
    }

    /// Wakes the sleepers on a word of this map, a bit for each.
    pub(crate) fn wake(&self, _word: &AtomicU32, sleepers: u64) {
        for sleeper in (0..SLEEPERS).filter(|sleeper| sleepers >> sleeper & 1 == 1) {
            if let Some(event) = self.event(sleeper, || self.open_event(sleeper)) {
                // SAFETY: the event is open with the right to set it, and lives as long as `self`.
                unsafe { SetEvent(event.as_raw_handle()) };
            }
        }
    }

    /// The event of a sleeper, opened by `open` if this map has not opened it yet.
    fn event(&self, sleeper: usize, open: impl FnOnce() -> io::Result<OwnedHandle>) -> Option<&OwnedHandle> {
        let events = self.events.get_or_init(|| (0..SLEEPERS).map(|_| OnceLock::new()).collect());
        let place = events.get(sleeper)?;
        match place.get() {
            Some(event) => Some(event),
            // Two threads may open it. Both handles lead to the same event, and one is closed.
            None => open().ok().map(|event| place.get_or_init(|| event)),
        }
    }

    /// The event of a sleeper, created if there is none. Its name is gone once no process has it.
    fn own_event(&self, sleeper: usize) -> Option<&OwnedHandle> {
        self.event(sleeper, || {
            let name = self.stub.event_name(sleeper);
            let descriptor = self.stub.others.on_event()?;
            let (attributes, rights) =
                (descriptor.attributes(), EVENT_MODIFY_STATE | SYNCHRONIZATION_SYNCHRONIZE);
            // SAFETY: the attributes are complete, and the name ends with a zero. No flag: each wake-up ends
            // one wait.
            let handle = unsafe { CreateEventExW(&attributes, name.as_ptr(), 0, rights) };
            // SAFETY: the call has opened the handle for us.
            unsafe { owned(handle) }
        })
    }

    /// The event of a sleeper, if it exists. One that does not exist has no sleeper yet.
    fn open_event(&self, sleeper: usize) -> io::Result<OwnedHandle> {
        let name = self.stub.event_name(sleeper);
        let rights = EVENT_MODIFY_STATE | SYNCHRONIZATION_SYNCHRONIZE;
        // SAFETY: the name ends with a zero.
        let handle = unsafe { OpenEventW(rights, 0, name.as_ptr()) };
        // SAFETY: the call has opened the handle for us.
        unsafe { owned(handle) }
    }
}

/// Sleeps until `object` is signalled or Ctrl-C is pressed, for at most `timeout`.
fn sleep(object: HANDLE, timeout: Duration) -> io::Result<Woken> {
    let interrupt = console::interrupt();
    let objects = [object, interrupt.map_or(object, AsRawHandle::as_raw_handle)];
    let count = 1 + u32::from(interrupt.is_some());
    let ms = timeout.as_nanos().div_ceil(1_000_000).min(u128::from(u32::MAX - 1)) as u32;
    // SAFETY: the first `count` are open handles with the right to wait, which live through this call.
    match unsafe { WaitForMultipleObjects(count, objects.as_ptr(), 0, ms) } {
        WAIT_OBJECT_0 => Ok(Woken::Changed),
        WAIT_TIMEOUT => Ok(Woken::TimedOut),
        WAIT_FAILED => {
            let error = io::Error::last_os_error();
            // Not at once: the caller may try again.
            std::thread::sleep(POLL_INTERVAL);
            Err(error)
        }
        _ => {
            console::pause();
            Ok(Woken::Signal)
        }
    }
}

/// Waits for files to appear in a directory.
pub(crate) struct Watch(HANDLE);

// SAFETY: a handle may be used by any thread.
unsafe impl Send for Watch {}
// SAFETY: its calls may be made by several threads at a time.
unsafe impl Sync for Watch {}

impl Watch {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let path = wide_path(directory);
        // SAFETY: the path ends with a zero.
        let handle = unsafe { FindFirstChangeNotificationW(path.as_ptr(), 0, FILE_NOTIFY_CHANGE_FILE_NAME) };
        if handle == windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        Ok(Watch(handle))
    }

    /// Sleeps until something happened in the directory, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        if sleep(self.0, timeout)? == Woken::Changed {
            // SAFETY: the handle is open until `drop`.
            checked(unsafe { FindNextChangeNotification(self.0) })?;
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and closed once.
        unsafe { FindCloseChangeNotification(self.0) };
    }
}
