//! Decoding on a device: VAAPI, CUDA, V4L2 and all others that this FFmpeg was built with.

use std::ffi::{CStr, c_int};
use std::ptr;

use ff::AVHWDeviceType as Type;
use ffmpeg_sys_next as ff;
use framelane::{Error, ErrorKind};

use super::dictionary::c_string;
use super::error::{check, make};
use super::frame::Frame;

/// An open decoding device.
pub(crate) struct Device {
    reference: *mut ff::AVBufferRef,
    kind: Type,
    /// The pixel format of its pictures, known once attached to a decoder.
    pub(super) format: c_int,
}

// SAFETY: a counted reference; FFmpeg's device contexts may be used from any thread.
unsafe impl Send for Device {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Device {}

impl Device {
    /// `name` is FFmpeg's name of the kind of device, or `auto` for the first that opens (`None` when there
    /// is none).
    pub(crate) fn open(name: &str) -> Result<Option<Self>, Error> {
        super::init();
        if name == "auto" {
            return Ok(kinds().into_iter().find_map(|kind| Self::create(kind).ok()));
        }
        let c_name = c_string(name)?;
        // SAFETY: a string that ends with a zero.
        let kind = unsafe { ff::av_hwdevice_find_type_by_name(c_name.as_ptr()) };
        if kind == Type::AV_HWDEVICE_TYPE_NONE {
            let known: Vec<_> = kinds().into_iter().map(kind_name).collect();
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected a kind of decoding device (auto, {}), found {name:?}", known.join(", ")),
            ));
        }
        Self::create(kind).map(Some).map_err(|error| {
            error
                .context(format_args!("cannot open a {name} decoding device"))
                .with_hint("check the driver and the rights on /dev/dri or the GPU, or leave the option out")
        })
    }

    fn create(kind: Type) -> Result<Self, Error> {
        let mut reference = ptr::null_mut();
        // SAFETY: writes a new reference or leaves null; null stands for the default device and no options.
        let code =
            unsafe { ff::av_hwdevice_ctx_create(&mut reference, kind, ptr::null(), ptr::null_mut(), 0) };
        check("opening the device", code)?;
        Ok(Device { reference, kind, format: ff::AVPixelFormat::AV_PIX_FMT_NONE as c_int })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the reference of create(), dropped once.
        unsafe { ff::av_buffer_unref(&mut self.reference) };
    }
}

fn kinds() -> Vec<Type> {
    let mut all = Vec::new();
    let mut kind = Type::AV_HWDEVICE_TYPE_NONE;
    loop {
        // SAFETY: walks a constant list.
        kind = unsafe { ff::av_hwdevice_iterate_types(kind) };
        if kind == Type::AV_HWDEVICE_TYPE_NONE {
            return all;
        }
        all.push(kind);
    }
}

fn kind_name(kind: Type) -> String {
    // SAFETY: looks in a constant table.
    let name = unsafe { ff::av_hwdevice_get_type_name(kind) };
    if name.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a constant string that ends with a zero.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Attaches a device to a decoder that is not open yet. [`super::hooks::choose_format`] then chooses its
/// format.
pub(crate) fn attach(
    context: &mut ff::AVCodecContext,
    codec: *const ff::AVCodec,
    device: &mut Device,
) -> Result<(), Error> {
    let format = (0..)
        .map_while(|index| {
            // SAFETY: a constant of FFmpeg; null behind the last.
            let config = unsafe { ff::avcodec_get_hw_config(codec, index) };
            // SAFETY: null, or a constant of FFmpeg.
            unsafe { config.as_ref() }
        })
        .find(|config| {
            config.device_type == device.kind
                && config.methods & ff::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as c_int != 0
        })
        .map(|config| config.pix_fmt as c_int);
    let Some(format) = format else {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("a {} device cannot decode this codec", kind_name(device.kind)),
        )
        .with_hint("leave the hwaccel option out, or use auto, which falls back to the processor"));
    };
    // SAFETY: a valid reference; the new one is given to the context, which drops it.
    context.hw_device_ctx = unsafe { ff::av_buffer_ref(device.reference) };
    device.format = format;
    Ok(())
}

/// Replaces a picture on the device by its copy in memory.
pub(crate) fn download(frame: &mut Frame) -> Result<(), Error> {
    let mut copy = Frame::new()?;
    // SAFETY: both valid; the source is on a device, the target empty, so that its format is chosen.
    let code = unsafe { ff::av_hwframe_transfer_data(copy.as_mut_ptr(), frame.as_ptr(), 0) };
    if code < 0 {
        return Err(make("reading a picture back from the decoding device", code));
    }
    // SAFETY: both valid.
    let code = unsafe { ff::av_frame_copy_props(copy.as_mut_ptr(), frame.as_ptr()) };
    check("reading a picture back from the decoding device", code)?;
    *frame = copy;
    Ok(())
}
