//! Decoding straight into slots: the decoder's buffer callback (`get_buffer2`) provides slots of the channel.
//!
//! A slot given to the decoder stays out of use until the decoder has dropped its last reference to the
//! picture, which is often after its publication: later pictures are predicted from it. From its output on
//! the decoder only reads it; that holds for the decoders in [`DECODERS`], and only those get slots.
//!
//! The callback runs on the decoder's threads and must not wait for a reader: it tries for the sink's lock
//! for a short time, takes a slot if one is free, and provides memory of the same geometry otherwise. Such a
//! picture is copied when it is published.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use ffmpeg_sys_next as ff;
use framelane::{Layout, OwnedLoan, PixelFormat, Plane};

use super::frame::Frame;
use super::pixel;
use crate::sink::Sink;

/// Decoders that take buffers from the callback, and never write to a picture once it was output.
const DECODERS: [&str; 7] = ["h264", "hevc", "vp8", "vp9", "libdav1d", "mpeg1video", "mpeg2video"];

/// Rows and planes start on multiples of this, for every processor's vectors.
const ALIGN: usize = 64;
/// Decoders read and write this far behind a plane.
const TAIL: usize = 16 + ALIGN;
/// Slots that the decoder never gets: the newest frame's, one for a reader, one for a picture that must be
/// copied. Were all slots lent to pictures still to come, the picture before them could not be published, and
/// all would stand still.
const RESERVE: usize = 3;
/// Number of attempts of the callback to get the lock.
const TRIES: usize = 100;

/// Provides slots to a decoder, and finds the slot of a picture that the decoder returned.
pub(crate) struct SlotPool<'s> {
    sink: Mutex<&'s mut dyn Sink>,
    /// The slots given out; the strong references are in the decoder's buffers.
    given: Mutex<Vec<Given>>,
    /// The most slots that the decoder may have.
    most: usize,
    spare: Mutex<Spare>,
}

/// A slot that the decoder has or had.
struct Given {
    slot: Weak<OwnedLoan>,
    published: bool,
}

/// Positions of a picture's planes in its buffer.
struct Geometry {
    planes: Vec<Plane>,
    size_bytes: usize,
}

impl<'s> SlotPool<'s> {
    pub(crate) fn new(sink: &'s mut dyn Sink) -> Self {
        SlotPool {
            most: sink.slots().saturating_sub(RESERVE),
            sink: Mutex::new(sink),
            given: Mutex::new(Vec::new()),
            spare: Mutex::new(Spare { pool: ptr::null_mut(), size_bytes: 0 }),
        }
    }

    /// The sink, for the publishing thread.
    pub(crate) fn sink(&self) -> MutexGuard<'_, &'s mut dyn Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of a picture, and its layout there; `None` for a picture in other memory.
    ///
    /// Returns each slot once: a stream may show a picture again later (VP9's show_existing_frame), and a
    /// slot that readers know must not get another number. Such a picture is copied.
    pub(crate) fn find(&self, frame: &Frame) -> Option<(Arc<OwnedLoan>, Layout)> {
        let format = pixel::from_av(frame.format())?;
        let raw = frame.raw();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let (given, slot, start) = given.iter_mut().find_map(|given| {
            let slot = given.slot.upgrade()?;
            let start = slot.as_ptr().as_ptr().addr();
            let here = (start..start + slot.capacity()).contains(&raw.data[0].addr());
            here.then_some((given, slot, start))
        })?;
        let mut planes = Vec::new();
        let mut size_bytes = 0;
        for index in 0..format.plane_count() {
            let (rows, row_bytes) = format.plane_shape(index, frame.width(), frame.height());
            let plane = Plane {
                offset_bytes: raw.data[index].addr().checked_sub(start)?,
                stride_bytes: usize::try_from(raw.linesize[index]).ok()?,
            };
            size_bytes = size_bytes
                .max(plane.offset_bytes + plane.stride_bytes * (rows.max(1) as usize - 1) + row_bytes);
            planes.push(plane);
        }
        let layout = Layout::with_planes(format, frame.width(), frame.height(), &planes, size_bytes).ok()?;
        let first = !std::mem::replace(&mut given.published, true);
        (first && size_bytes <= slot.capacity()).then_some((slot, layout))
    }

    /// A free slot, unless the lock is taken for long.
    fn try_loan_owned(&self, layout: &Layout) -> Option<OwnedLoan> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = given.iter().filter(|given| given.slot.strong_count() > 0).count();
        drop(given);
        if lent >= self.most {
            return None;
        }
        for _ in 0..TRIES {
            match self.sink.try_lock() {
                Ok(mut sink) => return sink.try_loan_owned(layout),
                Err(TryLockError::Poisoned(sink)) => return sink.into_inner().try_loan_owned(layout),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }

    fn remember(&self, slot: &Arc<OwnedLoan>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|given| given.slot.strong_count() > 0);
        given.push(Given { slot: Arc::downgrade(slot), published: false });
    }

