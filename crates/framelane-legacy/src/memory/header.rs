//! The 12 bytes before the pixels: width, height, OpenCV's type.

use framelane::{Depth, Layout, MatrixType, PixelFormat};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// The generation of OpenCV whose type codes a mapping has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenCv {
    /// Reads both, where the size of the area and the number of channels distinguish them. Writes those of
    /// OpenCV 4.
    #[default]
    Auto,
    /// OpenCV 3 and 4: the depth in bits 0 to 2, the channels less one in bits 3 to 11.
    V4,
    /// OpenCV 5: the depth in bits 0 to 4, the channels less one in bits 5 to 11.
    V5,
}

impl std::fmt::Display for OpenCv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OpenCv::Auto => "auto",
            OpenCv::V4 => "4",
            OpenCv::V5 => "5",
        })
    }
}

impl std::str::FromStr for OpenCv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(OpenCv::Auto),
            "4" => Ok(OpenCv::V4),
            "5" => Ok(OpenCv::V5),
            _ => Err(format!("expected 4, 5 or auto, found {text:?}")),
        }
    }
}

/// The depths that OpenCV 5 has added, from code 8 on: name, bytes, and the depth that holds the same values.
const NEW_DEPTHS: [(&str, usize, Option<Depth>); 5] = [
    ("16BF (bfloat16)", 2, None),
    // One byte, 0 or 1.
    ("Bool", 1, Some(Depth::U8)),
    ("64U", 8, None),
    ("64S", 8, None),
    ("32U", 4, None),
];

/// The element of a type code: the index of the depth in one generation's codes, and the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    depth: usize,
    channels: u16,
}

impl Element {
    fn of(kind: i32, opencv: OpenCv) -> Option<Self> {
        let kind = usize::try_from(kind).ok().filter(|&kind| kind < 1 << 12)?;
        let (shift, depths) = match opencv {
            OpenCv::V5 => (5, Depth::ALL.len() + NEW_DEPTHS.len()),
            _ => (3, Depth::ALL.len()),
        };
        let depth = kind & ((1 << shift) - 1);
        (depth < depths).then_some(Element { depth, channels: (kind >> shift) as u16 + 1 })
    }

    fn bytes(self) -> u64 {
        let depth_bytes = match Depth::ALL.get(self.depth) {
            Some(depth) => depth.size_bytes(),
            None => NEW_DEPTHS[self.depth - Depth::ALL.len()].1,
        };
        depth_bytes as u64 * u64::from(self.channels)
    }

    /// `Err`: the name of a depth that framelane does not have.
    fn format(self) -> Result<PixelFormat, &'static str> {
        let depth = match Depth::ALL.get(self.depth) {
            Some(&depth) => depth,
            None => {
                let (name, _, same) = NEW_DEPTHS[self.depth - Depth::ALL.len()];
                same.ok_or(name)?
            }
        };
        Ok(match (depth, self.channels) {
            (Depth::U8, 1) => PixelFormat::Gray8,
            (Depth::U16, 1) => PixelFormat::Gray16,
            (Depth::U8, 3) => PixelFormat::Bgr8,
            (Depth::U8, 4) => PixelFormat::Bgra8,
            // At most 512 channels: any matrix has a format.
            (_, channels) => PixelFormat::Matrix(MatrixType::new(depth, channels).map_err(|_| "")?),
        })
    }
}

/// The words of a frame's header, which may make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels in a row.
    pub width: i32,
    /// Rows.
    pub height: i32,
    /// OpenCV's type code: see [`OpenCv`].
    pub kind: i32,
}

impl Header {
    /// The header of a frame; `None` when OpenCV has no type for its format.
    pub fn of(layout: &Layout, opencv: OpenCv) -> Option<Self> {
        let (depth, channels) = match layout.format() {
            PixelFormat::Gray8 => (Depth::U8, 1),
            PixelFormat::Gray16 => (Depth::U16, 1),
            PixelFormat::Bgr8 => (Depth::U8, 3),
            PixelFormat::Bgra8 => (Depth::U8, 4),
            PixelFormat::Matrix(matrix) => (matrix.depth(), matrix.channels()),
            _ => return None,
        };
        let (shift, most) = if opencv == OpenCv::V5 { (5, 128) } else { (3, 512) };
        Some(Header {
            width: layout.width().try_into().ok()?,
            height: layout.height().try_into().ok()?,
            kind: (channels <= most).then_some(depth as i32 | (i32::from(channels) - 1) << shift)?,
        })
    }

