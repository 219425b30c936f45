//! The memory of a channel's file, for tests that read it or damage it.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, OpenFileMappingW,
    UnmapViewOfFile,
};

/// The memory that a file of a channel stands for: the section that it names.
pub struct Memory {
    start: NonNull<AtomicU8>,
    len: u64,
    _section: OwnedHandle,
}

// SAFETY: the map lives as long as the object, and access goes through atomics.
unsafe impl Send for Memory {}
// SAFETY: same as for `Send`.
unsafe impl Sync for Memory {}

impl Memory {
    /// Opens the memory. `None` if it is gone.
    pub fn open(path: &Path) -> Option<Self> {
        let stub = std::fs::read(path).ok()?;
        let id = u128::from_le_bytes(stub.get(16..32)?.try_into().ok()?);
        let len = u64::from_le_bytes(stub.get(32..40)?.try_into().ok()?);
        let name: Vec<u16> = format!(r"Local\framelane-{id:032x}").encode_utf16().chain([0]).collect();
        let rights = FILE_MAP_READ | FILE_MAP_WRITE;
        // SAFETY: the name ends with a zero.
        let section = unsafe { OpenFileMappingW(rights, 0, name.as_ptr()) };
        let section = NonNull::new(section)?.as_ptr();
        // SAFETY: the call has opened the handle for us.
        let section = unsafe { OwnedHandle::from_raw_handle(section) };
        // SAFETY: the section is open with these rights; a new map, unmapped once.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), rights, 0, 0, len as usize) };
        Some(Memory { start: NonNull::new(view.Value.cast())?, len, _section: section })
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        assert!(at < self.len, "byte {at} of {}", self.len);
        // SAFETY: it lies within the map.
        let byte = unsafe { self.start.add(at as usize) };
        // SAFETY: the map lives as long as `self`, and others write to it with atomics or not at all.
        unsafe { byte.as_ref() }
    }

    /// Reads at an offset.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn read(&self, bytes: &mut [u8], offset: u64) {
        for (byte, at) in bytes.iter_mut().zip(offset..) {
            *byte = self.byte(at).load(Relaxed);
        }
    }

    /// Writes at an offset.
    ///
    /// # Panics
    /// Beyond the end.
    pub fn write(&self, bytes: &[u8], offset: u64) {
        for (byte, at) in bytes.iter().zip(offset..) {
            self.byte(at).store(*byte, Relaxed);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.start.as_ptr().cast() };
        // SAFETY: the address of the map, which ends here.
        unsafe { UnmapViewOfFile(view) };
    }
}
