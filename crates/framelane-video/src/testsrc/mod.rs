//! A moving pattern with the frame number and a clock; needs no FFmpeg input.
//!
//! Frame *n* is the same bytes in every run. Eight colour bars, a grey ramp below them, a white bar that
//! crosses the picture once in 120 frames, and in a dark box the frame's number (from 1) and the media time.

mod font;
mod paint;

use framelane::{Error, ErrorKind, FrameInfo, Layout, PixelFormat};

use crate::emit::{Emitter, Next};
use crate::options::SourceOptions;
use crate::progress::SourceInfo;
use crate::sink::Sink;
use paint::{Ink, Rect};

const DEFAULT_SIZE: (u32, u32) = (1280, 720);
const DEFAULT_FPS: f64 = 30.0;
/// Frames in which the white bar crosses the picture.
const CROSSING: u64 = 120;

/// The bars, from left to right, as red, green, blue.
const BARS: [[u8; 3]; 8] = [
    [191, 191, 191],
    [191, 191, 0],
    [0, 191, 191],
    [0, 191, 0],
    [191, 0, 191],
    [191, 0, 0],
    [0, 0, 191],
    [24, 24, 24],
];
const WHITE: [u8; 3] = [255, 255, 255];
const DARK: [u8; 3] = [16, 16, 16];

/// The test source.
pub(crate) struct TestSource {
    layout: Layout,
    fps: f64,
    /// Everything that does not move, drawn once.
    background: Vec<u8>,
}

/// Returns true if `source` names the test source.
pub(crate) fn is_testsrc(source: &str) -> bool {
    source == "testsrc" || source.starts_with("testsrc=")
}

impl TestSource {
    pub(crate) fn open(options: &SourceOptions, source: &str) -> Result<(Self, SourceInfo), Error> {
        let (size, fps) = parse(source)?;
        let (width, height) = options.size.or(size).unwrap_or(DEFAULT_SIZE);
        let format = options.format.unwrap_or(PixelFormat::Bgr8);
        let layout = Layout::packed(format, width, height)?;
        let mut background = vec![0; layout.size_bytes()];
        draw_background(&layout, &mut background);
        let info = SourceInfo {
            source: source.to_owned(),
            container: "testsrc".to_owned(),
            codec: "testsrc".to_owned(),
            pixel_format: format.name().into_owned(),
            width,
            height,
            output_format: format,
            output_size: (width, height),
            fps: Some(fps),
            duration: None,
            frames: None,
            color: paint::color(format),
            rotation_degrees: 0,
            mirrored: false,
            odd_rotation_degrees: None,
            seekable: true,
            live: false,
        };
        Ok((TestSource { layout, fps, background }, info))
    }

    /// Draws until the emitter has enough.
    pub(crate) fn run(&mut self, sink: &mut dyn Sink, emitter: &mut Emitter<'_>) -> Result<(), Error> {
        for index in 0.. {
            let pts_ns = (index as f64 * 1e9 / self.fps) as i64;
            let info = FrameInfo::default()
                .with_pts_ns(pts_ns)
                .with_duration_ns((1e9 / self.fps) as u64)
                .with_color(paint::color(self.layout.format()))
                .with_keyframe(true);
            let next = emitter.emit(sink, &self.layout, &info, &mut |bytes| {
                self.draw(index, pts_ns, bytes);
                Ok(true)
            })?;
            if next != Next::Continue {
                break;
            }
        }
        Ok(())
    }

