//! Frames of any format and size to JPEG, with the right colours.

use framelane::{Color, Error, Layout, PixelFormat};
use framelane_codec::jpeg::Compressor;
use framelane_video::Converter;

use super::Size;

/// Scales and encodes frames for one picture size, with memory that is kept from frame to frame.
pub(super) struct PictureEncoder {
    longest: u32,
    quality: u8,
    converter: Converter,
    compressor: Compressor,
    pixels: Vec<u8>,
}

impl PictureEncoder {
    pub(super) fn new(size: Size) -> Result<Self, Error> {
        let (longest, quality) = size.settings();
        Ok(PictureEncoder {
            longest,
            quality,
            converter: Converter::new()?,
            compressor: Compressor::new()?,
            pixels: Vec::new(),
        })
    }

    /// Encodes a frame into `jpeg`.
    ///
    /// # Errors
    /// For frames that are no pictures, such as matrices of floats.
    pub(super) fn encode(
        &mut self,
        layout: &Layout,
        color: Color,
        bytes: &[u8],
        jpeg: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let is_matrix = matches!(layout.format(), PixelFormat::Matrix(_));
        let color = if is_matrix { Color::default() } else { color };
        let video = framelane_codec::as_video(layout, "a picture")?;
        let (width, height) = fit(layout.width(), layout.height(), self.longest);
        // YUV becomes RGB first: a JPEG always means BT.601 of full range.
        let format = match video.format() {
            PixelFormat::Gray8 | PixelFormat::Gray16 => PixelFormat::Gray8,
            _ => PixelFormat::Bgr8,
        };
        let is_direct = matches!(
            video.format(),
            PixelFormat::Gray8
                | PixelFormat::Bgr8
                | PixelFormat::Rgb8
                | PixelFormat::Bgra8
                | PixelFormat::Rgba8
        );
        if is_direct && (width, height) == (layout.width(), layout.height()) {
            return self.compressor.encode(&video, bytes, self.quality, jpeg);
        }
        let to = Layout::packed(format, width, height)?;
        self.pixels.resize(to.size_bytes(), 0);
        self.converter.convert((&video, color, bytes), &to, &mut self.pixels)?;
        self.compressor.encode(&to, &self.pixels, self.quality, jpeg)
    }
}

/// The size within a square, with the aspect kept. Never larger than the frame.
fn fit(width: u32, height: u32, longest: u32) -> (u32, u32) {
    let side = width.max(height);
    if side <= longest {
        return (width, height);
    }
    let scaled = |pixels: u32| {
        let exact = u64::from(pixels) * u64::from(longest);
        u32::try_from((exact + u64::from(side) / 2) / u64::from(side)).unwrap_or(longest).max(1)
    };
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_fitted_with_its_aspect_kept() {
        assert_eq!(fit(1920, 1080, 480), (480, 270));
        assert_eq!(fit(1080, 1920, 480), (270, 480));
        assert_eq!(fit(320, 240, 480), (320, 240));
        assert_eq!(fit(60_000, 1, 480), (480, 1));
    }

    #[test]
    fn every_video_format_becomes_a_picture() {
        let mut encoder = PictureEncoder::new(Size::Tile).unwrap();
        for &format in PixelFormat::VIDEO {
            for (width, height) in [(1, 1), (33, 17), (640, 400)] {
                let layout = Layout::packed(format, width, height).unwrap();
                let mut jpeg = Vec::new();
                let bytes = vec![100; layout.size_bytes()];
                encoder.encode(&layout, Color::default(), &bytes, &mut jpeg).unwrap();
                let header = framelane_codec::jpeg::header(&jpeg).unwrap();
                assert_eq!((header.width, header.height), fit(width, height, 480), "{format}");
            }
        }
    }

    #[test]
    fn matrix_of_floats_is_refused() {
        let format: PixelFormat = "matrix:f32:1".parse().unwrap();
        let layout = Layout::packed(format, 4, 4).unwrap();
        let mut encoder = PictureEncoder::new(Size::Full).unwrap();
        let bytes = vec![0; layout.size_bytes()];
        let error = encoder.encode(&layout, Color::default(), &bytes, &mut Vec::new()).unwrap_err();
        assert!(error.message().contains("matrix:f32"), "{error}");
    }
}
