//! Pixel formats, layouts, and images in the caller's memory.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use framelane::{Depth, Error, ErrorKind, Layout, MatrixType, PixelFormat, Plane};

use crate::boundary::{array, given, null, reserved, text, value};
use crate::error::{fallible, framelane_error};

/// One 8-bit luminance sample per pixel.
pub const FRAMELANE_FORMAT_GRAY8: u32 = 1;
/// One 16-bit luminance sample per pixel.
pub const FRAMELANE_FORMAT_GRAY16: u32 = 2;
/// Blue, green, red; 8 bits each. OpenCV's order.
pub const FRAMELANE_FORMAT_BGR8: u32 = 3;
/// Red, green, blue; 8 bits each.
pub const FRAMELANE_FORMAT_RGB8: u32 = 4;
/// Blue, green, red, alpha; 8 bits each.
pub const FRAMELANE_FORMAT_BGRA8: u32 = 5;
/// Red, green, blue, alpha; 8 bits each.
pub const FRAMELANE_FORMAT_RGBA8: u32 = 6;
/// Planar 4:2:0: a Y plane, a U plane, a V plane; chroma sizes round up.
pub const FRAMELANE_FORMAT_I420: u32 = 7;
/// Semi-planar 4:2:0: a Y plane, a plane of interleaved U and V.
pub const FRAMELANE_FORMAT_NV12: u32 = 8;
/// Packed 4:2:2 as Y0 U Y1 V; an odd width is rounded up to a whole pair.
pub const FRAMELANE_FORMAT_YUYV: u32 = 9;
/// NV12 with 16-bit samples, of which the upper 10 bits are used.
pub const FRAMELANE_FORMAT_P010: u32 = 10;
/// Not an image: a batch of detections.
pub const FRAMELANE_FORMAT_DETECTIONS: u32 = 256;

/// Unsigned 8-bit integers, as OpenCV's CV_8U.
pub const FRAMELANE_DEPTH_U8: u32 = 0;
/// Signed 8-bit integers.
pub const FRAMELANE_DEPTH_S8: u32 = 1;
/// Unsigned 16-bit integers.
pub const FRAMELANE_DEPTH_U16: u32 = 2;
/// Signed 16-bit integers.
pub const FRAMELANE_DEPTH_S16: u32 = 3;
/// Signed 32-bit integers.
pub const FRAMELANE_DEPTH_S32: u32 = 4;
/// 32-bit floats.
pub const FRAMELANE_DEPTH_F32: u32 = 5;
/// 64-bit floats.
pub const FRAMELANE_DEPTH_F64: u32 = 6;
/// 16-bit floats.
pub const FRAMELANE_DEPTH_F16: u32 = 7;

// The numbers are those of the core.
const _: () = {
    assert!(FRAMELANE_DEPTH_U8 == Depth::U8 as u32 && FRAMELANE_DEPTH_S8 == Depth::S8 as u32);
    assert!(FRAMELANE_DEPTH_U16 == Depth::U16 as u32 && FRAMELANE_DEPTH_S16 == Depth::S16 as u32);
    assert!(FRAMELANE_DEPTH_S32 == Depth::S32 as u32 && FRAMELANE_DEPTH_F32 == Depth::F32 as u32);
    assert!(FRAMELANE_DEPTH_F64 == Depth::F64 as u32 && FRAMELANE_DEPTH_F16 == Depth::F16 as u32);
};

/// The longest stride of an image, but for rows that are longer. A number that a caller has made of a
/// negative one of 32 bits is longer.
const MAX_STRIDE: usize = i32::MAX as usize;

/// The most planes that an image has.
pub const FRAMELANE_MAX_PLANES: usize = 4;

/// Position of a plane within a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct framelane_plane {
    /// Bytes from the start of the frame to the plane's first sample.
    pub offset_bytes: u64,
    /// Bytes from the start of one row to the start of the next.
    pub stride_bytes: u64,
    /// Rows of the plane.
    pub rows: u64,
    /// Bytes of a row without padding.
    pub row_bytes: u64,
}

/// Size, format and planes of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct framelane_layout {
    /// One of the `FRAMELANE_FORMAT_` codes, or a result of `framelane_format_matrix`.
    pub format: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Number of planes. 0 in a layout of the caller: rows without padding, and planes without gaps.
    pub plane_count: u32,
    /// The planes. In a layout of the caller, only offsets and strides are read.
    pub planes: [framelane_plane; FRAMELANE_MAX_PLANES],
    /// Bytes of the whole frame, padding included.
    pub size_bytes: u64,
}

