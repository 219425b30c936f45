//! Pictures that are read from and written to, in any format of FFmpeg.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;

use ff::AVPixelFormat as Av;
use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Error, ErrorKind, Layout};

use super::frame::Frame;
use super::pixel;

/// A picture to read from.
pub(crate) struct Picture<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) format: c_int,
    pub(super) color: Color,
    pub(super) data: [*const u8; 4],
    pub(super) stride: [c_int; 4],
    _owner: PhantomData<&'a ()>,
}

impl<'a> Picture<'a> {
    pub(crate) fn of_frame(frame: &'a Frame) -> Self {
        let raw = frame.raw();
        Picture {
            width: frame.width(),
            height: frame.height(),
            format: raw.format,
            color: frame.color(),
            data: std::array::from_fn(|i| raw.data[i].cast_const()),
            stride: std::array::from_fn(|i| raw.linesize[i]),
            _owner: PhantomData,
        }
    }

    /// Planes within `owner`.
    pub(super) fn of_planes(
        (width, height): (u32, u32),
        format: c_int,
        color: Color,
        data: [*const u8; 4],
        stride: [c_int; 4],
        _owner: &'a [u8],
    ) -> Self {
        Picture { width, height, format, color, data, stride, _owner: PhantomData }
    }

    /// The top left corner of this size.
    pub(crate) fn cropped(self, width: u32, height: u32) -> Self {
        Picture { width: self.width.min(width), height: self.height.min(height), ..self }
    }

    /// Its first plane alone, with the samples as they are; for pictures whose first plane is 8-bit
    /// luminance.
    pub(crate) fn luminance(self) -> Self {
        Picture {
            format: Av::AV_PIX_FMT_GRAY8 as c_int,
            color: Color { range: ColorRange::Full, ..self.color },
            ..self
        }
    }

    /// `bytes` must hold `layout`, and [`Picture::SLACK`] bytes behind it, for swscale reads whole vectors.
    ///
    /// # Errors
    /// [`ErrorKind::FrameTooLarge`] for strides that swscale cannot express.
    pub(crate) fn of_bytes(layout: &Layout, color: Color, bytes: &'a [u8]) -> Result<Self, Error> {
        assert!(bytes.len() >= layout.size_bytes() + Self::SLACK);
        let planes = layout.planes();
        let mut stride = [0; 4];
        for (to, plane) in stride.iter_mut().zip(planes) {
            *to = c_stride(plane.stride_bytes)?;
        }
        Ok(Picture {
            width: layout.width(),
            height: layout.height(),
            format: pixel::to_av(layout.format())?,
            color,
            data: std::array::from_fn(|i| {
                planes.get(i).map_or(ptr::null(), |plane| bytes[plane.offset_bytes..].as_ptr())
            }),
            stride,
            _owner: PhantomData,
        })
    }

    /// Returns true if there is something to convert.
    pub(super) fn has_pixels(&self) -> bool {
        self.width > 0 && self.height > 0 && !self.data[0].is_null()
    }

    /// The first bytes of a row. `row` and `row_bytes` must be within what the format and the size say of the
    /// plane.
    pub(super) fn row(&self, plane: usize, row: usize, row_bytes: usize) -> &[u8] {
        let offset = row as isize * self.stride[plane] as isize;
        // SAFETY: the plane has this row, and its stride, which may be negative, leads from one row to the
        // next.
        let start = unsafe { self.data[plane].offset(offset) };
        // SAFETY: a row of the plane has at least row_bytes; it lives as long as the picture, which nothing
        // writes to.
        unsafe { std::slice::from_raw_parts(start, row_bytes) }
    }

    /// Bytes of a row without padding.
    pub(super) fn row_bytes(&self, plane: usize) -> usize {
        let Some(format) = pixel::known(self.format) else { return 0 };
        // SAFETY: computes from constant tables.
        let bytes = unsafe { ff::av_image_get_linesize(format, self.width as c_int, plane as c_int) };
        usize::try_from(bytes).unwrap_or(0)
    }

    /// See [`Picture::of_bytes`].
    pub(crate) const SLACK: usize = 64;
}

/// A picture to write to, with rows padded to whole vectors.
pub(crate) struct Target<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) format: c_int,
    pub(super) data: [*mut u8; 4],
    pub(super) stride: [c_int; 4],
    _owner: PhantomData<&'a mut ()>,
}

impl<'a> Target<'a> {
    /// Planes within `owner`.
    pub(super) fn of_planes(
        (width, height): (u32, u32),
        format: c_int,
        data: [*mut u8; 4],
        stride: [c_int; 4],
        _owner: &'a mut [u8],
    ) -> Self {
        Target { width, height, format, data, stride, _owner: PhantomData }
    }

    /// Memory that `layout` describes.
    ///
    /// # Errors
    /// [`ErrorKind::FrameTooLarge`] for strides that swscale cannot express.
    pub(super) fn of_bytes(layout: &Layout, bytes: &'a mut [u8]) -> Result<Self, Error> {
        let (mut data, mut stride) = ([ptr::null_mut::<u8>(); 4], [0; 4]);
        for (index, plane) in layout.planes().iter().enumerate() {
            data[index] = bytes[plane.offset_bytes..].as_mut_ptr();
            stride[index] = c_stride(plane.stride_bytes)?;
        }
        let size = (layout.width(), layout.height());
        Ok(Self::of_planes(size, pixel::to_av(layout.format())?, data, stride, bytes))
    }
}

/// The longest side that swscale takes: it multiplies sides by bytes and by filter sizes in C integers.
const MOST_SIDE: u32 = 1 << 20;

/// Refuses sides that overflow in swscale.
///
/// # Errors
/// [`ErrorKind::FrameTooLarge`].
pub(crate) fn check_sides(layout: &Layout) -> Result<(), Error> {
    let (width, height) = (layout.width(), layout.height());
    if width.max(height) <= MOST_SIDE {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::FrameTooLarge,
        format!("expected sides of at most {MOST_SIDE} pixels to convert, found {width}x{height}"),
    )
    .with_hint("use a smaller size, or no size"))
}

/// The stride as FFmpeg takes it.
fn c_stride(stride_bytes: usize) -> Result<c_int, Error> {
    c_int::try_from(stride_bytes).map_err(|_| {
        Error::new(
            ErrorKind::FrameTooLarge,
            format!("expected rows of at most {} bytes, found {stride_bytes}", c_int::MAX),
        )
    })
}
