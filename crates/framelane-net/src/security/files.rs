//! Files that define access: read and written so that only their owner can change them.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use framelane::internals::folder::Folder;
use framelane::{Error, ErrorKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// More than any of these files needs: a few thousand clients, or a chain of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// A flag of `open`; its bits are the system's, whose type is signed.
const NON_BLOCKING: i32 = OFlags::NONBLOCK.bits().cast_signed();
/// The file whose lock guards the others of its directory.
const LOCK: &str = "lock";
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// A group may read a key: that is how distributions give services the keys of the machine.
const SECRET_OPEN: u32 = 0o027;

/// Reads a file that no other user may read or write to, except its group. `what` names it in errors.
pub(super) fn read_secret(path: &Path, what: &str) -> Result<Zeroizing<String>, Error> {
    let file = open(path, what)?;
    expect_regular(&file, path, what)?;
    Ok(read(file, path, what, SECRET_OPEN)?.0)
}

/// Returns the text of a file with a secret. `what` names the file in errors, as in "the secret file". Blocks
/// while a pipe or FIFO has a writer, and until a FIFO has one.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] if the file belongs neither to this user nor to root, if its group may
/// write to it, or if other users may read it or write to it. [`ErrorKind::InvalidOption`] if it is neither a
/// regular file nor a pipe or FIFO. [`ErrorKind::Damaged`] if it is not UTF-8, or longer than 1 MiB.
/// [`ErrorKind::Interrupted`] if a signal comes before the first byte of a pipe. Errors of the system.
pub fn read_secret_file(path: &Path, what: &str) -> Result<String, Error> {
    let file = open(path, what)?;
    let failed = |error| Error::from_io(shown(what, path), error);
    if !file.metadata().map_err(failed)?.file_type().is_fifo() {
        expect_regular(&file, path, what)?;
    }
    Ok(std::mem::take(&mut *read(file, path, what, SECRET_OPEN)?.0))
}

/// Reads a secret file that decides on access. No other user may read it, write to it or replace it.
pub(super) fn read_guarded(path: &Path, what: &str) -> Result<(Zeroizing<String>, Metadata), Error> {
    let (folder, name) = Folder::of(path).map_err(|error| error.context(shown(what, path)))?;
    let failed = |error| Error::from_io(shown(what, path), error);
    check_directory(parent(path), &folder.metadata().map_err(failed)?)?;
    // In the directory that was checked.
    let file = folder.open_file(&name, OFlags::RDONLY | OFlags::NONBLOCK, 0).map_err(failed)?;
    expect_regular(&file, path, what)?;
    read(file, path, what, SECRET_OPEN)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a public file, a certificate.
pub(super) fn read_public(path: &Path, what: &str) -> Result<String, Error> {
    let file = open(path, what)?;
    expect_regular(&file, path, what)?;
    let mut text = read(file, path, what, WRITABLE_BY_OTHERS)?.0;
    Ok(std::mem::take(&mut *text))
}

/// Opens a file to read it. A FIFO does not block.
fn open(path: &Path, what: &str) -> Result<File, Error> {
    let options = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).clone();
    options.open(path).map_err(|error| Error::from_io(shown(what, path), error))
}

fn expect_regular(file: &File, path: &Path, what: &str) -> Result<(), Error> {
    let metadata = file.metadata().map_err(|error| Error::from_io(shown(what, path), error))?;
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOption, format!("{}: expected a file", shown(what, path)))
        .with_hint("give the path of a regular file"))
}

/// Waits until the pipe has a byte or has lost its writers. Reading it blocks then.
fn wait_for_pipe(file: &File, path: &Path, what: &str) -> Result<(), Error> {
    // Unlike a read, this is not repeated after a signal.
    match poll(&mut [PollFd::new(file, PollFlags::IN)], None) {
        Ok(_) => {}
        Err(Errno::INTR) => {
            let message = format!("cannot read {}: interrupted by a signal", shown(what, path));
            return Err(Error::new(ErrorKind::Interrupted, message));
        }
        Err(error) => return Err(Error::from_io(shown(what, path), error.into())),
    }
    fcntl_setfl(file, OFlags::empty()).map_err(|error| Error::from_io(shown(what, path), error.into()))
}

