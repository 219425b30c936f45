//! Swscale: from any format and size that FFmpeg decodes to the one wanted.
//!
//! The set-up is that of the scale filter of the `ffmpeg` program (libavfilter/vf_scale.c), so that both give
//! the same pixels: the matrix and the range of the stream, BT.601 where the stream names none, chroma placed
//! as in MPEG-2, the bicubic flag. Only between YUV formats this keeps the stream's range, where the filter
//! makes it limited.

use std::ffi::{CString, c_int};
use std::ptr;

use ff::AVPixelFormat as Av;
use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Error, ErrorKind, Layout, PixelFormat};

use super::error::{check, no_memory};
use super::picture::{Picture, Target};
use super::pixel;

/// Rows that start and end on this boundary can be written in place: swscale writes whole vectors.
const ROW_ALIGN: usize = 64;

/// Everything that a swscale context is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    from: (u32, u32, c_int),
    color: Color,
    to: (u32, u32, c_int),
}

/// Converts pictures; prepares itself again when the input changes.
pub(crate) struct Scaler {
    context: *mut ff::SwsContext,
    key: Option<Key>,
    flags: CString,
    /// For sizes whose rows do not end on a vector's boundary.
    bounce: Vec<u8>,
}

// SAFETY: a swscale context has no tie to the thread that made it; it is used by one owner at a time.
unsafe impl Send for Scaler {}

