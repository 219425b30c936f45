//! A frame's descriptor, in its slot's entry and out of it.

use crate::color::{Color, ColorRange};
use crate::error::{Error, ErrorKind};
use crate::format::PixelFormat;
use crate::frame::{FrameInfo, Layout, MAX_PLANES, Origin, Plane};
use crate::ring::{Entry, Ordering::Relaxed};

const NO_PTS: i64 = i64::MIN;
const NO_DURATION: u64 = u64::MAX;
const KEYFRAME: u32 = 1 << 16;

/// Writes the descriptor of a slot that is ours.
pub(crate) fn write(
    entry: &Entry,
    layout: &Layout,
    info: &FrameInfo,
    epoch: u64,
    (timestamp_ns, published_ns): (u64, u64),
) {
    entry.epoch.store(epoch, Relaxed);
    entry.size_bytes.store(layout.size_bytes() as u64, Relaxed);
    entry.format.store(layout.format().code(), Relaxed);
    entry.width.store(layout.width(), Relaxed);
    entry.height.store(layout.height(), Relaxed);
    entry.plane_count.store(layout.planes().len() as u32, Relaxed);
    for (words, plane) in entry.planes.iter().zip(layout.planes()) {
        words[0].store(plane.offset_bytes as u64, Relaxed);
        words[1].store(plane.stride_bytes as u64, Relaxed);
    }
    entry.timestamp_ns.store(timestamp_ns, Relaxed);
    entry.published_ns.store(published_ns, Relaxed);
    entry.pts_ns.store(info.pts_ns.unwrap_or(NO_PTS) as u64, Relaxed);
    entry.duration_ns.store(info.duration_ns.unwrap_or(NO_DURATION), Relaxed);
    let Color { matrix, primaries, transfer, range } = info.color;
    entry.color.store(u32::from_le_bytes([matrix, primaries, transfer, range as u8]), Relaxed);
    let keyframe = if info.keyframe { KEYFRAME } else { 0 };
    entry.flags.store(u32::from(info.rotation_degrees) | keyframe, Relaxed);
    let Origin { epoch, sequence } = info.origin.unwrap_or_default();
    entry.origin_epoch.store(epoch, Relaxed);
    entry.origin_sequence.store(sequence, Relaxed);
}

/// Description of a frame, as a reader gets it.
pub(crate) struct Descriptor {
    pub layout: Layout,
    pub info: FrameInfo,
    pub published_ns: u64,
    /// The epoch of its publisher; 0: that of the file.
    pub epoch: u64,
}

/// Copies a descriptor out and checks it. The result always lies within a slot of `slot_bytes`.
pub(crate) fn read(entry: &Entry, slot_bytes: usize) -> Result<Descriptor, Error> {
    let damaged = |what: String| {
        Error::new(ErrorKind::Damaged, format!("the descriptor of a frame is damaged: {what}"))
            .with_hint("restart the channel's publisher")
    };
    let code = entry.format.load(Relaxed);
    let format = PixelFormat::from_code(code).ok_or_else(|| damaged(format!("unknown format {code:#x}")))?;
    let size_bytes = usize::try_from(entry.size_bytes.load(Relaxed)).unwrap_or(usize::MAX);
    if size_bytes > slot_bytes {
        return Err(damaged(format!("{size_bytes} bytes in a slot of {slot_bytes}")));
    }
    let mut planes = [Plane::default(); MAX_PLANES];
    for (plane, words) in planes.iter_mut().zip(&entry.planes) {
        *plane = Plane {
            offset_bytes: usize::try_from(words[0].load(Relaxed)).unwrap_or(usize::MAX),
            stride_bytes: usize::try_from(words[1].load(Relaxed)).unwrap_or(usize::MAX),
        };
    }
    let count = format.plane_count();
    let (width, height) = (entry.width.load(Relaxed), entry.height.load(Relaxed));
    let layout = Layout::with_planes(format, width, height, &planes[..count], size_bytes)
        .map_err(|error| damaged(error.message().to_owned()))?;
    let [matrix, primaries, transfer, range] = entry.color.load(Relaxed).to_le_bytes();
    let range = ColorRange::from_code(range).unwrap_or_default();
    let flags = entry.flags.load(Relaxed);
    let pts_ns = entry.pts_ns.load(Relaxed) as i64;
    let duration_ns = entry.duration_ns.load(Relaxed);
    let origin =
        Origin { epoch: entry.origin_epoch.load(Relaxed), sequence: entry.origin_sequence.load(Relaxed) };
    Ok(Descriptor {
        layout,
        info: FrameInfo {
            timestamp_ns: Some(entry.timestamp_ns.load(Relaxed)),
            pts_ns: (pts_ns != NO_PTS).then_some(pts_ns),
            duration_ns: (duration_ns != NO_DURATION).then_some(duration_ns),
            color: Color { matrix, primaries, transfer, range },
            rotation_degrees: flags as u16,
            keyframe: flags & KEYFRAME != 0,
            origin: (origin.sequence != 0).then_some(origin),
        },
        published_ns: entry.published_ns.load(Relaxed),
        epoch: entry.epoch.load(Relaxed),
    })
}
