//! Owner of a mapping, and its access by other users. `/dev/shm` is open to every user of the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use framelane::{Error, ErrorKind};
use rustix::process::geteuid;

use super::address::Address;

/// Owner, permissions and number of names of an open mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The number of the user that it belongs to.
    pub user: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its names in directories.
    pub names: u64,
}

impl Owner {
    /// Of an open file: what has the name may be another one by now.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Owner { user: found.uid(), mode: found.mode() & 0o777, names: found.nlink() })
    }

    /// Returns true if it belongs to the user of this process.
    pub fn is_own(&self) -> bool {
        self.user == geteuid().as_raw()
    }

    /// Refuses a mapping of a user that is not `expected`, and one that is another file as well.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`].
    pub(crate) fn check(&self, address: &Address, verb: &str, expected: u32) -> Result<(), Error> {
        let (name, path) = (address.name(), address.path());
        if self.user != expected {
            let message = format!(
                "cannot {verb} the mapping {name}: expected it to belong to user {expected}, found user {}",
                self.user
            );
            return Err(Error::new(ErrorKind::PermissionDenied, message).with_hint(format!(
                "remove {} and start again, choose another name, or add owner={} to the address if you \
                 trust that user",
                path.display(),
                self.user
            )));
        }
        if self.names > 1 {
            let message =
                format!("cannot {verb} the mapping {name}: expected a file of 1 name, found {}", self.names);
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .with_hint(format!("remove the hard link {}", path.display())));
        }
        Ok(())
    }

    /// Returns the access of other users to the file, if they have any.
    pub fn exposure(&self) -> Option<&'static str> {
        match (self.mode & 0o044 != 0, self.mode & 0o022 != 0) {
            (_, true) => Some("write to"),
            (true, false) => Some("read"),
            (false, false) => None,
        }
    }

    /// A warning for the user of this process: a mapping that others can read or write, or that is another
    /// user's.
    pub fn warning(&self, address: &Address) -> Option<String> {
        let (name, path) = (address.name(), address.path());
        if !self.is_own() && address.owner().is_none() {
            let user = self.user;
            return Some(format!(
                "the mapping {name} belongs to user {user}, who decides which frames are in it (owner={user} in the \
                 address accepts that)"
            ));
        }
        let verb = self.exposure()?;
        Some(format!(
            "other users can {verb} the mapping {name}: its mode is {:o} (chmod 600 {} restricts it)",
            self.mode,
            path.display()
        ))
    }
}
