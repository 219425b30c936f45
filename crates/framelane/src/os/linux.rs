//! Linux: tmpfs files, shared maps, futexes, open-file-description locks, inotify.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;
use rustix::time::{ClockId, Timespec};

use crate::ring::Shared;

// ---- files -------------------------------------------------------------------------------------------

/// Opens an existing file; never follows a symbolic link, never survives `exec`.
pub(crate) fn open(path: &Path, writable: bool) -> io::Result<File> {
    // O_NONBLOCK: a FIFO of this name must not keep us waiting for its other end.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = std::fs::OpenOptions::new().read(true).write(writable).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("expected a regular file, found something else"));
    }
    Ok(file)
}

/// Creates a file of `len` bytes with room for all of them, and exactly these permissions.
///
/// The room is taken now: running out later would be a `SIGBUS` in the middle of a frame.
pub(crate) fn create(path: &Path, len: u64, mode: u32) -> io::Result<File> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let sized = retry(|| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len))
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777)));
    if let Err(error) = sized {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Renames, unless something already has the new name (`AlreadyExists`).
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Bytes that a file takes up.
pub(crate) fn used_bytes(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |meta| meta.blocks() * 512)
}

/// Free and total bytes of the file system that holds `path`.
pub(crate) fn room(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}

/// The directory of this user's channels.
pub(crate) fn default_directory() -> std::path::PathBuf {
    format!("/dev/shm/framelane-{}", rustix::process::geteuid().as_raw()).into()
}

/// What `ensure_private_directory` found wrong.
pub(crate) enum DirectoryFault {
    NotDirectory,
    ForeignOwner(u32),
    OpenToOthers(u32),
    Io(io::Error),
}

/// Creates the directory with mode 0700, or checks that it is a directory of ours that no one else can write.
pub(crate) fn ensure_private_directory(path: &Path) -> Result<(), DirectoryFault> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(DirectoryFault::Io(error)),
    }
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| DirectoryFault::Io(errno.into()))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
        Err(DirectoryFault::NotDirectory)
    } else if stat.st_uid != rustix::process::geteuid().as_raw() {
        Err(DirectoryFault::ForeignOwner(stat.st_uid))
    } else if stat.st_mode & 0o022 != 0 {
        Err(DirectoryFault::OpenToOthers(stat.st_mode & 0o777))
    } else {
        Ok(())
    }
}

/// Names in a directory.
pub(crate) fn names(path: &Path) -> io::Result<Vec<OsString>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

// ---- fork --------------------------------------------------------------------------------------------

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
            // nobody else closes or uses it. `close` may be called in a child of a threaded process.
            unsafe { libc::close(fd) };
        }
    }
}

/// A number that differs between a process and its forked children.
pub(crate) fn fork_count() -> u64 {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: `in_child` only touches atomics and calls `close`, both allowed after a fork.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}

// ---- locks -------------------------------------------------------------------------------------------

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
        let raw = file.as_raw_fd();
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

    /// Takes the lock on `byte` unless somebody has it.
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

    /// Whether another opening of the file holds a write lock on `byte`.
    pub(crate) fn is_locked(&self, byte: u64) -> io::Result<bool> {
        // Asking for a read lock also works through a descriptor that is open for reading only.
        Ok(self.call(libc::F_OFD_GETLK, libc::F_RDLCK, byte)?.l_type != libc::F_UNLCK as libc::c_short)
    }

    /// Whether this is another opening of the same file.
    pub(crate) fn is_same(&self, file: &File) -> bool {
        match (rustix::fs::fstat(&*self.fd), rustix::fs::fstat(file)) {
            (Ok(ours), Ok(other)) => ours.st_dev == other.st_dev && ours.st_ino == other.st_ino,
            _ => false,
        }
    }

    /// Whether `path` still names this file.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let Ok(open) = rustix::fs::fstat(&*self.fd) else { return false };
        rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|named| named.st_dev == open.st_dev && named.st_ino == open.st_ino)
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

// ---- maps --------------------------------------------------------------------------------------------

/// A shared map of a file.
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a map is memory with an address; access goes through atomics, or through slices whose creators
// prove that nobody writes meanwhile.
unsafe impl Send for Map {}
// SAFETY: as for `Send`.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of the file, which must be as long, and brings the pages in.
    pub(crate) fn new(fd: impl AsFd, len: usize, writable: bool) -> io::Result<Self> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new map at an address of the kernel's choice; it is unmapped once, by `drop`.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap gave a null address"))?;
        Ok(Map { start, len })
    }

    /// The words at `offset`; `None` when they do not lie within the map, or not aligned.
    pub(crate) fn words<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>().min(4096)) {
            return None;
        }
        // SAFETY: `offset` lies within the map, checked above.
        let start = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: the map is page-aligned and `offset` a multiple of the alignment; the bytes lie within the
        // map and live as long as `self`; `T: Shared` has only atomics, for which any bytes are valid and
        // writes by others are no data race. Callers only load through maps that are not writable.
        Some(unsafe { start.as_ref() })
    }

    /// The address of `offset`, for `len` bytes from there; `None` when they do not lie within the map.
    pub(crate) fn address(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` lies within the map, checked above.
        Some(unsafe { self.start.add(offset) })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the range is the one that `mmap` gave; references into it borrow `self` or keep it alive.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

// ---- sleeping and time -------------------------------------------------------------------------------

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The word changed, or somebody woke us, or the system did for no reason.
    Changed,
    TimedOut,
    Signal,
}

/// Sleeps while the word is `expected`, for at most `timeout`. The word may be mapped read-only.
pub(crate) fn wait_on(word: &AtomicU32, expected: u32, timeout: Duration) -> Woken {
    let timeout = timespec(timeout);
    match futex::wait(word, futex::Flags::empty(), expected, Some(&timeout)) {
        Err(rustix::io::Errno::TIMEDOUT) => Woken::TimedOut,
        Err(rustix::io::Errno::INTR) => Woken::Signal,
        // AGAIN: the word had changed already. Any other error ends the sleep too; the caller looks again.
        _ => Woken::Changed,
    }
}

/// Wakes all who sleep on the word.
pub(crate) fn wake_all(word: &AtomicU32) {
    // Fails only for addresses that are not mapped, which a reference is not.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn clock_ns(id: ClockId) -> u64 {
    let now = rustix::time::clock_gettime(id);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// `CLOCK_MONOTONIC`, the same in every process of the machine.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(ClockId::Monotonic)
}

/// `CLOCK_REALTIME`, since 1970.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(ClockId::Realtime)
}

/// A random number that is not zero.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's source of randomness.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(realtime_ns());
    hasher.finish() | 1
}

/// Waits for files to appear in a directory.
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        use rustix::fs::inotify;
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events =
            inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE;
        inotify::add_watch(&fd, directory, events)?;
        Ok(Watch(fd))
    }

    /// Sleeps until something happened in the directory, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let mut polled = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&timespec(timeout))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|count| count > 0) {}
        Ok(())
    }
}

/// The moment after which waiting ends; `None` when there is none or it lies beyond the clock.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
