//! One conversion of a frame, with memory that is kept from frame to frame.

use framelane::{Color, ColorRange, Error, Layout, PixelFormat};

/// Converts and scales, with the feature `video`.
#[derive(Default)]
pub(crate) struct Stage {
    #[cfg(feature = "video")]
    converter: Option<framelane_video::Converter>,
    #[cfg(feature = "video")]
    buffer: Vec<u8>,
}

impl Stage {
    /// Returns the frame with the layout `to`. Both layouts are of video formats.
    #[cfg(feature = "video")]
    pub(crate) fn run(
        &mut self,
        (from, color, bytes): (&Layout, Color, &[u8]),
        to: &Layout,
    ) -> Result<&[u8], Error> {
        let converter = match &mut self.converter {
            Some(converter) => converter,
            none => none.insert(framelane_video::Converter::new()?),
        };
        self.buffer.resize(to.size_bytes(), 0);
        converter.convert((from, color, bytes), to, &mut self.buffer)?;
        Ok(&self.buffer)
    }

    /// Nothing here can convert.
    #[cfg(not(feature = "video"))]
    pub(crate) fn run(&mut self, (from, ..): (&Layout, Color, &[u8]), to: &Layout) -> Result<&[u8], Error> {
        Err(without_video(&format!("converting {} to {}", from.format(), to.format())))
    }
}

/// The colour of a frame after a conversion within RGB, within YUV or to gray, which has full range.
pub(crate) fn color_after(color: Color, to: PixelFormat) -> Color {
    match to {
        PixelFormat::Gray8 | PixelFormat::Gray16 => Color { range: ColorRange::Full, ..color },
        _ => color,
    }
}

#[cfg(not(feature = "video"))]
pub(crate) fn without_video(what: &str) -> Error {
    Error::new(
        framelane::ErrorKind::InvalidOption,
        format!("{what} needs FFmpeg, without which this program was built"),
    )
    .with_hint("build framelane-codec with its feature `video`, or use raw, lz4 or jpeg without a size")
}
