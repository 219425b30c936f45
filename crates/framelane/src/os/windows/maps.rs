//! Shared maps of sections.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION, MEMORY_MAPPED_VIEW_ADDRESS,
    MapViewOfFile, UnmapViewOfFile, VirtualQuery,
};

use super::files::File;
use super::stub::Stub;
use crate::ring::Shared;

/// Bytes of a page on all processors that Windows runs on.
const PAGE_BYTES: usize = 4096;

/// A shared map of a section.
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
    pub(super) stub: Stub,
    /// The events of the sleepers on a word of this map, opened when they are needed.
    pub(super) events: OnceLock<Box<[OnceLock<OwnedHandle>]>>,
    /// The name of the section goes with the last handle, also while there are maps.
    _section: OwnedHandle,
}

// SAFETY: a map is memory with an address; access goes through atomics, or through slices whose creators
// prove that no process writes meanwhile.
unsafe impl Send for Map {}
// SAFETY: as for `Send`.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of the section, which must be as long, and brings the pages in.
    ///
    /// The error is `NotFound` once no process has the section.
    pub(crate) fn new(file: &File, len: usize, writable: bool) -> io::Result<Self> {
        let map = Self::sparse(file, len, writable)?;
        for offset in (0..len).step_by(PAGE_BYTES) {
            map.touch(offset);
        }
        Ok(map)
    }

    /// Same as [`Map::new`], without the pages.
    pub(crate) fn sparse(file: &File, len: usize, writable: bool) -> io::Result<Self> {
        let stub = file.stub()?;
        let rights = if writable { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
        let section = file.section(rights)?;
        // SAFETY: the section is open with these rights. A new map, at an address of the system's choice, of
        // the whole section; it is unmapped once, by `drop`.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), rights, 0, 0, 0) };
        let start = NonNull::new(view.Value.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
        let map = Map { start, len, stub, events: OnceLock::new(), _section: section };
        map.check()?;
        Ok(map)
    }

    /// Refuses a section that is shorter than its stub says, or that has pages without memory.
    fn check(&self) -> io::Result<()> {
        let mut found = MEMORY_BASIC_INFORMATION::default();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: `found` may be written to for `size` bytes. Any address may be asked for.
        let written = unsafe { VirtualQuery(self.start.as_ptr().cast(), &mut found, size) };
        if written == 0 {
            return Err(io::Error::last_os_error());
        }
        // Committed pages of a section cannot be returned, so this holds for as long as the map.
        let has = if found.State == MEM_COMMIT { found.RegionSize } else { 0 };
        if has < self.len {
            let fault = format!("expected memory of {} bytes, found {has}", self.len);
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(())
    }

    /// Reads one byte, so that its page is in.
    fn touch(&self, offset: usize) {
        let Some(address) = self.address(offset, 1) else { return };
        // SAFETY: the byte lies within the map and lives as long as `self`; writes by others are no data race
        // with an atomic; any byte is valid.
        let byte = unsafe { AtomicU8::from_ptr(address.as_ptr()) };
        byte.load(Ordering::Relaxed);
    }

    /// The channel's name is for messages about writes to frames, which the system reports here.
    pub(crate) fn set_channel(&self, _channel: &str) {}

    /// Returns whether memory was lost. A section never gets shorter.
    pub(crate) fn is_lost(&self) -> bool {
        false
    }

    /// The words at `offset`; `None` when they do not lie within the map, or not aligned.
    pub(crate) fn words<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>().min(PAGE_BYTES)) {
            return None;
        }
        // SAFETY: `offset` lies within the map, checked above.
        let start = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: the map begins at a multiple of 64 KiB and `offset` is one of the alignment; the bytes lie
        // within the map and live as long as `self`; `T: Shared` has only atomics, for which any bytes are
        // valid and writes by others are no data race. Callers only load through maps that are not writable.
        Some(unsafe { start.as_ref() })
    }

    /// The address of `offset`, for `len` bytes from there; `None` when they do not lie within the map.
    pub(crate) fn address(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` lies within the map, checked above.
        Some(unsafe { self.start.add(offset) })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.start.as_ptr().cast() };
        // SAFETY: the address is the one that `MapViewOfFile` returned; references into the map borrow `self`
        // or keep it alive.
        let unmapped = unsafe { UnmapViewOfFile(view) };
        debug_assert!(unmapped != 0);
    }
}
