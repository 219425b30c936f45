//! Files that decide who may do what: read and written so that only their owner has a say in them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use framelane::{Error, ErrorKind};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// More than any of these files needs: a few thousand clients, or a chain of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// A flag of `open`; its bits are the system's, whose type is signed.
const NON_BLOCKING: i32 = OFlags::NONBLOCK.bits().cast_signed();
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// A group may read a key: that is how distributions give services the keys of the machine.
const SECRET_OPEN: u32 = 0o027;

/// Reads a file that nobody else may read or write to; `what` it is goes into the errors.
pub(super) fn read_secret(path: &Path, what: &str) -> Result<Zeroizing<String>, Error> {
    Ok(read(path, what, SECRET_OPEN)?.0)
}

/// Reads a secret file that decides on access. No other user may read it, write to it or replace it.
pub(super) fn read_guarded(path: &Path, what: &str) -> Result<(Zeroizing<String>, Metadata), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let metadata = fs::metadata(parent).map_err(|error| Error::from_io(shown(what, path), error))?;
    check_directory(parent, &metadata)?;
    read(path, what, SECRET_OPEN)
}

/// Reads a file that anybody may read, a certificate.
pub(super) fn read_public(path: &Path, what: &str) -> Result<String, Error> {
    let mut text = read(path, what, WRITABLE_BY_OTHERS)?.0;
    Ok(std::mem::take(&mut *text))
}

fn read(path: &Path, what: &str, forbidden: u32) -> Result<(Zeroizing<String>, Metadata), Error> {
    let failed = |error| Error::from_io(shown(what, path), error);
    // What is looked at is the file that was opened, not what the path may mean later. A FIFO must not hold us up.
    let file = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidOption, format!("{}: expected a file", shown(what, path)))
            .with_hint("give the path of a regular file"));
    }
    check_owner(&shown(what, path), &metadata)?;
    if metadata.mode() & forbidden != 0 {
        let who = if forbidden == SECRET_OPEN { "read or write to it" } else { "write to it" };
        return Err(Error::new(
            ErrorKind::Permission,
            format!(
                "{}: expected a file that only its owner may use, found that others may {who} (mode {:04o})",
                shown(what, path),
                metadata.mode() & 0o7777
            ),
        )
        .with_hint(format!(
            "run `chmod 600 {}`, and make what it holds anew if others may have used it",
            path.display()
        )));
    }
    // With its size from the start, so that no part of a secret is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(metadata.len().min(MAX_BYTES) as usize + 1));
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

/// Whoever owns a file may change its mode and what is in it: only this user and root.
fn check_owner(shown: &str, metadata: &Metadata) -> Result<(), Error> {
    let user = rustix::process::geteuid().as_raw();
    if [0, user].contains(&metadata.uid()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Permission,
        format!("{shown}: expected it to belong to user {user} or to root, found user {}", metadata.uid()),
    )
    .with_hint("run framelane as the user who owns it, or make your own"))
}

/// A directory in which nobody else can replace files; the sticky bit of a shared one sees to that too.
fn check_directory(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    check_owner(&shown("the directory", path), metadata)?;
    let is_sticky = metadata.mode() & 0o1000 != 0;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 && !is_sticky {
        return Err(Error::new(
            ErrorKind::Permission,
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

/// Makes the directory with mode 0700 if it is missing, and checks it.
pub(super) fn private_directory(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::from_io(shown("the directory", path), error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    check_directory(path, &fs::metadata(path).map_err(failed)?)
}

/// Waits until no other process changes files in the directory; others wait until the answer is dropped.
pub(super) fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let failed = |error| Error::from_io(shown("the lock", &path), error);
    // A file of its own: those that it guards are replaced, and a lock would stay with what was replaced.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Puts a file in place in one step: readers find the old one or the new one, also after a crash.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |error| Error::from_io(format!("writing {}", path.display()), error);
    let part = Part(path.with_extension("part"));
    // Left by a writer that was killed: the caller holds the lock, so nobody is writing it now.
    let _ = fs::remove_file(&part.0);
    write_new(&part.0, bytes, mode).map_err(failed)?;
    fs::rename(&part.0, path).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // The new name must be on the disk before anybody is told that it is there.
    File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Makes a file that must not be there yet.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file on its way; removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
