//! A channel directory, and names in it.
//!
//! Names are resolved by path at each use. A user who can exchange a directory on the way can also exchange
//! the files, so only trusted users may write to the directory of a channel. The files themselves are
//! compared by their identity.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, ERROR_DIRECTORY, ERROR_FILE_EXISTS};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_ATTRIBUTE_NORMAL, FILE_DISPOSITION_FLAG_DELETE,
    FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE, FILE_DISPOSITION_FLAG_POSIX_SEMANTICS,
    FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_DELETE_ON_CLOSE,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES,
    FILE_REMOTE_PROTOCOL_INFO, FILE_RENAME_INFO, FileDispositionInfo, FileDispositionInfoEx,
    FileRemoteProtocolInfo, FileRenameInfo, GetFileInformationByHandleEx, MOVEFILE_REPLACE_EXISTING,
    MoveFileExW, READ_CONTROL, SetFileInformationByHandle,
};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

use super::file_id::{FileId, SHARE_ALL, open_path};
use super::memory::Memory;
use super::strings::{checked, is, owned, wide_path};
use super::stub::Stub;
use super::users::{Others, User};
use crate::os::random_u64;

/// The rights to a file that was just created.
const CREATED: u32 = FILE_GENERIC_READ | FILE_GENERIC_WRITE | DELETE;

/// The needs of [`OpenDirectory::in_memory`], for messages.
pub(crate) const MEMORY_NEEDS: &str = "a temporary file for the memory of a link";
/// The hint for when they are not met.
pub(crate) const MEMORY_HINT: &str = "set TEMP to a directory of your own on a local disk";
/// The directory of [`OpenDirectory::private`], for messages.
pub(crate) const OWN_DIRECTORY: &str = "a directory of your own";
/// The hint for when it cannot be used.
pub(crate) const OWN_DIRECTORY_HINT: &str = "set FRAMELANE_DIR to a directory of your own on a local disk";
/// The hint for a named directory that cannot be used.
pub(crate) const SHARED_DIRECTORY_HINT: &str = "use a directory on a local disk that you can write to";

/// The hint for a directory with too little room.
pub(crate) fn room_hint(_directory: &Path) -> String {
    "close programs, or enlarge the paging file".to_owned()
}

/// The directory of this user's channels.
pub(crate) fn default_directory() -> PathBuf {
    let local = std::env::var_os("LOCALAPPDATA").filter(|path| !path.is_empty());
    local.map_or_else(std::env::temp_dir, PathBuf::from).join("framelane")
}

/// A directory that is not as expected.
pub(crate) enum DirectoryFault {
    NotDirectory,
    ForeignOwner(User),
    #[expect(dead_code, reason = "directories of a user have no mode here")]
    OpenToOthers(u32),
    #[expect(dead_code, reason = "links of other users are not recognized here")]
    ForeignLink(PathBuf),
    Io(io::Error),
}

/// The system's error for a path that is no directory, with its number.
pub(crate) fn not_a_directory() -> io::Error {
    io::Error::from_raw_os_error(ERROR_DIRECTORY.cast_signed())
}

impl From<io::Error> for DirectoryFault {
    fn from(error: io::Error) -> Self {
        DirectoryFault::Io(error)
    }
}

/// An open directory.
#[derive(Clone, Debug)]
pub(crate) struct OpenDirectory {
    path: Arc<Path>,
    files: Files,
}

/// The files of a directory.
#[derive(Clone, Debug)]
enum Files {
    Disk(Arc<OwnedHandle>),
    Memory(Arc<Memory>),
}

impl OpenDirectory {
    /// Makes a directory of files that only this process uses. They end with the last reference to it.
    pub(crate) fn in_memory() -> io::Result<Self> {
        Ok(OpenDirectory { path: Path::new("memory").into(), files: Files::Memory(Arc::default()) })
    }

