//! Private copies of frames, and their conversion.

use framelane::{Color, Error, ErrorKind, Frame, Layout, PixelFormat, Plane};
use framelane_video::Converter;

use crate::geometry::Rect;
use crate::samples;

/// The pixels of a frame, without padding. Outlives the lease.
#[derive(Default)]
pub(crate) struct Image {
    layout: Option<Layout>,
    color: Color,
    /// With room for reads of whole vectors.
    bytes: Vec<u8>,
}

impl Image {
    /// Copies a frame. Uses the memory of the previous one again.
    ///
    /// # Errors
    /// For frames without pixels, such as detections.
    pub(crate) fn copy(&mut self, frame: &Frame) -> Result<(), Error> {
        self.copy_of(frame.layout(), frame.info().color, frame.bytes())
    }

    fn copy_of(&mut self, from: &Layout, color: Color, bytes: &[u8]) -> Result<(), Error> {
        self.layout = None;
        self.bytes.clear();
        let (format, is_matrix) = shown_format(from.format())?;
        let layout = Layout::packed(format, from.width(), from.height())?;
        self.bytes.reserve(layout.size_bytes() + Converter::SLACK_BYTES);
        for (index, plane) in from.planes().iter().enumerate() {
            let (rows, row_bytes) = from.format().plane_shape(index, from.width(), from.height());
            let rows = (0..rows as usize).map(|row| {
                let start = plane.offset_bytes + row * plane.stride_bytes;
                &bytes[start..start + row_bytes]
            });
            match from.format() {
                PixelFormat::Matrix(matrix) => {
                    let (channels, keep) = (usize::from(matrix.channels()), row_bytes_of(format));
                    rows.for_each(|row| {
                        samples::append_row(matrix.depth(), row, channels, keep, &mut self.bytes);
                    });
                }
                _ => rows.for_each(|row| self.bytes.extend_from_slice(row)),
            }
        }
        self.bytes.resize(layout.size_bytes() + Converter::SLACK_BYTES, 0);
        self.color = if is_matrix { Color::default() } else { color };
        self.layout = Some(layout);
        Ok(())
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.layout.as_ref().map_or((0, 0), |layout| (layout.width(), layout.height()))
    }

    /// Returns the memory that it uses.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Writes a part, scaled to `width` by `height`, to `out`. The part must start at even pixels.
    ///
    /// # Errors
    /// If swscale does not support the sizes.
    pub(crate) fn convert(
        &self,
        converter: &mut Converter,
        part: Rect,
        to: &Layout,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let Some(layout) = &self.layout else { return Ok(()) };
        let planes: Vec<_> = layout
            .planes()
            .iter()
            .enumerate()
            .map(|(index, plane)| {
                let (rows, row_bytes) = layout.format().plane_shape(index, part.x, part.y);
                let offset_bytes = plane.offset_bytes + rows as usize * plane.stride_bytes + row_bytes;
                Plane { offset_bytes, ..*plane }
            })
            .collect();
        let from =
            Layout::with_planes(layout.format(), part.width, part.height, &planes, layout.size_bytes())?;
        converter.convert((&from, self.color, &self.bytes), to, out)
    }
}

/// The video format in which a format is shown, and whether it is a matrix.
fn shown_format(format: PixelFormat) -> Result<(PixelFormat, bool), Error> {
    match format {
        PixelFormat::Matrix(matrix) => Ok((
            match matrix.channels() {
                3 => PixelFormat::Bgr8,
                4 => PixelFormat::Bgra8,
                // The first channel of others.
                _ => PixelFormat::Gray8,
            },
            true,
        )),
        format if PixelFormat::VIDEO.contains(&format) => Ok((format, false)),
        format => Err(Error::new(ErrorKind::InvalidFrame, format!("expected pictures, found {format}"))),
    }
}

/// Bytes of one pixel of gray8, bgr8 or bgra8.
fn row_bytes_of(format: PixelFormat) -> usize {
    format.plane_shape(0, 1, 1).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(image: &Image, part: Rect, format: PixelFormat, size: (u32, u32)) -> Vec<u8> {
        let to = Layout::packed(format, size.0, size.1).unwrap();
        let mut out = vec![0; to.size_bytes()];
        image.convert(&mut Converter::bilinear().unwrap(), part, &to, &mut out).unwrap();
        out
    }

    #[test]
    fn every_format_and_size_is_converted() {
        let matrices = ["u8", "s8", "u16", "s16", "s32", "f32", "f64", "f16"]
            .iter()
            .flat_map(|depth| [1, 2, 3, 4, 7].map(|channels| format!("matrix:{depth}:{channels}")))
            .map(|name| name.parse::<PixelFormat>().unwrap());
        let mut image = Image::default();
        for format in PixelFormat::VIDEO.iter().copied().chain(matrices) {
            for (width, height) in [(1, 1), (33, 17), (200, 3)] {
                let layout = Layout::packed(format, width, height).unwrap();
                image.copy_of(&layout, Color::default(), &vec![0; layout.size_bytes()]).unwrap();
                let whole = Rect::new(0, 0, width, height);
                converted(&image, whole, PixelFormat::Bgra8, (40, 30));
                let corner = Rect::new((width - 1) & !1, (height - 1) & !1, 1, 1);
                converted(&image, corner, PixelFormat::Rgb8, (5, 5));
            }
        }
    }

    #[test]
    fn part_of_a_frame_is_cut_at_the_pixel() {
        let layout = Layout::packed(PixelFormat::Bgr8, 8, 6).unwrap();
        let mut bytes = vec![0; layout.size_bytes()];
        bytes[(2 * 8 + 4) * 3..][..3].copy_from_slice(&[10, 20, 200]);
        let mut image = Image::default();
        image.copy_of(&layout, Color::default(), &bytes).unwrap();
        assert_eq!(converted(&image, Rect::new(4, 2, 1, 1), PixelFormat::Rgb8, (1, 1)), [200, 20, 10]);
        let whole = converted(&image, Rect::new(0, 0, 8, 6), PixelFormat::Bgr8, (8, 6));
        assert_eq!(whole, bytes);
    }

    #[test]
    fn detections_are_no_pictures() {
        let layout = Layout::packed(PixelFormat::Detections, 8, 1).unwrap();
        let error = Image::default().copy_of(&layout, Color::default(), &[0; 8]).unwrap_err();
        assert!(error.message().starts_with("expected pictures, found"), "{error}");
    }
}