impl Scaler {
    /// `flags` as `ffmpeg -sws_flags` takes them.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] when FFmpeg does not know them.
    pub(crate) fn new(flags: &str) -> Result<Self, Error> {
        super::init();
        let mut scaler = Scaler {
            context: ptr::null_mut(),
            key: None,
            flags: super::dictionary::c_string(flags)?,
            bounce: Vec::new(),
        };
        // Reported now rather than at the first picture.
        scaler.allocate().map_err(|error| {
            Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "expected scaler flags as in bicubic+accurate_rnd, found {flags:?} ({})",
                    error.message()
                ),
            )
        })?;
        Ok(scaler)
    }

    /// Writes the picture into `bytes`, which `layout` describes; converts and scales as needed.
    pub(crate) fn convert(
        &mut self,
        picture: &Picture<'_>,
        layout: &Layout,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        if !picture.has_pixels() {
            return Err(Error::new(ErrorKind::Damaged, "the decoder gave a picture without pixels"));
        }
        let bytes = bytes
            .get_mut(..layout.size_bytes())
            .ok_or_else(|| Error::new(ErrorKind::InvalidFrame, "the slot is smaller than its layout"))?;
        if same_pixels(picture, layout) {
            copy(picture, layout, bytes);
            return Ok(());
        }
        let aligned = layout.planes().iter().enumerate().all(|(index, plane)| {
            let (_, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
            row_bytes % ROW_ALIGN == 0 && plane.stride_bytes % ROW_ALIGN == 0
        });
        if aligned {
            return self.convert_to(picture, &mut Target::of_bytes(layout, bytes)?).map(drop);
        }
        let padded = padded(layout)?;
        let mut bounce = std::mem::take(&mut self.bounce);
        bounce.resize(padded.size_bytes(), 0);
        let result = Target::of_bytes(&padded, &mut bounce)
            .and_then(|mut target| self.convert_to(picture, &mut target))
            .map(drop);
        for index in 0..layout.planes().len() {
            let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
            let (from, to) = (padded.planes()[index], layout.planes()[index]);
            for row in 0..rows as usize {
                let source = from.offset_bytes + row * from.stride_bytes;
                let target = to.offset_bytes + row * to.stride_bytes;
                bytes[target..target + row_bytes].copy_from_slice(&bounce[source..source + row_bytes]);
            }
        }
        self.bounce = bounce;
        result
    }

    /// Converts and scales, without a check whether both sides are the same. Returns the colour of the
    /// result.
    pub(super) fn convert_to(
        &mut self,
        picture: &Picture<'_>,
        target: &mut Target<'_>,
    ) -> Result<Color, Error> {
        let ranges = Ranges::new(picture, target.format);
        self.prepare(picture, target, ranges)?;
        self.scale(picture, target)?;
        let range = if ranges.to_full { ColorRange::Full } else { ColorRange::Limited };
        Ok(Color { range, ..picture.color })
    }

    fn prepare(&mut self, picture: &Picture<'_>, target: &Target<'_>, ranges: Ranges) -> Result<(), Error> {
        let key = Key {
            from: (picture.width, picture.height, picture.format),
            color: picture.color,
            to: (target.width, target.height, target.format),
        };
        if self.key.as_ref() == Some(&key) {
            return Ok(());
        }
        self.key = None;
        self.allocate()?;
        for (name, value) in [
            (c"srcw", picture.width as i64),
            (c"srch", picture.height as i64),
            (c"src_format", picture.format.into()),
            (c"dstw", target.width.into()),
            (c"dsth", target.height.into()),
            (c"dst_format", target.format.into()),
            // Before sws_init_context(): for more than 8 bits, swscale never reads the ranges again.
            (c"src_range", ranges.from_full.into()),
            (c"dst_range", ranges.to_full.into()),
        ] {
            self.set(name, value)?;
        }
        // Chroma lies as in MPEG-2 for 8-bit 4:2:0, by the scale filter's convention.
        let mpeg2 = Av::AV_PIX_FMT_YUV420P as c_int;
        if picture.format == mpeg2 {
            self.set(c"src_v_chr_pos", 128)?;
        }
        if target.format == mpeg2 {
            self.set(c"dst_v_chr_pos", 128)?;
        }
        // SAFETY: a context of allocate() with all its options set; null stands for no filters.
        let code = unsafe { ff::sws_init_context(self.context, ptr::null_mut(), ptr::null_mut()) };
        if code < 0 {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "cannot convert {} {}x{} to {} {}x{}: {}",
                    pixel::name(picture.format),
                    picture.width,
                    picture.height,
                    pixel::name(target.format),
                    target.width,
                    target.height,
                    super::error::text(code),
                ),
            )
            .with_hint("choose another format or size"));
        }
        self.set_color(picture, ranges);
        self.key = Some(key);
        Ok(())
    }

    /// A new context with the flags set.
    fn allocate(&mut self) -> Result<(), Error> {
        self.free();
        // SAFETY: allocates, or returns null.
        self.context = unsafe { ff::sws_alloc_context() };
        if self.context.is_null() {
            return Err(no_memory("converting"));
        }
        // SAFETY: a valid context with options; both strings end with a zero and are copied.
        let code =
            unsafe { ff::av_opt_set(self.context.cast(), c"sws_flags".as_ptr(), self.flags.as_ptr(), 0) };
        check("scaler flags", code).map(drop)
    }

    fn set(&mut self, name: &std::ffi::CStr, value: i64) -> Result<(), Error> {
        // SAFETY: a valid context with options; the name ends with a zero.
        let code = unsafe { ff::av_opt_set_int(self.context.cast(), name.as_ptr(), value, 0) };
        check("setting up the conversion", code).map(drop)
    }

    /// The coefficients, as scale_frame() of vf_scale.c sets them.
    fn set_color(&mut self, picture: &Picture<'_>, ranges: Ranges) {
        let matrix = match picture.color.matrix {
            matrix @ (1..=7 | 9 | 10) => matrix,
            _ => ff::AVColorSpace::AVCOL_SPC_BT470BG as u8,
        };
        // SAFETY: returns a constant table for any number.
        let coefficients = unsafe { ff::sws_getCoefficients(matrix.into()) };
        // Brightness, contrast and saturation as they are, in 16.16 fixed point.
        let (brightness, contrast, saturation) = (0, 1 << 16, 1 << 16);
        // SAFETY: an initialised context; the tables are four numbers each, copied by the call. Between RGB
        // formats it refuses, and there is nothing to set.
        unsafe {
            ff::sws_setColorspaceDetails(
                self.context,
                coefficients,
                ranges.from_full.into(),
                coefficients,
                ranges.to_full.into(),
                brightness,
                contrast,
                saturation,
            )
        };
    }

    fn scale(&mut self, picture: &Picture<'_>, target: &mut Target<'_>) -> Result<(), Error> {
        // SAFETY: the context is initialised for this size and format on both sides (prepare()); the source
        // planes are a decoder's, or have the slack that of_bytes() asks for; the target planes lie within
        // memory that the target borrows, with rows that its creator padded to whole vectors.
        let rows = unsafe {
            ff::sws_scale(
                self.context,
                picture.data.as_ptr(),
                picture.stride.as_ptr(),
                0,
                picture.height as c_int,
                target.data.as_ptr(),
                target.stride.as_ptr(),
            )
        };
        check("converting", rows).map(drop)
    }

    fn free(&mut self) {
        // SAFETY: null, or a context of allocate(), freed once because the field is overwritten next.
        unsafe { ff::sws_freeContext(self.context) };
        self.context = ptr::null_mut();
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        self.free();
    }
}

