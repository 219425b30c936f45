//! JPEG by libjpeg-turbo, from the planes of a frame and into them.
//!
//! RGB formats, gray8, and matrices of `u8` with 1, 3 or 4 channels are converted as JFIF specifies, with
//! chroma of half the width and height. i420 is not converted: its samples become those of the JPEG, and are
//! decoded unchanged; programs that show the JPEG interpret them as BT.601 of full range.
//!
//! Pictures are decoded as they are stored. [`orientation`] returns their EXIF orientation.

use std::fmt;

use framelane::{Error, ErrorKind, Layout, PixelFormat};
use turbojpeg::{Image, PixelFormat as Tj, Subsamp, YuvImage, YuvPlanesImage};

pub use crate::exif::orientation;
use crate::planes;

/// The longest side, of the format and of the library.
const MOST_PIXELS: u32 = 65_500;
/// Most scans of a progressive JPEG. Each costs as much time as the whole picture, regardless of its length.
/// Encoders write about ten.
const MOST_SCANS: u32 = 20;
/// Chroma without colour.
const NEUTRAL: u8 = 128;

/// Form in which a format is passed to the library.
enum Samples {
    Pixels(Tj),
    Planes,
}

fn samples(format: PixelFormat) -> Option<Samples> {
    Some(match planes::video_format(format)? {
        PixelFormat::Gray8 => Samples::Pixels(Tj::GRAY),
        PixelFormat::Bgr8 => Samples::Pixels(Tj::BGR),
        PixelFormat::Rgb8 => Samples::Pixels(Tj::RGB),
        PixelFormat::Bgra8 => Samples::Pixels(Tj::BGRA),
        PixelFormat::Rgba8 => Samples::Pixels(Tj::RGBA),
        PixelFormat::I420 => Samples::Planes,
        _ => return None,
    })
}

/// Returns true if [`Compressor`] and [`Decompressor`] take frames of this format.
pub fn takes(format: PixelFormat) -> bool {
    samples(format).is_some()
}

/// Compresses frames, with memory that is kept from frame to frame.
pub struct Compressor {
    inner: turbojpeg::Compressor,
    /// Buffer as long as the longest JPEG so far could have been.
    jpeg: Vec<u8>,
    /// An i420 frame of odd size, with even sides.
    even: Vec<u8>,
}

impl Compressor {
    /// Allocates nothing for frames yet.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new() -> Result<Self, Error> {
        let inner = turbojpeg::Compressor::new().map_err(|error| {
            Error::new(ErrorKind::SystemFailure, format!("cannot make a JPEG compressor: {error}"))
        })?;
        Ok(Compressor { inner, jpeg: Vec::new(), even: Vec::new() })
    }

    /// Replaces the content of `out` by the JPEG of a frame, baseline and with 4:2:0. `quality` is 1 to 100.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) for formats that [`takes`] does not name, qualities out of
    /// range, and sides of more than 65 500 pixels; [`InvalidFrame`](ErrorKind::InvalidFrame) when `bytes`
    /// are too few.
    pub fn encode(
        &mut self,
        layout: &Layout,
        bytes: &[u8],
        quality: u8,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.clear();
        check(layout, bytes.len(), ErrorKind::InvalidOption)?;
        if !(1..=100).contains(&quality) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected a JPEG quality of 1 to 100, found {quality}"),
            ));
        }
        let (width, height) = (layout.width() as usize, layout.height() as usize);
        let (samples, subsampling) = match samples(layout.format()) {
            Some(Samples::Pixels(Tj::GRAY)) => (Samples::Pixels(Tj::GRAY), Subsamp::Gray),
            Some(samples) => (samples, Subsamp::Sub2x2),
            None => return Err(other_format(layout, ErrorKind::InvalidOption)),
        };
        let failed = |error: turbojpeg::Error| {
            Error::new(ErrorKind::SystemFailure, format!("compressing a JPEG: {error}"))
        };
        self.inner.set_quality(quality.into()).map_err(failed)?;
        self.inner.set_subsamp(subsampling).map_err(failed)?;
        let most = turbojpeg::compressed_buf_len(width, height, subsampling).map_err(failed)?;
        if self.jpeg.len() < most {
            self.jpeg.resize(most, 0);
        }
        let length = match samples {
            Samples::Pixels(format) => {
                let pixels = &bytes[planes::range(layout, 0)];
                let image = Image { pixels, width, pitch: layout.planes()[0].stride_bytes, height, format };
                self.inner.compress_to_slice(image, &mut self.jpeg)
            }
            Samples::Planes if width % 2 == 0 && height % 2 == 0 => {
                let image = yuv_planes(layout, bytes);
                self.inner.compress_yuv_planes_to_slice(&image, &mut self.jpeg)
            }
            Samples::Planes => {
                let even = fill_even(layout, bytes, &mut self.even)?;
                let image = YuvPlanesImage { width, height, ..yuv_planes(&even, &self.even) };
                self.inner.compress_yuv_planes_to_slice(&image, &mut self.jpeg)
            }
        };
        out.extend_from_slice(&self.jpeg[..length.map_err(failed)?]);
        Ok(())
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("jpeg::Compressor").finish_non_exhaustive()
    }
}

