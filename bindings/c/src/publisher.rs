//! Publishing from C: copies of the caller's images, and loans to write in place.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framelane::{Error, Layout, LoanError, Observer, OwnedLoan, Publisher, PublisherOptions};

use crate::boundary::{Wait, array, c_text, free, give, given, handle, share, unshare, value};
use crate::detection::{answer, framelane_detection_subscriber, framelane_detections};
use crate::error::{fallible, framelane_error};
use crate::format::{copy_rows, framelane_image, framelane_layout};
use crate::handle::Handle;
use crate::info::framelane_info;
use crate::options::{self, framelane_publisher_options};

/// Publishes the frames of a channel. A channel has at most one publisher.
pub struct framelane_publisher {
    handle: Handle<Publisher>,
    observer: Observer,
    channel: CString,
    epoch: u64,
    slots: u32,
    sequence: AtomicU64,
    dropped: AtomicU64,
}

impl framelane_publisher {
    fn with<T>(&self, call: impl FnOnce(&mut Publisher) -> Result<T, LoanError>) -> Result<T, Error> {
        self.handle.call(None, |publisher| {
            let result = call(publisher);
            self.sequence.store(publisher.sequence(), Ordering::Relaxed);
            self.dropped.store(publisher.dropped(), Ordering::Relaxed);
            result.map_err(|error| publisher.explain(error))
        })
    }
}

/// A slot lent to the publisher, to write one frame in place.
pub struct framelane_loan {
    publisher: Arc<framelane_publisher>,
    owned: OwnedLoan,
    layout: Layout,
    shown: framelane_layout,
}

/// Creates the channel, or takes it over with its subscribers if its publisher died. `options` may be NULL.
///
/// `channel` is a name, or the URL of a channel on another machine, to which the frames are sent.
///
/// Errors: FRAMELANE_ERROR_INVALID_NAME, _INVALID_OPTION, _CHANNEL_BUSY (another live publisher),
/// _PERMISSION_DENIED, _NO_SPACE, _INCOMPATIBLE_VERSION, _DAMAGED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_create(
    channel: *const c_char,
    options: *const framelane_publisher_options,
    publisher: Option<&mut MaybeUninit<*mut framelane_publisher>>,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = given(publisher, "publisher")?.write(std::ptr::null_mut());
        let (options, cancel) = options::publisher(options, PublisherOptions::DEFAULT_SLOTS)?;
        let made = options.create(crate::boundary::channel(channel)?)?;
        *publisher = handle(framelane_publisher {
            observer: made.observer(),
            channel: c_text(made.channel()),
            epoch: made.epoch(),
            slots: made.slots() as u32,
            sequence: AtomicU64::new(made.sequence()),
            dropped: AtomicU64::new(made.dropped()),
            handle: Handle::new("publisher", made, cancel),
        });
        Ok(())
    })
}

/// Closes the channel. Never waits for a subscriber. Subscribers receive their remaining frames, and then
/// FRAMELANE_ERROR_CHANNEL_CLOSED. To wait until they have received all frames, call
/// `framelane_publisher_drain` first.
///
/// Ends the waiting calls of other threads with FRAMELANE_ERROR_CHANNEL_CLOSED, and returns when they have
/// ended and the channel is closed. Later calls fail with FRAMELANE_ERROR_CHANNEL_CLOSED. The publisher must
/// still be freed. Returns at once in the check of its cancel token: the waiting call then closes the channel
/// when it ends. Must not be called in a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_close(publisher: *const framelane_publisher) {
    value((), || share(publisher, "publisher").ok().map(|publisher| publisher.handle.close()));
}

/// Closes the channel like `framelane_publisher_close`, and frees the publisher. No call may use it
/// afterwards. If other threads may still call it, close it first.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_free(publisher: *mut framelane_publisher) {
    value((), || unshare(publisher).map(|publisher| publisher.handle.close()));
}

