//! Files of a tmpfs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags};

use super::directory::Place;
use super::file_id::{FileId, retry};
use super::users::User;

/// An open file of a channel.
pub(crate) struct File(std::fs::File);

impl File {
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<File> for OwnedFd {
    fn from(file: File) -> Self {
        file.0.into()
    }
}

/// Opens an existing file; never follows a symbolic link, never survives `exec`.
pub(crate) fn open(place: &Place, writable: bool) -> io::Result<File> {
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    // NONBLOCK: a FIFO of this name must not keep us waiting for its other end.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = place.open_file(flags)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("expected a regular file, found something else"));
    }
    Ok(File(file))
}

/// Returns the hint for an error that has to do with a limit of the process or the system.
pub(crate) fn hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("close files, or raise the limit on open files of the process (`ulimit -n`)"),
        libc::ENFILE => Some("close files, or raise the system's limit on open files (`sysctl fs.file-max`)"),
        libc::ENOMEM => Some("free memory, or raise the limit on address space of the process (`ulimit -v`)"),
        libc::EFBIG => Some("raise the limit on file size of the process (`ulimit -f unlimited`)"),
        libc::EDQUOT => Some("remove files, or raise the user's quota"),
        _ => None,
    }
}

/// Returns the kind of the object at `place`, if it is no regular file.
pub(crate) fn irregular(place: &Place) -> Option<&'static str> {
    match place.stat().ok()?.st_mode & libc::S_IFMT {
        libc::S_IFLNK => Some("a symbolic link"),
        libc::S_IFDIR => Some("a directory"),
        libc::S_IFIFO => Some("a FIFO"),
        libc::S_IFSOCK => Some("a socket"),
        libc::S_IFBLK | libc::S_IFCHR => Some("a device"),
        _ => None,
    }
}

/// Creates a file of `len` bytes with room for all of them, and exactly these permissions.
///
/// The room is taken now: running out later would be a `SIGBUS` in the middle of a frame.
pub(crate) fn create(place: &Place, len: u64, mode: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File(place.open_file(flags)?);
    let sized = take_room(&file, len).and_then(|()| set_mode(&file, mode));
    if let Err(error) = sized {
        remove(&file, place);
        return Err(error);
    }
    Ok(file)
}

/// Removes the name of an open file, unless another file has it by now.
pub(crate) fn remove(file: impl AsFd, place: &Place) {
    if let Ok(id) = FileId::open(file) {
        id.remove(place);
    }
}

/// Takes the room of the first `len` bytes of a file.
pub(crate) fn take_room(file: &File, len: u64) -> io::Result<()> {
    // The kernel raises SIGXFSZ beyond the limit, and its default is to end the process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| len > limit) {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    retry(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len))
}

/// Returns the room of some bytes of a file to its file system; they read as zeros. Maps of the file stay
/// valid.
pub(crate) fn release_room(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    retry(|| rustix::fs::fallocate(file, flags, offset, len))
}

impl FileId {
    /// Returns true if `place` names this file.
    pub(crate) fn is_at(self, place: &Place) -> bool {
        place.stat().is_ok_and(|stat| Self::of(&stat) == self)
    }

    /// The file that has the name.
    pub(crate) fn at(place: &Place) -> Option<Self> {
        place.stat().ok().map(|stat| Self::of(&stat))
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(self, place: &Place) {
        let _ = self.try_remove(place);
    }

    /// Removes the name like [`FileId::remove`]. Returns the error of the removal.
    pub(crate) fn try_remove(self, place: &Place) -> io::Result<()> {
        if self.is_at(place) { place.remove() } else { Ok(()) }
    }
}

/// The user who owns an open file, if it is not the one that this process acts for.
pub(crate) fn foreign_owner(file: impl AsFd) -> io::Result<Option<User>> {
    let owner = rustix::fs::fstat(file)?.st_uid;
    Ok((owner != rustix::process::geteuid().as_raw()).then(|| User::new(owner)))
}

/// Sets the permissions of an open file.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    retry(|| rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode & 0o777)))
}

/// Returns true if the same users may open a file as a new file at `place` with this mode.
pub(crate) fn has_access_of(file: &File, place: &Place, mode: u32) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    let same_group = mode & 0o070 == 0 || stat.st_gid == place.new_group()?;
    Ok(stat.st_mode & 0o777 == mode & 0o777 && same_group)
}

/// Bytes that a file takes up.
pub(crate) fn used_bytes(place: &Place) -> u64 {
    place.stat().map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
}

/// Bytes of a file that [`release_room`] can return.
pub(crate) fn releasable_bytes(place: &Place) -> u64 {
    used_bytes(place)
}

/// Returns true if the object with the name was last changed longer ago than `age`.
pub(crate) fn is_older(place: &Place, age: std::time::Duration) -> bool {
    let Ok(stat) = place.stat() else { return false };
    let changed_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    i128::from(super::realtime_ns()) - changed_ns > i128::try_from(age.as_nanos()).unwrap_or(i128::MAX)
}

/// Free and total bytes of the file system that holds `path`.
pub(crate) fn room(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}
