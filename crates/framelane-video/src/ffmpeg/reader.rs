//! `AVIOContext` over a Rust reader, so that standard input can be interrupted.

use std::ffi::{c_int, c_void};
use std::io::Read;
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::Error;

use super::error::no_memory;

const BUFFER_BYTES: usize = 256 * 1024;

struct Source {
    reader: Box<dyn Read + Send>,
    has_read: bool,
}

/// Owns the I/O context and the reader behind it; must outlive the format context that reads from it.
pub(crate) struct ReaderIo {
    context: *mut ff::AVIOContext,
    reader: *mut Source,
}

// SAFETY: the reader is Send, the context is only used through the format context, by one thread at a time.
unsafe impl Send for ReaderIo {}

impl ReaderIo {
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Result<Self, Error> {
        // SAFETY: allocates, or returns null.
        let buffer = unsafe { ff::av_malloc(BUFFER_BYTES) };
        if buffer.is_null() {
            return Err(no_memory("reading"));
        }
        let reader = Box::into_raw(Box::new(Source { reader, has_read: false }));
        // SAFETY: the buffer is from av_malloc with this length and given away; the opaque pointer lives
        // until the context is freed in drop(); `read` has the signature that the context calls.
        let context = unsafe {
            ff::avio_alloc_context(
                buffer.cast(),
                BUFFER_BYTES as c_int,
                0,
                reader.cast(),
                Some(read),
                None,
                None,
            )
        };
        let made = ReaderIo { context, reader };
        if context.is_null() {
            // SAFETY: not given away, for there is no context.
            unsafe { ff::av_free(buffer) };
            return Err(no_memory("reading"));
        }
        Ok(made)
    }

    /// Returns true if a byte has arrived.
    pub(crate) fn has_read(&self) -> bool {
        // SAFETY: made in new(); no read is under way, for reads are calls of the format context's owner.
        unsafe { (*self.reader).has_read }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ff::AVIOContext {
        self.context
    }
}

impl Drop for ReaderIo {
    fn drop(&mut self) {
        // SAFETY: null, or the context made in new(), which nothing reads from any more.
        if let Some(context) = unsafe { self.context.as_mut() } {
            // SAFETY: FFmpeg may have replaced the buffer; the current one is from av_malloc and ours to
            // free.
            unsafe { ff::av_freep((&raw mut context.buffer).cast()) };
        }
        // SAFETY: made in new(), freed once; a null pointer is allowed.
        unsafe { ff::avio_context_free(&mut self.context) };
        // SAFETY: from Box::into_raw in new(), and nothing calls `read` any more.
        drop(unsafe { Box::from_raw(self.reader) });
    }
}

unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    let Ok(length) = usize::try_from(size) else { return ff::AVERROR_BUG };
    if length == 0 {
        return 0;
    }
    // SAFETY: the opaque pointer is the reader of new(), used by this call alone while it runs.
    let source = unsafe { &mut *opaque.cast::<Source>() };
    // SAFETY: FFmpeg passes a buffer that is writable for `size` bytes; zeroed so that it may be seen as a
    // slice.
    unsafe { ptr::write_bytes(buffer, 0, length) };
    // SAFETY: initialised just now, `length` bytes long, and FFmpeg does not touch it during the call.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    // A panic must not cross into C.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| source.reader.read(bytes))) {
        Ok(Ok(0)) => ff::AVERROR_EOF,
        Ok(Ok(count)) => {
            source.has_read = true;
            count.min(length) as c_int
        }
        Ok(Err(error)) => match error.raw_os_error() {
            Some(number) => -number,
            None => ff::AVERROR_EXIT,
        },
        Err(_) => ff::AVERROR_BUG,
    }
}
