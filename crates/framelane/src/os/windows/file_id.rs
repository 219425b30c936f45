//! The identity of a file.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandle,
};

use super::strings::checked;

/// Others may read, write, rename and remove a file while we have it open.
pub(super) const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// Opens a path with these rights.
pub(super) fn open_path(path: &Path, rights: u32, flags: u32) -> io::Result<fs::File> {
    OpenOptions::new().access_mode(rights).share_mode(SHARE_ALL).custom_flags(flags).open(path)
}

/// The identity of a file under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    volume: u32,
    index: u64,
}

impl FileId {
    /// An open file's.
    pub(crate) fn open(file: impl AsHandle) -> io::Result<Self> {
        let mut found = BY_HANDLE_FILE_INFORMATION::default();
        let handle = file.as_handle().as_raw_handle();
        // SAFETY: the handle is open, and `found` may be written to.
        checked(unsafe { GetFileInformationByHandle(handle, &mut found) })?;
        let index = u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow);
        Ok(FileId { volume: found.dwVolumeSerialNumber, index })
    }
}
