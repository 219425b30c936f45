//! Files of a tmpfs, and the directory that holds them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FallocateFlags, RenameFlags};

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

/// What to do about an error that has to do with a limit of the process or the system.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("close files, or raise the limit on open files of the process (`ulimit -n`)"),
        libc::ENFILE => Some("close files, or raise the system's limit on open files (`sysctl fs.file-max`)"),
        libc::ENOMEM => Some("free memory, or raise the limit on address space of the process (`ulimit -v`)"),
        libc::EFBIG => Some("raise the limit on file size of the process (`ulimit -f unlimited`)"),
        libc::EDQUOT => Some("remove files, or raise the user's quota"),
        _ => None,
    }
}

/// What is at `path`, if it is neither a regular file nor nothing.
pub(crate) fn irregular(path: &Path) -> Option<&'static str> {
    let kind = std::fs::symlink_metadata(path).ok()?.file_type();
    let kinds = [
        (kind.is_symlink(), "a symbolic link"),
        (kind.is_dir(), "a directory"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (kind.is_block_device() || kind.is_char_device(), "a device"),
    ];
    kinds.into_iter().find(|&(is, _)| is).map(|(_, name)| name)
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
    let sized = take_room(&file, len).and_then(|()| set_mode(&file, mode));
    if let Err(error) = sized {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
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

/// Returns the room of some bytes of a file to its file system; they read as zeros. Maps of the file stay valid.
pub(crate) fn release_room(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    retry(|| rustix::fs::fallocate(file, flags, offset, len))
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(stat: &rustix::fs::Stat) -> Self {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }

    /// An open file's.
    pub(crate) fn open(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// Whether `path` names this file.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| Self::of(&stat) == self)
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(self, path: &Path) {
        if self.is_at(path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The user who owns an open file, if it is not the one that this process acts for.
pub(crate) fn foreign_owner(file: impl AsFd) -> io::Result<Option<u32>> {
    let owner = rustix::fs::fstat(file)?.st_uid;
    Ok((owner != rustix::process::geteuid().as_raw()).then_some(owner))
}

/// Sets the permissions of an open file.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))
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
    match make_private_directory(path) {
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

/// Creates a directory with mode 0700, whatever the umask.
fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    // A umask can only have taken permissions of the owner away.
    if std::fs::symlink_metadata(path)?.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Creates a directory and its parents where they are missing, each with mode 0700. What exists stays as it is.
pub(crate) fn make_private_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_private_directories(parent)?;
    }
    match make_private_directory(path) {
        // By another process, meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
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
