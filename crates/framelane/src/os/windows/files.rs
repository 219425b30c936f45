//! Files of a channel: stub files that name sections.

use std::fs;
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::time::{Duration, SystemTime};

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_COMMITMENT_LIMIT, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY,
    ERROR_OUTOFMEMORY, ERROR_TOO_MANY_OPEN_FILES, GetLastError, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES, WRITE_DAC,
};
use windows_sys::Win32::System::Memory::{CreateFileMappingW, PAGE_READWRITE};

use super::directory::Place;
use super::file_id::FileId;
use super::memory::reopen;
use super::strings::{is, owned};
use super::stub::Stub;
use super::users::{Others, User};
use crate::os::random_u64;

/// An open file of a channel: a stub, and the section that it names.
pub(crate) struct File {
    disk: fs::File,
    /// `None`: it is not a stub.
    stub: Option<Stub>,
    /// Of a file that this process has created: until it is mapped, no one else keeps the section.
    section: Option<OwnedHandle>,
}

impl File {
    /// Bytes of the section. The error is `InvalidData` for a file that is no stub.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.stub()?.len)
    }

    pub(super) fn stub(&self) -> io::Result<Stub> {
        self.stub.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "expected a file that names memory, found another one")
        })
    }

    /// The section, opened with these rights. `NotFound` once no process has it.
    pub(super) fn section(&self, rights: u32) -> io::Result<OwnedHandle> {
        match &self.section {
            Some(section) => section.try_clone(),
            None => self.stub()?.open_section(rights),
        }
    }

    pub(super) fn into_disk(self) -> fs::File {
        self.disk
    }
}

impl AsHandle for File {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.disk.as_handle()
    }
}

/// Opens an existing file; never follows a link. Stub files are only read: locks need no more, and the rights
/// to the memory are those of the section.
pub(crate) fn open(place: &Place, _writable: bool) -> io::Result<File> {
    let disk = place.open(FILE_GENERIC_READ)?;
    if !disk.metadata()?.is_file() {
        return Err(io::Error::other("expected a regular file, found something else"));
    }
    let stub = Stub::read(&disk)?;
    Ok(File { disk, stub, section: None })
}

/// The hint for an error about a limit of the process or the system.
pub(crate) fn hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()?.cast_unsigned() {
        ERROR_TOO_MANY_OPEN_FILES => Some("close files of the process"),
        _ if is_shortage(error) => Some("close programs, or enlarge the paging file"),
        _ => None,
    }
}

/// Returns whether the system has too little memory.
fn is_shortage(error: &io::Error) -> bool {
    [ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_COMMITMENT_LIMIT, ERROR_NO_SYSTEM_RESOURCES]
        .into_iter()
        .any(|code| is(error, code))
}

/// The kind of object at `place`, if it is neither a regular file nor nothing.
pub(crate) fn irregular(place: &Place) -> Option<&'static str> {
    let kind = place.metadata().ok()?.file_type();
    match () {
        () if kind.is_symlink() => Some("a symbolic link"),
        () if kind.is_dir() => Some("a directory"),
        () => None,
    }
}

/// Creates a section of `len` bytes, charged now, and a stub file that names it.
///
/// Users other than the owner have the rights that `mode` has for group or others.
pub(crate) fn create(place: &Place, len: u64, mode: u32) -> io::Result<File> {
    let id = u128::from(random_u64()) << 64 | u128::from(random_u64());
    let stub = Stub { id, len, others: Others::of_mode(mode), pid: std::process::id() };
    // Before the stub: a stub without a section was left by a crash.
    let section = create_section(&stub)?;
    let disk = place.create(stub.others)?;
    if let Err(error) = stub.write(&disk) {
        remove(&disk, place);
        return Err(error);
    }
    Ok(File { disk, stub: Some(stub), section: Some(section) })
}

