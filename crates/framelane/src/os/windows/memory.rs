//! Stub files of a directory that only this process uses. They are among the temporary files, and the system
//! removes them with their last handle, so a kill leaves none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Storage::FileSystem::ReOpenFile;

use super::file_id::SHARE_ALL;
use super::strings::owned;
use crate::os::random_u64;

/// The files by their names in the directory.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, fs::File>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, fs::File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a file with `create`, which opens it at this path so that it is removed with its handles.
    /// Opens it again with these rights.
    pub(super) fn create(
        &self,
        name: &str,
        rights: u32,
        create: impl FnOnce(PathBuf) -> io::Result<fs::File>,
    ) -> io::Result<fs::File> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let path = std::env::temp_dir().join(format!("framelane-{:016x}.memory", random_u64()));
        let file = create(std::path::absolute(path)?)?;
        let opened = reopen(&file, rights)?;
        files.insert(name.to_owned(), file);
        Ok(opened)
    }

    /// Opens a file again. A lock belongs to one opening, so a duplicate of the handle is not enough.
    pub(super) fn open(&self, name: &str, rights: u32) -> io::Result<fs::File> {
        reopen(self.files().get(name).ok_or(io::ErrorKind::NotFound)?, rights)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files().keys().cloned().collect()
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    /// Renames a file. With `replace`, a file that has the new name is removed.
    pub(super) fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let mut files = self.files();
        if !replace && files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
}

/// Opens a file again, with these rights.
pub(super) fn reopen(file: &impl AsRawHandle, rights: u32) -> io::Result<fs::File> {
    // SAFETY: the handle is open.
    let reopened = unsafe { ReOpenFile(file.as_raw_handle(), rights, SHARE_ALL, 0) };
    // SAFETY: the call has opened the handle for us.
    Ok(unsafe { owned(reopened) }?.into())
}

#[cfg(test)]
mod tests {
    use crate::os::{LockFile, OpenDirectory, create, open};

    fn temporary_files() -> usize {
        let names = std::fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".memory")).count()
    }

    /// The only test of this program that makes such files.
    #[test]
    fn file_in_memory_has_locks_and_leaves_nothing() {
        let directory = OpenDirectory::in_memory().unwrap();
        let (unfinished, place) = (directory.place("new".to_owned()), directory.place("c".to_owned()));
        let created = create(&unfinished, 4096, 0o600).unwrap();
        assert_eq!(create(&unfinished, 4096, 0o600).err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
        unfinished.rename_new(&place).unwrap();
        assert!(place.exists() && place.is_own() && !unfinished.exists());
        let opened = open(&place, false).unwrap();
        assert_eq!(opened.len().unwrap(), 4096);
        let (ours, others) = (LockFile::new(created), LockFile::new(opened));
        assert!(ours.try_lock(1).unwrap() && !others.try_lock(1).unwrap() && others.is_locked(1).unwrap());
        ours.unlock(1).unwrap();
        assert!(!others.is_locked(1).unwrap() && others.is_at(&place));
        assert!(temporary_files() > 0);
        others.remove(&place);
        assert!(!place.exists());
        drop((ours, others));
        assert_eq!(temporary_files(), 0);
    }
}
