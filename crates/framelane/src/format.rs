//! Pixel formats, and how large each plane of an image is.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// The element type of a matrix, with OpenCV's depth codes (`CV_8U` = 0 … `CV_16F` = 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Depth {
    /// Unsigned 8-bit integer.
    U8 = 0,
    /// Signed 8-bit integer.
    S8 = 1,
    /// Unsigned 16-bit integer.
    U16 = 2,
    /// Signed 16-bit integer.
    S16 = 3,
    /// Signed 32-bit integer.
    S32 = 4,
    /// 32-bit float.
    F32 = 5,
    /// 64-bit float.
    F64 = 6,
    /// 16-bit float (IEEE 754 binary16).
    F16 = 7,
}

crate::names::names!(
    Depth, "depth": U8 = "u8", S8 = "s8", U16 = "u16", S16 = "s16", S32 = "s32", F32 = "f32", F64 = "f64", F16 = "f16"
);

impl Depth {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Depth::U8 | Depth::S8 => 1,
            Depth::U16 | Depth::S16 | Depth::F16 => 2,
            Depth::S32 | Depth::F32 => 4,
            Depth::F64 => 8,
        }
    }
}

/// Element type and channel count of a matrix without a colour meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatrixType {
    depth: Depth,
    channels: u16,
}

impl MatrixType {
    /// The largest channel count, as in OpenCV.
    pub const MAX_CHANNELS: u16 = 512;

    /// A matrix of 1 to 512 channels.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] when `channels` is 0 or above 512.
    pub fn new(depth: Depth, channels: u16) -> Result<Self, Error> {
        if channels == 0 || channels > Self::MAX_CHANNELS {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("a matrix has 1 to {} channels, found {channels}", Self::MAX_CHANNELS),
            ));
        }
        Ok(MatrixType { depth, channels })
    }

    /// The element type.
    pub fn depth(self) -> Depth {
        self.depth
    }

    /// Elements per pixel, 1 to 512.
    pub fn channels(self) -> u16 {
        self.channels
    }
}

/// Meaning of the bytes of a frame.
///
/// Multi-byte elements are little-endian. The numbers of [`PixelFormat::code`] are part of the
/// shared-memory layout (`spec/shm-layout.md`).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One 8-bit luminance sample per pixel.
    Gray8,
    /// One 16-bit luminance sample per pixel.
    Gray16,
    /// Blue, green, red; 8 bits each. OpenCV's order.
    Bgr8,
    /// Red, green, blue; 8 bits each.
    Rgb8,
    /// Blue, green, red, alpha; 8 bits each.
    Bgra8,
    /// Red, green, blue, alpha; 8 bits each.
    Rgba8,
    /// Planar 4:2:0: a Y plane, a U plane, a V plane; chroma sizes round up.
    I420,
    /// Semi-planar 4:2:0: a Y plane, a plane of interleaved U and V.
    Nv12,
    /// Packed 4:2:2 as Y0 U Y1 V; an odd width is rounded up to a whole pair.
    Yuyv,
    /// NV12 with 16-bit samples, of which the upper 10 bits count.
    P010,
    /// Any OpenCV matrix type.
    Matrix(MatrixType),
    /// Not an image: a batch of detections (`spec/detections.md`); width is its bytes, height 1.
    Detections,
}

const NAMED: [(PixelFormat, u32, &str); 11] = [
    (PixelFormat::Gray8, 1, "gray8"),
    (PixelFormat::Gray16, 2, "gray16"),
    (PixelFormat::Bgr8, 3, "bgr8"),
    (PixelFormat::Rgb8, 4, "rgb8"),
    (PixelFormat::Bgra8, 5, "bgra8"),
    (PixelFormat::Rgba8, 6, "rgba8"),
    (PixelFormat::I420, 7, "i420"),
    (PixelFormat::Nv12, 8, "nv12"),
    (PixelFormat::Yuyv, 9, "yuyv"),
    (PixelFormat::P010, 10, "p010"),
    (PixelFormat::Detections, 0x100, "detections"),
];

/// Set in the code of every matrix: the depth is in bits 16 to 23, the channels in bits 0 to 15.
const MATRIX_BIT: u32 = 0x1000_0000;

