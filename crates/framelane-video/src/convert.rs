//! Frames from one format and size to another.

use std::fmt;

use framelane::{Color, Error, Layout, PixelFormat};

use crate::ffmpeg::picture::{Picture, check_sides};
use crate::ffmpeg::scale::Scaler;

/// Converts and scales frames, as `framelane publish --format --size` does: see the crate's documentation on
/// colour.
pub struct Converter {
    scaler: Scaler,
    /// The frame with room behind it: swscale reads whole vectors, and a leased slot may end where the frame
    /// does.
    padded: Vec<u8>,
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter").finish_non_exhaustive()
    }
}

impl Converter {
    /// Bicubic.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new() -> Result<Self, Error> {
        Ok(Converter { scaler: Scaler::new("bicubic")?, padded: Vec::new() })
    }

    /// Returns a bilinear converter, for pictures that people look at.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn bilinear() -> Result<Self, Error> {
        Ok(Converter { scaler: Scaler::new("bilinear")?, padded: Vec::new() })
    }

    /// Bytes after the frame with which [`Converter::convert`] needs no copy of it.
    pub const SLACK_BYTES: usize = Picture::SLACK;

    /// Converts the frame `bytes` with the layout `from` into `out` with the layout `to`. Copies the frame
    /// once before it converts, unless `bytes` has [`Converter::SLACK_BYTES`] more than `from`.
    ///
    /// # Errors
    /// [`InvalidFrame`](framelane::ErrorKind::InvalidFrame) for formats that are no video, as matrices, and
    /// when `out` or `bytes` are too short.
    pub fn convert(
        &mut self,
        (from, color, bytes): (&Layout, Color, &[u8]),
        to: &Layout,
        out: &mut [u8],
    ) -> Result<(), Error> {
        check_sides(from)?;
        check_sides(to)?;
        if bytes.len() >= from.size_bytes() + Self::SLACK_BYTES && is_readable(from, bytes) {
            return self.scaler.convert(&Picture::of_bytes(from, color, bytes)?, to, out);
        }
        let bytes = bytes.get(..from.size_bytes()).ok_or_else(|| {
            Error::new(
                framelane::ErrorKind::InvalidFrame,
                "the frame has fewer bytes than its layout requires",
            )
        })?;
        self.padded.clear();
        let packed = if from.is_packed() {
            self.padded.extend_from_slice(bytes);
            None
        } else {
            // Row by row: what a foreign publisher leaves between the rows costs no memory, however long it
            // is, and swscale needs 16-bit samples at even places.
            for (index, plane) in from.planes().iter().enumerate() {
                let (rows, row_bytes) = from.format().plane_shape(index, from.width(), from.height());
                let starts = (0..rows as usize).map(|row| plane.offset_bytes + row * plane.stride_bytes);
                starts.for_each(|start| self.padded.extend_from_slice(&bytes[start..start + row_bytes]));
            }
            Some(Layout::packed(from.format(), from.width(), from.height())?)
        };
        self.padded.resize(self.padded.len() + Picture::SLACK, 0);
        let from = packed.as_ref().unwrap_or(from);
        self.scaler.convert(&Picture::of_bytes(from, color, &self.padded)?, to, out)
    }
}

