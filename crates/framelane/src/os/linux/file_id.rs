//! The identity of a file.

use std::io;
use std::os::fd::AsFd;

/// A file, under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }

    /// An open file's.
    pub(crate) fn open(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// The file's number in its file system.
    pub(super) fn inode(self) -> u64 {
        self.inode
    }
}

/// Calls the system again after a signal.
pub(super) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
