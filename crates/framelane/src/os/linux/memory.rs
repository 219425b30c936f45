//! Files without a name in any file system: anonymous memory (memfd) that this process alone can open.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{MemfdFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::file_id::retry;

/// The files of a directory in memory, by their names.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, OwnedFd>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a file, or opens one again by its number in `descriptors` (`/proc/self/fd`). A lock belongs to
    /// one opening, so a duplicate of the descriptor is not enough.
    pub(super) fn open(&self, descriptors: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<File> {
        let mut files = self.files();
        let found = files.get(name);
        if flags.contains(OFlags::CREATE) {
            if found.is_some() {
                return Err(Errno::EXIST.into());
            }
            let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
            files.insert(name.to_owned(), file.try_clone()?);
            return Ok(file.into());
        }
        let number = found.ok_or(Errno::NOENT)?.as_raw_fd().to_string();
        // The name is a link of the kernel.
        let flags = flags.difference(OFlags::NOFOLLOW);
        Ok(retry(|| rustix::fs::openat(descriptors, &number, flags, Mode::empty()))?.into())
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.files().get(name).ok_or(Errno::NOENT)?)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or(Errno::NOENT.into())
    }

    /// Renames a file. With `replace`, a file that has the new name is removed.
    pub(super) fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let mut files = self.files();
        if !replace && files.contains_key(to) {
            return Err(Errno::EXIST.into());
        }
        let file = files.remove(from).ok_or(Errno::NOENT)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
}
