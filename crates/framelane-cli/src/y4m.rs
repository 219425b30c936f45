//! The header of a YUV4MPEG2 stream, after mjpegtools' `yuv4mpeg(5)` and FFmpeg's `yuv4mpegenc.c`.

use framelane::{ColorRange, Error, ErrorKind, FrameInfo, Layout, PixelFormat};

/// Before each frame.
pub const FRAME: &[u8] = b"FRAME\n";

/// The first line of the stream. `fps` goes before what the frame says of its duration.
pub fn header(layout: &Layout, info: &FrameInfo, fps: Option<f64>) -> Result<String, Error> {
    let colors = match layout.format() {
        PixelFormat::I420 => "420",
        PixelFormat::Gray8 => "mono",
        other => {
            return Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("y4m holds i420 and gray8, the channel's frames are {other}"),
            )
            .with_remedy("use --stdout raw, or publish with --format i420"));
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
        let info = FrameInfo {
            duration_ns: Some(40_000_000),
            color: framelane::Color { range: ColorRange::Full, ..Default::default() },
            ..FrameInfo::default()
        };
        let i420 = Layout::packed(PixelFormat::I420, 6, 4).unwrap();
        assert_eq!(
            header(&i420, &info, None).unwrap(),
            "YUV4MPEG2 W6 H4 F25:1 Ip A1:1 C420 XCOLORRANGE=FULL\n"
        );
        let gray = Layout::packed(PixelFormat::Gray8, 6, 4).unwrap();
        let header_of_gray = header(&gray, &FrameInfo::default(), Some(50.0)).unwrap();
        assert_eq!(header_of_gray, "YUV4MPEG2 W6 H4 F50:1 Ip A1:1 Cmono\n");
        let bgr = Layout::packed(PixelFormat::Bgr8, 6, 4).unwrap();
        assert!(header(&bgr, &info, None).unwrap_err().remedy().unwrap().contains("--stdout raw"));
    }
}
