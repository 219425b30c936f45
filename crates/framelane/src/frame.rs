//! Descriptor of a frame: its layout in memory, colour and times.

use crate::color::Color;
use crate::error::{Error, ErrorKind};
use crate::format::PixelFormat;

/// The largest payload of one frame: 4 GiB.
pub const MAX_FRAME_BYTES: usize = 1 << 32;

/// The most planes a frame has.
pub(crate) const MAX_PLANES: usize = 4;

/// Position of one plane within the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plane {
    /// Bytes from the start of the payload to the first sample.
    pub offset_bytes: usize,
    /// Bytes from the start of one row to the start of the next.
    pub stride_bytes: usize,
}

/// Size, format and planes of a frame; checked when it is built.
///
/// ```
/// use framelane::{Layout, PixelFormat};
/// let layout = Layout::packed(PixelFormat::I420, 640, 480)?;
/// assert_eq!(layout.size_bytes(), 640 * 480 * 3 / 2);
/// assert_eq!(layout.planes()[2].offset_bytes, 640 * 480 * 5 / 4);
/// # Ok::<(), framelane::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    format: PixelFormat,
    width: u32,
    height: u32,
    planes: [Plane; MAX_PLANES],
    size_bytes: usize,
}

impl Layout {
    /// Returns a layout with rows without padding, and planes without gaps.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidFrame`] when a side is 0; [`ErrorKind::FrameTooLarge`] above [`MAX_FRAME_BYTES`].
    pub fn packed(format: PixelFormat, width: u32, height: u32) -> Result<Self, Error> {
        let mut planes = [Plane::default(); MAX_PLANES];
        let mut offset_bytes = 0_usize;
        for (index, plane) in planes.iter_mut().enumerate().take(format.plane_count()) {
            let (rows, stride_bytes) = format.plane_shape(index, width, height);
            *plane = Plane { offset_bytes, stride_bytes };
            offset_bytes = offset_bytes.saturating_add(stride_bytes.saturating_mul(rows as usize));
        }
        Self::check(format, width, height, planes, offset_bytes)
    }

    /// Planes wherever they lie within `size_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidFrame`] when the number of planes is not the format's, a stride is shorter than
    /// a row, or a plane ends behind `size_bytes`; [`ErrorKind::FrameTooLarge`] above [`MAX_FRAME_BYTES`].
    pub fn with_planes(
        format: PixelFormat,
        width: u32,
        height: u32,
        planes: &[Plane],
        size_bytes: usize,
    ) -> Result<Self, Error> {
        if planes.len() != format.plane_count() {
            return Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("{format} has {} planes, found {}", format.plane_count(), planes.len()),
            ));
        }
        let mut all = [Plane::default(); MAX_PLANES];
        all[..planes.len()].copy_from_slice(planes);
        Self::check(format, width, height, all, size_bytes)
    }

    fn check(
        format: PixelFormat,
        width: u32,
        height: u32,
        planes: [Plane; MAX_PLANES],
        size_bytes: usize,
    ) -> Result<Self, Error> {
        if width == 0 || height == 0 {
            return Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("a frame has at least one pixel, found {width}x{height}"),
            ));
        }
        if size_bytes > MAX_FRAME_BYTES {
            return Err(Error::new(
                ErrorKind::FrameTooLarge,
                format!(
                    "a frame has at most {MAX_FRAME_BYTES} bytes, {width}x{height} {format} needs \
                     {size_bytes}"
                ),
            )
            .with_hint("send a smaller picture, or in tiles on several channels"));
        }
        for (index, plane) in planes.iter().enumerate().take(format.plane_count()) {
            let (rows, row_bytes) = format.plane_shape(index, width, height);
            let end = plane
                .stride_bytes
                .checked_mul(rows as usize - 1)
                .and_then(|last_row| last_row.checked_add(row_bytes))
                .and_then(|len| len.checked_add(plane.offset_bytes));
            if plane.stride_bytes < row_bytes || end.is_none_or(|end| end > size_bytes) {
                return Err(Error::new(
                    ErrorKind::InvalidFrame,
                    format!(
                        "plane {index} of {width}x{height} {format} needs {rows} rows of {row_bytes} bytes within \
                         {size_bytes}, found offset {} and stride {}",
                        plane.offset_bytes, plane.stride_bytes
                    ),
                ));
            }
        }
        Ok(Layout { format, width, height, planes, size_bytes })
    }

    /// The pixel format.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The planes, as many as the format has.
    pub fn planes(&self) -> &[Plane] {
        &self.planes[..self.format.plane_count()]
    }

    /// Bytes of the whole payload, padding included.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Returns true if rows have no padding and planes follow each other without a gap.
    pub fn is_packed(&self) -> bool {
        Self::packed(self.format, self.width, self.height).is_ok_and(|packed| packed == *self)
    }

    /// The bytes of a plane, from its first sample to its last, as a range of the payload.
    pub(crate) fn plane_range(&self, plane: usize) -> std::ops::Range<usize> {
        let Some(&Plane { offset_bytes, stride_bytes }) = self.planes().get(plane) else {
            return 0..0;
        };
        let (rows, row_bytes) = self.format.plane_shape(plane, self.width, self.height);
        offset_bytes..offset_bytes + stride_bytes * (rows as usize - 1) + row_bytes
    }
}

/// Names a frame as its publisher does. Links keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The life of its first publisher.
    pub epoch: u64,
    /// Its number there, from 1.
    pub sequence: u64,
}