impl PixelFormat {
    /// The ten video formats, without matrices and detections.
    pub const VIDEO: &'static [PixelFormat] = &[
        PixelFormat::Gray8,
        PixelFormat::Gray16,
        PixelFormat::Bgr8,
        PixelFormat::Rgb8,
        PixelFormat::Bgra8,
        PixelFormat::Rgba8,
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Yuyv,
        PixelFormat::P010,
    ];

    /// The stable number used in shared memory.
    pub fn code(self) -> u32 {
        match self {
            PixelFormat::Matrix(m) => MATRIX_BIT | (m.depth as u32) << 16 | u32::from(m.channels),
            named => NAMED.iter().find(|entry| entry.0 == named).map_or(0, |entry| entry.1),
        }
    }

    /// The format with this number, or `None` when this version knows none.
    pub fn from_code(code: u32) -> Option<Self> {
        if code & MATRIX_BIT == 0 {
            return NAMED.iter().find(|entry| entry.1 == code).map(|entry| entry.0);
        }
        let depth = *Depth::ALL.get(((code & !MATRIX_BIT) >> 16) as usize)?;
        MatrixType::new(depth, code as u16).ok().map(PixelFormat::Matrix)
    }

    /// The name, as in `"bgr8"`, `"i420"` or `"matrix:f32:3"`.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            PixelFormat::Matrix(m) => Cow::Owned(format!("matrix:{}:{}", m.depth.name(), m.channels)),
            named => Cow::Borrowed(NAMED.iter().find(|entry| entry.0 == named).map_or("?", |entry| entry.2)),
        }
    }

    /// 1 for packed formats, 2 for nv12 and p010, 3 for i420.
    pub fn plane_count(self) -> usize {
        match self {
            PixelFormat::I420 => 3,
            PixelFormat::Nv12 | PixelFormat::P010 => 2,
            _ => 1,
        }
    }

    /// Rows of a plane, and the bytes in each of them without padding.
    ///
    /// Zero rows for a plane that the format does not have.
    pub fn plane_shape(self, plane: usize, width: u32, height: u32) -> (u32, usize) {
        if plane >= self.plane_count() {
            return (0, 0);
        }
        let w = width as usize;
        let half = w.div_ceil(2);
        let chroma_rows = height.div_ceil(2);
        match (self, plane) {
            (PixelFormat::Gray8 | PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Detections, 0) => {
                (height, w)
            }
            (PixelFormat::Gray16 | PixelFormat::P010, 0) => (height, w * 2),
            (PixelFormat::Bgr8 | PixelFormat::Rgb8, _) => (height, w * 3),
            (PixelFormat::Bgra8 | PixelFormat::Rgba8, _) => (height, w * 4),
            (PixelFormat::Yuyv, _) => (height, half * 4),
            (PixelFormat::I420, _) => (chroma_rows, half),
            (PixelFormat::Nv12, _) => (chroma_rows, half * 2),
            (PixelFormat::P010, _) => (chroma_rows, half * 4),
            (PixelFormat::Matrix(m), _) => (height, w * m.depth.size_bytes() * usize::from(m.channels)),
            _ => (0, 0),
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for PixelFormat {
    type Err = Error;

    /// Parses the names that [`PixelFormat::name`] returns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`], naming the known formats.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(entry) = NAMED.iter().find(|entry| entry.2 == text) {
            return Ok(entry.0);
        }
        let unknown = || {
            let known: Vec<_> = PixelFormat::VIDEO.iter().map(|f| f.name()).collect();
            Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "expected a pixel format ({}, matrix:DEPTH:CHANNELS), found {text:?}",
                    known.join(", ")
                ),
            )
        };
        let (depth, channels) =
            text.strip_prefix("matrix:").and_then(|rest| rest.split_once(':')).ok_or_else(unknown)?;
        let depth = *Depth::ALL.iter().find(|d| d.name() == depth).ok_or_else(unknown)?;
        MatrixType::new(depth, channels.parse().map_err(|_| unknown())?).map(PixelFormat::Matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_formats() -> impl Iterator<Item = PixelFormat> {
        let matrices = Depth::ALL
            .iter()
            .copied()
            .flat_map(|depth| [1, 2, 3, 4, 511, 512].map(|c| MatrixType { depth, channels: c }))
            .map(PixelFormat::Matrix);
        NAMED.iter().map(|entry| entry.0).chain(matrices)
    }

    #[test]
    fn codes_and_names_come_back_as_the_same_format() {
        for format in all_formats() {
            assert_eq!(PixelFormat::from_code(format.code()), Some(format));
            assert_eq!(format.name().parse::<PixelFormat>().unwrap(), format);
        }
    }

    #[test]
    fn unknown_codes_and_names_are_refused() {
        for code in [0, 11, 0x101, MATRIX_BIT, MATRIX_BIT | 513, MATRIX_BIT | 8 << 16 | 1, u32::MAX] {
            assert_eq!(PixelFormat::from_code(code), None, "{code:#x}");
        }
        for name in ["", "bgr", "matrix", "matrix:u8", "matrix:u8:0", "matrix:u8:513", "matrix:x:1"] {
            assert!(name.parse::<PixelFormat>().is_err(), "{name}");
        }
    }

    #[test]
    fn chroma_planes_of_odd_sizes_round_up() {
        assert_eq!(PixelFormat::I420.plane_shape(1, 5, 3), (2, 3));
        assert_eq!(PixelFormat::Nv12.plane_shape(1, 5, 3), (2, 6));
        assert_eq!(PixelFormat::P010.plane_shape(1, 5, 3), (2, 12));
        assert_eq!(PixelFormat::Yuyv.plane_shape(0, 5, 3), (3, 12));
        assert_eq!(PixelFormat::I420.plane_shape(3, 5, 3), (0, 0));
    }
}
