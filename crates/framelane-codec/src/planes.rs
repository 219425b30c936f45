//! Copies between planes with padding and planes without.

use std::ops::Range;

use framelane::{Depth, Error, ErrorKind, Layout, PixelFormat};

/// The bytes of a plane, from its first sample to its last.
pub(crate) fn range(layout: &Layout, plane: usize) -> Range<usize> {
    let (rows, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
    let plane = layout.planes()[plane];
    plane.offset_bytes..plane.offset_bytes + plane.stride_bytes * (rows as usize - 1) + row_bytes
}

/// Appends the rows of all planes without their padding. `bytes` hold the layout.
pub(crate) fn pack(layout: &Layout, bytes: &[u8], out: &mut Vec<u8>) {
    if layout.is_packed() {
        out.extend_from_slice(&bytes[..layout.size_bytes()]);
        return;
    }
    for plane in 0..layout.planes().len() {
        let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
        // The last row may end before its padding does.
        for row in bytes[range(layout, plane)].chunks(layout.planes()[plane].stride_bytes) {
            out.extend_from_slice(&row[..row_bytes]);
        }
    }
}

/// Number of bytes that [`pack`] writes.
pub(crate) fn packed_bytes(layout: &Layout) -> usize {
    (0..layout.planes().len())
        .map(|plane| {
            let (rows, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
            rows as usize * row_bytes
        })
        .sum()
}

/// The inverse of [`pack`]. `packed` has the length of [`packed_bytes`], `target` holds the layout.
pub(crate) fn unpack(packed: &[u8], layout: &Layout, target: &mut [u8]) {
    if layout.is_packed() {
        target[..packed.len()].copy_from_slice(packed);
        return;
    }
    let mut rest = packed;
    for plane in 0..layout.planes().len() {
        let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
        for row in target[range(layout, plane)].chunks_mut(layout.planes()[plane].stride_bytes) {
            let (source, behind) = rest.split_at(row_bytes);
            row[..row_bytes].copy_from_slice(source);
            rest = behind;
        }
    }
}

/// The video format with the same bytes: matrices of `u8` with 1, 3 or 4 channels are gray8, bgr8 and bgra8.
pub(crate) fn video_format(format: PixelFormat) -> Option<PixelFormat> {
    match format {
        PixelFormat::Matrix(matrix) if matrix.depth() == Depth::U8 => match matrix.channels() {
            1 => Some(PixelFormat::Gray8),
            3 => Some(PixelFormat::Bgr8),
            4 => Some(PixelFormat::Bgra8),
            _ => None,
        },
        format => PixelFormat::VIDEO.contains(&format).then_some(format),
    }
}

/// Returns the same layout with a video format: matrices of `u8` with 1, 3 or 4 channels are gray8, bgr8 and
/// bgra8.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] for other matrices and for detections. `what` names what takes pictures only.
pub fn as_video(layout: &Layout, what: &str) -> Result<Layout, Error> {
    let format = video_format(layout.format()).ok_or_else(|| {
        let names: Vec<_> = PixelFormat::VIDEO.iter().map(|format| format.name()).collect();
        Error::new(
            ErrorKind::InvalidOption,
            format!(
                "{what} takes pictures ({}, matrix:u8 with 1, 3 or 4 channels), found {}",
                names.join(", "),
                layout.format()
            ),
        )
        .with_hint("use lz4 or raw, without a size, for other frames")
    })?;
    Layout::with_planes(format, layout.width(), layout.height(), layout.planes(), layout.size_bytes())
}

#[cfg(test)]
mod tests {
    use framelane::Plane;

    use super::*;

    #[test]
    fn padding_is_left_out_and_comes_back_untouched() {
        let planes = [(2, 7), (30, 5), (50, 4)]
            .map(|(offset_bytes, stride_bytes)| Plane { offset_bytes, stride_bytes });
        let layout = Layout::with_planes(PixelFormat::I420, 5, 3, &planes, 60).unwrap();
        let bytes: Vec<u8> = (0..60).collect();
        let mut packed = Vec::new();
        pack(&layout, &bytes, &mut packed);
        assert_eq!(packed.len(), packed_bytes(&layout));
        assert_eq!(packed[..6], [2, 3, 4, 5, 6, 9]);
        let mut target = vec![99; 60];
        unpack(&packed, &layout, &mut target);
        for (index, byte) in target.iter().enumerate() {
            assert!(*byte == bytes[index] || *byte == 99, "{index}");
        }
        assert_eq!(target.iter().filter(|byte| **byte != 99).count(), packed.len());
    }
}
