//! Shared maps of files.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

use super::signals::Watched;
use crate::ring::Shared;

/// A shared map of a file.
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
    watched: Watched,
}

// SAFETY: a map is memory with an address; access goes through atomics, or through slices whose creators
// prove that no code writes meanwhile.
unsafe impl Send for Map {}
// SAFETY: as for `Send`.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of the file, which must be as long, and brings the pages in. Of a file with
    /// holes the pages stay out: bringing them in would fill the holes, and a hostile publisher could make a
    /// subscriber take as much memory as there is.
    pub(crate) fn new(fd: impl AsFd, len: usize, writable: bool) -> io::Result<Self> {
        let blocks = u64::try_from(rustix::fs::fstat(&fd)?.st_blocks).unwrap_or(0);
        let is_whole = blocks.saturating_mul(512) >= len as u64;
        let populate = if is_whole { MapFlags::POPULATE } else { MapFlags::empty() };
        Self::with_flags(fd, len, writable, MapFlags::SHARED | populate)
    }

    /// Maps a file as [`Map::new`] does, without its pages: to bring in the holes of a file would fill them.
    pub(crate) fn sparse(fd: impl AsFd, len: usize, writable: bool) -> io::Result<Self> {
        Self::with_flags(fd, len, writable, MapFlags::SHARED)
    }

    fn with_flags(fd: impl AsFd, len: usize, writable: bool, flags: MapFlags) -> io::Result<Self> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new map at an address of the kernel's choice; it is unmapped once, by `drop`.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap gave a null address"))?;
        Ok(Map { start, len, watched: Watched::new(start.as_ptr() as usize, len, writable) })
    }

    /// The map, made for reading, holds frames of this channel: a write to it is reported before the process
    /// ends.
    pub(crate) fn set_channel(&self, channel: &str) {
        self.watched.set_channel(channel);
    }

    /// Returns true if another process has cut the file short, and that was noticed: bytes read since may be
    /// zeros, and bytes written are lost. Covers all reads of this thread before the call.
    pub(crate) fn is_lost(&self) -> bool {
        self.watched.is_lost()
    }

    /// The words at `offset`; `None` when they do not lie within the map, or not aligned.
    pub(crate) fn words<T: Shared>(&self, offset: usize) -> Option<&T> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len || !offset.is_multiple_of(align_of::<T>().min(4096)) {
            return None;
        }
        // SAFETY: `offset` lies within the map, checked above.
        let start = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: the map is page-aligned and `offset` a multiple of the alignment; the bytes lie within the
        // map and live as long as `self`; `T: Shared` has only atomics, for which any bytes are valid and
        // writes by others are no data race. Callers only load through maps that are not writable.
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
        // Before the addresses can belong to another map.
        self.watched.end();
        // SAFETY: the range is the one that `mmap` gave; references into it borrow `self` or keep it alive.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_of_a_file_with_holes_takes_no_memory() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = std::fs::File::create_new(directory.path().join("file")).unwrap();
        let reading = std::fs::File::open(directory.path().join("file")).unwrap();
        file.set_len(1 << 20).unwrap();
        let map = Map::new(&reading, 1 << 20, false).unwrap();
        assert_eq!(map.len(), 1 << 20);
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 0);
    }
}
