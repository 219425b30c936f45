//! An encoded picture with its boxes, ready to be sent.

use axum::body::Bytes;
use framelane::{Detections, Frame, Origin};
use serde::Serialize;

use super::Size;

/// Most boxes that a picture carries. `total` counts the others too.
const MAX_BOXES: usize = 1000;

/// A picture, shared by all viewers.
///
/// The message is the length of its head (`u32`, little-endian), the head in JSON, and the JPEG.
pub(crate) struct Picture {
    pub(crate) origin: Origin,
    message: Bytes,
    jpeg_at: usize,
}

/// Facts of a frame that outlive its lease.
#[derive(Clone, Debug)]
pub(crate) struct FrameFacts {
    pub(crate) origin: Origin,
    pub(crate) timestamp_ns: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[derive(Serialize)]
struct Head<'p> {
    channel: &'p str,
    size: Size,
    /// In digits: JavaScript has no integers of 64 bits.
    epoch: String,
    sequence: u64,
    /// Size of the frame, to which boxes refer unless they state another one.
    width: u32,
    height: u32,
    /// Capture time, on `CLOCK_REALTIME`.
    timestamp_ns: u64,
    boxes: Option<Boxes<'p>>,
}

#[derive(Serialize)]
struct Boxes<'p> {
    epoch: String,
    /// Sequence of the frame in which they were found.
    sequence: u64,
    /// True if that is the frame of the picture.
    matched: bool,
    width: u32,
    height: u32,
    model: &'p str,
    latency_ns: u64,
    /// Number of boxes found, of which `items` has the first 1,000.
    total: usize,
    items: Vec<Item<'p>>,
}

#[derive(Serialize)]
struct Item<'p> {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    rotation: f32,
    score: f32,
    class_id: u32,
    label: Option<&'p str>,
    track_id: u64,
    lost: bool,
}

impl FrameFacts {
    pub(crate) fn of(frame: &Frame) -> Self {
        FrameFacts {
            origin: frame.origin(),
            timestamp_ns: frame.timestamp_ns(),
            width: frame.width(),
            height: frame.height(),
        }
    }
}

impl Picture {
    pub(crate) fn new(
        channel: &str,
        size: Size,
        frame: &FrameFacts,
        boxes: Option<&Detections>,
        jpeg: &[u8],
    ) -> Self {
        let head = Head {
            channel,
            size,
            epoch: frame.origin.epoch.to_string(),
            sequence: frame.origin.sequence,
            width: frame.width,
            height: frame.height,
            timestamp_ns: frame.timestamp_ns,
            boxes: boxes.map(|batch| Boxes::of(batch, frame)),
        };
        let head = serde_json::to_vec(&head).expect("the head has string keys only");
        let length = u32::try_from(head.len()).expect("the number of boxes is limited");
        let jpeg_at = size_of::<u32>() + head.len();
        let mut message = Vec::with_capacity(jpeg_at + jpeg.len());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&head);
        message.extend_from_slice(jpeg);
        Picture { origin: frame.origin, message: message.into(), jpeg_at }
    }

    /// The message for a page. Cloning shares its bytes.
    pub(crate) fn message(&self) -> Bytes {
        self.message.clone()
    }

    /// The JPEG alone. Shares the bytes of the message.
    pub(crate) fn jpeg(&self) -> Bytes {
        self.message.slice(self.jpeg_at..)
    }
}

impl<'p> Boxes<'p> {
    fn of(batch: &'p Detections, frame: &FrameFacts) -> Self {
        let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
        let item = |found: &framelane::Detection| Item {
            x: finite(found.x),
            y: finite(found.y),
            width: finite(found.width),
            height: finite(found.height),
            rotation: finite(found.rotation),
            score: finite(found.score),
            class_id: found.class_id,
            label: batch.labels.get(found.class_id as usize).map(String::as_str),
            track_id: found.track_id,
            lost: found.flags.contains(framelane::DetectionFlags::LOST),
        };
        Boxes {
            epoch: batch.frame.epoch.to_string(),
            sequence: batch.frame.sequence,
            matched: Origin::from(&batch.frame) == frame.origin,
            width: batch.frame.width,
            height: batch.frame.height,
            model: &batch.model,
            latency_ns: batch.latency_ns(),
            total: batch.boxes.len(),
            items: batch.boxes.iter().take(MAX_BOXES).map(item).collect(),
        }
    }
}
