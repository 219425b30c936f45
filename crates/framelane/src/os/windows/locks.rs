//! Byte-range locks, which prove that a process is alive. The system releases them with their handle.

use std::fs;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION};
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

use super::directory::Place;
use super::file_id::FileId;
use super::files::File;
use super::process::is_running;
use super::strings::{checked, is};

/// Locks are far behind the end of the file, because the system does not let others read locked bytes.
const LOCKS_AT: u64 = 1 << 40;
/// Longest wait for a lock that another process has for a moment, to ask or while it ends.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// A number that differs between a process and its forked children. Windows has no forks.
pub fn fork_count() -> u64 {
    0
}

/// An open file whose byte locks prove to others that this process lives.
///
/// The locks belong to this one handle, as open-file-description locks do on Linux. No child inherits it.
pub(crate) struct LockFile(fs::File);

impl LockFile {
    pub(crate) fn new(file: File) -> Self {
        LockFile(file.into_disk())
    }

    fn lock(&self, byte: u64, kind: u32) -> io::Result<bool> {
        let mut place = place_of(byte);
        let (handle, flags) = (self.0.as_raw_handle(), kind | LOCKFILE_FAIL_IMMEDIATELY);
        // SAFETY: the handle is open and was not opened for overlapped calls, so that the call has ended when
        // it returns.
        let locked = checked(unsafe { LockFileEx(handle, flags, 0, 1, 0, &mut place) });
        match locked {
            Ok(()) => Ok(true),
            Err(error) if is(&error, ERROR_LOCK_VIOLATION) || is(&error, ERROR_IO_PENDING) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock on `byte` unless another process has it. Waits for processes that only ask whether it
    /// is locked, because each of them has it for a moment.
    pub(crate) fn try_lock(&self, byte: u64) -> io::Result<bool> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            if self.lock(byte, LOCKFILE_EXCLUSIVE_LOCK)? {
                return Ok(true);
            }
            if self.is_locked(byte)? || Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn unlock(&self, byte: u64) -> io::Result<()> {
        let mut place = place_of(byte);
        // SAFETY: as for `LockFileEx`.
        checked(unsafe { UnlockFileEx(self.0.as_raw_handle(), 0, 1, 0, &mut place) })
    }

    /// Returns whether a write lock on `byte` is held. Takes a read lock for a moment, because the system has
    /// no other way to ask.
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        let is_free = self.lock(byte, 0)?;
        if is_free {
            self.unlock(byte)?;
        }
        Ok(!is_free)
    }

    /// Returns whether another opening of the file holds a write lock on `byte`. If the process `holder` has
    /// ended, waits a moment until the system has released its locks.
    pub(crate) fn is_held(&self, byte: u64, holder: u32) -> io::Result<bool> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            if !self.is_locked(byte)? {
                return Ok(false);
            }
            if is_running(holder) || Instant::now() >= deadline {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns whether this is another opening of the same file.
    pub(crate) fn is_same(&self, file: &File) -> bool {
        matches!((FileId::open(self), FileId::open(file)), (Ok(ours), Ok(other)) if ours == other)
    }

    /// Returns whether the file has at least this many bytes. A section never gets shorter.
    pub(crate) fn has(&self, _bytes: usize) -> bool {
        true
    }

    /// Returns whether `place` still names this file.
    pub(crate) fn is_at(&self, place: &Place) -> bool {
        FileId::open(self).is_ok_and(|id| id.is_at(place))
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(&self, place: &Place) {
        super::files::remove(self, place);
    }
}

impl AsHandle for LockFile {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// The lock of `byte`.
fn place_of(byte: u64) -> OVERLAPPED {
    let at = LOCKS_AT + byte;
    let offset = OVERLAPPED_0_0 { Offset: at as u32, OffsetHigh: (at >> 32) as u32 };
    OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: offset }, ..Default::default() }
}
