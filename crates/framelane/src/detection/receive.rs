//! Subscribers of detections.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Detections;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::format::PixelFormat;
use crate::frame::Origin;
use crate::observer::within;
use crate::os;
use crate::ring::Delivery;
use crate::subscriber::{Frame, RecvError, Subscriber, SubscriberOptions};

/// Batches kept for [`DetectionSubscriber::for_frame`].
const KEPT: usize = 256;

/// Receives detections: every batch in order, or the batch of one frame.
pub struct DetectionSubscriber {
    subscriber: Subscriber,
    /// The last batches received, oldest first: frames may be asked for in any order.
    recent: VecDeque<Detections>,
}

/// Reason that the detections of a frame are missing.
#[non_exhaustive]
#[derive(Debug)]
pub enum MatchError {
    /// They did not arrive in time.
    Timeout {
        /// The frame that was asked for.
        wanted: u64,
        /// The newest frame of the same epoch whose detections have arrived.
        newest: Option<u64>,
        /// The error with all of this, the channel's place and the reason.
        fault: Error,
    },
    /// Receiving failed.
    Recv(RecvError),
}

impl From<MatchError> for Error {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Recv(error) => error.into(),
            MatchError::Timeout { fault, .. } => fault,
        }
    }
}

impl std::fmt::Display for MatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MatchError::Timeout { fault, .. } => fault.fmt(f),
            MatchError::Recv(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their messages are those of this error.
            MatchError::Timeout { fault, .. } => fault.source(),
            MatchError::Recv(error) => error.source(),
        }
    }
}

impl std::fmt::Debug for DetectionSubscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DetectionSubscriber").field("subscriber", &self.subscriber).finish_non_exhaustive()
    }
}

impl DetectionSubscriber {
    /// Waits for the channel and subscribes to every batch.
    ///
    /// # Errors
    /// The errors of [`SubscriberOptions::open`].
    pub fn open(channel: &str) -> Result<Self, Error> {
        Self::with_options(SubscriberOptions::new().delivery(Delivery::Every), channel)
    }

    /// Opens the channel with options. Otherwise equal to [`DetectionSubscriber::open`].
    ///
    /// # Errors
    /// The errors of [`SubscriberOptions::open`].
    pub fn with_options(options: SubscriberOptions, channel: &str) -> Result<Self, Error> {
        Ok(Self::new(options.open(channel)?))
    }

    /// Receives from a subscriber that is open already.
    pub fn new(subscriber: Subscriber) -> Self {
        DetectionSubscriber { subscriber, recent: VecDeque::new() }
    }

    /// Receives the next batch. Blocks.
    ///
    /// # Errors
    /// The errors of [`Subscriber::recv`]; [`ErrorKind::InvalidFrame`] when the channel carries images,
    /// [`ErrorKind::Damaged`] for bytes that are no batch.
    pub fn recv(&mut self) -> Result<Detections, RecvError> {
        self.recv_timeout(None)
    }

    /// Receives the next batch within `timeout`. `None` waits without limit.
    ///
    /// # Errors
    /// As [`DetectionSubscriber::recv`], and [`RecvError::Timeout`].
    pub fn recv_timeout(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Detections, RecvError> {
        let batch = read(&self.subscriber.recv_timeout(timeout)?)?;
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(batch.clone());
        Ok(batch)
    }

    /// Returns the detections of `frame`, within `timeout`.
    ///
    /// `frame` is a `&Frame` or a [`FrameId`](super::FrameId). At the publisher it is a pair: its
    /// [`epoch`](crate::Publisher::epoch), and the number that `send` or `publish` returned. All of these
    /// name the same frame on every machine.
    ///
    /// Searches the last 256 batches first, then receives until the requested one arrives. Frames may be
    /// requested in any order.
    ///
    /// # Errors
    /// [`MatchError::Timeout`], which names the newest frame whose detections have arrived, the directory of
    /// the channel and the reason. Errors of receiving.
    pub fn for_frame(
        &mut self,
        frame: impl Into<Origin>,
        timeout: Duration,
    ) -> Result<Detections, MatchError> {
        let Origin { epoch, sequence } = frame.into();
        let wanted = |batch: &Detections| batch.frame.epoch == epoch && batch.frame.sequence == sequence;
        if let Some(batch) = self.recent.iter().rev().find(|batch| wanted(batch)) {
            return Ok(batch.clone());
        }
        let deadline = os::deadline(Some(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.recv_timeout(left) {
                Ok(batch) if wanted(&batch) => return Ok(batch),
                Ok(_) => {}
                Err(RecvError::Timeout) => return Err(self.missing(Some(epoch), sequence, timeout)),
                Err(error) => return Err(MatchError::Recv(error)),
            }
        }
    }

    /// Returns the error of a call that waited in vain for the detections of a frame. An `epoch` of `None` is
    /// any epoch. Makes some system calls.
    pub fn missing(&self, epoch: Option<u64>, sequence: u64, waited: Duration) -> MatchError {
        let newest = epoch.and_then(|epoch| self.newest(epoch));
        let of_epoch = epoch.map(|epoch| format!(" of epoch {epoch}")).unwrap_or_default();
        let arrived = match (newest, self.recent.back()) {
            (Some(newest), _) => format!("the newest are of frame {newest}"),
            (None, Some(batch)) => {
                let id = &batch.frame;
                format!("the newest are of frame {} of epoch {}", id.sequence, id.epoch)
            }
            (None, None) => "none have arrived".to_owned(),
        };
        let (place, within) = (self.subscriber.place(), within(waited));
        let (reason, hint) = self.subscriber.silence_reason();
        let fault = format!(
            "no detections of frame {sequence}{of_epoch} on channel {place}{within}, {arrived}: {reason}"
        );
        let fault = Error::new(ErrorKind::Timeout, fault).with_hint(hint);
        MatchError::Timeout { wanted: sequence, newest, fault }
    }

    /// The newest frame of `epoch` whose detections have been received.
    pub fn newest(&self, epoch: u64) -> Option<u64> {
        self.recent.iter().filter(|batch| batch.frame.epoch == epoch).map(|batch| batch.frame.sequence).max()
    }

    /// Replaces the token that ends waits, for example after the old one was cancelled.
    pub fn set_cancel_token(&mut self, cancel: CancelToken) {
        self.subscriber.set_cancel_token(cancel);
    }

    /// Returns the token that ends waits.
    pub fn cancel_token(&self) -> &CancelToken {
        self.subscriber.cancel_token()
    }

    /// The subscriber underneath, to attach it again.
    pub(super) fn subscriber_mut(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }

    /// The subscriber underneath.
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }
}

fn read(frame: &Frame) -> Result<Detections, Error> {
    if frame.format() != PixelFormat::Detections {
        return Err(Error::new(
            ErrorKind::InvalidFrame,
            format!(
                "channel {} was expected to carry detections, found {}x{} {} frames",
                frame.channel(),
                frame.width(),
                frame.height(),
                frame.format()
            ),
        )
        .with_hint(format!("subscribe to the detections channel, usually {}/detections", frame.channel())));
    }
    let mut batch = Detections::decode(frame.bytes())?;
    batch.sequence = frame.sequence();
    batch.published_ns = frame.published_ns();
    batch.dropped = frame.dropped();
    Ok(batch)
}
