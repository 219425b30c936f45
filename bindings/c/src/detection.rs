//! Boxes found in frames, sent and received from C.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::time::Duration;

use framelane::{
    CancelToken, Delivery, Detection, DetectionFlags, DetectionPublisher, DetectionSubscriber, Detections,
    Error, ErrorKind,
};

use crate::boundary::{self, Wait, array, c_text, free, give, given, handle, share, text, unshare, value};
use crate::error::{fallible, framelane_error};
use crate::handle::Handle;
use crate::info::{OwnedId, framelane_frame_id};
use crate::options::{self, framelane_publisher_options, framelane_subscriber_options};

/// The tracker has lost the object; the box is where it was last.
pub const FRAMELANE_DETECTION_LOST: u32 = 1;
/// The box was predicted, not seen.
pub const FRAMELANE_DETECTION_PREDICTED: u32 = 2;

const _: () = {
    assert!(FRAMELANE_DETECTION_LOST == DetectionFlags::LOST.0);
    assert!(FRAMELANE_DETECTION_PREDICTED == DetectionFlags::PREDICTED.0);
};

/// The most boxes or labels in a batch. Checked before they are read.
const MOST: usize = 1 << 24;

fn check_count(count: usize, what: &str) -> Result<(), Error> {
    if count <= MOST {
        return Ok(());
    }
    let fault = format!("expected at most {MOST} {what}, found {count}");
    Err(Error::new(ErrorKind::FrameTooLarge, fault).with_hint(format!("check the count of {what}")))
}

/// One object found in a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_detection {
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
    /// FRAMELANE_DETECTION_ bits.
    pub flags: u32,
    /// The tracker's number of the object. 0: not tracked.
    pub track_id: u64,
}

impl From<&Detection> for framelane_detection {
    fn from(found: &Detection) -> Self {
        let &Detection { x, y, width, height, rotation, score, class_id, track_id, flags } = found;
        framelane_detection { x, y, width, height, rotation, score, class_id, flags: flags.0, track_id }
    }
}

impl From<&framelane_detection> for Detection {
    fn from(found: &framelane_detection) -> Self {
        let &framelane_detection { x, y, width, height, rotation, score, class_id, flags, track_id } = found;
        Detection { x, y, width, height, rotation, score, class_id, track_id, flags: DetectionFlags(flags) }
    }
}

/// Publishes detections.
pub struct framelane_detection_publisher {
    handle: Handle<DetectionPublisher>,
}

/// Receives detections.
pub struct framelane_detection_subscriber {
    handle: Handle<DetectionSubscriber>,
}

/// Calls the subscriber, and makes a handle of the batch that it returns. NULL when the call fails. The token
/// `also` ends waits too.
fn receive(
    subscriber: &framelane_detection_subscriber,
    detections: &mut MaybeUninit<*mut framelane_detections>,
    (wait, also): (Wait, Option<&CancelToken>),
    call: impl FnOnce(&mut DetectionSubscriber) -> Result<Detections, Error>,
) -> Result<(), Error> {
    let detections = detections.write(std::ptr::null_mut());
    let own = subscriber.handle.cancel_token();
    let cancel = CancelToken::any(also.into_iter().chain([own]).cloned());
    let found = subscriber.handle.call_with(wait.deadline, &cancel, |subscriber| {
        subscriber.set_cancel_token(cancel.clone());
        let found = call(subscriber);
        subscriber.set_cancel_token(own.clone());
        found
    })?;
    *detections = Box::into_raw(Box::new(found.into()));
    Ok(())
}

/// The boxes of a frame that was sent, from any detector. The token `also` ends waits too.
pub(crate) fn answer(
    subscriber: &framelane_detection_subscriber,
    (epoch, sequence): (u64, u64),
    (wait, also): (Wait, Option<&CancelToken>),
    detections: &mut MaybeUninit<*mut framelane_detections>,
) -> Result<(), Error> {
    receive(subscriber, detections, (wait, also), |subscriber| {
        let left = wait.left().unwrap_or(Duration::MAX);
        Ok(subscriber.answer((epoch, sequence), left)?)
    })
}

/// All objects found in one frame. May be empty.
pub struct framelane_detections {
    frame: OwnedId,
    model: CString,
    labels: Vec<CString>,
    boxes: Vec<framelane_detection>,
    sequence: u64,
    published_ns: u64,
    latency_ns: u64,
    dropped: u64,
}

impl From<Detections> for framelane_detections {
    fn from(found: Detections) -> Self {
        framelane_detections {
            frame: OwnedId::new(&found.frame),
            model: c_text(&found.model),
            labels: found.labels.iter().map(|label| c_text(label)).collect(),
            boxes: found.boxes.iter().map(framelane_detection::from).collect(),
            sequence: found.sequence,
            published_ns: found.published_ns,
            latency_ns: found.latency_ns(),
            dropped: found.dropped,
        }
    }
}

