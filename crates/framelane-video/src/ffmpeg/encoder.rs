//! `AVCodecContext` for encoding H.264 with as little delay as possible: each picture is a packet at once.

use std::ffi::c_int;

use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Error, ErrorKind, Layout, PixelFormat, Plane};

use super::dictionary::Dictionary;
use super::error::{check, make, no_memory};
use super::frame::{Frame, Packet};

/// Nominal rate of the encoder; [`Encoder::set_rate`] accounts for others.
const NOMINAL_RATE: i64 = 30;
/// A packet is at most about this many times what a picture may have on average, so that a link is never busy
/// with one packet for longer.
const BUFFER_PICTURES: i64 = 2;
/// Number of pictures until a keyframe without a request.
const KEYFRAME_INTERVAL: c_int = 300;
/// Rows start on multiples of this, for every processor's vectors.
const ALIGN: usize = 64;
/// More slices than these cost more bits than they save time.
const MOST_THREADS: usize = 4;

/// Encodes pictures of one size.
pub(crate) struct Encoder {
    context: *mut ff::AVCodecContext,
    frame: Frame,
    packet: Packet,
    layout: Layout,
    count: i64,
}

// SAFETY: a codec context has no tie to the thread that made it; it is used by one owner at a time.
unsafe impl Send for Encoder {}

/// The library's encoder.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when this FFmpeg was built without it.
pub(crate) fn find() -> Result<*const ff::AVCodec, Error> {
    super::init();
    // SAFETY: looks in a constant table; the name ends with a zero.
    let codec = unsafe { ff::avcodec_find_encoder_by_name(c"libx264".as_ptr()) };
    if codec.is_null() {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            "H.264 is encoded with libx264, which this FFmpeg does not have",
        )
        .with_hint("install an FFmpeg with it (`ffmpeg -encoders` lists them), or use jpeg or lz4"));
    }
    Ok(codec)
}

impl Encoder {
    /// The sides must be even.
    pub(crate) fn open(width: u32, height: u32, color: Color, bits_per_second: u64) -> Result<Self, Error> {
        let codec = find()?;
        // SAFETY: a constant of FFmpeg.
        let context = unsafe { ff::avcodec_alloc_context3(codec) };
        if context.is_null() {
            return Err(no_memory("an encoder"));
        }
        let mut encoder = Encoder {
            context,
            frame: Frame::new()?,
            packet: Packet::new()?,
            layout: aligned(width, height)?,
            count: 0,
        };
        encoder.configure(color);
        encoder.set_rate(bits_per_second, NOMINAL_RATE as f64);
        let mut options = Dictionary::new();
        // With one reference and no look-ahead the slower presets give the same picture, in twice the time.
        for (name, value) in
            [("preset", "superfast"), ("tune", "zerolatency"), ("forced-idr", "1"), ("sc_threshold", "0")]
        {
            options.set(name, value)?;
        }
        // SAFETY: a context made for this codec, not opened yet; the options are ours.
        let code = unsafe { ff::avcodec_open2(encoder.context, codec, options.as_mut_ptr()) };
        if code < 0 {
            return Err(make(format_args!("cannot open an H.264 encoder for {width}x{height}"), code));
        }
        Ok(encoder)
    }

    fn configure(&mut self, color: Color) {
        // SAFETY: made in open(), and nothing else refers to it yet.
        let context = unsafe { &mut *self.context };
        context.width = self.layout.width() as c_int;
        context.height = self.layout.height() as c_int;
        context.pix_fmt = ff::AVPixelFormat::AV_PIX_FMT_YUV420P;
        context.time_base = ff::AVRational { num: 1, den: NOMINAL_RATE as c_int };
        context.framerate = ff::AVRational { num: NOMINAL_RATE as c_int, den: 1 };
        context.max_b_frames = 0;
        context.refs = 1;
        context.gop_size = KEYFRAME_INTERVAL;
        context.keyint_min = KEYFRAME_INTERVAL;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        context.thread_count = threads.min(MOST_THREADS) as c_int;
        // The fields are written as numbers: the enums of the bindings may lack one.
        let write = |field: *mut c_int, code: u8| {
            // Identity and what H.273 reserves have no place in 4:2:0: "unspecified".
            let code = if matches!(code, 1 | 4..=18) { code } else { 2 };
            // SAFETY: the pointer comes from a reference to a field of the size of a C int.
            unsafe { field.write(code.into()) };
        };
        write((&raw mut context.colorspace).cast(), color.matrix);
        write((&raw mut context.color_primaries).cast(), color.primaries);
        write((&raw mut context.color_trc).cast(), color.transfer);
        context.color_range = match color.range {
            ColorRange::Full => ff::AVColorRange::AVCOL_RANGE_JPEG,
            ColorRange::Limited => ff::AVColorRange::AVCOL_RANGE_MPEG,
            ColorRange::Unspecified => ff::AVColorRange::AVCOL_RANGE_UNSPECIFIED,
        };
    }

