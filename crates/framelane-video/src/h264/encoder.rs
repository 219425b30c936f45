//! Frames to packets of H.264.

use std::fmt;

use framelane::{Color, ColorRange, Error, ErrorKind, Layout, PixelFormat};

use super::check_sides;
use crate::convert::Converter;
use crate::ffmpeg::encoder::{self, Encoder};

/// Encodes frames as H.264, for live links: each frame is a packet at once.
///
/// Packets are in annex B's form and never need a header sent apart: each keyframe brings the parameters with
/// it. The first frame, each after a change of size or colour, and one in 300 is a keyframe; so is whichever
/// is asked to be.
pub struct H264Encoder {
    bits_per_second: u64,
    open: Option<(Key, Encoder)>,
    converter: Converter,
    rate: Rate,
    wants_keyframe: bool,
}

/// Properties for which an encoder is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    width: u32,
    height: u32,
    color: Color,
}

impl H264Encoder {
    /// Opens nothing yet: the first frame has the size. The bit rate holds for the average of about two
    /// frames.
    ///
    /// # Errors
    /// [`InvalidOption`](ErrorKind::InvalidOption) when this FFmpeg has no libx264.
    pub fn new(bits_per_second: u64) -> Result<Self, Error> {
        encoder::find()?;
        Ok(H264Encoder {
            bits_per_second,
            open: None,
            converter: Converter::new()?,
            rate: Rate::default(),
            wants_keyframe: false,
        })
    }

    /// Makes the next packet a keyframe.
    pub fn request_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// Replaces the content of `out` by the packet of a frame. Returns whether it is a keyframe.
    ///
    /// Copies or converts the frame once. i420 and gray8 keep their samples; other formats are converted to
    /// i420. Alpha is lost. `timestamp_ns` is the capture time: the number of frames a second decides the
    /// bits of each.
    ///
    /// # Errors
    /// [`InvalidFrame`](ErrorKind::InvalidFrame) for frames that are no video or too short, and what FFmpeg
    /// reports.
    pub fn encode(
        &mut self,
        (layout, color, bytes): (&Layout, Color, &[u8]),
        timestamp_ns: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        out.clear();
        let bytes = bytes.get(..layout.size_bytes()).ok_or_else(|| {
            Error::new(ErrorKind::InvalidFrame, "the frame has fewer bytes than its layout requires")
        })?;
        check_sides(layout)?;
        let key = Key {
            width: layout.width().next_multiple_of(2),
            height: layout.height().next_multiple_of(2),
            color: stream_color(color, layout.format()),
        };
        let (encoder, new) = match &mut self.open {
            Some((open, encoder)) if *open == key => (encoder, false),
            open => {
                *open = None;
                self.rate = Rate::default();
                let encoder = Encoder::open(key.width, key.height, key.color, self.bits_per_second)?;
                (&mut open.insert((key, encoder)).1, true)
            }
        };
        if let Some(pictures_per_second) = self.rate.change(timestamp_ns) {
            encoder.set_rate(self.bits_per_second, pictures_per_second);
        }
        let (target_layout, target) = encoder.picture()?;
        fill(&mut self.converter, (layout, color, bytes), target_layout, target)?;
        let keyframe = encoder.encode(self.wants_keyframe || new, out);
        match keyframe {
            Ok(keyframe) => self.wants_keyframe &= !keyframe,
            // An encoder that failed once is not asked again.
            Err(_) => self.open = None,
        }
        keyframe
    }
}

impl fmt::Debug for H264Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H264Encoder").field("bits_per_second", &self.bits_per_second).finish_non_exhaustive()
    }
}

/// Writes a frame into an i420 picture that is as large, or larger by the column or row that makes its sides
/// even.
fn fill(
    converter: &mut Converter,
    (layout, color, bytes): (&Layout, Color, &[u8]),
    target_layout: &Layout,
    target: &mut [u8],
) -> Result<(), Error> {
    let (width, height) = (layout.width(), layout.height());
    let (planes, size_bytes) = (target_layout.planes(), target_layout.size_bytes());
    match layout.format() {
        PixelFormat::I420 => {
            for plane in 0..3 {
                copy_plane(layout, bytes, target_layout, target, plane);
            }
        }
        PixelFormat::Gray8 | PixelFormat::Gray16 => {
            let view = Layout::with_planes(PixelFormat::Gray8, width, height, &planes[..1], size_bytes)?;
            if layout.format() == PixelFormat::Gray8 {
                copy_plane(layout, bytes, &view, target, 0);
            } else {
                converter.convert((layout, color, bytes), &view, target)?;
            }
            target[planes[1].offset_bytes..].fill(128);
        }
        _ => {
            let view = Layout::with_planes(PixelFormat::I420, width, height, planes, size_bytes)?;
            converter.convert((layout, color, bytes), &view, target)?;
        }
    }
    // The last column and row once more: a sharp edge there would cost bits.
    let (width, height, stride) = (width as usize, height as usize, planes[0].stride_bytes);
    if width % 2 == 1 {
        for row in target.chunks_mut(stride).take(height) {
            row[width] = row[width - 1];
        }
    }
    if height % 2 == 1 {
        let last = (height - 1) * stride;
        target.copy_within(last..last + stride, last + stride);
    }
    Ok(())
}

fn copy_plane(from: &Layout, bytes: &[u8], to: &Layout, target: &mut [u8], plane: usize) {
    let (rows, row_bytes) = from.format().plane_shape(plane, from.width(), from.height());
    let (from, to) = (from.planes()[plane], to.planes()[plane]);
    for row in 0..rows as usize {
        let source = from.offset_bytes + row * from.stride_bytes;
        let place = to.offset_bytes + row * to.stride_bytes;
        target[place..place + row_bytes].copy_from_slice(&bytes[source..source + row_bytes]);
    }
}

/// The colour of the i420 pictures that are encoded; the decoder needs it to give the source's format again.
fn stream_color(color: Color, source: PixelFormat) -> Color {
    match source {
        // As the converter makes them: limited range, and BT.601 where the frame names no matrix.
        PixelFormat::Bgr8 | PixelFormat::Rgb8 | PixelFormat::Bgra8 | PixelFormat::Rgba8 => {
            let matrix = if matches!(color.matrix, 1..=7 | 9 | 10) && color.matrix != 2 && color.matrix != 3 {
                color.matrix
            } else {
                5
            };
            Color { matrix, range: ColorRange::Limited, ..color }
        }
        PixelFormat::Gray16 => Color { range: ColorRange::Full, ..color },
        _ => color,
    }
}

/// Number of frames in a second, by their times.
#[derive(Default)]
struct Rate {
    last_ns: Option<u64>,
    interval_ns: Option<f64>,
    /// The rate that was returned last.
    told: Option<f64>,
}

impl Rate {
    /// Returns the rate if it differs from the last returned one by a quarter or more.
    fn change(&mut self, timestamp_ns: Option<u64>) -> Option<f64> {
        let now_ns = timestamp_ns?;
        let last_ns = self.last_ns.replace(now_ns)?;
        // A pause does not change the rate, nor do times that stand still.
        let interval_ns =
            now_ns.checked_sub(last_ns).filter(|ns| (1_000_000..1_000_000_000).contains(ns))? as f64;
        let smooth = self.interval_ns.map_or(interval_ns, |before| before + (interval_ns - before) / 16.0);
        self.interval_ns = Some(smooth);
        let rate = 1e9 / smooth;
        let told = self.told.unwrap_or(30.0);
        if (rate / told - 1.0).abs() < 0.25 {
            return None;
        }
        self.told = Some(rate);
        Some(rate)
    }
}
