//! `AVFrame` and `AVPacket` with owners.

use std::ffi::c_int;

use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Error};

use super::error::no_memory;
use super::orientation::{self, Display};
use super::pixel;

/// A decoded picture. Owns one reference to its buffers.
pub(crate) struct Frame(*mut ff::AVFrame);

// SAFETY: an AVFrame is a plain structure whose buffers are counted atomically; it is used by one owner at a
// time.
unsafe impl Send for Frame {}

impl Frame {
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: allocates, or returns null.
        let frame = unsafe { ff::av_frame_alloc() };
        if frame.is_null() { Err(no_memory("a picture")) } else { Ok(Frame(frame)) }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ff::AVFrame {
        self.0
    }

    pub(crate) fn as_ptr(&self) -> *const ff::AVFrame {
        self.0
    }

    /// The structure, to read from.
    pub(crate) fn raw(&self) -> &ff::AVFrame {
        // SAFETY: never null, initialised by av_frame_alloc, and only changed through &mut self.
        unsafe { &*self.0 }
    }

    pub(crate) fn width(&self) -> u32 {
        u32::try_from(self.raw().width).unwrap_or(0)
    }

    pub(crate) fn height(&self) -> u32 {
        u32::try_from(self.raw().height).unwrap_or(0)
    }

    /// FFmpeg's number of the pixel format.
    pub(crate) fn format(&self) -> c_int {
        self.raw().format
    }

    pub(crate) fn color(&self) -> Color {
        let raw = self.raw();
        // The fields are read as numbers: a stream may carry values that the enums of the bindings lack.
        let read = |field: *const c_int| {
            // SAFETY: the pointer comes from a reference to an initialised field of the size of a C int.
            unsafe { field.read() }
        };
        let color = pixel::color(
            read((&raw const raw.colorspace).cast()),
            read((&raw const raw.color_primaries).cast()),
            read((&raw const raw.color_trc).cast()),
            read((&raw const raw.color_range).cast()),
        );
        // Gray pictures may have another range, `yuvj` formats may not.
        let facts = pixel::facts(raw.format).filter(|facts| facts.full_range);
        let fixed = facts.is_some_and(|facts| facts.components > 2 || color.range == ColorRange::Unspecified);
        if fixed {
            return Color { range: ColorRange::Full, ..color };
        }
        color
    }

    pub(crate) fn keyframe(&self) -> bool {
        #[cfg(ffmpeg_6_1)]
        {
            self.raw().flags & ff::AV_FRAME_FLAG_KEY as c_int != 0
        }
        #[cfg(not(ffmpeg_6_1))]
        {
            self.raw().key_frame != 0
        }
    }

    /// In units of the stream's time base.
    pub(crate) fn pts(&self) -> Option<i64> {
        let pts = self.raw().best_effort_timestamp;
        (pts != ff::AV_NOPTS_VALUE).then_some(pts)
    }

    /// In units of the stream's time base; 0 when unknown.
    pub(crate) fn duration(&self) -> i64 {
        #[cfg(ffmpeg_6_0)]
        {
            self.raw().duration
        }
        #[cfg(not(ffmpeg_6_0))]
        {
            self.raw().pkt_duration
        }
    }

    /// Returns true if the decoder found errors in it, and concealed them.
    pub(crate) fn corrupt(&self) -> bool {
        let raw = self.raw();
        raw.flags & ff::AV_FRAME_FLAG_CORRUPT as c_int != 0 || raw.decode_error_flags != 0
    }

    /// The display matrix of the picture itself, if it has one.
    pub(crate) fn display(&self) -> Option<Display> {
        // SAFETY: looks in the list of a valid frame.
        let data = unsafe {
            ff::av_frame_get_side_data(self.0, ff::AVFrameSideDataType::AV_FRAME_DATA_DISPLAYMATRIX)
        };
        // SAFETY: null, or an entry that lives as long as the frame.
        let data = unsafe { data.as_ref() }?;
        orientation::of_matrix(data.data, data.size)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: allocated by av_frame_alloc and freed once.
        unsafe { ff::av_frame_free(&mut self.0) };
    }
}

/// A packet of coded data.
pub(crate) struct Packet(*mut ff::AVPacket);

// SAFETY: an AVPacket is a plain structure whose buffer is counted atomically; it is used by one owner at a
// time.
unsafe impl Send for Packet {}

impl Packet {
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: allocates, or returns null.
        let packet = unsafe { ff::av_packet_alloc() };
        if packet.is_null() { Err(no_memory("a packet")) } else { Ok(Packet(packet)) }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut ff::AVPacket {
        self.0
    }

    pub(crate) fn stream_index(&self) -> c_int {
        // SAFETY: never null, and only changed through &mut self.
        unsafe { (*self.0).stream_index }
    }

    /// Returns true if the container reports missing or wrong bytes in it.
    pub(crate) fn corrupt(&self) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*self.0).flags };
        flags & ff::AV_PKT_FLAG_CORRUPT as c_int != 0
    }

    /// Returns true if it holds a picture that needs no other.
    pub(crate) fn keyframe(&self) -> bool {
        // SAFETY: as above.
        let flags = unsafe { (*self.0).flags };
        flags & ff::AV_PKT_FLAG_KEY as c_int != 0
    }

    /// Copies the bytes into it.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.unref();
        let length = c_int::try_from(bytes.len()).map_err(|_| no_memory("a packet"))?;
        // SAFETY: a valid packet without data; allocates room for the length, and zeros behind it.
        super::error::check("a packet", unsafe { ff::av_new_packet(self.0, length) })?;
        // SAFETY: never null, and only changed through &mut self.
        let data = unsafe { (*self.0).data };
        // SAFETY: `data` is new memory of at least this length, `bytes` is of this length.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
        Ok(())
    }

    /// Its data.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: never null, and only changed through &mut self.
        let packet = unsafe { &*self.0 };
        if packet.data.is_null() {
            return &[];
        }
        // SAFETY: a packet's data are `size` bytes, which live until it is changed, through &mut self.
        unsafe { std::slice::from_raw_parts(packet.data, usize::try_from(packet.size).unwrap_or(0)) }
    }

    /// When what it holds ends, in units of its stream's time base.
    pub(crate) fn end(&self) -> Option<i64> {
        // SAFETY: never null, and only changed through &mut self.
        let packet = unsafe { &*self.0 };
        (packet.pts != ff::AV_NOPTS_VALUE).then(|| packet.pts.saturating_add(packet.duration.max(0)))
    }

    /// Takes over what another packet holds.
    pub(crate) fn take(&mut self, other: &mut Packet) {
        self.unref();
        // SAFETY: two valid packets, the first without data.
        unsafe { ff::av_packet_move_ref(self.0, other.0) };
    }

    pub(crate) fn unref(&mut self) {
        // SAFETY: a valid packet; drops its data and resets its fields.
        unsafe { ff::av_packet_unref(self.0) };
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: allocated by av_packet_alloc and freed once.
        unsafe { ff::av_packet_free(&mut self.0) };
    }
}