    /// Sets the bits of a second with so many pictures. The encoder applies it from the next picture on.
    pub(crate) fn set_rate(&mut self, bits_per_second: u64, pictures_per_second: f64) {
        let bits = bits_per_second as f64 * NOMINAL_RATE as f64 / pictures_per_second.max(1.0);
        let bits = (bits as i64).clamp(1000 * NOMINAL_RATE, i32::MAX.into());
        // SAFETY: made in open(), and used by no thread of FFmpeg between calls.
        let context = unsafe { &mut *self.context };
        context.bit_rate = bits;
        context.rc_max_rate = bits;
        context.rc_buffer_size = (bits * BUFFER_PICTURES / NOMINAL_RATE) as c_int;
    }

    /// Returns the buffer for the next picture: i420.
    pub(crate) fn picture(&mut self) -> Result<(&Layout, &mut [u8]), Error> {
        let size_bytes = self.layout.size_bytes();
        // SAFETY: a valid frame; 0 also for one without a buffer.
        if unsafe { ff::av_frame_is_writable(self.frame.as_mut_ptr()) } == 0 {
            self.allocate(size_bytes)?;
        }
        let start = self.frame.raw().data[0];
        // SAFETY: the buffer of allocate(), of this size and initialised there; the frame has its only
        // reference.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, size_bytes) };
        Ok((&self.layout, bytes))
    }

    /// A buffer for one picture, with zeros.
    fn allocate(&mut self, size_bytes: usize) -> Result<(), Error> {
        // SAFETY: a valid frame; lets its old buffer go.
        unsafe { ff::av_frame_unref(self.frame.as_mut_ptr()) };
        // SAFETY: allocates, or returns null.
        let buffer = unsafe { ff::av_buffer_allocz(size_bytes + ALIGN) };
        // SAFETY: null, or a new reference of which we are the only owner.
        let Some(start) = (unsafe { buffer.as_ref() }).map(|buffer| buffer.data) else {
            return Err(no_memory("a picture"));
        };
        // SAFETY: a valid frame, and nothing else refers to it.
        let frame = unsafe { &mut *self.frame.as_mut_ptr() };
        frame.buf[0] = buffer;
        frame.width = self.layout.width() as c_int;
        frame.height = self.layout.height() as c_int;
        frame.format = ff::AVPixelFormat::AV_PIX_FMT_YUV420P as c_int;
        // Room for this was added above.
        let start = start.wrapping_add(start.align_offset(ALIGN));
        for (index, plane) in self.layout.planes().iter().enumerate() {
            frame.data[index] = start.wrapping_add(plane.offset_bytes);
            frame.linesize[index] = plane.stride_bytes as c_int;
        }
        Ok(())
    }

    /// Appends the picture, in annex B's form, to `out`. Returns true for a keyframe.
    pub(crate) fn encode(&mut self, keyframe: bool, out: &mut Vec<u8>) -> Result<bool, Error> {
        // SAFETY: a valid frame, and nothing else refers to it.
        let frame = unsafe { &mut *self.frame.as_mut_ptr() };
        frame.pts = self.count;
        frame.pict_type = if keyframe {
            ff::AVPictureType::AV_PICTURE_TYPE_I
        } else {
            ff::AVPictureType::AV_PICTURE_TYPE_NONE
        };
        self.count += 1;
        // SAFETY: an open encoder and a frame with the size and format that it was opened for.
        let code = unsafe { ff::avcodec_send_frame(self.context, self.frame.as_ptr()) };
        check("encoding H.264", code)?;
        let before = out.len();
        let mut is_keyframe = false;
        loop {
            // SAFETY: an open encoder and a valid packet, whose old data the call releases.
            match unsafe { ff::avcodec_receive_packet(self.context, self.packet.as_mut_ptr()) } {
                0.. => {
                    is_keyframe |= self.packet.keyframe();
                    out.extend_from_slice(self.packet.bytes());
                }
                code if code == -rustix::io::Errno::AGAIN.raw_os_error() => break,
                code => return Err(make("encoding H.264", code)),
            }
        }
        self.packet.unref();
        if out.len() == before {
            return Err(Error::new(
                ErrorKind::InternalFailure,
                "expected a packet of the H.264 encoder for each picture, found none",
            ));
        }
        Ok(is_keyframe)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by avcodec_alloc_context3 and freed once.
        unsafe { ff::avcodec_free_context(&mut self.context) };
    }
}

/// An i420 picture whose rows start and end where vectors do.
fn aligned(width: u32, height: u32) -> Result<Layout, Error> {
    let mut planes = [Plane::default(); 3];
    let mut size_bytes = 0;
    for (index, plane) in planes.iter_mut().enumerate() {
        let (rows, row_bytes) = PixelFormat::I420.plane_shape(index, width, height);
        let stride_bytes = row_bytes.next_multiple_of(ALIGN);
        *plane = Plane { offset_bytes: size_bytes, stride_bytes };
        size_bytes += stride_bytes * rows as usize;
    }
    // Encoders read whole vectors, also behind the last row.
    Layout::with_planes(PixelFormat::I420, width, height, &planes, size_bytes + ALIGN)
}
