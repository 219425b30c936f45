//! The callbacks of a decoder.

use std::ffi::c_int;

use ffmpeg_sys_next as ff;

use super::hardware::Device;
use super::pixel;
use super::slots::{self, SlotPool};

/// The state that the callbacks of a decoder use; its address is in `AVCodecContext.opaque`.
pub(super) struct Hooks<'p> {
    /// The memory for pictures; `None`: FFmpeg's own memory.
    pub(super) pool: Option<&'p SlotPool<'p>>,
    pub(super) device: Option<Device>,
}

/// `AVCodecContext.get_buffer2`; `AVCodecContext.opaque` must be Hooks.
pub(super) unsafe extern "C" fn get_buffer(
    context: *mut ff::AVCodecContext,
    frame: *mut ff::AVFrame,
    flags: c_int,
) -> c_int {
    // A panic must not cross into C; what it would leave half done is only local.
    let given = std::panic::catch_unwind(|| {
        // SAFETY: FFmpeg calls with its own, valid context.
        let opaque = unsafe { (*context).opaque };
        // SAFETY: the opaque pointer of a decoder with this callback is its Hooks, which outlive the context.
        let pool = unsafe { &*opaque.cast::<Hooks<'_>>() }.pool?;
        // SAFETY: FFmpeg calls with a frame that this call alone may write to.
        let frame = unsafe { &mut *frame };
        slots::give(pool, context, frame)
    });
    match given {
        Ok(Some(())) => 0,
        // SAFETY: the arguments of this call, passed on.
        _ => unsafe { ff::avcodec_default_get_buffer2(context, frame, flags) },
    }
}

/// Takes the device's format when the decoder offers it, else the first, which the processor decodes.
pub(super) unsafe extern "C" fn choose_format(
    context: *mut ff::AVCodecContext,
    offered: *const ff::AVPixelFormat,
) -> ff::AVPixelFormat {
    // SAFETY: FFmpeg calls with a valid context.
    let hooks = unsafe { (*context).opaque }.cast::<Hooks<'_>>();
    // SAFETY: the hooks of Decoder::open, which outlive the context.
    let wanted =
        unsafe { hooks.as_ref() }.and_then(|hooks| hooks.device.as_ref()).map(|device| device.format);
    let mut software = ff::AVPixelFormat::AV_PIX_FMT_NONE;
    let mut at = offered;
    loop {
        // SAFETY: a list that ends with AV_PIX_FMT_NONE, and `at` is not behind it.
        let format = unsafe { at.read() };
        if format == ff::AVPixelFormat::AV_PIX_FMT_NONE {
            return software;
        }
        if Some(format as c_int) == wanted {
            return format;
        }
        let hardware = pixel::facts(format as c_int).is_some_and(|facts| facts.hardware);
        if software == ff::AVPixelFormat::AV_PIX_FMT_NONE && !hardware {
            software = format;
        }
        // SAFETY: the entry read was not the last.
        at = unsafe { at.add(1) };
    }
}