/// Creates a detections channel, by convention named CHANNEL/detections. `options` and `model` may be NULL.
///
/// The `label_count` texts at `labels` name the classes, and `model` the detector. Every batch contains both.
/// Errors as for `framelane_publisher_create`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_publisher_create(
    channel: *const c_char,
    options: *const framelane_publisher_options,
    labels: *const *const c_char,
    label_count: usize,
    model: *const c_char,
    publisher: Option<&mut MaybeUninit<*mut framelane_detection_publisher>>,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = given(publisher, "publisher")?.write(std::ptr::null_mut());
        let (options, cancel) = options::publisher(options, DetectionPublisher::DEFAULT_SLOTS)?;
        check_count(label_count, "labels")?;
        let labels = array(labels, label_count, "labels")?;
        let labels = labels.iter().map(|&label| text(label, "label")).collect::<Result<Vec<_>, _>>()?;
        let model = if model.is_null() { "" } else { text(model, "model")? };
        let channel = boundary::channel(channel)?;
        let made = DetectionPublisher::with_options(options, channel, &labels, model)?;
        *publisher = handle(framelane_detection_publisher { handle: Handle::new("publisher", made, cancel) });
        Ok(())
    })
}

/// Same as `framelane_publisher_close`.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_publisher_close(publisher: *const framelane_detection_publisher) {
    value((), || share(publisher, "publisher").ok().map(|publisher| publisher.handle.close()));
}

/// Same as `framelane_publisher_free`.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_publisher_free(publisher: *mut framelane_detection_publisher) {
    value((), || unshare(publisher).map(|publisher| publisher.handle.close()));
}

/// Same as `framelane_publisher_drain`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_publisher_drain(
    publisher: *const framelane_detection_publisher,
    timeout_ns: i64,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = share(publisher, "publisher")?;
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        publisher.handle.call(wait.deadline, |publisher| publisher.drain(wait.left()))
    })
}

/// Sends the `count` boxes found in `frame`. Send a batch for every frame that was processed, also without
/// boxes.
///
/// `sequence` (may be NULL) receives the sequence of the batch, or 0 if it was dropped. Blocks only with
/// FRAMELANE_BACKPRESSURE_BLOCK.
///
/// Errors: FRAMELANE_ERROR_FRAME_TOO_LARGE with more than 2^24 boxes; _NO_SPACE, _INTERRUPTED, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_publisher_send(
    publisher: *const framelane_detection_publisher,
    frame: Option<&framelane_frame_id>,
    boxes: *const framelane_detection,
    count: usize,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = share(publisher, "publisher")?;
        let frame = given(frame, "frame")?.read()?;
        check_count(count, "boxes")?;
        let boxes: Vec<_> = array(boxes, count, "boxes")?.iter().map(Detection::from).collect();
        let sent = publisher.handle.call(None, |publisher| Ok(publisher.send(&frame, &boxes)?))?;
        give(sequence, sent.unwrap_or(0));
        Ok(())
    })
}

/// Waits up to `open_timeout_ns` for the detections channel and subscribes to every batch. `options` may be
/// NULL. Errors as for `framelane_subscriber_open`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_open(
    channel: *const c_char,
    options: *const framelane_subscriber_options,
    open_timeout_ns: i64,
    subscriber: Option<&mut MaybeUninit<*mut framelane_detection_subscriber>>,
) -> *mut framelane_error {
    fallible(|| {
        let subscriber = given(subscriber, "subscriber")?.write(std::ptr::null_mut());
        let (options, cancel) =
            options::subscriber(options, Wait::new("open_timeout_ns", open_timeout_ns)?.timeout)?;
        let options = options.delivery(Delivery::Every);
        let opened = options.open(boundary::channel(channel)?)?;
        let made = Handle::new("subscriber", DetectionSubscriber::new(opened), cancel);
        *subscriber = handle(framelane_detection_subscriber { handle: made });
        Ok(())
    })
}

/// Same as `framelane_subscriber_close`.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_close(subscriber: *const framelane_detection_subscriber) {
    value((), || share(subscriber, "subscriber").ok().map(|subscriber| subscriber.handle.close()));
}

/// Same as `framelane_subscriber_free`.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_free(subscriber: *mut framelane_detection_subscriber) {
    value((), || unshare(subscriber).map(|subscriber| subscriber.handle.close()));
}