fn yuv_planes<'a>(layout: &Layout, bytes: &'a [u8]) -> YuvPlanesImage<&'a [u8]> {
    let strides = layout.planes();
    YuvPlanesImage {
        y_plane: &bytes[planes::range(layout, 0)],
        u_plane: &bytes[planes::range(layout, 1)],
        v_plane: &bytes[planes::range(layout, 2)],
        width: layout.width() as usize,
        height: layout.height() as usize,
        y_stride: strides[0].stride_bytes,
        u_stride: strides[1].stride_bytes,
        v_stride: strides[2].stride_bytes,
        subsamp: Subsamp::Sub2x2,
    }
}

/// The frame with the last column and row once more where a side is odd.
fn fill_even(layout: &Layout, bytes: &[u8], even: &mut Vec<u8>) -> Result<Layout, Error> {
    let (width, height) = (layout.width() as usize, layout.height() as usize);
    let to = self::even(layout)?;
    even.clear();
    let stride = to.planes()[0].stride_bytes;
    for row in bytes[planes::range(layout, 0)].chunks(layout.planes()[0].stride_bytes) {
        even.extend_from_slice(&row[..width]);
        even.resize(even.len().next_multiple_of(stride), row[width - 1]);
    }
    if height % 2 == 1 {
        even.extend_from_within((height - 1) * stride..);
    }
    for plane in 1..3 {
        let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
        for row in bytes[planes::range(layout, plane)].chunks(layout.planes()[plane].stride_bytes) {
            even.extend_from_slice(&row[..row_bytes]);
        }
    }
    Ok(to)
}

/// Decompresses JPEGs, with memory that is kept from one to the next.
pub struct Decompressor {
    /// `None` after an error: the library's handle keeps parts of what it could not read, and refuses the
    /// next JPEG for it.
    inner: Option<turbojpeg::Decompressor>,
    /// For targets with padding, or odd sides.
    planes: Vec<u8>,
}

impl Decompressor {
    /// Allocates nothing for frames yet.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new() -> Result<Self, Error> {
        Ok(Decompressor { inner: Some(open()?), planes: Vec::new() })
    }

    /// Decodes into `target` with `layout`: any format that [`takes`] names, padded or not. A gray JPEG can
    /// be decoded to RGB and i420 too; gray8 takes the luminance of a colour JPEG. i420 needs a JPEG with
    /// chroma of half the width and height, or without chroma. Alpha is 255.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) when `jpeg` does not hold a whole picture of the layout's size;
    /// `target` may hold anything then. [`InvalidFrame`](ErrorKind::InvalidFrame) when `target` is shorter
    /// than the layout.
    pub fn decode(&mut self, jpeg: &[u8], layout: &Layout, target: &mut [u8]) -> Result<(), Error> {
        check(layout, target.len(), ErrorKind::Damaged)?;
        let mut inner = match self.inner.take() {
            Some(inner) => inner,
            None => open()?,
        };
        decode(&mut inner, &mut self.planes, jpeg, layout, target)?;
        self.inner = Some(inner);
        Ok(())
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("jpeg::Decompressor").finish_non_exhaustive()
    }
}

fn open() -> Result<turbojpeg::Decompressor, Error> {
    let failed =
        |error| Error::new(ErrorKind::SystemFailure, format!("cannot make a JPEG decompressor: {error}"));
    let mut inner = turbojpeg::Decompressor::new().map_err(failed)?;
    inner.set_scan_limit(MOST_SCANS).map_err(failed)?;
    Ok(inner)
}

fn decode(
    inner: &mut turbojpeg::Decompressor,
    scratch: &mut Vec<u8>,
    jpeg: &[u8],
    layout: &Layout,
    target: &mut [u8],
) -> Result<(), Error> {
    let header = inner.read_header(jpeg).map_err(damaged)?;
    let (width, height) = (layout.width() as usize, layout.height() as usize);
    if (header.width, header.height) != (width, height) || header.is_lossless {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "expected a JPEG of {width}x{height}, found {}one of {}x{}",
                if header.is_lossless { "a lossless " } else { "" },
                header.width,
                header.height
            ),
        ));
    }
    match samples(layout.format()) {
        None => Err(other_format(layout, ErrorKind::Damaged)),
        Some(Samples::Pixels(format)) => decode_plane(inner, jpeg, layout, format, target),
        Some(Samples::Planes) if header.subsamp == Subsamp::Gray => {
            for plane in 1..3 {
                let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
                let stride = layout.planes()[plane].stride_bytes;
                for row in target[planes::range(layout, plane)].chunks_mut(stride) {
                    row[..row_bytes].fill(NEUTRAL);
                }
            }
            decode_plane(inner, jpeg, layout, Tj::GRAY, target)
        }
        // The library writes as much as the JPEG's own chroma needs, so this is more than a question of
        // looks.
        Some(Samples::Planes) if header.subsamp == Subsamp::Sub2x2 => {
            decode_planes(inner, scratch, jpeg, layout, target)
        }
        Some(Samples::Planes) => Err(Error::new(
            ErrorKind::Damaged,
            format!("expected a JPEG with 4:2:0 for i420, found {:?}", header.subsamp),
        )),
    }
}