/// Metadata that a publisher passes with a frame, in addition to its layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// Capture time in nanoseconds since 1970 (`CLOCK_REALTIME`); `None`: the time of publication.
    pub timestamp_ns: Option<u64>,
    /// Position in the media, in nanoseconds.
    pub pts_ns: Option<i64>,
    /// Duration of the frame, in nanoseconds.
    pub duration_ns: Option<u64>,
    /// Colour space and range.
    pub color: Color,
    /// Clockwise rotation that a viewer still has to apply: 0, 90, 180 or 270.
    pub rotation_degrees: u16,
    /// True if the frame was coded without reference to others.
    pub keyframe: bool,
    /// First publication of the frame, if it came over a link; `None` for a frame of this channel.
    pub origin: Option<Origin>,
}

impl FrameInfo {
    /// Sets the capture time in nanoseconds since 1970.
    #[must_use]
    pub fn with_timestamp_ns(mut self, timestamp_ns: impl Into<Option<u64>>) -> Self {
        self.timestamp_ns = timestamp_ns.into();
        self
    }

    /// Sets the position in the media, in nanoseconds.
    #[must_use]
    pub fn with_pts_ns(mut self, pts_ns: impl Into<Option<i64>>) -> Self {
        self.pts_ns = pts_ns.into();
        self
    }

    /// Sets the duration in nanoseconds.
    #[must_use]
    pub fn with_duration_ns(mut self, duration_ns: impl Into<Option<u64>>) -> Self {
        self.duration_ns = duration_ns.into();
        self
    }

    /// Sets colour space and range.
    #[must_use]
    pub fn with_color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }

    /// Sets the clockwise rotation that a viewer still has to apply: 0, 90, 180 or 270.
    #[must_use]
    pub fn with_rotation_degrees(mut self, rotation_degrees: u16) -> Self {
        self.rotation_degrees = rotation_degrees;
        self
    }

    /// Sets the mark of a frame that was coded without reference to others.
    #[must_use]
    pub fn with_keyframe(mut self, keyframe: bool) -> Self {
        self.keyframe = keyframe;
        self
    }

    /// Sets the first publication of a frame that a link has received.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<Option<Origin>>) -> Self {
        self.origin = origin.into();
        self
    }
}

/// Names a frame: what a detector sends back with its boxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FrameId {
    /// The frame's channel.
    pub channel: String,
    /// The life of the frame's publisher.
    pub epoch: u64,
    /// The frame's number as its publisher counts.
    pub sequence: u64,
    /// Its capture time in nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// When it was published, on `CLOCK_MONOTONIC`.
    pub published_ns: u64,
    /// Pixels in a row of the frame in which the boxes were found.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

impl FrameId {
    /// Makes the id of a frame without times and size.
    pub fn new(channel: impl Into<String>, origin: impl Into<Origin>) -> Self {
        let Origin { epoch, sequence } = origin.into();
        FrameId { channel: channel.into(), epoch, sequence, ..FrameId::default() }
    }

    /// Sets the capture time in nanoseconds since 1970, and the time of publication on `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn with_times_ns(mut self, timestamp_ns: u64, published_ns: u64) -> Self {
        (self.timestamp_ns, self.published_ns) = (timestamp_ns, published_ns);
        self
    }

    /// Sets the size of the frame in pixels.
    #[must_use]
    pub fn with_size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }
}

impl From<&FrameId> for Origin {
    fn from(id: &FrameId) -> Self {
        Origin { epoch: id.epoch, sequence: id.sequence }
    }
}

impl From<FrameId> for Origin {
    fn from(id: FrameId) -> Self {
        Self::from(&id)
    }
}

/// Epoch and sequence: [`Publisher::epoch`](crate::Publisher::epoch), and what `send` or `publish` returned.
impl From<(u64, u64)> for Origin {
    fn from((epoch, sequence): (u64, u64)) -> Self {
        Origin { epoch, sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_planes_follow_each_other() {
        let layout = Layout::packed(PixelFormat::Nv12, 6, 4).unwrap();
        assert_eq!(layout.planes()[1], Plane { offset_bytes: 24, stride_bytes: 6 });
        assert_eq!(layout.size_bytes(), 36);
        assert!(layout.is_packed());
        assert_eq!(layout.plane_range(1), 24..36);
    }

    #[test]
    fn a_plane_behind_the_end_is_refused() {
        let planes = [Plane { offset_bytes: 1, stride_bytes: 8 }];
        assert!(Layout::with_planes(PixelFormat::Gray8, 8, 2, &planes, 17).is_ok());
        let error = Layout::with_planes(PixelFormat::Gray8, 8, 2, &planes, 16).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFrame);
    }

    #[test]
    fn strides_that_overflow_are_refused() {
        let planes = [Plane { offset_bytes: usize::MAX, stride_bytes: usize::MAX }];
        assert!(Layout::with_planes(PixelFormat::Gray8, 8, 2, &planes, 100).is_err());
    }

    #[test]
    fn empty_and_giant_frames_are_refused() {
        assert_eq!(Layout::packed(PixelFormat::Bgr8, 0, 5).unwrap_err().kind(), ErrorKind::InvalidFrame);
        let giant = Layout::packed(PixelFormat::Bgra8, 1 << 20, 1 << 20).unwrap_err();
        assert_eq!(giant.kind(), ErrorKind::FrameTooLarge);
    }
}
