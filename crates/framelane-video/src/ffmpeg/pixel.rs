//! Maps FFmpeg's pixel formats and colour numbers to framelane's.

use std::ffi::{CStr, c_int};

use ff::AVPixelFormat as Av;
use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Error, ErrorKind, PixelFormat};

/// Formats whose bytes are the same in both.
const PAIRS: [(PixelFormat, Av); 10] = [
    (PixelFormat::Gray8, Av::AV_PIX_FMT_GRAY8),
    (PixelFormat::Gray16, Av::AV_PIX_FMT_GRAY16LE),
    (PixelFormat::Bgr8, Av::AV_PIX_FMT_BGR24),
    (PixelFormat::Rgb8, Av::AV_PIX_FMT_RGB24),
    (PixelFormat::Bgra8, Av::AV_PIX_FMT_BGRA),
    (PixelFormat::Rgba8, Av::AV_PIX_FMT_RGBA),
    (PixelFormat::I420, Av::AV_PIX_FMT_YUV420P),
    (PixelFormat::Nv12, Av::AV_PIX_FMT_NV12),
    (PixelFormat::Yuyv, Av::AV_PIX_FMT_YUYV422),
    (PixelFormat::P010, Av::AV_PIX_FMT_P010LE),
];

/// FFmpeg's number of a framelane format.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] for matrices and detections, which are no video formats.
pub(crate) fn to_av(format: PixelFormat) -> Result<c_int, Error> {
    PAIRS.iter().find(|pair| pair.0 == format).map(|pair| pair.1 as c_int).ok_or_else(|| {
        let names: Vec<_> = PAIRS.iter().map(|pair| pair.0.name()).collect();
        Error::new(
            ErrorKind::InvalidOption,
            format!("expected a video format ({}), found {format}", names.join(", ")),
        )
    })
}

/// The framelane format with the same bytes, if there is one.
pub(crate) fn from_av(format: c_int) -> Option<PixelFormat> {
    if format == Av::AV_PIX_FMT_YUVJ420P as c_int {
        return Some(PixelFormat::I420);
    }
    PAIRS.iter().find(|pair| pair.1 as c_int == format).map(|pair| pair.0)
}

/// Returns the format of `format(None)`: the same bytes where framelane has them, else the nearest format.
pub(crate) fn nearest(format: c_int) -> PixelFormat {
    if let Some(same) = from_av(format) {
        return same;
    }
    let Some(facts) = facts(format) else { return PixelFormat::I420 };
    match facts {
        Facts { rgb: true, alpha: true, .. } => PixelFormat::Bgra8,
        Facts { rgb: true, .. } => PixelFormat::Bgr8,
        Facts { components: 1 | 2, depth, .. } if depth > 8 => PixelFormat::Gray16,
        Facts { components: 1 | 2, .. } => PixelFormat::Gray8,
        Facts { depth, .. } if depth > 8 => PixelFormat::P010,
        _ => PixelFormat::I420,
    }
}

/// Structure of a pixel format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) rgb: bool,
    pub(crate) alpha: bool,
    pub(crate) hardware: bool,
    /// True if its name implies full range, as `yuvj420p`, or it holds luminance alone.
    pub(crate) full_range: bool,
    pub(crate) components: u8,
    pub(crate) depth: i32,
}

/// Returns the structure of the format with this number; `None` for a number that FFmpeg does not know.
pub(crate) fn facts(format: c_int) -> Option<Facts> {
    // SAFETY: known() returns a number that FFmpeg knows; the call looks it up in a constant table.
    let descriptor = unsafe { ff::av_pix_fmt_desc_get(known(format)?) };
    // SAFETY: the descriptor is null or an entry of that constant table.
    let descriptor = unsafe { descriptor.as_ref() }?;
    let has = |flag: c_int| descriptor.flags & flag as u64 != 0;
    Some(Facts {
        rgb: has(ff::AV_PIX_FMT_FLAG_RGB as c_int) || has(ff::AV_PIX_FMT_FLAG_PAL as c_int),
        alpha: has(ff::AV_PIX_FMT_FLAG_ALPHA as c_int),
        hardware: has(ff::AV_PIX_FMT_FLAG_HWACCEL as c_int),
        full_range: descriptor.nb_components <= 2 && !has(ff::AV_PIX_FMT_FLAG_FLOAT as c_int)
            || name(format).starts_with("yuvj"),
        components: descriptor.nb_components,
        depth: descriptor.comp[0].depth,
    })
}

/// FFmpeg's name of a format, as in `yuv420p10le`.
pub(crate) fn name(format: c_int) -> String {
    let Some(format) = known(format) else { return "unknown".to_owned() };
    // SAFETY: looks a known format up in a constant table.
    let name = unsafe { ff::av_get_pix_fmt_name(format) };
    if name.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: not null, so a constant string that ends with a zero.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// The number as the enum of the bindings, if it is one of its values.
pub(crate) fn known(format: c_int) -> Option<Av> {
    if !(0..Av::AV_PIX_FMT_NB as c_int).contains(&format) {
        return None;
    }
    // SAFETY: the enum is a C int in size, and its values run from 0 to AV_PIX_FMT_NB without a gap.
    Some(unsafe { std::mem::transmute::<c_int, Av>(format) })
}

/// FFmpeg's colour numbers are those of H.273.
pub(crate) fn color(matrix: c_int, primaries: c_int, transfer: c_int, range: c_int) -> Color {
    let byte = |value: c_int| u8::try_from(value).unwrap_or(2);
    Color {
        matrix: byte(matrix),
        primaries: byte(primaries),
        transfer: byte(transfer),
        range: if range == ff::AVColorRange::AVCOL_RANGE_JPEG as c_int {
            ColorRange::Full
        } else if range == ff::AVColorRange::AVCOL_RANGE_MPEG as c_int {
            ColorRange::Limited
        } else {
            ColorRange::Unspecified
        },
    }
}

/// The colour of pictures in `output` that were converted from a stream with `color`.
///
/// Red, green and blue are always full range with matrix 0 (identity), and luminance alone is full range, as
/// swscale makes them; other formats keep the matrix and the range of the stream.
pub(crate) fn output_color(color: Color, output: PixelFormat) -> Color {
    match output {
        PixelFormat::Bgr8 | PixelFormat::Rgb8 | PixelFormat::Bgra8 | PixelFormat::Rgba8 => {
            Color { matrix: 0, range: ColorRange::Full, ..color }
        }
        PixelFormat::Gray8 | PixelFormat::Gray16 => Color { range: ColorRange::Full, ..color },
        // Swscale's default when it makes YUV of RGB.
        _ if color.matrix == 0 => Color { matrix: 5, range: ColorRange::Limited, ..color },
        _ => color,
    }
}
