//! Rectangles of one colour, in every video format.

use framelane::{Color, ColorRange, Layout, PixelFormat};

/// Pixels from the top left corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A colour as the bytes of one sample group of each plane.
pub(super) struct Ink {
    /// For each plane the bytes that are repeated, and how many of them there are.
    planes: [([u8; 4], usize); 3],
}

/// Returns the colour of the samples: BT.709, limited range for YUV, full range for RGB and luminance alone.
pub(super) fn color(format: PixelFormat) -> Color {
    let yuv = matches!(format, PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::P010 | PixelFormat::Yuyv);
    let gray = matches!(format, PixelFormat::Gray8 | PixelFormat::Gray16);
    Color {
        matrix: if yuv || gray { 1 } else { 0 },
        primaries: 1,
        transfer: 1,
        range: if yuv { ColorRange::Limited } else { ColorRange::Full },
    }
}

impl Ink {
    pub(super) fn new(rgb: [u8; 3], format: PixelFormat) -> Self {
        let [r, g, b] = rgb;
        // ITU-R BT.709: luminance from 0 to 1, chroma from -0.5 to 0.5.
        let [rf, gf, bf] = rgb.map(|level| f64::from(level) / 255.0);
        let luminance = 0.2126 * rf + 0.7152 * gf + 0.0722 * bf;
        let y = (16.0 + 219.0 * luminance).round() as u8;
        let u = (128.0 + 224.0 * (bf - luminance) / 1.8556).round() as u8;
        let v = (128.0 + 224.0 * (rf - luminance) / 1.5748).round() as u8;
        let gray = (luminance * 255.0).round() as u8;
        let gray16 = ((luminance * 65535.0).round() as u16).to_le_bytes();
        const NONE: ([u8; 4], usize) = ([0; 4], 1);
        let planes = match format {
            PixelFormat::Gray16 => [([gray16[0], gray16[1], 0, 0], 2), NONE, NONE],
            PixelFormat::Bgr8 => [([b, g, r, 0], 3), NONE, NONE],
            PixelFormat::Rgb8 => [([r, g, b, 0], 3), NONE, NONE],
            PixelFormat::Bgra8 => [([b, g, r, 255], 4), NONE, NONE],
            PixelFormat::Rgba8 => [([r, g, b, 255], 4), NONE, NONE],
            PixelFormat::I420 => [([y, 0, 0, 0], 1), ([u, 0, 0, 0], 1), ([v, 0, 0, 0], 1)],
            PixelFormat::Nv12 => [([y, 0, 0, 0], 1), ([u, v, 0, 0], 2), NONE],
            PixelFormat::Yuyv => [([y, u, y, v], 4), NONE, NONE],
            // Ten bits in the upper part of sixteen: an 8-bit level is the upper byte.
            PixelFormat::P010 => [([0, y, 0, 0], 2), ([0, u, 0, v], 4), NONE],
            _ => [([gray, 0, 0, 0], 1), NONE, NONE],
        };
        Ink { planes }
    }
}

/// Fills a rectangle, cut to the picture; chroma covers the whole groups that the rectangle touches.
pub(super) fn fill(layout: &Layout, bytes: &mut [u8], rect: Rect, ink: &Ink) {
    let right = (rect.x + rect.width).min(layout.width()) as usize;
    let bottom = (rect.y + rect.height).min(layout.height()) as usize;
    let (left, top) = (rect.x as usize, rect.y as usize);
    if left >= right || top >= bottom {
        return;
    }
    for (index, plane) in layout.planes().iter().enumerate() {
        let halved_rows = index > 0;
        let halved_columns = index > 0 || layout.format() == PixelFormat::Yuyv;
        let (first, last) = if halved_columns { (left / 2, right.div_ceil(2)) } else { (left, right) };
        let (first_row, last_row) = if halved_rows { (top / 2, bottom.div_ceil(2)) } else { (top, bottom) };
        let (ref pattern, length) = ink.planes[index];
        for row in first_row..last_row {
            let at = plane.offset_bytes + row * plane.stride_bytes;
            let row = &mut bytes[at + first * length..at + last * length];
            if length == 1 {
                row.fill(pattern[0]);
            } else {
                row.chunks_exact_mut(length).for_each(|group| group.copy_from_slice(&pattern[..length]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_filled_to_its_last_sample() {
        for &format in PixelFormat::VIDEO {
            let layout = Layout::packed(format, 7, 5).unwrap();
            let mut bytes = vec![7; layout.size_bytes()];
            let whole = Rect { x: 0, y: 0, width: 100, height: 100 };
            fill(&layout, &mut bytes, whole, &Ink::new([255, 255, 255], format));
            let expected: &[u8] = match format {
                PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuyv => &[235, 128],
                PixelFormat::P010 => &[0, 235, 128],
                _ => &[255],
            };
            assert!(bytes.iter().all(|byte| expected.contains(byte)), "{format}");
        }
    }

    #[test]
    fn a_rectangle_outside_the_picture_changes_nothing() {
        let layout = Layout::packed(PixelFormat::I420, 8, 8).unwrap();
        let mut bytes = vec![7; layout.size_bytes()];
        let outside = Rect { x: 8, y: 0, width: 4, height: 4 };
        fill(&layout, &mut bytes, outside, &Ink::new([0, 0, 0], PixelFormat::I420));
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
}