/// Waits up to `timeout_ns` until every live subscriber with FRAMELANE_DELIVERY_EVERY has received all
/// frames, and the link of a URL has taken the newest one. Works with both kinds of backpressure. The
/// publisher stays usable.
///
/// Errors: FRAMELANE_ERROR_TIMEOUT if a subscriber has not received all frames in time, _INTERRUPTED if the
/// cancel token ended the wait, _FORKED, _DAMAGED if a file of the channel was truncated, and the error of a
/// link that has ended.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_drain(
    publisher: *const framelane_publisher,
    timeout_ns: i64,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = share(publisher, "publisher")?;
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        publisher.handle.call(wait.deadline, |publisher| publisher.drain(wait.left()))
    })
}

/// Copies an image from the caller's memory into a slot and publishes it. `info` may be NULL.
///
/// `sequence` (may be NULL) receives the frame's number, or 0 if it was dropped because every slot was in
/// use. Blocks only with FRAMELANE_BACKPRESSURE_BLOCK.
///
/// Errors: FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_send(
    publisher: *const framelane_publisher,
    image: Option<&framelane_image>,
    info: *const framelane_info,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let sent = send(&*share(publisher, "publisher")?, given(image, "image")?, info)?;
        give(sequence, sent);
        Ok(())
    })
}

/// Publishes an image like `framelane_publisher_send`, and waits up to `timeout_ns` for the boxes found in
/// it. So a detector is called like a function. The caller frees the boxes.
///
/// `subscriber` is subscribed to the detector's channel, usually CHANNEL/detections. When the detector ends,
/// the call waits for the next one. Other threads may publish meanwhile, but a detector that takes the newest
/// frame may then skip this one.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT if the frame was dropped, FRAMELANE_ERROR_TIMEOUT, and those of
/// `framelane_publisher_send` and `framelane_detection_subscriber_recv`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_send_and_wait(
    publisher: *const framelane_publisher,
    image: Option<&framelane_image>,
    info: *const framelane_info,
    subscriber: *const framelane_detection_subscriber,
    timeout_ns: i64,
    detections: Option<&mut MaybeUninit<*mut framelane_detections>>,
) -> *mut framelane_error {
    fallible(|| {
        let detections = given(detections, "detections")?;
        detections.write(std::ptr::null_mut());
        let subscriber = share(subscriber, "subscriber")?;
        let publisher = share(publisher, "publisher")?;
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        let sequence = match send(&publisher, given(image, "image")?, info)? {
            0 => return publisher.with(|_| Err(LoanError::NoFreeSlot)),
            sequence => sequence,
        };
        // A closed channel gets no answer.
        let also = Some(publisher.handle.cancel_token());
        let found = answer(&subscriber, (publisher.epoch, sequence), (wait, also), detections);
        found.map_err(|error| if publisher.handle.is_closing() { publisher.handle.closed() } else { error })
    })
}

/// Copies an image into a slot and publishes it. Returns its number, or 0 if it was dropped.
fn send(
    publisher: &framelane_publisher,
    image: &framelane_image,
    info: *const framelane_info,
) -> Result<u64, Error> {
    let info = framelane_info::read(info)?;
    let layout = image.packed()?;
    let sources = image.sources(&layout)?;
    publisher.with(|publisher| {
        let mut loan = match publisher.loan(&layout) {
            Err(LoanError::NoFreeSlot) => return Ok(0),
            loan => loan?,
        };
        for (plane, &from) in sources.iter().enumerate().take(layout.planes().len()) {
            let (_, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
            let stride = layout.planes()[plane].stride_bytes;
            copy_rows(from, (loan.plane_mut(plane), stride), row_bytes);
        }
        Ok(loan.publish(&info))
    })
}

/// Copies a frame with the given layout from one block of memory into a slot, and publishes it.
///
/// `size_bytes` is the size of the block, at least that of the layout. The rest is the same as for
/// `framelane_publisher_send`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_send_bytes(
    publisher: *const framelane_publisher,
    layout: Option<&framelane_layout>,
    bytes: *const u8,
    size_bytes: usize,
    info: *const framelane_info,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = share(publisher, "publisher")?;
        let layout = given(layout, "layout")?.checked()?;
        let info = framelane_info::read(info)?;
        let bytes = array(bytes, size_bytes, "bytes")?;
        let sent = publisher.with(|publisher| publisher.send(&layout, &info, bytes))?;
        give(sequence, sent.unwrap_or(0));
        Ok(())
    })
}

