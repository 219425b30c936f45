//! Metadata of a frame in addition to its layout, and its id.

use std::ffi::{CString, c_char};

use framelane::{Color, ColorRange, Error, ErrorKind, FrameId, FrameInfo};

use crate::boundary::{c_text, reserved, text};
use crate::options::{SizedStruct, read_sized};

/// A frame without a position in its media.
pub const FRAMELANE_NO_PTS: i64 = i64::MIN;
/// A frame without a duration.
pub const FRAMELANE_NO_DURATION: u64 = u64::MAX;
/// Unspecified colour.
pub const FRAMELANE_COLOR_UNSPECIFIED: u8 = 2;
/// Unspecified range of samples.
pub const FRAMELANE_RANGE_UNSPECIFIED: u8 = 0;
/// 16 to 235 for 8-bit luminance.
pub const FRAMELANE_RANGE_LIMITED: u8 = 1;
/// 0 to 255 for 8 bits.
pub const FRAMELANE_RANGE_FULL: u8 = 2;

/// Times, colour and rotation of a frame. Initialise it with `FRAMELANE_INFO_INIT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_info {
    /// sizeof(framelane_info).
    pub size: usize,
    /// Capture time in nanoseconds since 1970; 0: the time of publication.
    pub timestamp_ns: u64,
    /// Position in the media, in nanoseconds; FRAMELANE_NO_PTS: none.
    pub pts_ns: i64,
    /// Duration of the frame in nanoseconds. FRAMELANE_NO_DURATION: unspecified.
    pub duration_ns: u64,
    /// MatrixCoefficients of ITU-T H.273; 2: unspecified.
    pub matrix: u8,
    /// ColourPrimaries of ITU-T H.273; 2: unspecified.
    pub primaries: u8,
    /// TransferCharacteristics of ITU-T H.273; 2: unspecified.
    pub transfer: u8,
    /// FRAMELANE_RANGE_ of the samples.
    pub range: u8,
    /// Clockwise rotation that a viewer still has to apply: 0, 90, 180 or 270.
    pub rotation_degrees: u16,
    /// 1 if the frame was coded without reference to others, else 0.
    pub keyframe: u8,
    /// 0.
    pub reserved: u8,
}

// SAFETY: numbers only; the size comes first.
unsafe impl SizedStruct for framelane_info {}

impl framelane_info {
    pub(crate) fn of(info: &FrameInfo) -> Self {
        let Color { matrix, primaries, transfer, range } = info.color;
        framelane_info {
            size: size_of::<Self>(),
            timestamp_ns: info.timestamp_ns.unwrap_or(0),
            pts_ns: info.pts_ns.unwrap_or(FRAMELANE_NO_PTS),
            duration_ns: info.duration_ns.unwrap_or(FRAMELANE_NO_DURATION),
            matrix,
            primaries,
            transfer,
            range: range as u8,
            rotation_degrees: info.rotation_degrees,
            keyframe: u8::from(info.keyframe),
            reserved: 0,
        }
    }

    /// The metadata from the caller. NULL: unspecified.
    pub(crate) fn read(info: *const framelane_info) -> Result<FrameInfo, Error> {
        let Some(info) = read_sized(info, "info")? else {
            return Ok(FrameInfo::default());
        };
        let wrong =
            |what: String| Err(Error::new(ErrorKind::InvalidOption, format!("info: expected {what}")));
        reserved(info.reserved.into(), "reserved of the info")?;
        let range = match info.range {
            FRAMELANE_RANGE_UNSPECIFIED => ColorRange::Unspecified,
            FRAMELANE_RANGE_LIMITED => ColorRange::Limited,
            FRAMELANE_RANGE_FULL => ColorRange::Full,
            other => return wrong(format!("a FRAMELANE_RANGE_ code, found {other}")),
        };
        if ![0, 90, 180, 270].contains(&info.rotation_degrees) {
            return wrong(format!(
                "a rotation of 0, 90, 180 or 270 degrees, found {}",
                info.rotation_degrees
            ));
        }
        if info.keyframe > 1 {
            return wrong(format!("keyframe to be 0 or 1, found {}", info.keyframe));
        }
        Ok(FrameInfo::default()
            .with_timestamp_ns((info.timestamp_ns != 0).then_some(info.timestamp_ns))
            .with_pts_ns((info.pts_ns != FRAMELANE_NO_PTS).then_some(info.pts_ns))
            .with_duration_ns((info.duration_ns != FRAMELANE_NO_DURATION).then_some(info.duration_ns))
            .with_color(Color {
                matrix: info.matrix,
                primaries: info.primaries,
                transfer: info.transfer,
                range,
            })
            .with_rotation_degrees(info.rotation_degrees)
            .with_keyframe(info.keyframe == 1))
    }
}

/// Id of a frame, which a detector sends back with its boxes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_frame_id {
    /// The frame's channel. From framelane, it is valid as long as the frame or batch that returned it.
    pub channel: *const c_char,
    /// Epoch of the frame's publisher.
    pub epoch: u64,
    /// Sequence of the frame at its publisher.
    pub sequence: u64,
    /// Its capture time in nanoseconds since 1970.
    pub timestamp_ns: u64,
    /// Publication time, on CLOCK_MONOTONIC.
    pub published_ns: u64,
    /// Pixels in a row of the frame.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

impl framelane_frame_id {
    pub(crate) fn of(id: &FrameId, channel: *const c_char) -> Self {
        framelane_frame_id {
            channel,
            epoch: id.epoch,
            sequence: id.sequence,
            timestamp_ns: id.timestamp_ns,
            published_ns: id.published_ns,
            width: id.width,
            height: id.height,
        }
    }

    pub(crate) fn read(&self) -> Result<FrameId, Error> {
        Ok(FrameId::new(text(self.channel, "channel of the frame")?, (self.epoch, self.sequence))
            .with_times_ns(self.timestamp_ns, self.published_ns)
            .with_size(self.width, self.height))
    }
}

/// A frame's number with its channel's name in a form for C.
pub(crate) struct OwnedId {
    channel: CString,
    id: framelane_frame_id,
}

impl OwnedId {
    pub(crate) fn new(id: &FrameId) -> Self {
        let channel = c_text(&id.channel);
        // The text lies on the heap: moving the CString does not move it.
        let id = framelane_frame_id::of(id, channel.as_ptr());
        OwnedId { channel, id }
    }

    pub(crate) fn get(&self) -> &framelane_frame_id {
        debug_assert_eq!(self.id.channel, self.channel.as_ptr());
        &self.id
    }
}
