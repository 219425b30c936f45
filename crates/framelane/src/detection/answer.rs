//! Request and answer: a frame out, its boxes back.

use std::time::{Duration, Instant};

use super::{DetectionSubscriber, Detections, MatchError};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::frame::{FrameInfo, Layout, Origin};
use crate::os;
use crate::publisher::{LoanError, Publisher};
use crate::subscriber::RecvError;

impl Publisher {
    /// Publishes a frame and waits up to `timeout` for the boxes found in it: calls a detector like a
    /// function.
    ///
    /// `detections` is a subscriber of the detector's channel, usually `CHANNEL/detections`. The detector may
    /// be restarted meanwhile, see [`DetectionSubscriber::answer`]. One copy. A detector that takes the
    /// newest frame has this one until another is published, so send from one thread at a time. For a loan:
    /// publish it, then call `answer`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use framelane::{Detection, DetectionPublisher, DetectionSubscriber, FrameInfo, Layout, PixelFormat};
    /// # use framelane::{PublisherOptions, SubscriberOptions};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let publishing = PublisherOptions::new().directory(directory.path());
    /// # let reading = SubscriberOptions::new().directory(directory.path());
    /// # let mut publisher = publishing.create("cam0")?;
    /// # let mut frames = reading.open("cam0")?;
    /// # let mut finder = DetectionPublisher::with_options(publishing, "cam0/detections", &[], "")?;
    /// # let mut detections = DetectionSubscriber::with_options(reading, "cam0/detections")?;
    /// # let detector = std::thread::spawn(move || {
    /// #     finder.send(&frames.recv().unwrap().id(), &[Detection::default()]).unwrap();
    /// #     finder // its channel stays until the end
    /// # });
    /// let layout = Layout::packed(PixelFormat::Gray8, 2, 1)?;
    /// let (info, pixels, timeout) = (FrameInfo::default(), [0, 255], Duration::from_secs(10));
    /// let found = publisher.send_and_wait(&layout, &info, &pixels, &mut detections, timeout)?;
    /// assert_eq!((found.frame.sequence, found.boxes.len()), (1, 1));
    /// # detector.join().unwrap();
    /// # Ok::<(), framelane::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NoFreeSlot`] when the frame was dropped; [`ErrorKind::Timeout`];
    /// [`ErrorKind::Interrupted`] when the token of the publisher or of `detections` ends a wait; else as
    /// [`Publisher::send`] and [`DetectionSubscriber::recv`].
    pub fn send_and_wait(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        bytes: &[u8],
        detections: &mut DetectionSubscriber,
        timeout: Duration,
    ) -> Result<Detections, Error> {
        let sequence = self.send(layout, info, bytes)?.ok_or(LoanError::NoFreeSlot)?;
        let own = detections.cancel_token().clone();
        detections.set_cancel_token(CancelToken::any([own.clone(), self.cancel_token().clone()]));
        let answer = detections.answer((self.epoch(), sequence), timeout);
        detections.set_cancel_token(own);
        Ok(answer?)
    }
}

impl DetectionSubscriber {
    /// Waits for the detections of a frame, as [`DetectionSubscriber::for_frame`] does, across restarts of
    /// the detector. (A detector that starts receives the newest frame, which its predecessor was asked for.)
    ///
    /// # Errors
    /// [`MatchError::Timeout`]; an error of kind [`ErrorKind::Timeout`] when there is no detector; errors of
    /// receiving.
    pub fn answer(&mut self, frame: impl Into<Origin>, timeout: Duration) -> Result<Detections, MatchError> {
        let frame = frame.into();
        let deadline = os::deadline(Some(timeout));
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        loop {
            match self.for_frame(frame, left().unwrap_or(Duration::MAX)) {
                Err(MatchError::Recv(RecvError::Closed)) => {}
                Err(MatchError::Timeout { .. }) if self.subscriber().has_ended() => {
                    return Err(self.no_detector(frame.sequence));
                }
                answer => return answer,
            }
            match self.subscriber_mut().attach_again(left()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    return Err(MatchError::Recv(RecvError::Interrupted));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(self.no_detector(frame.sequence));
                }
                Err(error) => return Err(MatchError::Recv(error.into())),
            }
        }
    }

    fn no_detector(&self, sequence: u64) -> MatchError {
        let place = self.subscriber().place();
        let message = format!("no detections of frame {sequence}: channel {place} has no publisher");
        let error = Error::new(ErrorKind::Timeout, message)
            .with_hint("start the detector, for example with `framelane run`");
        MatchError::Recv(error.into())
    }
}