    fn draw(&self, index: u64, pts_ns: i64, bytes: &mut [u8]) {
        let bytes = &mut bytes[..self.background.len()];
        bytes.copy_from_slice(&self.background);
        let (width, height) = (self.layout.width(), self.layout.height());
        let format = self.layout.format();
        let bar = (width / 40).max(2);
        let x = (index % CROSSING * u64::from(width) / CROSSING) as u32;
        paint::fill(&self.layout, bytes, Rect { x, y: 0, width: bar, height }, &Ink::new(WHITE, format));
        let lines = [format!("{}", index + 1), clock(pts_ns)];
        // A digit is 5 dots wide and 7 high; the longer line takes at most half the width.
        let dot = (width / 2 / (13 * 6)).min(height / 4 / 18).max(1);
        let longest = lines.iter().map(String::len).max().unwrap_or(0) as u32;
        let box_at = Rect { x: dot * 4, y: dot * 4, width: (longest * 6 + 3) * dot, height: 21 * dot };
        paint::fill(&self.layout, bytes, box_at, &Ink::new(DARK, format));
        let ink = Ink::new(WHITE, format);
        for (row, line) in lines.iter().enumerate() {
            for (column, letter) in line.chars().enumerate() {
                let (left, top) =
                    (box_at.x + (2 + column as u32 * 6) * dot, box_at.y + (2 + row as u32 * 10) * dot);
                for (x, y) in font::dots(letter) {
                    let at = Rect { x: left + x * dot, y: top + y * dot, width: dot, height: dot };
                    paint::fill(&self.layout, bytes, at, &ink);
                }
            }
        }
    }
}

fn draw_background(layout: &Layout, bytes: &mut [u8]) {
    let (width, height) = (layout.width(), layout.height());
    let bars_height = height * 3 / 4;
    for (index, bar) in BARS.iter().enumerate() {
        let [left, right] = [index as u32, index as u32 + 1].map(|edge| edge * width / BARS.len() as u32);
        let at = Rect { x: left, y: 0, width: right - left, height: bars_height };
        paint::fill(layout, bytes, at, &Ink::new(*bar, layout.format()));
    }
    for step in 0..32_u32 {
        let [left, right] = [step, step + 1].map(|edge| edge * width / 32);
        let at = Rect { x: left, y: bars_height, width: right - left, height: height - bars_height };
        let level = (step * 255 / 31) as u8;
        paint::fill(layout, bytes, at, &Ink::new([level; 3], layout.format()));
    }
}

/// Hours, minutes, seconds, milliseconds.
fn clock(pts_ns: i64) -> String {
    let ms = pts_ns / 1_000_000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// `testsrc`, `testsrc=WIDTHxHEIGHT`, `testsrc=WIDTHxHEIGHT@FPS` or `testsrc=@FPS`.
pub(crate) fn parse(source: &str) -> Result<(Option<(u32, u32)>, f64), Error> {
    let Some(arguments) = source.strip_prefix("testsrc=") else { return Ok((None, DEFAULT_FPS)) };
    let wrong = || {
        Error::new(
            ErrorKind::InvalidOption,
            format!("expected testsrc, testsrc=WIDTHxHEIGHT or testsrc=WIDTHxHEIGHT@FPS, found {source:?}"),
        )
    };
    let (size, fps) = match arguments.split_once('@') {
        None => (arguments, DEFAULT_FPS),
        Some((size, fps)) => {
            let fps = fps.parse().ok().filter(|fps: &f64| fps.is_finite() && *fps > 0.0 && *fps <= 1e6);
            (size, fps.ok_or_else(wrong)?)
        }
    };
    if size.is_empty() && arguments.starts_with('@') {
        return Ok((None, fps));
    }
    let (width, height) = size.split_once('x').ok_or_else(wrong)?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=32768).contains(side)).ok_or_else(wrong);
    Ok((Some((side(width)?, side(height)?)), fps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_rate_are_parsed() {
        assert_eq!(parse("testsrc").unwrap(), (None, 30.0));
        assert_eq!(parse("testsrc=64x48").unwrap(), (Some((64, 48)), 30.0));
        assert_eq!(parse("testsrc=64x48@59.94").unwrap(), (Some((64, 48)), 59.94));
        assert_eq!(parse("testsrc=@5").unwrap(), (None, 5.0));
        for wrong in
            ["testsrc=", "testsrc=x", "testsrc=0x5", "testsrc=5x5@0", "testsrc=5x5@x", "testsrc=99999x1"]
        {
            assert_eq!(parse(wrong).unwrap_err().kind(), ErrorKind::InvalidOption, "{wrong}");
        }
    }

    #[test]
    fn the_clock_shows_hours_to_milliseconds() {
        assert_eq!(clock(3_723_004_000_000), "01:02:03.004");
    }
}
