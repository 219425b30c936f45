//! Ctrl-C and Ctrl-Break end every wait, as signals do on other systems.

use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

use super::strings::owned;

/// Waits end for so long after a key. The handlers of the program run meanwhile: the system calls ours first,
/// because it was installed last.
const HOLD: Duration = Duration::from_millis(100);
/// The pause of a thread between two waits that end.
const PAUSE: Duration = Duration::from_millis(5);

/// The event that ends waits. `None` if the system does not let us have it.
pub(super) fn interrupt() -> Option<&'static OwnedHandle> {
    static EVENT: OnceLock<Option<OwnedHandle>> = OnceLock::new();
    let event = EVENT.get_or_init(|| {
        // SAFETY: no attributes and no name. It stays set until it is reset, so all waits end.
        let handle = unsafe { CreateEventW(null(), 1, 0, null()) };
        // SAFETY: the call has opened the handle for us.
        unsafe { owned(handle) }.ok()
    });
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // SAFETY: the handler may be called by any thread at any time, and is never removed. It fails without
        // a console: then there are no keys.
        unsafe { SetConsoleCtrlHandler(Some(on_key), 1) };
    });
    event.as_ref()
}

/// Ends all waits, and lets the program's other handlers decide about the rest.
unsafe extern "system" fn on_key(_kind: u32) -> windows_sys::core::BOOL {
    if let Some(event) = interrupt() {
        // SAFETY: the event is open as long as the process.
        unsafe { SetEvent(event.as_raw_handle()) };
        let reset = || {
            std::thread::sleep(HOLD);
            // SAFETY: as above.
            unsafe { ResetEvent(event.as_raw_handle()) };
        };
        if std::thread::Builder::new().name("framelane-keys".into()).spawn(reset).is_err() {
            // SAFETY: as above.
            unsafe { ResetEvent(event.as_raw_handle()) };
        }
    }
    0
}

/// Pauses a thread whose wait a key has ended, before it waits again.
pub(super) fn pause() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::{Map, OpenDirectory, Woken, create};

    #[test]
    fn key_ends_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let place = OpenDirectory::open(folder.path()).unwrap().place("word".to_owned());
        let map = Map::new(&create(&place, 4096, 0o600).unwrap(), 4096, true).unwrap();
        let word = std::sync::atomic::AtomicU32::new(1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| map.wait_on(&word, 1, 0, Duration::from_secs(600)));
            while !waiter.is_finished() {
                // SAFETY: as the system calls it.
                unsafe { on_key(0) };
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), Woken::Signal);
        });
    }
}
