//! The header of a YUV4MPEG2 stream, after mjpegtools' `yuv4mpeg(5)` and FFmpeg's `yuv4mpegenc.c`.

use framelane::{Color, ColorRange, Depth, Error, ErrorKind, FrameInfo, Layout, PixelFormat};

/// Before each frame.
pub const FRAME: &[u8] = b"FRAME\n";

/// True for formats that need no conversion.
pub fn holds(format: PixelFormat) -> bool {
    matches!(format, PixelFormat::I420 | PixelFormat::Gray8)
}

/// The layout as one of a video format: matrices of 1, 3 or 4 channels of 8 bits are gray, BGR and BGRA, as
/// OpenCV has them, and one channel of 16 bits is gray.
///
/// # Errors
/// [`ErrorKind::InvalidFrame`] for matrices without a meaning as a picture.
pub fn as_video(layout: &Layout) -> Result<Layout, Error> {
    let format = match layout.format() {
        PixelFormat::Matrix(matrix) => match (matrix.depth(), matrix.channels()) {
            (Depth::U8, 1) => PixelFormat::Gray8,
            (Depth::U8, 3) => PixelFormat::Bgr8,
            (Depth::U8, 4) => PixelFormat::Bgra8,
            (Depth::U16, 1) => PixelFormat::Gray16,
            _ => return Err(no_picture(layout.format())),
        },
        PixelFormat::Detections => return Err(no_picture(layout.format())),
        format => format,
    };
    Layout::with_planes(format, layout.width(), layout.height(), layout.planes(), layout.size_bytes())
}

/// The layout of the stream for frames of this layout, and what describes its frames.
///
/// # Errors
/// As for [`as_video`].
pub fn target(layout: &Layout, info: &FrameInfo) -> Result<(Layout, FrameInfo), Error> {
    let from = as_video(layout)?.format();
    let (format, range) = match from {
        PixelFormat::Gray8 => (from, info.color.range),
        PixelFormat::Gray16 => (PixelFormat::Gray8, ColorRange::Full),
        PixelFormat::Bgr8 | PixelFormat::Rgb8 | PixelFormat::Bgra8 | PixelFormat::Rgba8 => {
            (PixelFormat::I420, ColorRange::Limited)
        }
        _ => (PixelFormat::I420, info.color.range),
    };
    let info = info.clone().with_color(Color { range, ..info.color });
    Ok((Layout::packed(format, layout.width(), layout.height())?, info))
}

fn no_picture(format: PixelFormat) -> Error {
    Error::new(
        ErrorKind::InvalidFrame,
        format!("cannot write y4m: expected a video format, or 1, 3 or 4 channels of 8 bits, found {format}"),
    )
    .with_hint("use --stdout raw")
}

/// The first line of the stream. `fps` takes precedence over the duration of the frame.
pub fn header(layout: &Layout, info: &FrameInfo, fps: Option<f64>) -> Result<String, Error> {
    let colors = match layout.format() {
        PixelFormat::I420 => "420",
        PixelFormat::Gray8 => "mono",
        other => {
            return Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("y4m holds i420 and gray8, the channel's frames are {other}"),
            )
            .with_hint("use --stdout raw"));
        }
    };
    let range = match info.color.range {
        ColorRange::Limited => " XCOLORRANGE=LIMITED",
        ColorRange::Full => " XCOLORRANGE=FULL",
        ColorRange::Unspecified => "",
    };
    let of_duration = || info.duration_ns.filter(|ns| *ns > 0).map(|ns| 1e9 / ns as f64);
    let (numerator, denominator) = ratio(fps.or_else(of_duration).unwrap_or(25.0));
    let (width, height) = (layout.width(), layout.height());
    Ok(format!("YUV4MPEG2 W{width} H{height} F{numerator}:{denominator} Ip A1:1 C{colors}{range}\n"))
}

/// The rate as whole numbers: n:1 or n000:1001 where it is near enough, else in thousandths.
fn ratio(fps: f64) -> (u64, u64) {
    for (denominator, scale) in [(1, 1.0), (1001, 1000.0)] {
        let numerator = fps * denominator as f64;
        let whole = (numerator / scale).round() * scale;
        // A duration in nanoseconds is good for about seven digits.
        if whole > 0.0 && (numerator - whole).abs() / whole < 1e-6 {
            return (whole as u64, denominator);
        }
    }
    ((fps * 1000.0).round().max(1.0) as u64, 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_become_the_fractions_that_video_uses() {
        let of_ns = |ns: u64| ratio(1e9 / ns as f64);
        assert_eq!(of_ns(40_000_000), (25, 1));
        assert_eq!(of_ns(33_333_333), (30, 1));
        assert_eq!(of_ns(33_366_666), (30_000, 1001));
        assert_eq!(of_ns(16_683_333), (60_000, 1001));
        assert_eq!(ratio(12.5), (12_500, 1000));
        assert_eq!(ratio(0.0001), (1, 1000));
    }

    #[test]
    fn the_range_is_told_and_other_formats_are_refused() {
        let info = FrameInfo::default()
            .with_duration_ns(40_000_000)
            .with_color(framelane::Color { range: ColorRange::Full, ..Default::default() });
        let i420 = Layout::packed(PixelFormat::I420, 6, 4).unwrap();
        assert_eq!(
            header(&i420, &info, None).unwrap(),
            "YUV4MPEG2 W6 H4 F25:1 Ip A1:1 C420 XCOLORRANGE=FULL\n"
        );
        let gray = Layout::packed(PixelFormat::Gray8, 6, 4).unwrap();
        let header_of_gray = header(&gray, &FrameInfo::default(), Some(50.0)).unwrap();
        assert_eq!(header_of_gray, "YUV4MPEG2 W6 H4 F50:1 Ip A1:1 Cmono\n");
        let bgr = Layout::packed(PixelFormat::Bgr8, 6, 4).unwrap();
        assert!(header(&bgr, &info, None).unwrap_err().hint().unwrap().contains("--stdout raw"));
    }
}
