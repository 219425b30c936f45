//! Files of a tmpfs, and the directory that holds them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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