/// The ranges of both sides of a conversion.
#[derive(Clone, Copy, Debug)]
struct Ranges {
    from_full: bool,
    to_full: bool,
}

impl Ranges {
    fn new(picture: &Picture<'_>, target: c_int) -> Self {
        let from = pixel::facts(picture.format);
        let from_rgb = from.is_some_and(|facts| facts.rgb);
        let from_full = match picture.color.range {
            ColorRange::Full => true,
            ColorRange::Limited => false,
            // Formats that are full range by definition.
            _ => from.is_some_and(|facts| facts.full_range),
        };
        // Newer versions of swscale keep the range of the stream in gray formats, older ones do not.
        let keeps_range = pixel::facts(target).is_some_and(|facts| !facts.rgb && !facts.full_range);
        let to_full = if keeps_range { from_full && !from_rgb } else { true };
        Ranges { from_full, to_full }
    }
}

/// Returns true if the picture needs no conversion, only a copy.
fn same_pixels(picture: &Picture<'_>, layout: &Layout) -> bool {
    (picture.width, picture.height) == (layout.width(), layout.height())
        && same_samples(picture, layout.format())
}

/// Returns true if the samples stay as they are in this format.
pub(super) fn same_samples(picture: &Picture<'_>, format: PixelFormat) -> bool {
    let gray = matches!(format, PixelFormat::Gray8 | PixelFormat::Gray16);
    pixel::from_av(picture.format) == Some(format) && !(gray && picture.color.range == ColorRange::Limited)
}

fn copy(picture: &Picture<'_>, layout: &Layout, bytes: &mut [u8]) {
    for (index, plane) in layout.planes().iter().enumerate() {
        let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
        for row in 0..rows as usize {
            let target = plane.offset_bytes + row * plane.stride_bytes;
            bytes[target..target + row_bytes].copy_from_slice(picture.row(index, row, row_bytes));
        }
    }
}

/// The same picture with rows padded to whole vectors, and one more row for what is written behind the last.
fn padded(layout: &Layout) -> Result<Layout, Error> {
    let mut planes = Vec::new();
    let mut size_bytes = 0;
    for index in 0..layout.planes().len() {
        let (rows, row_bytes) = layout.format().plane_shape(index, layout.width(), layout.height());
        let stride_bytes = row_bytes.next_multiple_of(ROW_ALIGN) + ROW_ALIGN;
        planes.push(framelane::Plane { offset_bytes: size_bytes, stride_bytes });
        size_bytes += stride_bytes * (rows as usize + 1);
    }
    Layout::with_planes(layout.format(), layout.width(), layout.height(), &planes, size_bytes)
}