    /// Returns true if only this process uses its files.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.files, Files::Memory(_))
    }

    /// Opens an existing directory on a local disk. Follows links.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::open_disk(path)?.0)
    }

    fn open_disk(path: &Path) -> io::Result<(Self, Arc<OwnedHandle>)> {
        // Absolute: the process may change its working directory.
        let path = std::path::absolute(path)?;
        let opened = open_path(&path, FILE_GENERIC_READ, FILE_FLAG_BACKUP_SEMANTICS)?;
        if !opened.metadata()?.is_dir() {
            return Err(not_a_directory());
        }
        let handle = OwnedHandle::from(opened);
        if is_remote(&handle) {
            // Another machine would see the files, and not the memory.
            return Err(io::Error::other("expected a directory on a local disk, found one on the network"));
        }
        let handle = Arc::new(handle);
        Ok((OpenDirectory { path: path.into(), files: Files::Disk(handle.clone()) }, handle))
    }

    /// Opens an existing directory to remove files in it. It must belong to this user, to the system or to
    /// the administrators.
    pub(crate) fn open_trusted(path: &Path) -> Result<Self, DirectoryFault> {
        let (opened, handle) = Self::open_disk(path)?;
        let owner = User::owner_of(&handle)?;
        if &owner != User::current()? && !owner.is_system() {
            return Err(DirectoryFault::ForeignOwner(owner));
        }
        Ok(opened)
    }

    /// Opens a directory, or creates it and its missing parents for this user alone.
    pub(crate) fn make(path: &Path) -> Result<Self, DirectoryFault> {
        Ok(Self::make_disk(path)?.0)
    }

    fn make_disk(path: &Path) -> Result<(Self, Arc<OwnedHandle>), DirectoryFault> {
        let path = std::path::absolute(path)?;
        let missing: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev() {
            create_directory(path)?;
        }
        match Self::open_disk(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(DirectoryFault::NotDirectory),
            opened => Ok(opened?),
        }
    }

    /// Opens the directory of this user, or creates it for this user alone.
    pub(crate) fn private(path: &Path) -> Result<Self, DirectoryFault> {
        let (opened, handle) = Self::make_disk(path)?;
        let owner = User::owner_of(&handle)?;
        // An elevated program of this user may have made it.
        if &owner == User::current()? || owner.is_system() {
            Ok(opened)
        } else {
            Err(DirectoryFault::ForeignOwner(owner))
        }
    }

    /// The path that it was opened by, for messages and for programs that watch it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether its path still leads to it.
    pub(crate) fn is_here(&self) -> bool {
        let Files::Disk(handle) = &self.files else { return true };
        let there = open_path(&self.path, FILE_GENERIC_READ, FILE_FLAG_BACKUP_SEMANTICS);
        let there = there.and_then(FileId::open);
        matches!((FileId::open(handle), there), (Ok(ours), Ok(there)) if ours == there)
    }

    /// A name in it.
    pub(crate) fn place(&self, name: String) -> Place {
        Place { directory: self.clone(), name }
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        if let Files::Memory(memory) = &self.files {
            return Ok(memory.names().into_iter().map(OsString::from).collect());
        }
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Free and total bytes of memory.
    pub(crate) fn room(&self) -> io::Result<(u64, u64)> {
        room(&self.path)
    }
}

/// Free and total bytes of memory that the system can commit. Sections take it, wherever their stub files
/// are.
pub(crate) fn room(_path: &Path) -> io::Result<(u64, u64)> {
    let size = size_of::<MEMORYSTATUSEX>() as u32;
    let mut found = MEMORYSTATUSEX { dwLength: size, ..Default::default() };
    // SAFETY: `found` may be written to, and has its size.
    checked(unsafe { GlobalMemoryStatusEx(&mut found) })?;
    Ok((found.ullAvailPageFile, found.ullTotalPageFile))
}