    /// The frame that it announces; `None` when that makes no sense, is larger than `area_bytes`, or has no
    /// format.
    pub fn layout(self, area_bytes: usize, opencv: OpenCv) -> Option<Layout> {
        let format = self.element(area_bytes, opencv)?.format().ok()?;
        let layout =
            Layout::packed(format, self.width.try_into().ok()?, self.height.try_into().ok()?).ok()?;
        (layout.size_bytes() <= area_bytes.checked_sub(HEADER_BYTES)?).then_some(layout)
    }

    /// The name of the depth when the frame makes sense, and framelane has no format for its depth.
    pub fn unsupported_depth(self, area_bytes: usize, opencv: OpenCv) -> Option<&'static str> {
        self.element(area_bytes, opencv)?.format().err()
    }

    /// The element of a frame that fits. Where both generations have one: that of OpenCV 5 when it has at
    /// most 4 channels and that of OpenCV 4 has more, else that of OpenCV 4.
    fn element(self, area_bytes: usize, opencv: OpenCv) -> Option<Element> {
        let fitting =
            |opencv| Element::of(self.kind, opencv).filter(|element| self.fits(*element, area_bytes));
        if opencv != OpenCv::Auto {
            return fitting(opencv);
        }
        match (fitting(OpenCv::V4), fitting(OpenCv::V5)) {
            (Some(old), Some(recent)) if recent.channels <= 4 && old.channels > 4 => Some(recent),
            (old, recent) => old.or(recent),
        }
    }

    fn fits(self, element: Element, area_bytes: usize) -> bool {
        let side = |side: i32| u64::try_from(side).ok().filter(|&side| side > 0);
        let (Some(width), Some(height)) = (side(self.width), side(self.height)) else { return false };
        let room = area_bytes.saturating_sub(HEADER_BYTES) as u64;
        // Two sides of 31 bits; the product with an element of at most 4 KiB may not fit.
        (width * height).checked_mul(element.bytes()).is_some_and(|bytes| bytes <= room)
    }

    /// Returns the bytes of the header, in this machine's byte order.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (to, value) in bytes.chunks_exact_mut(4).zip([self.width, self.height, self.kind]) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// Reads a header from the bytes in memory.
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Header {
            width: i32::from_ne_bytes([a, b, c, d]),
            height: i32::from_ne_bytes([e, f, g, h]),
            kind: i32::from_ne_bytes([i, j, k, l]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AREA: usize = HEADER_BYTES + 1920 * 1080 * 3;

    fn format(size: (i32, i32), kind: i32, opencv: OpenCv) -> Option<String> {
        let header = Header { width: size.0, height: size.1, kind };
        Some(header.layout(AREA, opencv)?.format().name().into_owned())
    }

    #[test]
    fn types_have_the_codes_of_both_opencvs() {
        for (format, old, recent) in [
            (PixelFormat::Bgr8, Some(16), Some(64)),
            (PixelFormat::Gray8, Some(0), Some(0)),
            (PixelFormat::Gray16, Some(2), Some(2)),
            (PixelFormat::Bgra8, Some(24), Some(96)),
            (PixelFormat::Matrix(MatrixType::new(Depth::F64, 1).unwrap()), Some(6), Some(6)),
            (PixelFormat::Matrix(MatrixType::new(Depth::F32, 3).unwrap()), Some(21), Some(69)),
            (
                PixelFormat::Matrix(MatrixType::new(Depth::F16, 128).unwrap()),
                Some(7 + 127 * 8),
                Some(7 + 127 * 32),
            ),
            (PixelFormat::Matrix(MatrixType::new(Depth::F16, 512).unwrap()), Some(7 + 511 * 8), None),
            (PixelFormat::Rgb8, None, None),
            (PixelFormat::I420, None, None),
        ] {
            let layout = Layout::packed(format, 2, 2).unwrap();
            for (opencv, kind) in [(OpenCv::Auto, old), (OpenCv::V4, old), (OpenCv::V5, recent)] {
                let header = Header::of(&layout, opencv);
                assert_eq!(header.map(|header| header.kind), kind, "{format} of {opencv}");
                if let Some(header) = header.filter(|_| opencv != OpenCv::Auto) {
                    assert_eq!(header.layout(AREA, opencv), Some(layout.clone()), "{format} of {opencv}");
                }
            }
        }
    }

    #[test]
    fn bgr_of_opencv_5_is_read_as_bgr() {
        for size in [(1920, 1080), (640, 480), (1, 1)] {
            assert_eq!(format(size, 64, OpenCv::Auto).as_deref(), Some("bgr8"));
            assert_eq!(format(size, 16, OpenCv::Auto).as_deref(), Some("bgr8"));
            assert_eq!(format(size, 64, OpenCv::V5).as_deref(), Some("bgr8"));
            assert_eq!(format(size, 16, OpenCv::V5), None);
        }
        // Nine channels, where the mapping is known to be of OpenCV 4 and they fit.
        assert_eq!(format((640, 480), 64, OpenCv::V4).as_deref(), Some("matrix:u8:9"));
        assert_eq!(format((1920, 1080), 64, OpenCv::V4), None);
        assert_eq!(format((640, 480), 69, OpenCv::Auto).as_deref(), Some("matrix:f32:3"));
        assert_eq!(format((640, 480), 96, OpenCv::Auto).as_deref(), Some("bgra8"));
        // At most 4 channels in OpenCV 4: read as such.
        assert_eq!(format((640, 480), 10, OpenCv::Auto).as_deref(), Some("matrix:u16:2"));
    }

    #[test]
    fn new_depths_of_opencv_5_are_mapped_or_refused() {
        for (depth, expected) in [
            (8, Err("16BF (bfloat16)")),
            (9, Ok("gray8")),
            (10, Err("64U")),
            (11, Err("64S")),
            (12, Err("32U")),
        ] {
            let header = Header { width: 64, height: 48, kind: depth };
            let refused = header.unsupported_depth(AREA, OpenCv::V5);
            assert_eq!(format((64, 48), depth, OpenCv::V5).as_deref(), expected.ok());
            assert_eq!(refused, expected.err());
        }
        assert_eq!(format((64, 48), 13, OpenCv::V5), None);
        // Three channels of bool, which OpenCV 4 would have as ten channels of s8.
        assert_eq!(format((64, 48), 9 | 2 << 5, OpenCv::Auto).as_deref(), Some("bgr8"));
        let header = Header { width: 64, height: 48, kind: 12 | 2 << 5 };
        assert_eq!(header.unsupported_depth(AREA, OpenCv::Auto), Some("32U"));
    }

    proptest! {
        #[test]
        fn any_header_is_a_frame_within_its_area_or_none(width: i32, height: i32, kind in 0..5000, area in 0_usize..1 << 24) {
            for (width, height) in [(width, height), (width.rem_euclid(2000), height.rem_euclid(2000))] {
                for opencv in [OpenCv::Auto, OpenCv::V4, OpenCv::V5] {
                    let header = Header { width, height, kind };
                    let Some(layout) = header.layout(area, opencv) else { continue };
                    prop_assert!(layout.size_bytes() + HEADER_BYTES <= area);
                    let codes = [OpenCv::V4, OpenCv::V5].map(|opencv| Header::of(&layout, opencv));
                    // Bool is read back as u8.
                    prop_assert!(codes.contains(&Some(header)) || kind & 31 == 9);
                }
            }
        }

        #[test]
        fn a_header_comes_back_from_its_bytes(width: i32, height: i32, kind: i32) {
            let header = Header { width, height, kind };
            prop_assert_eq!(Header::from_bytes(header.to_bytes()), header);
        }
    }
}