/// An image in the caller's memory. Zero it first: 0 is the default of each field.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_image {
    /// One of the `FRAMELANE_FORMAT_` codes, or a result of `framelane_format_matrix`.
    pub format: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 0.
    pub reserved: u32,
    /// The first sample of each plane; as many as the format has.
    pub planes: [*const c_void; FRAMELANE_MAX_PLANES],
    /// Bytes from one row to the next in each plane; 0: rows without padding.
    pub strides_bytes: [u64; FRAMELANE_MAX_PLANES],
}

/// Returns the format of a matrix of `depth` (`FRAMELANE_DEPTH_`) and 1 to 512 channels, or 0 if there is no
/// such matrix.
///
/// Video formats have separate codes: `FRAMELANE_FORMAT_BGR8` is not a matrix of 3 channels.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_format_matrix(depth: u32, channels: u32) -> u32 {
    value(0, || {
        let depth = *Depth::ALL.get(depth as usize)?;
        let matrix = MatrixType::new(depth, u16::try_from(channels).ok()?).ok()?;
        Some(PixelFormat::Matrix(matrix).code())
    })
}

/// Returns the format of a name, such as "bgr8" or "matrix:f32:3".
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_format_from_name(
    name: *const c_char,
    format: Option<&mut MaybeUninit<u32>>,
) -> *mut framelane_error {
    fallible(|| {
        let format = given(format, "format")?;
        format.write(text(name, "name")?.parse::<PixelFormat>()?.code());
        Ok(())
    })
}

/// Writes the format's name and a NUL into the `size_bytes` at `name`, truncated if it does not fit. Returns
/// the length of the whole name, or 0 if there is no such format.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_format_name(format: u32, name: *mut c_char, size_bytes: usize) -> usize {
    value(0, || {
        let text = PixelFormat::from_code(format)?.name();
        if !name.is_null() && size_bytes > 0 {
            let len = text.len().min(size_bytes - 1);
            // SAFETY: by the contract of this crate `size_bytes` bytes at `name` are the caller's; `len` is
            // less.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name.cast::<u8>(), len) };
            // SAFETY: `len` is within the same bytes.
            let end = unsafe { name.add(len) };
            // SAFETY: as above.
            unsafe { end.write(0) };
        }
        Some(text.len())
    })
}

/// The layout of an image without padding.
///
/// Errors: FRAMELANE_ERROR_INVALID_FRAME for an unknown format or a side of 0;
/// FRAMELANE_ERROR_FRAME_TOO_LARGE above 4 GiB.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_layout_packed(
    format: u32,
    width: u32,
    height: u32,
    layout: Option<&mut MaybeUninit<framelane_layout>>,
) -> *mut framelane_error {
    fallible(|| {
        let layout = given(layout, "layout")?;
        layout.write((&Layout::packed(format_of(format)?, width, height)?).into());
        Ok(())
    })
}

fn format_of(code: u32) -> Result<PixelFormat, Error> {
    PixelFormat::from_code(code).ok_or_else(|| {
        Error::new(ErrorKind::InvalidFrame, format!("expected a FRAMELANE_FORMAT_ code, found {code}"))
            .with_hint("use the constants, or framelane_format_matrix for matrices")
    })
}

impl From<&Layout> for framelane_layout {
    fn from(layout: &Layout) -> Self {
        let mut planes = [framelane_plane::default(); FRAMELANE_MAX_PLANES];
        for (index, (to, from)) in planes.iter_mut().zip(layout.planes()).enumerate() {
            let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
            *to = framelane_plane {
                offset_bytes: from.offset_bytes as u64,
                stride_bytes: from.stride_bytes as u64,
                rows: u64::from(rows),
                row_bytes: row_bytes as u64,
            };
        }
        framelane_layout {
            format: layout.format().code(),
            width: layout.width(),
            height: layout.height(),
            plane_count: layout.planes().len() as u32,
            planes,
            size_bytes: layout.size_bytes() as u64,
        }
    }
}