fn create_file(path: &Path, others: Others, flags: u32) -> io::Result<fs::File> {
    let (path, descriptor) = (wide_path(path), others.on_file()?);
    let attributes = descriptor.attributes();
    let (start, flags) = (path.as_ptr(), FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT | flags);
    // SAFETY: the path ends with a zero, and the attributes are complete.
    let handle =
        unsafe { CreateFileW(start, CREATED, SHARE_ALL, &attributes, CREATE_NEW, flags, null_mut()) };
    // SAFETY: the call has opened the handle for us.
    Ok(unsafe { owned(handle) }?.into())
}

/// Renames a file that is open for it. By its handle: Wine removes the name that the handle has.
fn rename_open(file: &fs::File, to: &Path) -> io::Result<()> {
    // A `FILE_RENAME_INFO`: no flags, no directory, the bytes of the name, and the name with a zero.
    const NAME_AT: usize = offset_of!(FILE_RENAME_INFO, FileName);
    let name: Vec<u8> = wide_path(to).into_iter().flat_map(u16::to_ne_bytes).collect();
    let mut bytes = vec![0; NAME_AT];
    bytes[NAME_AT - 4..].copy_from_slice(&(name.len() as u32 - 2).to_ne_bytes());
    bytes.extend(name);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    // As aligned as the structure.
    let how: Vec<u64> =
        bytes.chunks_exact(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"))).collect();
    let (handle, start, size) = (file.as_raw_handle(), how.as_ptr().cast(), bytes.len() as u32);
    // SAFETY: the handle is open, and `how` is what this class takes, with a name within `size` bytes.
    checked(unsafe { SetFileInformationByHandle(handle, FileRenameInfo, start, size) })
}

/// Returns whether a file is on another machine.
fn is_remote(handle: &OwnedHandle) -> bool {
    let mut found = FILE_REMOTE_PROTOCOL_INFO::default();
    let (start, size) = ((&raw mut found).cast(), size_of_val(&found) as u32);
    let handle = handle.as_raw_handle();
    // SAFETY: the handle is open, and `found` may be written to. The call fails for files on this machine.
    checked(unsafe { GetFileInformationByHandleEx(handle, FileRemoteProtocolInfo, start, size) }).is_ok()
}

fn create_directory(path: &Path) -> io::Result<()> {
    let (path, descriptor) = (wide_path(path), Others::on_directory()?);
    let attributes = descriptor.attributes();
    // SAFETY: the path ends with a zero, and the attributes are complete.
    match checked(unsafe { CreateDirectoryW(path.as_ptr(), &attributes) }) {
        // Another process was faster.
        Err(error) if is(&error, ERROR_ALREADY_EXISTS) => Ok(()),
        created => created,
    }
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    directory: OpenDirectory,
    name: String,
}

impl Place {
    /// The whole path.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }

    pub(crate) fn display(&self) -> String {
        self.path().display().to_string()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether something has this name.
    pub(crate) fn exists(&self) -> bool {
        self.metadata().is_ok()
    }

    /// Describes what has the name. Follows no link.
    pub(super) fn metadata(&self) -> io::Result<fs::Metadata> {
        self.open(FILE_READ_ATTRIBUTES)?.metadata()
    }

    /// Opens what has the name, with these rights. Follows no link.
    pub(super) fn open(&self, rights: u32) -> io::Result<fs::File> {
        match &self.directory.files {
            Files::Memory(memory) => memory.open(&self.name, rights),
            Files::Disk(_) => {
                let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
                open_path(&self.path(), rights, flags)
            }
        }
    }

    /// Creates a file with this name, to read, write and remove it.
    pub(super) fn create(&self, others: Others) -> io::Result<fs::File> {
        match &self.directory.files {
            Files::Memory(memory) => memory
                .create(&self.name, CREATED, |path| create_file(&path, others, FILE_FLAG_DELETE_ON_CLOSE)),
            Files::Disk(_) => create_file(&self.path(), others, 0),
        }
    }

    /// Removes the name.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.delete(&self.open(DELETE)?)
    }

    /// Removes a file of this name that is open for it, at once, also while others have it open.
    pub(super) fn delete(&self, file: &fs::File) -> io::Result<()> {
        if let Files::Memory(memory) = &self.directory.files {
            return memory.remove(&self.name);
        }
        let flags = FILE_DISPOSITION_FLAG_DELETE
            | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS
            | FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE;
        let how = FILE_DISPOSITION_INFO_EX { Flags: flags };
        let (handle, start, size) = (file.as_raw_handle(), (&raw const how).cast(), size_of_val(&how) as u32);
        // SAFETY: the handle is open, and `how` is what this class takes.
        let deleted =
            checked(unsafe { SetFileInformationByHandle(handle, FileDispositionInfoEx, start, size) });
        if deleted.is_ok() {
            return Ok(());
        }
        // File systems without such a removal keep the name until all have closed the file. So the file gets
        // the name of one that is not complete.
        let hidden = self.directory.place(format!(".{}.{:016x}.new", self.name, random_u64()));
        rename_open(file, &hidden.path())?;
        let how = FILE_DISPOSITION_INFO { DeleteFile: true };
        let (start, size) = ((&raw const how).cast(), size_of_val(&how) as u32);
        // SAFETY: as above.
        checked(unsafe { SetFileInformationByHandle(handle, FileDispositionInfo, start, size) })
    }

    /// The owner of what has the name.
    pub(crate) fn owner(&self) -> Option<User> {
        self.open(READ_CONTROL).and_then(User::owner_of).ok()
    }

    /// Returns whether what has the name belongs to this user.
    pub(crate) fn is_own(&self) -> bool {
        matches!((self.owner(), User::current()), (Some(owner), Ok(user)) if &owner == user)
    }

    /// The owner of what has the name, if this user may not remove it.
    pub(crate) fn protected_by(&self) -> Option<User> {
        let refused = self.open(DELETE).err()?.kind() == io::ErrorKind::PermissionDenied;
        refused.then(|| self.owner()).flatten()
    }

    /// Renames to `to` in the same directory. What has that name is replaced.
    pub(crate) fn rename(&self, to: &Place) -> io::Result<()> {
        if let Files::Memory(memory) = &self.directory.files {
            return memory.rename(&self.name, &to.name, true);
        }
        match to.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.move_to(to, MOVEFILE_REPLACE_EXISTING)
    }

    /// Renames to `to` in the same directory, unless something already has that name (`AlreadyExists`).
    ///
    /// A stub whose section is gone was left by a crash, and makes way.
    pub(crate) fn rename_new(&self, to: &Place) -> io::Result<()> {
        if let Files::Memory(memory) = &self.directory.files {
            return memory.rename(&self.name, &to.name, false);
        }
        loop {
            match self.move_to(to, 0) {
                Err(error) if is(&error, ERROR_ALREADY_EXISTS) || is(&error, ERROR_FILE_EXISTS) => {
                    if !to.remove_dead()? {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                }
                moved => return moved,
            }
        }
    }

    /// Removes a stub whose section is gone. Returns whether there was one.
    fn remove_dead(&self) -> io::Result<bool> {
        let Ok(file) = self.open(FILE_GENERIC_READ) else { return Ok(false) };
        if !Stub::read(&file).is_ok_and(|stub| stub.is_some_and(|stub| stub.is_dead())) {
            return Ok(false);
        }
        let removed = self.open(FILE_GENERIC_READ | DELETE)?;
        if FileId::open(&removed)? == FileId::open(&file)? {
            self.delete(&removed)?;
        }
        Ok(true)
    }

    fn move_to(&self, to: &Place, flags: u32) -> io::Result<()> {
        let (from, to) = (wide_path(&self.path()), wide_path(&to.path()));
        // SAFETY: both paths end with a zero.
        checked(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) })
    }
}