fn read(file: File, path: &Path, what: &str, forbidden: u32) -> Result<(Zeroizing<String>, Metadata), Error> {
    let failed = |error| Error::from_io(shown(what, path), error);
    // Of the file that was opened, also if the path changes later.
    let metadata = file.metadata().map_err(failed)?;
    check_owner(&shown(what, path), &metadata)?;
    if metadata.mode() & forbidden != 0 {
        let who = if forbidden == SECRET_OPEN { "read or write to it" } else { "write to it" };
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{}: expected a file that only its owner may use, found that others may {who} (mode {:04o})",
                shown(what, path),
                metadata.mode() & 0o7777
            ),
        )
        .with_hint(format!(
            "run `chmod 600 {}`, and replace its content if other users may have used it",
            path.display()
        )));
    }
    let is_pipe = metadata.file_type().is_fifo();
    if is_pipe {
        wait_for_pipe(&file, path, what)?;
    }
    // With its size from the start, so that no part of a secret is left behind by growing.
    let most = if is_pipe { MAX_BYTES } else { metadata.len().min(MAX_BYTES) };
    let mut text = Zeroizing::new(String::with_capacity(most as usize + 1));
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return damaged(what, path, "bytes that are not UTF-8 text");
        }
        failed(error)
    })?;
    if read as u64 > MAX_BYTES {
        return Err(damaged(what, path, "more than a mebibyte"));
    }
    Ok((text, metadata))
}

fn damaged(what: &str, path: &Path, found: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("{}: expected a short text, found {found}", shown(what, path)))
        .with_hint("check that it is the right file")
}

fn shown(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

/// The owner of a file may change its mode and content: only this user and root may own it.
fn check_owner(shown: &str, metadata: &Metadata) -> Result<(), Error> {
    let user = rustix::process::geteuid().as_raw();
    if [0, user].contains(&metadata.uid()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PermissionDenied,
        format!("{shown}: expected it to belong to user {user} or to root, found user {}", metadata.uid()),
    )
    .with_hint("run framelane as the user who owns it, or make your own"))
}

/// A directory in which no other user can replace files. The sticky bit of a shared one also ensures that.
fn check_directory(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    check_owner(&shown("the directory", path), metadata)?;
    let is_sticky = metadata.mode() & 0o1000 != 0;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !is_sticky {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "the directory {}: expected one that only its owner may write to, found mode {:04o}",
                path.display(),
                metadata.mode() & 0o7777
            ),
        )
        .with_hint(format!("run `chmod 700 {}`", path.display())));
    }
    Ok(())
}

/// A locked directory whose files this process replaces. Other processes of this user wait until it is
/// dropped.
pub(super) struct Locked {
    folder: Folder,
    _lock: File,
}

/// Opens the directory, checks it, and waits until no other process changes files in it.
///
/// With `create`, the directory is made with mode 0700 if it is missing.
pub(super) fn lock(path: &Path, create: bool) -> Result<Locked, Error> {
    let folder = if create { Folder::create(path)? } else { Folder::open(path)? };
    let failed = |error| Error::from_io(shown("the directory", path), error);
    check_directory(path, &folder.metadata().map_err(failed)?)?;
    // A separate file: those that it guards are replaced, and a lock would stay with what was replaced.
    let shown = shown("the lock", &path.join(LOCK));
    let failed = |error| Error::from_io(&shown, error);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let lock = folder.open_file(OsStr::new(LOCK), flags, 0o600).map_err(failed)?;
    let metadata = lock.metadata().map_err(failed)?;
    check_owner(&shown, &metadata)?;
    if !metadata.is_file() {
        let message = format!("{shown}: expected a file, found something else");
        return Err(
            Error::new(ErrorKind::InvalidOption, message).with_hint("remove it, or use another directory")
        );
    }
    lock.lock().map_err(failed)?;
    Ok(Locked { folder, _lock: lock })
}

impl Locked {
    /// Returns whether something has the name.
    pub(super) fn has(&self, name: &OsStr) -> bool {
        self.folder.find(name).is_ok_and(|found| found.is_some())
    }

    /// Puts a file in place in one step: readers find the old one or the new one, also after a crash.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] if a file of another user has the name. Those of the system.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let failed = |error| Error::from_io(format!("writing {}", path.display()), error);
        let name = path.file_name().unwrap_or_default();
        let part = Path::new(name).with_extension("part").into_os_string();
        for name in [name, &part] {
            if let Some(found) = self.folder.find(name).map_err(failed)? {
                found.check_own(path.with_file_name(name).display())?;
                if *name == part {
                    // Left by a writer that was killed: the lock proves that no process is writing it.
                    self.folder.remove(name, &found);
                }
            }
        }
        let mut new = self.folder.new_file(&part, mode).map_err(failed)?;
        new.write(bytes).map_err(failed)?;
        self.folder.rename(&part, name).map_err(failed)?;
        new.keep();
        // The new name must be on the disk before this returns.
        self.folder.sync().map_err(failed)
    }
}