/// Lends a slot to write in place, without a copy. Its initial content is undefined.
///
/// Blocks only with FRAMELANE_BACKPRESSURE_BLOCK, until a subscriber releases a slot. Several loans may exist
/// at once.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT with FRAMELANE_BACKPRESSURE_DROP if every slot is in use (the frame
/// counts as dropped), FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_loan(
    publisher: *const framelane_publisher,
    layout: Option<&framelane_layout>,
    loan: Option<&mut MaybeUninit<*mut framelane_loan>>,
) -> *mut framelane_error {
    fallible(|| {
        let loan = given(loan, "loan")?.write(std::ptr::null_mut());
        let publisher = share(publisher, "publisher")?;
        let layout = given(layout, "layout")?.checked()?;
        let owned = publisher.with(|publisher| publisher.loan_owned(&layout))?;
        let shown = framelane_layout::from(&layout);
        *loan = Box::into_raw(Box::new(framelane_loan { publisher, owned, layout, shown }));
        Ok(())
    })
}

/// Returns the channel's name. Valid until the publisher is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_channel(publisher: Option<&framelane_publisher>) -> *const c_char {
    publisher.map_or(std::ptr::null(), |publisher| publisher.channel.as_ptr())
}

/// Returns the epoch: one life of a publisher of the channel.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_epoch(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.epoch)
}

/// Returns the number of the last frame, published or dropped. 0 before the first.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_sequence(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.sequence.load(Ordering::Relaxed))
}

/// Returns the number of dropped frames.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_dropped(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.dropped.load(Ordering::Relaxed))
}

/// Returns the number of slots of the ring.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_slots(publisher: Option<&framelane_publisher>) -> u32 {
    publisher.map_or(0, |publisher| publisher.slots)
}

/// Returns the number of attached subscribers. Makes a system call for each. Does not wait for calls of other
/// threads.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_subscribers(publisher: *const framelane_publisher) -> u32 {
    value(0, || {
        let publisher = share(publisher, "publisher").ok()?;
        let here = publisher.handle.peek(framelane::Publisher::subscribers);
        let count = match here {
            None if publisher.handle.is_closing() => 0,
            None => publisher.observer.subscribers(),
            Some(count) => count,
        };
        Some(count as u32)
    })
}

/// Returns the bytes of the slot to write to, page-aligned and of the layout's size. Valid until the loan is
/// published or freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_data(loan: Option<&framelane_loan>) -> *mut u8 {
    loan.map_or(std::ptr::null_mut(), |loan| loan.owned.as_ptr().as_ptr())
}

/// Returns the requested layout, with its planes. Valid until the loan is published or freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_layout(loan: Option<&framelane_loan>) -> *const framelane_layout {
    loan.map_or(std::ptr::null(), |loan| &raw const loan.shown)
}

/// Publishes the frame as the newest of the channel, and wakes waiting subscribers. `info` and `sequence` may
/// be NULL.
///
/// Frees the loan, also after an error. Makes no system call without a waiting subscriber.
///
/// Errors: FRAMELANE_ERROR_CHANNEL_CLOSED if the publisher was closed or freed, _INVALID_OPTION for a wrong
/// `info`, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_publish(
    loan: Option<Box<framelane_loan>>,
    info: *const framelane_info,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let loan = given(loan, "loan")?;
        let info = framelane_info::read(info)?;
        let sent =
            loan.publisher.with(|publisher| publisher.publish_owned(&loan.owned, &loan.layout, &info))?;
        give(sequence, sent);
        Ok(())
    })
}

/// Returns the slot without publishing it.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_free(loan: Option<Box<framelane_loan>>) {
    free(loan);
}
