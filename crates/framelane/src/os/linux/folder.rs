//! A folder that is opened once, and the files in it by their names. For the crates of framelane, not part of
//! the public interface.
//!
//! A path can lead elsewhere at each use: other users can replace folders and symbolic links in it. Every
//! call here is relative to the open folder. Links in a path are followed only if they belong to root or to
//! this user. No link is followed as the name of a file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};

use super::directory::{DirectoryFault, OpenDirectory};

/// The user that this process acts for.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// An open folder.
#[derive(Clone, Debug)]
pub struct Folder(OpenDirectory);

/// A file that a name leads to. Links are not followed.
#[derive(Clone, Copy, Debug)]
pub struct Found(Stat);

impl Found {
    /// The user that the file belongs to.
    pub fn owner(&self) -> u32 {
        self.0.st_uid
    }

    /// Returns whether it is a Unix socket.
    pub fn is_socket(&self) -> bool {
        FileType::from_raw_mode(self.0.st_mode) == FileType::Socket
    }

    /// Returns whether both are the same file.
    pub fn is(&self, other: &Found) -> bool {
        (self.0.st_dev, self.0.st_ino) == (other.0.st_dev, other.0.st_ino)
    }
}

impl Folder {
    /// Opens a folder by its names, and follows no symbolic link of another user. With `create`, missing
    /// parents are created with mode 0700, regardless of the umask.
    pub(crate) fn walk(path: &Path, create: bool) -> Result<Self, DirectoryFault> {
        OpenDirectory::walk(path, create).map(Folder)
    }

    /// Returns the owner, mode and times of the folder itself.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.0.fd().try_clone_to_owned()?).metadata()
    }

    /// Returns what has the name. `None` if nothing has.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn find(&self, name: &OsStr) -> io::Result<Option<Found>> {
        match rustix::fs::statat(self.0.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found(stat))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file. `flags` decide about links, and `mode` about the permissions of a new one.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn open_file(&self, name: &OsStr, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.0.fd(), name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Creates a file for writing.
    ///
    /// # Errors
    /// `AlreadyExists` if anything has the name, a link too. Errors of the system.
    pub fn new_file(&self, name: &OsStr, mode: u32) -> io::Result<NewFile> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = self.open_file(name, flags, mode)?;
        let found = Some(Found(rustix::fs::fstat(&file)?));
        Ok(NewFile { folder: self.clone(), name: name.to_owned(), file, found })
    }

    /// Removes the name, unless another file has it by now. Returns whether it was removed.
    pub fn remove(&self, name: &OsStr, found: &Found) -> bool {
        self.find(name).is_ok_and(|now| now.is_some_and(|now| now.is(found)))
            && rustix::fs::unlinkat(self.0.fd(), name, AtFlags::empty()).is_ok()
    }

    /// Renames a file. What has the new name is replaced.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(self.0.fd(), from, self.0.fd(), to)?)
    }

    /// Renames a file, unless the new name is taken (`AlreadyExists`).
    ///
    /// # Errors
    /// Errors of the system.
    pub fn rename_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(self.0.fd(), from, self.0.fd(), to, flags) {
            // Network file systems have no such call. A second name is as good.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                rustix::fs::linkat(self.0.fd(), from, self.0.fd(), to, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(self.0.fd(), from, AtFlags::empty())?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Writes the names in the folder to the disk.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn sync(&self) -> io::Result<()> {
        self.open_file(OsStr::new("."), OFlags::RDONLY | OFlags::DIRECTORY, 0)?.sync_all()
    }

    /// Returns a path to the name that no change of folders or links redirects, for calls that take paths
    /// only. Valid in this process while the folder is open.
    pub fn fixed_path(&self, name: &OsStr) -> PathBuf {
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", self.0.fd().as_fd().as_raw_fd()));
        path.push(name);
        path
    }
}

/// A file that this process has created. Dropping it removes its name, unless the file is kept or another
/// file has the name.
#[derive(Debug)]
pub struct NewFile {
    folder: Folder,
    name: OsString,
    file: File,
    /// `None` once it is kept.
    found: Option<Found>,
}

impl NewFile {
    /// Writes all of `bytes` to the file, and the file to the disk.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.found = None;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(found) = &self.found {
            self.folder.remove(&self.name, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::error::ErrorKind;

    fn folder() -> (tempfile::TempDir, Folder) {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        (place, folder)
    }

    #[test]
    fn new_file_dropped_after_a_swap_leaves_the_other_file() {
        let (place, folder) = folder();
        let path = place.path().join("x");
        let new = folder.new_file(OsStr::new("x"), 0o600).unwrap();
        fs::rename(&path, place.path().join("y")).unwrap();
        fs::write(&path, "another").unwrap();
        drop(new);
        assert_eq!(fs::read(&path).unwrap(), b"another");
        drop(folder.new_file(OsStr::new("z"), 0o600).unwrap());
        assert!(folder.find(OsStr::new("z")).unwrap().is_none());
    }

    #[test]
    fn new_file_is_removed_from_a_folder_that_moved() {
        let (place, _) = folder();
        let (before, after) = (place.path().join("a"), place.path().join("b"));
        fs::create_dir(&before).unwrap();
        let (folder, name) = Folder::of(&before.join("x")).unwrap();
        let new = folder.new_file(&name, 0o600).unwrap();
        fs::rename(&before, &after).unwrap();
        fs::create_dir(&before).unwrap();
        fs::write(before.join("x"), "another").unwrap();
        drop(new);
        assert!(before.join("x").exists() && !after.join("x").exists());
    }

    #[test]
    fn new_file_at_a_dangling_link_is_refused() {
        let (place, folder) = folder();
        symlink(place.path().join("target"), place.path().join("x")).unwrap();
        let error = folder.new_file(OsStr::new("x"), 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(!place.path().join("target").exists());
    }

    #[test]
    fn folder_behind_own_links_is_opened_and_created() {
        let (place, _) = folder();
        fs::create_dir(place.path().join("real")).unwrap();
        symlink("real", place.path().join("link")).unwrap();
        let deep = place.path().join("link/../link/a/b");
        assert!(Folder::open(&deep).is_err());
        let (folder, name) = (Folder::create(&deep).unwrap(), OsStr::new("x"));
        folder.new_file(name, 0o600).unwrap().keep();
        assert!(place.path().join("real/a/b/x").exists());
        assert_eq!(folder.metadata().unwrap().permissions(), fs::Permissions::from_mode(0o40700));
        folder.rename_new(name, OsStr::new("y")).unwrap();
        folder.new_file(name, 0o600).unwrap().keep();
        let error = folder.rename_new(name, OsStr::new("y")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn folder_behind_a_foreign_link_is_refused() {
        let (place, _) = folder();
        let link = place.path().join("link");
        symlink(place.path(), &link).unwrap();
        if std::os::unix::fs::lchown(&link, Some(65534), None).is_err() {
            framelane_test_kit::skip("root", "only root can give files away");
            return;
        }
        for made in [Folder::open(&link), Folder::create(&link.join("a"))] {
            let error = made.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.message().contains("symbolic link of another user"), "{error}");
        }
        assert!(!place.path().join("a").exists());
    }
}
