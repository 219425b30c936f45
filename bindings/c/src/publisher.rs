//! Publishing from C: copies of the caller's images, and loans to write in place.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framelane::{Error, Layout, LoanError, Observer, OwnedLoan, Publisher};

use crate::boundary::{Wait, array, c_text, free, give, given, handle, share, unshare, value};
use crate::detection::{answer, framelane_detection_subscriber, framelane_detections};
use crate::error::{fallible, framelane_error};
use crate::format::{copy_rows, framelane_image, framelane_layout};
use crate::handle::Handle;
use crate::info::framelane_info;
use crate::options::{self, framelane_publisher_options};

const SLOTS: usize = 6;

/// Publishes the frames of a channel. At most one on a channel.
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

/// Makes the channel, or takes it over, with its subscribers, when its publisher has died. `options` may be
/// NULL.
///
/// `channel` is a name, or the URL of a channel on another machine: the frames then go there.
///
/// Errors: FRAMELANE_ERROR_INVALID_NAME, _INVALID_OPTION, _CHANNEL_BUSY (another publisher lives),
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
        let (options, cancel) = options::publisher(options, SLOTS)?;
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

/// Closes the channel, and never waits for a subscriber. Subscribers get FRAMELANE_ERROR_CHANNEL_CLOSED after
/// the frames that they have not received yet. To be sure that they get all, call `framelane_publisher_drain`
/// first.
///
/// Calls that wait in other threads end with FRAMELANE_ERROR_CHANNEL_CLOSED. Returns when they have ended and
/// the channel is gone. Later calls fail with FRAMELANE_ERROR_CHANNEL_CLOSED. The publisher must still be
/// freed. From the check of its cancel token it returns at once: the call that waits closes the channel when
/// it ends. Not for signal handlers.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_close(publisher: *const framelane_publisher) {
    value((), || share(publisher, "publisher").ok().map(|publisher| publisher.handle.close()));
}

/// Closes the channel as `framelane_publisher_close` does, and frees the publisher. No call of it may begin
/// afterwards: close it first when other threads may still call it.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_free(publisher: *mut framelane_publisher) {
    value((), || unshare(publisher).map(|publisher| publisher.handle.close()));
}

/// Waits up to `timeout_ns` until every live subscriber with FRAMELANE_DELIVERY_EVERY has received all
/// frames, and the link of a URL has taken the newest one. Works with either backpressure. The publisher can
/// be used afterwards.
///
/// Errors: FRAMELANE_ERROR_TIMEOUT when subscribers have not received all in time; _INTERRUPTED when
/// the cancel token ended it; _FORKED; _DAMAGED when a file of the channel was cut short; the fault of a link
/// that has ended, of any kind.
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
/// `sequence` (may be NULL) gets the frame's number, or 0 when it was dropped because every slot was in use.
/// Blocks only with FRAMELANE_BACKPRESSURE_BLOCK.
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

/// Publishes an image as `framelane_publisher_send` does and waits up to `timeout_ns` for the boxes found in
/// it: to call a detector like a function. The caller frees them.
///
/// `subscriber` is one of the detector's channel, usually CHANNEL/detections; when the detector ends, the
/// next is waited for. Other threads may publish meanwhile, but a detector that takes the newest frame may
/// then pass over this one.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT when the frame was dropped; FRAMELANE_ERROR_TIMEOUT; else as
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

/// Copies an image into a slot and publishes it. Returns its number, 0 when it was dropped.
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

/// Copies a frame that lies in one piece, laid out as `layout` says, into a slot and publishes it.
///
/// `size_bytes` is what lies at `bytes`: at least that of the layout. Else as `framelane_publisher_send`.
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

/// Lends a slot to write in place: no copy. What it holds at first is left over from an older frame.
///
/// Blocks only with FRAMELANE_BACKPRESSURE_BLOCK, until a reader lets a slot go. Several loans may be held at
/// once.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT with FRAMELANE_BACKPRESSURE_DROP when every slot is in use (the frame
/// counts as dropped); FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
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

/// The channel's name. Valid until the publisher is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_channel(publisher: Option<&framelane_publisher>) -> *const c_char {
    publisher.map_or(std::ptr::null(), |publisher| publisher.channel.as_ptr())
}

/// The number of this life of the publisher.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_epoch(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.epoch)
}

/// The number given to the last frame, published or dropped; 0 before the first.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_sequence(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.sequence.load(Ordering::Relaxed))
}

/// Frames that got a number but no slot.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_dropped(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.dropped.load(Ordering::Relaxed))
}

/// Slots of the ring.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_slots(publisher: Option<&framelane_publisher>) -> u32 {
    publisher.map_or(0, |publisher| publisher.slots)
}

/// Subscribers attached now. Makes a system call for each, and does not wait for calls of other threads.
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

/// The slot's bytes, of the layout's size: write here. Page-aligned; valid until the loan is published or
/// freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_data(loan: Option<&framelane_loan>) -> *mut u8 {
    loan.map_or(std::ptr::null_mut(), |loan| loan.owned.as_ptr().as_ptr())
}

/// The layout that was asked for, with its planes. Valid until the loan is published or freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_layout(loan: Option<&framelane_loan>) -> *const framelane_layout {
    loan.map_or(std::ptr::null(), |loan| &raw const loan.shown)
}

/// Makes the frame the newest of the channel and wakes whoever waits. `info` and `sequence` may be NULL.
///
/// Frees the loan, also when it fails. Makes no system call when nobody waits.
///
/// Errors: FRAMELANE_ERROR_CHANNEL_CLOSED when the publisher was closed or freed; _INVALID_OPTION for a wrong
/// `info`; _FORKED.
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
