//! A folder that is opened once, and the files in it by their names. For the crates of framelane, not part of
//! the public interface.
//!
//! A path can lead elsewhere at each use: other users can replace folders and symbolic links in it. Every
//! call here is relative to the open folder. Links in a path are followed only if they belong to root or to
//! this user. No link is followed as the name of a file.

use std::ffi::OsString;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::os::{DirectoryFault, folder, not_a_directory};

pub use crate::os::folder::{Folder, Found, NewFile};

impl Found {
    /// Refuses a file of another user than this process's.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], which names the user.
    pub fn check_own(&self, shown: impl std::fmt::Display) -> Result<(), Error> {
        let user = folder::user();
        if self.owner() == user {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "cannot replace {shown}: expected a file of user {user}, found one of user {}",
                self.owner()
            ),
        )
        .with_hint("use another name or folder, or let its user remove it"))
    }
}

impl Folder {
    /// Opens the folder of a file, and returns it with the name of the file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for a path without a name at its end. Else as [`Folder::open`].
    pub fn of(path: &Path) -> Result<(Self, OsString), Error> {
        let name = path.file_name().ok_or_else(|| {
            let message = format!("expected the path of a file, found {}", path.display());
            Error::new(ErrorKind::InvalidOption, message).with_hint("add the name of a file")
        })?;
        Ok((Self::open(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    /// Opens a folder. The empty path is the working directory.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for a symbolic link of another user on the way. Errors of the system.
    pub fn open(path: &Path) -> Result<Self, Error> {
        open(path, false)
    }

    /// Opens a folder. Missing parents are created with mode 0700, regardless of the umask.
    ///
    /// # Errors
    /// The errors of [`Folder::open`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        open(path, true)
    }
}

fn open(path: &Path, create: bool) -> Result<Folder, Error> {
    let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path }.display();
    Folder::walk(path, create).map_err(|fault| match fault {
        DirectoryFault::ForeignLink(link) => {
            let message =
                format!("cannot use {shown}: {} is a symbolic link of another user", link.display());
            Error::new(ErrorKind::PermissionDenied, message)
                .with_hint("check the target of the link, then use the path that `realpath` prints")
        }
        DirectoryFault::Io(error) => Error::from_io(format!("the directory {shown}"), error),
        _ => Error::from_io(format!("the directory {shown}"), not_a_directory()),
    })
}
