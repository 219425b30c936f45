//! `AVCodecContext` for single packets of H.264, from untrusted senders.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::error::{check, logged, no_memory, text};
use super::frame::{Frame, Packet};
use super::log;

/// More threads than slices would only wait.
const MOST_THREADS: usize = 4;
/// Decoders round rows and columns up to no more than this.
const ALIGN: u32 = 128;

/// Decodes pictures of one size, a packet each. Not to be used after an error: the context keeps what a
/// damaged packet claimed, and no call resets all of it.
pub(crate) struct PacketDecoder {
    context: *mut ff::AVCodecContext,
    frame: Frame,
    packet: Packet,
}

// SAFETY: a codec context has no tie to the thread that made it; it is used by one owner at a time.
unsafe impl Send for PacketDecoder {}

/// The library's decoder.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when this FFmpeg was built without it.
pub(crate) fn find() -> Result<*const ff::AVCodec, Error> {
    super::init();
    // SAFETY: looks in a constant table; the name ends with a zero. By name: what stands in for it elsewhere
    // may not keep to the limits set here.
    let codec = unsafe { ff::avcodec_find_decoder_by_name(c"h264".as_ptr()) };
    if codec.is_null() {
        return Err(Error::new(ErrorKind::InvalidOption, "this FFmpeg has no decoder for H.264")
            .with_hint("install an FFmpeg with it (`ffmpeg -decoders` lists them), or use jpeg or lz4"));
    }
    Ok(codec)
}

impl PacketDecoder {
    /// For pictures of at most this size: FFmpeg refuses to allocate for larger ones.
    ///
    /// # Errors
    /// As for [`find`].
    pub(crate) fn open(width: u32, height: u32) -> Result<Self, Error> {
        let codec = find()?;
        // SAFETY: a constant of FFmpeg.
        let context = unsafe { ff::avcodec_alloc_context3(codec) };
        if context.is_null() {
            return Err(no_memory("a decoder"));
        }
        let decoder = PacketDecoder { context, frame: Frame::new()?, packet: Packet::new()? };
        {
            // SAFETY: made above, and nothing else refers to it yet.
            let context = unsafe { &mut *decoder.context };
            context.flags |= ff::AV_CODEC_FLAG_LOW_DELAY as c_int;
            // Slices only: threads for whole pictures would keep pictures back.
            context.thread_type = ff::FF_THREAD_SLICE as c_int;
            let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            context.thread_count = threads.min(MOST_THREADS) as c_int;
            let (width, height) = (width.next_multiple_of(ALIGN), height.next_multiple_of(ALIGN));
            context.max_pixels = i64::from(width) * i64::from(height);
            // A picture that was guessed at is worse than none.
            context.err_recognition = ff::AV_EF_EXPLODE as c_int;
            context.error_concealment = 0;
        }
        // SAFETY: a context made for this codec, not opened yet; null stands for no options.
        let code = unsafe { ff::avcodec_open2(decoder.context, codec, ptr::null_mut()) };
        check("cannot open the decoder for H.264", code)?;
        Ok(decoder)
    }

    /// The picture of a packet.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the packet does not give exactly one whole picture.
    pub(crate) fn decode(&mut self, packet: &[u8]) -> Result<&Frame, Error> {
        // What was logged before is not about this packet.
        log::take();
        self.packet.fill(packet)?;
        // SAFETY: an open decoder and a valid packet.
        let code = unsafe { ff::avcodec_send_packet(self.context, self.packet.as_mut_ptr()) };
        if code < 0 {
            return Err(damaged(code));
        }
        // SAFETY: an open decoder and a valid frame, whose old buffers the call releases.
        let code = unsafe { ff::avcodec_receive_frame(self.context, self.frame.as_mut_ptr()) };
        if code < 0 {
            return Err(damaged(code));
        }
        if self.frame.corrupt() {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("expected a whole picture in the packet, found a part{}", logged()),
            ));
        }
        Ok(&self.frame)
    }
}

/// Returns FFmpeg's error as damage of the packet.
fn damaged(code: c_int) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!("expected a picture of H.264 in the packet, found: {}{}", text(code), logged()),
    )
}

impl Drop for PacketDecoder {
    fn drop(&mut self) {
        // SAFETY: made by avcodec_alloc_context3 and freed once; ends the decoder's threads.
        unsafe { ff::avcodec_free_context(&mut self.context) };
    }
}