/// All of a packed format, or the luminance of i420.
fn decode_plane(
    inner: &mut turbojpeg::Decompressor,
    jpeg: &[u8],
    layout: &Layout,
    format: Tj,
    target: &mut [u8],
) -> Result<(), Error> {
    let image = Image {
        pixels: &mut target[planes::range(layout, 0)],
        width: layout.width() as usize,
        pitch: layout.planes()[0].stride_bytes,
        height: layout.height() as usize,
        format,
    };
    inner.decompress(jpeg, image).map_err(damaged)
}

/// i420 from a JPEG of this size that is known to have 4:2:0.
fn decode_planes(
    inner: &mut turbojpeg::Decompressor,
    scratch: &mut Vec<u8>,
    jpeg: &[u8],
    layout: &Layout,
    target: &mut [u8],
) -> Result<(), Error> {
    let even = even(layout)?;
    let image = |pixels| YuvImage {
        pixels,
        width: layout.width() as usize,
        align: 1,
        height: layout.height() as usize,
        subsamp: Subsamp::Sub2x2,
    };
    if even == *layout {
        return inner.decompress_to_yuv(jpeg, image(target)).map_err(damaged);
    }
    scratch.resize(even.size_bytes(), 0);
    inner.decompress_to_yuv(jpeg, image(scratch)).map_err(damaged)?;
    for plane in 0..3 {
        let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
        let rows = scratch[planes::range(&even, plane)].chunks(even.planes()[plane].stride_bytes);
        let stride = layout.planes()[plane].stride_bytes;
        for (to, from) in target[planes::range(layout, plane)].chunks_mut(stride).zip(rows) {
            to[..row_bytes].copy_from_slice(&from[..row_bytes]);
        }
    }
    Ok(())
}

/// Packed i420 with even sides: the library reads and writes whole blocks of 2x2.
fn even(layout: &Layout) -> Result<Layout, Error> {
    Layout::packed(PixelFormat::I420, layout.width().next_multiple_of(2), layout.height().next_multiple_of(2))
}

/// The size and colour of a JPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// True if the picture has no colour.
    pub is_gray: bool,
}

/// Reads the header of a JPEG. Decodes nothing.
///
/// # Errors
/// [`Damaged`](ErrorKind::Damaged) when it does not begin as a JPEG does.
pub fn header(jpeg: &[u8]) -> Result<Header, Error> {
    let header = turbojpeg::read_header(jpeg).map_err(damaged)?;
    let side = |pixels: usize| {
        u32::try_from(pixels).map_err(|_| Error::new(ErrorKind::Damaged, "a JPEG has no such size"))
    };
    Ok(Header {
        width: side(header.width)?,
        height: side(header.height)?,
        is_gray: header.colorspace == turbojpeg::Colorspace::Gray,
    })
}

/// Refuses arguments that the library's functions would panic at, or cannot handle.
fn check(layout: &Layout, length: usize, kind: ErrorKind) -> Result<(), Error> {
    if length < layout.size_bytes() {
        return Err(Error::new(
            ErrorKind::InvalidFrame,
            format!("expected {} bytes of a frame, found {length}", layout.size_bytes()),
        ));
    }
    if layout.width() > MOST_PIXELS || layout.height() > MOST_PIXELS {
        return Err(Error::new(
            kind,
            format!(
                "expected sides of at most {MOST_PIXELS} pixels for JPEG, found {}x{}",
                layout.width(),
                layout.height()
            ),
        )
        .with_hint("use lz4, or a smaller size"));
    }
    if layout.planes().iter().any(|plane| i32::try_from(plane.stride_bytes).is_err()) {
        return Err(Error::new(kind, "expected rows of less than 2 GiB for JPEG, found longer ones"));
    }
    Ok(())
}

fn other_format(layout: &Layout, kind: ErrorKind) -> Error {
    Error::new(
        kind,
        format!(
            "JPEG takes bgr8, rgb8, bgra8, rgba8, gray8, i420 and matrix:u8 with 1, 3 or 4 channels, found \
             {}",
            layout.format()
        ),
    )
}

/// Returns the error of the library as damage of the JPEG.
fn damaged(error: turbojpeg::Error) -> Error {
    Error::new(ErrorKind::Damaged, format!("expected a whole JPEG, found: {error}"))
}