    /// A counted buffer of the geometry and its first byte: a slot if there is one, else other memory.
    fn buffer(&self, geometry: &Geometry) -> Option<(*mut ff::AVBufferRef, NonNull<u8>)> {
        // Only the size matters to the ring before the picture is published.
        let bytes = u32::try_from(geometry.size_bytes).ok()?;
        let layout = Layout::packed(PixelFormat::Gray8, bytes, 1).ok()?;
        let Some(slot) = self.try_loan_owned(&layout) else {
            return self.spare.lock().ok()?.get(geometry.size_bytes);
        };
        let slot = Arc::new(slot);
        let start = slot.as_ptr();
        self.remember(&slot);
        let opaque = Arc::into_raw(slot);
        // SAFETY: the slot is writable for its capacity, which is at least size_bytes, as long as the
        // reference in `opaque` lives; `release` drops that, once, when FFmpeg drops its last reference to
        // the buffer.
        let buffer = unsafe {
            ff::av_buffer_create(
                start.as_ptr(),
                geometry.size_bytes,
                Some(release),
                opaque.cast_mut().cast(),
                0,
            )
        };
        if buffer.is_null() {
            // SAFETY: from Arc::into_raw above, and not given away.
            drop(unsafe { Arc::from_raw(opaque) });
            return None;
        }
        Some((buffer, start))
    }
}

/// Returns true if this decoder may write into slots.
pub(crate) fn known(decoder: &str) -> bool {
    DECODERS.contains(&decoder)
}

/// Returns true if this decoder may write into slots, and takes buffers at all.
pub(crate) fn suits(decoder: &str, capabilities: c_int) -> bool {
    capabilities & ff::AV_CODEC_CAP_DR1 as c_int != 0 && known(decoder)
}

/// Shows the bytes of a slot that holds a picture that was output.
pub(crate) fn look(slot: &OwnedLoan, layout: &Layout, see: impl FnOnce(&[u8])) {
    assert!(layout.size_bytes() <= slot.capacity());
    // SAFETY: the slot is mapped for its capacity as long as its loan exists; the decoder has put the picture
    // out and only reads it from then on (DECODERS), and no other code may write to a slot on loan.
    see(unsafe { std::slice::from_raw_parts(slot.as_ptr().as_ptr(), layout.size_bytes()) });
}

/// Makes a slot the memory of a picture of the decoder; `None` when it needs other memory.
pub(super) fn give(
    pool: &SlotPool<'_>,
    context: *mut ff::AVCodecContext,
    frame: &mut ff::AVFrame,
) -> Option<()> {
    if !matches!(pixel::from_av(frame.format)?, PixelFormat::I420 | PixelFormat::Nv12) {
        return None;
    }
    let geometry = geometry(context, frame)?;
    let (buffer, start) = pool.buffer(&geometry)?;
    for (index, plane) in geometry.planes.iter().enumerate() {
        frame.data[index] = start.as_ptr().wrapping_add(plane.offset_bytes);
        frame.linesize[index] = plane.stride_bytes as c_int;
    }
    frame.extended_data = frame.data.as_mut_ptr();
    frame.buf[0] = buffer;
    Some(())
}

/// The planes of a picture with the padding that the decoder wants.
fn geometry(context: *mut ff::AVCodecContext, frame: &ff::AVFrame) -> Option<Geometry> {
    let (mut width, mut height) = (frame.width, frame.height);
    let mut stride_align = [0 as c_int; ff::AV_NUM_DATA_POINTERS as usize];
    // SAFETY: FFmpeg's own context, in its callback; the rest are locals of the size that the call writes.
    unsafe { ff::avcodec_align_dimensions2(context, &mut width, &mut height, stride_align.as_mut_ptr()) };
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    // Twice the alignment, so that a chroma row of half the width has it too.
    let most = stride_align.iter().fold(ALIGN, |most, align| most.max(usize::try_from(*align).unwrap_or(0)));
    let width = width.next_multiple_of(2 * most as u32);
    let format = pixel::from_av(frame.format)?;
    let mut planes = Vec::with_capacity(3);
    let mut size_bytes = 0_usize;
    for index in 0..format.plane_count() {
        let (rows, stride_bytes) = format.plane_shape(index, width, height);
        planes.push(Plane { offset_bytes: size_bytes, stride_bytes });
        size_bytes = (size_bytes + stride_bytes * rows as usize + TAIL).next_multiple_of(ALIGN);
    }
    Some(Geometry { planes, size_bytes })
}

/// Called by FFmpeg when the last reference to a slot's buffer is gone.
unsafe extern "C" fn release(opaque: *mut c_void, _data: *mut u8) {
    // SAFETY: the pointer of Arc::into_raw in buffer(), and FFmpeg calls this once.
    drop(unsafe { Arc::from_raw(opaque.cast::<OwnedLoan>().cast_const()) });
}

/// Memory for pictures that found no slot, used again and again.
struct Spare {
    pool: *mut ff::AVBufferPool,
    size_bytes: usize,
}

// SAFETY: FFmpeg's buffer pools may be used from any thread.
unsafe impl Send for Spare {}

impl Spare {
    fn get(&mut self, size_bytes: usize) -> Option<(*mut ff::AVBufferRef, NonNull<u8>)> {
        if self.size_bytes != size_bytes {
            self.free();
            // SAFETY: makes a pool; no function for allocating stands for av_buffer_alloc.
            self.pool = unsafe { ff::av_buffer_pool_init(size_bytes + ALIGN, None) };
            self.size_bytes = size_bytes;
        }
        if self.pool.is_null() {
            return None;
        }
        // SAFETY: a pool of this type, not freed.
        let buffer = unsafe { ff::av_buffer_pool_get(self.pool) };
        // SAFETY: null, or a new reference of which we are the only owner.
        let data = unsafe { buffer.as_ref() }?.data;
        // Room for this was added above.
        let start = data.wrapping_add(data.align_offset(ALIGN));
        Some((buffer, NonNull::new(start)?))
    }

    fn free(&mut self) {
        // SAFETY: null, or a pool of get(); its memory goes when the last buffer of it does.
        unsafe { ff::av_buffer_pool_uninit(&mut self.pool) };
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.free();
    }
}
