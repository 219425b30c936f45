//! Open-file-description locks, which prove that a process lives, and what becomes of them in a forked child.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::directory::Place;
use super::file_id::FileId;
use super::files::File;

/// Counts the forks that lie between this process and the first one; a handle remembers the count.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Descriptors that hold locks. A child closes them, or the locks would outlive a killed parent.
static LOCKED: [AtomicI32; 1024] = [const { AtomicI32::new(-1) }; 1024];

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for entry in &LOCKED {
        let fd = entry.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: `fd` was registered by a live `LockFile`, whose drop does not close it in a child; so
            // no other code closes or uses it. `close` may be called in a child of a threaded process.
            unsafe { libc::close(fd) };
        }
    }
}

/// A number that differs between a process and its forked children.
pub fn fork_count() -> u64 {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: `in_child` only touches atomics and calls `close`, both allowed after a fork.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// An open file whose byte locks prove to others that this process lives.
///
/// The locks belong to this one opening of the file; the kernel drops them when the process dies.
pub(crate) struct LockFile {
    fd: ManuallyDrop<OwnedFd>,
    forks: u64,
    registered: Option<usize>,
}

impl LockFile {
    pub(crate) fn new(file: File) -> Self {
        let forks = fork_count();
        let raw = file.as_fd().as_raw_fd();
        let registered = LOCKED
            .iter()
            .position(|entry| entry.compare_exchange(-1, raw, Ordering::Relaxed, Ordering::Relaxed).is_ok());
        LockFile { fd: ManuallyDrop::new(file.into()), forks, registered }
    }

    fn call(&self, command: libc::c_int, kind: libc::c_int, byte: u64) -> io::Result<libc::flock> {
        let mut lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: byte as libc::off_t,
            l_len: 1,
            l_pid: 0,
        };
        // SAFETY: the descriptor is open, and `lock` is a valid `flock` that the kernel may write to.
        let result = unsafe { libc::fcntl(self.fd.as_raw_fd(), command, &mut lock) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(lock) }
    }

    /// Takes the lock on `byte` unless another opening has it.
    pub(crate) fn try_lock(&self, byte: u64) -> io::Result<bool> {
        match self.call(libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn unlock(&self, byte: u64) -> io::Result<()> {
        self.call(libc::F_OFD_SETLK, libc::F_UNLCK, byte).map(|_| ())
    }

    /// Returns true if another opening of the file holds a write lock on `byte`.
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        // Asking for a read lock also works through a descriptor that is open for reading only.
        Ok(self.call(libc::F_OFD_GETLK, libc::F_RDLCK, byte)?.l_type != libc::F_UNLCK as libc::c_short)
    }

    /// Returns whether another opening of the file holds a write lock on `byte`. If the process `holder` has
    /// ended, waits until the system has released its locks, which Linux does at once.
    pub(crate) fn is_held(&self, byte: u64, _holder: u32) -> io::Result<bool> {
        self.is_locked(byte)
    }

    /// Returns true if this is another opening of the same file.
    pub(crate) fn is_same(&self, file: &File) -> bool {
        matches!((FileId::open(self), FileId::open(file)), (Ok(ours), Ok(other)) if ours == other)
    }

    /// Returns true if the file has at least this many bytes. Also true if its length cannot be read.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        rustix::fs::fstat(self).map_or(true, |file| file.st_size as u64 >= bytes as u64)
    }

    /// Returns true if `place` still names this file.
    pub(crate) fn is_at(&self, place: &Place) -> bool {
        FileId::open(self).is_ok_and(|id| id.is_at(place))
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(&self, place: &Place) {
        super::files::remove(self, place);
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if fork_count() != self.forks {
            // This is a forked child: `in_child` has closed the descriptor, if it was registered.
            return;
        }
        if let Some(index) = self.registered {
            LOCKED[index].store(-1, Ordering::Relaxed);
        }
        // SAFETY: dropped once, here, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.fd) };
    }
}
