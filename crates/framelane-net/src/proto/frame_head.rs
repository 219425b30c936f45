//! The head of a frame message.

use framelane::{Color, ColorRange, Error, FrameInfo, Layout, Origin, PixelFormat, Plane};

use super::violation;
use super::wire::Reader;

const NO_PTS: i64 = i64::MIN;
const NO_DURATION: u64 = u64::MAX;
const NO_TIMESTAMP: u64 = u64::MAX;
const KEYFRAME: u32 = 1 << 16;
/// The payload can be decoded without those before it.
const STANDALONE: u32 = 1 << 17;
/// The payload is coded as both sides have agreed; else it is the frame's bytes.
const CODED: u32 = 1 << 18;
const PLANES: usize = 4;

/// A frame's description: the layout is that of the decoded frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FrameHead {
    pub origin: Origin,
    pub layout: Layout,
    /// Without the origin. Times are on the source's clocks.
    pub info: FrameInfo,
    pub standalone: bool,
    pub coded: bool,
    /// `CLOCK_REALTIME` and `CLOCK_MONOTONIC` of the sending.
    pub sent_ns: u64,
    pub sent_monotonic_ns: u64,
}

impl FrameHead {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let (layout, info) = (&self.layout, &self.info);
        for word in [
            self.origin.epoch,
            self.origin.sequence,
            info.timestamp_ns.unwrap_or(NO_TIMESTAMP),
            info.pts_ns.unwrap_or(NO_PTS).cast_unsigned(),
            info.duration_ns.unwrap_or(NO_DURATION),
            self.sent_ns,
            self.sent_monotonic_ns,
            layout.size_bytes() as u64,
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let Color { matrix, primaries, transfer, range } = info.color;
        bytes.extend_from_slice(&[matrix, primaries, transfer, range as u8]);
        let keyframe = if info.keyframe { KEYFRAME } else { 0 };
        let standalone = if self.standalone { STANDALONE } else { 0 };
        let coded = if self.coded { CODED } else { 0 };
        let flags = u32::from(info.rotation_degrees) | keyframe | standalone | coded;
        for word in
            [flags, layout.format().code(), layout.width(), layout.height(), layout.planes().len() as u32]
        {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for plane in 0..PLANES {
            let plane = layout.planes().get(plane).copied().unwrap_or_default();
            bytes.extend_from_slice(&(plane.offset_bytes as u64).to_le_bytes());
            bytes.extend_from_slice(&(plane.stride_bytes as u64).to_le_bytes());
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let origin = Origin { epoch: reader.u64(), sequence: reader.u64() };
        let timestamp_ns = reader.u64();
        let pts_ns = reader.u64().cast_signed();
        let duration_ns = reader.u64();
        let (sent_ns, sent_monotonic_ns) = (reader.u64(), reader.u64());
        let size_bytes = usize::try_from(reader.u64()).unwrap_or(usize::MAX);
        let [matrix, primaries, transfer, range] = reader.u32().to_le_bytes();
        let flags = reader.u32();
        let code = reader.u32();
        let (width, height, plane_count) = (reader.u32(), reader.u32(), reader.u32() as usize);
        let mut planes = [Plane::default(); PLANES];
        for plane in &mut planes {
            *plane = Plane {
                offset_bytes: usize::try_from(reader.u64()).unwrap_or(usize::MAX),
                stride_bytes: usize::try_from(reader.u64()).unwrap_or(usize::MAX),
            };
        }
        let format = PixelFormat::from_code(code)
            .ok_or_else(|| violation(format_args!("a frame of unknown format {code:#x}")))?;
        let planes = planes
            .get(..plane_count)
            .ok_or_else(|| violation(format_args!("a frame of {plane_count} planes")))?;
        let layout = Layout::with_planes(format, width, height, planes, size_bytes)
            .map_err(|error| violation(error.message()))?;
        if origin.sequence == 0 {
            return Err(violation("a frame without a number"));
        }
        let range = match range {
            1 => ColorRange::Limited,
            2 => ColorRange::Full,
            _ => ColorRange::Unspecified,
        };
        let info = FrameInfo::default()
            .with_timestamp_ns((timestamp_ns != NO_TIMESTAMP).then_some(timestamp_ns))
            .with_pts_ns((pts_ns != NO_PTS).then_some(pts_ns))
            .with_duration_ns((duration_ns != NO_DURATION).then_some(duration_ns))
            .with_color(Color { matrix, primaries, transfer, range })
            .with_rotation_degrees(flags as u16)
            .with_keyframe(flags & KEYFRAME != 0);
        let (standalone, coded) = (flags & STANDALONE != 0, flags & CODED != 0);
        Ok(FrameHead { origin, layout, info, standalone, coded, sent_ns, sent_monotonic_ns })
    }
}