/// Returns whether swscale can read the rows where they are: 16-bit samples at even addresses, and strides
/// that it can express.
fn is_readable(layout: &Layout, bytes: &[u8]) -> bool {
    let is_even = bytes.as_ptr().addr().is_multiple_of(2);
    layout.planes().iter().all(|plane| {
        let are_even = plane.offset_bytes.is_multiple_of(2) && plane.stride_bytes.is_multiple_of(2);
        let has_wide_samples = matches!(layout.format(), PixelFormat::Gray16 | PixelFormat::P010);
        (!has_wide_samples || (is_even && are_even)) && i32::try_from(plane.stride_bytes).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_one_colour_keeps_it_at_any_size_and_order() {
        let from = Layout::packed(PixelFormat::Rgb8, 33, 17).unwrap();
        let to = Layout::packed(PixelFormat::Bgr8, 20, 40).unwrap();
        let bytes: Vec<u8> = [10, 20, 200].repeat(33 * 17);
        let mut out = vec![0; to.size_bytes()];
        Converter::new().unwrap().convert((&from, Color::default(), &bytes), &to, &mut out).unwrap();
        assert!(out.chunks(3).all(|pixel| pixel == [200, 20, 10]), "{:?}", &out[..12]);
    }

    #[test]
    fn rows_of_16_bits_may_start_anywhere() {
        let plane = framelane::Plane { offset_bytes: 1, stride_bytes: 13 };
        let from = Layout::with_planes(PixelFormat::Gray16, 6, 9, &[plane], 118).unwrap();
        let mut bytes = vec![0xFF; 118];
        bytes[1..].chunks_mut(13).for_each(|row| row[..12].copy_from_slice(&[100; 12]));
        let to = Layout::packed(PixelFormat::Gray8, 6, 9).unwrap();
        let mut out = [0; 54];
        Converter::new().unwrap().convert((&from, Color::default(), &bytes), &to, &mut out).unwrap();
        assert!(out.iter().all(|pixel| pixel.abs_diff(100) <= 1), "{out:?}");
    }

    #[test]
    fn strides_beyond_2_gib_are_converted() {
        let plane = framelane::Plane { offset_bytes: 3, stride_bytes: 0x8000_1000 };
        let size_bytes = 3 + 0x8000_1000 + 16;
        let from = Layout::with_planes(PixelFormat::Gray8, 16, 2, &[plane], size_bytes).unwrap();
        // Zero pages that nothing touches take no memory.
        let mut bytes = vec![0; size_bytes];
        bytes[3..19].fill(40);
        bytes[3 + 0x8000_1000..].fill(200);
        let mut converter = Converter::new().unwrap();
        for (format, width, height) in [(PixelFormat::Gray8, 16, 2), (PixelFormat::Bgr8, 8, 6)] {
            let to = Layout::packed(format, width, height).unwrap();
            let mut out = vec![0; to.size_bytes()];
            converter.convert((&from, Color::default(), &bytes), &to, &mut out).unwrap();
            assert!(out[0].abs_diff(40) < 20 && out[out.len() - 1].abs_diff(200) < 20, "{out:?}");
        }
        assert!(converter.padded.capacity() < 1 << 20);
    }

    #[test]
    fn a_frame_that_is_too_short_is_refused() {
        let layout = Layout::packed(PixelFormat::Rgb8, 4, 4).unwrap();
        let mut out = [0; 48];
        let error =
            Converter::new().unwrap().convert((&layout, Color::default(), &[0; 47]), &layout, &mut out);
        assert_eq!(error.unwrap_err().kind(), framelane::ErrorKind::InvalidFrame);
    }

    #[test]
    fn frame_with_slack_is_converted_without_a_copy() {
        let mut converter = Converter::bilinear().unwrap();
        for &format in PixelFormat::VIDEO {
            // The lower right part of a larger frame.
            let whole = Layout::packed(format, 48, 20).unwrap();
            let bytes: Vec<u8> =
                (0..whole.size_bytes() + Converter::SLACK_BYTES).map(|at| (at * 7) as u8).collect();
            let planes: Vec<_> = whole
                .planes()
                .iter()
                .enumerate()
                .map(|(index, plane)| {
                    let (rows, row_bytes) = format.plane_shape(index, 16, 8);
                    let offset_bytes = plane.offset_bytes + rows as usize * plane.stride_bytes + row_bytes;
                    framelane::Plane { offset_bytes, ..*plane }
                })
                .collect();
            let part = Layout::with_planes(format, 32, 12, &planes, whole.size_bytes()).unwrap();
            let to = Layout::packed(PixelFormat::Bgra8, 20, 30).unwrap();
            let [mut direct, mut copied] = [vec![0; to.size_bytes()], vec![0; to.size_bytes()]];
            converter.convert((&part, Color::default(), &bytes), &to, &mut direct).unwrap();
            assert!(converter.padded.is_empty(), "{format}");
            let exact = &bytes[..whole.size_bytes()];
            converter.convert((&part, Color::default(), exact), &to, &mut copied).unwrap();
            assert!(!std::mem::take(&mut converter.padded).is_empty());
            assert!(direct == copied, "{format}");
        }
    }
}