impl framelane_layout {
    pub(crate) fn checked(&self) -> Result<Layout, Error> {
        let format = format_of(self.format)?;
        if self.plane_count == 0 {
            return Layout::packed(format, self.width, self.height);
        }
        let number = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let planes = self.planes.map(|plane| Plane {
            offset_bytes: number(plane.offset_bytes),
            stride_bytes: number(plane.stride_bytes),
        });
        let planes = planes.get(..self.plane_count as usize).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidFrame,
                format!("expected at most 4 planes, found {}", self.plane_count),
            )
        })?;
        Layout::with_planes(format, self.width, self.height, planes, number(self.size_bytes))
    }
}

impl framelane_image {
    /// The layout that the image has once it is packed.
    pub(crate) fn packed(&self) -> Result<Layout, Error> {
        reserved(self.reserved.into(), "reserved of the image")?;
        Layout::packed(format_of(self.format)?, self.width, self.height)
    }

    /// The planes as they lie in the caller's memory: bytes and stride of each.
    pub(crate) fn sources(&self, layout: &Layout) -> Result<[(&[u8], usize); FRAMELANE_MAX_PLANES], Error> {
        let mut sources = [(&[][..], 0); FRAMELANE_MAX_PLANES];
        for (index, source) in sources.iter_mut().enumerate().take(layout.planes().len()) {
            let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
            // As a signed number: a negative stride of the caller arrives as a huge one.
            let given = self.strides_bytes[index].cast_signed();
            let stride = if given == 0 { row_bytes } else { usize::try_from(given).unwrap_or(0) };
            let bytes = stride.checked_mul(rows as usize - 1).and_then(|last| last.checked_add(row_bytes));
            let bytes = bytes.filter(|_| stride == row_bytes || (row_bytes..=MAX_STRIDE).contains(&stride));
            let Some(bytes) = bytes else {
                let fault = format!(
                    "plane {index}: expected a stride from {row_bytes} (a row) to {MAX_STRIDE} bytes, found \
                     {given}"
                );
                return Err(Error::new(ErrorKind::InvalidFrame, fault).with_hint(
                    "give the bytes from one row to the next, or 0 for rows without padding; flip images that are \
                     stored upside down",
                ));
            };
            if self.planes[index].is_null() {
                return Err(null(&format!("plane {index} of the image")));
            }
            *source = (array(self.planes[index].cast::<u8>(), bytes, "image")?, stride);
        }
        Ok(sources)
    }
}

/// Copies rows from one plane to another; both strides are at least `row_bytes`.
pub(crate) fn copy_rows(
    (from, from_stride): (&[u8], usize),
    (to, to_stride): (&mut [u8], usize),
    row_bytes: usize,
) {
    if from_stride == to_stride && from_stride == row_bytes && from.len() == to.len() {
        to.copy_from_slice(from);
        return;
    }
    for (from, to) in from.chunks(from_stride).zip(to.chunks_mut(to_stride)) {
        to[..row_bytes].copy_from_slice(&from[..row_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_of_formats_are_the_numbers_of_the_core() {
        let constants = [
            FRAMELANE_FORMAT_GRAY8,
            FRAMELANE_FORMAT_GRAY16,
            FRAMELANE_FORMAT_BGR8,
            FRAMELANE_FORMAT_RGB8,
            FRAMELANE_FORMAT_BGRA8,
            FRAMELANE_FORMAT_RGBA8,
            FRAMELANE_FORMAT_I420,
            FRAMELANE_FORMAT_NV12,
            FRAMELANE_FORMAT_YUYV,
            FRAMELANE_FORMAT_P010,
        ];
        assert!(PixelFormat::VIDEO.iter().copied().map(PixelFormat::code).eq(constants));
        assert_eq!(PixelFormat::Detections.code(), FRAMELANE_FORMAT_DETECTIONS);
    }

    #[test]
    fn a_layout_comes_back_as_it_was() {
        for &format in PixelFormat::VIDEO {
            let layout = Layout::packed(format, 7, 5).unwrap();
            assert_eq!(framelane_layout::from(&layout).checked().unwrap(), layout);
        }
    }

    #[test]
    fn rows_with_padding_are_copied_without_it() {
        let mut to = [0; 4];
        copy_rows((&[1, 2, 9, 3, 4], 3), (&mut to, 2), 2);
        assert_eq!(to, [1, 2, 3, 4]);
    }
}
