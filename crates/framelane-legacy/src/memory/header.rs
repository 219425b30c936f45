//! The 12 bytes before the pixels: width, height, OpenCV's type.

use framelane::{Depth, Layout, MatrixType, PixelFormat};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// What a frame's header says; not yet whether that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pixels in a row.
    pub width: i32,
    /// Rows.
    pub height: i32,
    /// OpenCV's type: the depth in bits 0 to 2, the channels less one in bits 3 to 11.
    pub kind: i32,
}

impl Header {
    /// The header of a frame; `None` when the format has no OpenCV type that would say what it is.
    pub fn of(layout: &Layout) -> Option<Self> {
        let (depth, channels) = match layout.format() {
            PixelFormat::Gray8 => (Depth::U8, 1),
            PixelFormat::Gray16 => (Depth::U16, 1),
            PixelFormat::Bgr8 => (Depth::U8, 3),
            PixelFormat::Bgra8 => (Depth::U8, 4),
            PixelFormat::Matrix(matrix) => (matrix.depth(), matrix.channels()),
            _ => return None,
        };
        Some(Header {
            width: layout.width().try_into().ok()?,
            height: layout.height().try_into().ok()?,
            kind: depth as i32 | (i32::from(channels) - 1) << 3,
        })
    }

    /// The frame that it announces; `None` when that makes no sense or is larger than `area_bytes`.
    pub fn layout(self, area_bytes: usize) -> Option<Layout> {
        let width = u32::try_from(self.width).ok()?;
        let height = u32::try_from(self.height).ok()?;
        let kind = usize::try_from(self.kind).ok().filter(|&kind| kind < 1 << 12)?;
        let (depth, channels) = (Depth::ALL[kind & 7], (kind >> 3) as u16 + 1);
        let format = match (depth, channels) {
            (Depth::U8, 1) => PixelFormat::Gray8,
            (Depth::U16, 1) => PixelFormat::Gray16,
            (Depth::U8, 3) => PixelFormat::Bgr8,
            (Depth::U8, 4) => PixelFormat::Bgra8,
            _ => PixelFormat::Matrix(MatrixType::new(depth, channels).ok()?),
        };
        let layout = Layout::packed(format, width, height).ok()?;
        (layout.size_bytes() <= area_bytes.checked_sub(HEADER_BYTES)?).then_some(layout)
    }

    /// As it lies in memory, in this machine's order of bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (to, value) in bytes.chunks_exact_mut(4).zip([self.width, self.height, self.kind]) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// From what lies in memory.
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

    #[test]
    fn types_have_opencvs_numbers() {
        let kind = |format| Header::of(&Layout::packed(format, 2, 2).unwrap()).map(|header| header.kind);
        assert_eq!(kind(PixelFormat::Bgr8), Some(16));
        assert_eq!(kind(PixelFormat::Gray8), Some(0));
        assert_eq!(kind(PixelFormat::Gray16), Some(2));
        assert_eq!(kind(PixelFormat::Bgra8), Some(24));
        assert_eq!(kind(PixelFormat::Matrix(MatrixType::new(Depth::F64, 1).unwrap())), Some(6));
        assert_eq!(kind(PixelFormat::Matrix(MatrixType::new(Depth::F16, 512).unwrap())), Some(7 + 511 * 8));
        assert_eq!(kind(PixelFormat::Rgb8), None);
        assert_eq!(kind(PixelFormat::I420), None);
    }

    proptest! {
        #[test]
        fn any_header_is_a_frame_within_its_area_or_none(width: i32, height: i32, kind: i32, area in 0_usize..1 << 24) {
            if let Some(layout) = (Header { width, height, kind }).layout(area) {
                prop_assert!(layout.size_bytes() + HEADER_BYTES <= area);
                prop_assert_eq!(Header::of(&layout), Some(Header { width, height, kind }));
            }
        }

        #[test]
        fn a_header_comes_back_from_its_bytes(width: i32, height: i32, kind: i32) {
            let header = Header { width, height, kind };
            prop_assert_eq!(Header::from_bytes(header.to_bytes()), header);
        }
    }
}
