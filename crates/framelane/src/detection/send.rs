//! Publishers of detections.

use std::time::Duration;

use super::{Detection, codec};
use crate::error::{Error, ErrorKind};
use crate::format::PixelFormat;
use crate::frame::FrameId;
use crate::frame::{FrameInfo, Layout};
use crate::publisher::{LoanError, Publisher, PublisherOptions};

/// Room for about 300 boxes; larger batches make larger slots.
const SLOT_BYTES: usize = 16 << 10;

/// Publishes detections.
///
/// Send a batch for every frame that was processed, also without boxes, so that subscribers know that nothing
/// was found.
pub struct DetectionPublisher {
    publisher: Publisher,
    labels: Vec<String>,
    model: String,
    /// Kept for its room: a batch allocates nothing once the largest one has been sent.
    bytes: Vec<u8>,
}

impl std::fmt::Debug for DetectionPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DetectionPublisher")
            .field("publisher", &self.publisher)
            .field("labels", &self.labels)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl DetectionPublisher {
    /// Batches that the ring holds by default.
    pub const DEFAULT_SLOTS: usize = 32;

    /// Creates a detections channel of 32 slots, by convention named `CHANNEL/detections`.
    ///
    /// `labels` name the classes, and `model` the detector. Every batch contains both.
    ///
    /// # Errors
    /// The errors of [`PublisherOptions::create`].
    pub fn create(channel: &str, labels: &[&str], model: &str) -> Result<Self, Error> {
        Self::with_options(PublisherOptions::new().slots(Self::DEFAULT_SLOTS), channel, labels, model)
    }

    /// Creates the channel with options. Otherwise equal to [`DetectionPublisher::create`].
    ///
    /// # Errors
    /// The errors of [`PublisherOptions::create`].
    pub fn with_options(
        options: PublisherOptions,
        channel: &str,
        labels: &[&str],
        model: &str,
    ) -> Result<Self, Error> {
        Ok(DetectionPublisher {
            publisher: options.frame_bytes(SLOT_BYTES).create(channel)?,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            model: model.to_owned(),
            bytes: Vec::new(),
        })
    }

    /// Sends the boxes found in `frame`. Returns the batch's sequence, or `None` when it was dropped.
    ///
    /// Copies the boxes. Blocks only with [`Backpressure::Block`](crate::Backpressure::Block).
    ///
    /// # Errors
    /// [`FrameTooLarge`](crate::ErrorKind::FrameTooLarge) with more than 2²⁴ boxes; else as
    /// [`Publisher::loan`].
    pub fn send(&mut self, frame: &FrameId, boxes: &[Detection]) -> Result<Option<u64>, LoanError> {
        codec::encode(frame, &self.model, &self.labels, boxes, &mut self.bytes)?;
        let width = u32::try_from(self.bytes.len()).map_err(|_| {
            Error::new(
                ErrorKind::FrameTooLarge,
                format!("a batch of {} bytes; 4 GiB are allowed", self.bytes.len()),
            )
            .with_hint("send fewer boxes, or shorter labels")
        })?;
        let layout = Layout::packed(PixelFormat::Detections, width, 1)?;
        let info = FrameInfo { timestamp_ns: Some(frame.timestamp_ns), ..FrameInfo::default() };
        self.publisher.send(&layout, &info, &self.bytes)
    }

    /// The publisher underneath.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Waits until every live subscriber with [`Delivery::Every`](crate::Delivery::Every) has received all
    /// batches. See [`Publisher::drain`].
    ///
    /// # Errors
    /// Those of [`Publisher::drain`].
    pub fn drain(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.publisher.drain(timeout)
    }

    /// Closes the channel, as dropping the publisher does. Never waits for a subscriber.
    pub fn close(self) {}
}
