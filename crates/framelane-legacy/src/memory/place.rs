//! The name of a mapping in `/dev/shm`, which every user of the machine may write to.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Result;

use super::NO_SURPRISE;

/// A name in an open directory. Every call uses the same directory, also after its path has changed.
#[derive(Debug)]
pub(crate) struct Place {
    directory: OwnedFd,
    name: String,
}

impl Place {
    /// The place of a path with a name, in a directory that exists.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(rustix::io::Errno::INVAL);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Place { directory, name: name.to_owned() })
    }

    /// Opens what has the name for reading and writing.
    pub(crate) fn open_file(&self) -> Result<File> {
        self.open_with(OFlags::empty())
    }

    /// Makes a file for this user alone.
    pub(crate) fn make_file(&self) -> Result<File> {
        self.open_with(OFlags::CREATE | OFlags::EXCL)
    }

    fn open_with(&self, flags: OFlags) -> Result<File> {
        let flags = flags | OFlags::RDWR | OFlags::from_bits_retain(NO_SURPRISE as _);
        Ok(rustix::fs::openat(&self.directory, &self.name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Returns true if the name is that of this file.
    pub(crate) fn is_of(&self, file: &File) -> bool {
        let there = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((there, file.metadata()), (Ok(there), Ok(ours))
            if (there.st_dev, there.st_ino) == (ours.dev() as _, ours.ino() as _))
    }

    /// Removes the name if it is that of this file, which belongs to this user.
    ///
    /// `/dev/shm` is sticky: between the comparison and the removal, only this user and root can give the
    /// name to another file.
    pub(crate) fn remove(&self, file: &File) {
        if self.is_of(file) {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}