/// Waits up to `timeout_ns` for the next batch; the caller frees it.
///
/// Errors as for `framelane_subscriber_recv`, and FRAMELANE_ERROR_INVALID_FRAME when the channel carries
/// images.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_recv(
    subscriber: *const framelane_detection_subscriber,
    timeout_ns: i64,
    detections: Option<&mut MaybeUninit<*mut framelane_detections>>,
) -> *mut framelane_error {
    fallible(|| {
        let (subscriber, detections) = (share(subscriber, "subscriber")?, given(detections, "detections")?);
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        receive(&subscriber, detections, (wait, None), |subscriber| {
            let received = subscriber.recv_timeout(wait.left());
            received.map_err(|error| subscriber.subscriber().explain(error, wait.timeout))
        })
    })
}

/// Waits up to `timeout_ns` for the detections of frame `sequence` of `epoch`. The caller frees them. Frames
/// may be requested in any order, among the last 256.
///
/// `epoch` and `sequence` are the frame's or those of its `framelane_frame_id`. At the publisher they are
/// `framelane_publisher_epoch` and the number that sending returned. All of them name the same frame on every
/// machine.
///
/// Errors: FRAMELANE_ERROR_TIMEOUT, which names the newest frame whose detections are here; else as
/// `framelane_detection_subscriber_recv`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_for_frame(
    subscriber: *const framelane_detection_subscriber,
    epoch: u64,
    sequence: u64,
    timeout_ns: i64,
    detections: Option<&mut MaybeUninit<*mut framelane_detections>>,
) -> *mut framelane_error {
    fallible(|| {
        let (subscriber, detections) = (share(subscriber, "subscriber")?, given(detections, "detections")?);
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        receive(&subscriber, detections, (wait, None), |subscriber| {
            let left = wait.left().unwrap_or(Duration::MAX);
            Ok(subscriber.for_frame((epoch, sequence), left)?)
        })
    })
}

/// Same as `framelane_detection_subscriber_for_frame`, across restarts of the detector: waits for the next
/// one. Errors: FRAMELANE_ERROR_TIMEOUT, also without a detector.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detection_subscriber_answer(
    subscriber: *const framelane_detection_subscriber,
    epoch: u64,
    sequence: u64,
    timeout_ns: i64,
    detections: Option<&mut MaybeUninit<*mut framelane_detections>>,
) -> *mut framelane_error {
    fallible(|| {
        let (subscriber, detections) = (share(subscriber, "subscriber")?, given(detections, "detections")?);
        answer(&subscriber, (epoch, sequence), (Wait::new("timeout_ns", timeout_ns)?, None), detections)
    })
}

/// Frees a batch.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_free(detections: Option<Box<framelane_detections>>) {
    free(detections);
}

/// The frame that the boxes were found in. Valid until the batch is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_frame(
    detections: Option<&framelane_detections>,
) -> *const framelane_frame_id {
    detections.map_or(std::ptr::null(), |detections| std::ptr::from_ref(detections.frame.get()))
}

/// The boxes, `framelane_detections_count` of them. Valid until the batch is freed; NULL when there are none.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_boxes(
    detections: Option<&framelane_detections>,
) -> *const framelane_detection {
    let boxes = detections.map_or(&[][..], |detections| &detections.boxes);
    if boxes.is_empty() { std::ptr::null() } else { boxes.as_ptr() }
}

/// Returns the number of boxes.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_count(detections: Option<&framelane_detections>) -> usize {
    detections.map_or(0, |detections| detections.boxes.len())
}

/// Returns the model that found the boxes. Valid until the batch is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_model(detections: Option<&framelane_detections>) -> *const c_char {
    detections.map_or(std::ptr::null(), |detections| detections.model.as_ptr())
}

/// Returns the number of classes with names.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_label_count(detections: Option<&framelane_detections>) -> usize {
    detections.map_or(0, |detections| detections.labels.len())
}

/// The name of a class, or NULL when it has none. Valid until the batch is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_label(
    detections: Option<&framelane_detections>,
    class_id: u32,
) -> *const c_char {
    let label = detections.and_then(|detections| detections.labels.get(class_id as usize));
    label.map_or(std::ptr::null(), |label| label.as_ptr())
}

/// Sequence of the batch on the detections channel.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_sequence(detections: Option<&framelane_detections>) -> u64 {
    detections.map_or(0, |detections| detections.sequence)
}

/// Publication time of the batch, in nanoseconds on CLOCK_MONOTONIC.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_published_ns(detections: Option<&framelane_detections>) -> u64 {
    detections.map_or(0, |detections| detections.published_ns)
}

/// Nanoseconds from the publication of the frame to the publication of its detections.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_latency_ns(detections: Option<&framelane_detections>) -> u64 {
    detections.map_or(0, |detections| detections.latency_ns)
}

/// Batches that the subscriber missed just before this one.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_detections_dropped(detections: Option<&framelane_detections>) -> u64 {
    detections.map_or(0, |detections| detections.dropped)
}
