//! Boxes found in a frame, sent back on a separate channel.

mod answer;
mod codec;
mod receive;
mod send;

use crate::error::Error;
use crate::frame::FrameId;

pub use receive::{DetectionSubscriber, MatchError};
pub use send::DetectionPublisher;

/// Properties of a box other than its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectionFlags(pub u32);

impl DetectionFlags {
    /// The tracker has lost the object; the box is where it was last.
    pub const LOST: DetectionFlags = DetectionFlags(1);
    /// The box was predicted, not seen.
    pub const PREDICTED: DetectionFlags = DetectionFlags(2);

    /// Returns true if all bits of `other` are set.
    pub fn contains(self, other: DetectionFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for DetectionFlags {
    type Output = DetectionFlags;

    fn bitor(self, other: DetectionFlags) -> DetectionFlags {
        DetectionFlags(self.0 | other.0)
    }
}

/// One object found in a frame. The meaning follows ROS `vision_msgs/Detection2D`, except that the box has
/// its corner, not its centre.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detection {
    /// Left edge in pixels; 0 is the left edge of the frame.
    pub x: f32,
    /// Upper edge in pixels; 0 is the upper edge of the frame.
    pub y: f32,
    /// Width in pixels.
    pub width: f32,
    /// Height in pixels.
    pub height: f32,
    /// Clockwise rotation of the box about its centre, in radians.
    pub rotation: f32,
    /// The detector's confidence, usually 0 to 1.
    pub score: f32,
    /// Index into the labels.
    pub class_id: u32,
    /// Number of the object in the tracker; 0: not tracked.
    pub track_id: u64,
    /// Lost, predicted.
    pub flags: DetectionFlags,
}

/// All objects found in one frame. May be empty.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Detections {
    /// The frame.
    pub frame: FrameId,
    /// Name of the model that found the boxes.
    pub model: String,
    /// Names of the classes; `class_id` is an index into them.
    pub labels: Vec<String>,
    /// The objects.
    pub boxes: Vec<Detection>,
    /// Sequence of the batch on the detections channel.
    pub sequence: u64,
    /// Publication time of the batch, on `CLOCK_MONOTONIC`.
    pub published_ns: u64,
    /// Batches that this subscriber missed just before this one.
    pub dropped: u64,
}

impl Detections {
    /// Nanoseconds from the publication of the frame to the publication of its detections.
    pub fn latency_ns(&self) -> u64 {
        self.published_ns.saturating_sub(self.frame.published_ns)
    }

    /// The label of a box, if its class has one.
    pub fn label(&self, detection: &Detection) -> Option<&str> {
        self.labels.get(detection.class_id as usize).map(String::as_str)
    }

    /// Writes the batch as specified in `spec/detections.md`, and replaces the content of `bytes`.
    ///
    /// Sequence, publication time and drops are not part of it: the channel carries them.
    ///
    /// # Errors
    /// [`FrameTooLarge`](crate::ErrorKind::FrameTooLarge) for more than 2²⁴ boxes or labels, or more than 1
    /// MiB in one text.
    pub fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        codec::encode(&self.frame, &self.model, &self.labels, &self.boxes, bytes)
    }

    /// Reads a batch; the three fields that the channel carries are 0.
    ///
    /// # Errors
    /// [`Damaged`](crate::ErrorKind::Damaged) when the bytes are not a batch,
    /// [`IncompatibleVersion`](crate::ErrorKind::IncompatibleVersion) when their major version differs.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        codec::decode(bytes)
    }
}