fn create_section(stub: &Stub) -> io::Result<OwnedHandle> {
    let (name, descriptor) = (stub.section_name(), stub.others.on_section()?);
    let attributes = descriptor.attributes();
    let (high, low) = ((stub.len >> 32) as u32, stub.len as u32);
    // SAFETY: no file, so the paging file; the attributes are complete, and the name ends with a zero.
    let handle = unsafe {
        CreateFileMappingW(INVALID_HANDLE_VALUE, &attributes, PAGE_READWRITE, high, low, name.as_ptr())
    };
    // SAFETY: has no conditions.
    let outcome = unsafe { GetLastError() };
    // SAFETY: the call has opened the handle for us.
    let section = unsafe { owned(handle) }.map_err(|error| match is_shortage(&error) {
        true => io::Error::new(io::ErrorKind::StorageFull, error),
        false => error,
    })?;
    if outcome == ERROR_ALREADY_EXISTS {
        // Of another program: a random name of 128 bits is no coincidence.
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(section)
}

/// Removes the name of an open file, unless another file has it by now.
pub(crate) fn remove(file: impl AsHandle, place: &Place) {
    if let Ok(id) = FileId::open(file) {
        id.remove(place);
    }
}

/// Takes the room of the first `len` bytes of a file. A section has all of its room.
pub(crate) fn take_room(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Returns the room of some bytes of a file to the system. Windows cannot while there are maps.
pub(crate) fn release_room(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes of a file that [`release_room`] can return.
pub(crate) fn releasable_bytes(_place: &Place) -> u64 {
    0
}

impl FileId {
    /// Opens what has the name, with these rights.
    fn open_place(place: &Place, rights: u32) -> io::Result<(fs::File, Self)> {
        let file = place.open(rights | FILE_READ_ATTRIBUTES)?;
        let id = Self::open(&file)?;
        Ok((file, id))
    }

    /// Returns whether `place` names this file.
    pub(crate) fn is_at(self, place: &Place) -> bool {
        Self::at(place) == Some(self)
    }

    /// The file that has the name.
    pub(crate) fn at(place: &Place) -> Option<Self> {
        Self::open_place(place, 0).ok().map(|(_, id)| id)
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(self, place: &Place) {
        let _ = self.try_remove(place);
    }

    /// Removes the name like [`FileId::remove`]. Returns the error of the removal.
    pub(crate) fn try_remove(self, place: &Place) -> io::Result<()> {
        match Self::open_place(place, DELETE) {
            // By its handle: no other file can take the name in between.
            Ok((file, id)) if id == self => place.delete(&file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The user who owns an open file, if it is not the one that this process acts for.
pub(crate) fn foreign_owner(file: impl AsHandle) -> io::Result<Option<User>> {
    let owner = User::owner_of(file)?;
    Ok((&owner != User::current()?).then_some(owner))
}

/// Sets the rights of other users to an open file and its section, as `mode` has them.
pub(crate) fn set_mode(file: impl AsHandle, mode: u32) -> io::Result<()> {
    let rights = FILE_GENERIC_READ | FILE_GENERIC_WRITE | WRITE_DAC;
    let file = reopen(&file.as_handle(), rights)?;
    let others = Others::of_mode(mode);
    match Stub::read(&file)? {
        Some(stub) if stub.others != others => {
            others.on_section()?.apply(stub.open_section(WRITE_DAC)?)?;
            others.on_file()?.apply(&file)?;
            Stub { others, ..stub }.write(&file)
        }
        _ => Ok(()),
    }
}

/// Returns true if the same users may open a file as a new file at `place` with this mode.
pub(crate) fn has_access_of(file: &File, _place: &Place, mode: u32) -> io::Result<bool> {
    Ok(file.stub()?.others == Others::of_mode(mode))
}

/// Bytes that a file takes up: those of its section, while a process has it.
pub(crate) fn used_bytes(place: &Place) -> u64 {
    let stub = open(place, false).and_then(|file| file.stub());
    stub.ok().filter(|stub| !stub.is_dead()).map_or(0, |stub| stub.len)
}

/// Returns whether what has the name was last changed longer ago than `age`.
pub(crate) fn is_older(place: &Place, age: Duration) -> bool {
    let changed = place.metadata().and_then(|found| found.modified());
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).is_ok_and(|found| found > age))
}
