//! Publishing from C: copies of the caller's images, and loans to write in place.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use framelane::{Error, ErrorKind, HeldSlot, Layout, LoanError, Publisher};

use crate::boundary::{array, c_text, fallible, free, give, given, lock, text, value};
use crate::detection::{answer, framelane_detection_subscriber, framelane_detections};
use crate::error::framelane_error;
use crate::format::{copy_rows, framelane_image, framelane_layout};
use crate::info::framelane_info;
use crate::options::{self, KeepWaiting, framelane_publisher_options};

const SLOTS: usize = 6;

/// The one that publishes a channel's frames.
pub struct framelane_publisher {
    shared: Arc<Shared>,
}

/// What the handle and its loans share. Who asks for a counter does not wait for a call that waits.
struct Shared {
    /// `None` once the handle is freed.
    publisher: Mutex<Option<Publisher>>,
    channel: CString,
    epoch: u64,
    slots: u32,
    keep: KeepWaiting,
    sequence: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn with<T>(&self, call: impl FnOnce(&mut Publisher) -> Result<T, LoanError>) -> Result<T, Error> {
        let mut publisher = lock(&self.publisher);
        let publisher = publisher.as_mut().ok_or_else(|| {
            Error::new(ErrorKind::Closed, "expected an open publisher, found one that has been freed")
                .with_remedy("publish or free loans before freeing their publisher")
        })?;
        let result = call(publisher);
        self.sequence.store(publisher.sequence(), Ordering::Relaxed);
        self.dropped.store(publisher.dropped(), Ordering::Relaxed);
        result.map_err(|error| publisher.explain(error))
    }
}

/// A slot lent to the publisher, to write one frame in place.
pub struct framelane_loan {
    shared: Arc<Shared>,
    held: HeldSlot,
    layout: Layout,
    shown: framelane_layout,
}

/// Makes the channel, or takes it over, with its subscribers, when its publisher has died. `options` may be NULL.
///
/// `channel` is a name, or the URL of a channel on another machine: the frames then go there.
///
/// Errors: FRAMELANE_ERROR_INVALID_NAME, _INVALID_OPTION, _CHANNEL_BUSY (another publisher lives), _PERMISSION, _NO_SPACE,
/// _LAYOUT_VERSION, _DAMAGED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_create(
    channel: *const c_char,
    options: *const framelane_publisher_options,
    publisher: Option<&mut MaybeUninit<*mut framelane_publisher>>,
) -> *mut framelane_error {
    fallible(|| {
        let publisher = given(publisher, "publisher")?.write(std::ptr::null_mut());
        let (options, keep) = options::publisher(options, SLOTS)?;
        let made = options.create(text(channel, "channel")?)?;
        let shared = Arc::new(Shared {
            channel: c_text(made.channel()),
            epoch: made.epoch(),
            slots: made.slots() as u32,
            keep,
            sequence: AtomicU64::new(made.sequence()),
            dropped: AtomicU64::new(made.dropped()),
            publisher: Mutex::new(Some(made)),
        });
        *publisher = Box::into_raw(Box::new(framelane_publisher { shared }));
        Ok(())
    })
}

/// Closes the channel and frees the publisher. Subscribers get FRAMELANE_ERROR_CLOSED after the frames that they have not
/// received yet; to be sure that they get all, call `framelane_publisher_drain` before.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_free(publisher: Option<Box<framelane_publisher>>) {
    if let Some(publisher) = &publisher {
        value((), || lock(&publisher.shared.publisher).take().map(drop));
    }
    free(publisher);
}

/// With FRAMELANE_POLICY_WAIT, waits until every live reader of every frame has received all; else does nothing.
///
/// Errors: FRAMELANE_ERROR_INTERRUPTED when `keep_waiting` ended it.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_drain(publisher: Option<&framelane_publisher>) -> *mut framelane_error {
    fallible(|| {
        let shared = &given(publisher, "publisher")?.shared;
        shared.with(|publisher| {
            let drained = publisher.drain_while(&mut || shared.keep.ask());
            if drained { Ok(()) } else { Err(LoanError::Interrupted) }
        })
    })
}

/// Copies an image from the caller's memory into a slot and publishes it. `info` may be NULL.
///
/// `sequence` (may be NULL) gets the frame's number, or 0 when it was dropped because every slot was in use. Blocks only
/// with FRAMELANE_POLICY_WAIT.
///
/// Errors: FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_send(
    publisher: Option<&framelane_publisher>,
    image: Option<&framelane_image>,
    info: *const framelane_info,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let sent = send(&given(publisher, "publisher")?.shared, given(image, "image")?, info)?;
        give(sequence, sent);
        Ok(())
    })
}

/// Publishes an image as `framelane_publisher_send` does and waits up to `timeout_ns` for the boxes found in it: to call a
/// detector like a function. The caller frees them.
///
/// `subscriber` is one of the detector's channel, usually CHANNEL/detections; when the detector ends, the next is waited
/// for. Other threads may publish meanwhile, but a detector that takes the newest frame may then pass over this one.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT when the frame was dropped; FRAMELANE_ERROR_TIMEOUT; else as
/// `framelane_publisher_send` and `framelane_detection_subscriber_recv`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_send_and_wait(
    publisher: Option<&framelane_publisher>,
    image: Option<&framelane_image>,
    info: *const framelane_info,
    subscriber: Option<&framelane_detection_subscriber>,
    timeout_ns: i64,
    detections: Option<&mut MaybeUninit<*mut framelane_detections>>,
) -> *mut framelane_error {
    fallible(|| {
        let detections = given(detections, "detections")?;
        detections.write(std::ptr::null_mut());
        let subscriber = given(subscriber, "subscriber")?;
        let shared = &given(publisher, "publisher")?.shared;
        let sequence = match send(shared, given(image, "image")?, info)? {
            0 => return shared.with(|_| Err(LoanError::NoFreeSlot)),
            sequence => sequence,
        };
        answer(subscriber, (shared.epoch, sequence), timeout_ns, detections)
    })
}

/// Copies an image into a slot and publishes it; gives its number, 0 when it was dropped.
fn send(shared: &Shared, image: &framelane_image, info: *const framelane_info) -> Result<u64, Error> {
    let info = framelane_info::read(info)?;
    let layout = image.packed()?;
    let sources = image.sources(&layout)?;
    shared.with(|publisher| {
        let mut loan = match publisher.loan_while(&layout, &mut || shared.keep.ask()) {
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
    publisher: Option<&framelane_publisher>,
    layout: Option<&framelane_layout>,
    bytes: *const u8,
    size_bytes: usize,
    info: *const framelane_info,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> *mut framelane_error {
    fallible(|| {
        let shared = &given(publisher, "publisher")?.shared;
        let layout = given(layout, "layout")?.checked()?;
        let info = framelane_info::read(info)?;
        let bytes = array(bytes, size_bytes, "bytes")?;
        let sent = shared
            .with(|publisher| publisher.send_while(&layout, &info, bytes, &mut || shared.keep.ask()))?;
        give(sequence, sent.unwrap_or(0));
        Ok(())
    })
}

/// Lends a slot to write in place: no copy. What it holds at first is left over from an older frame.
///
/// Blocks only with FRAMELANE_POLICY_WAIT, until a reader lets a slot go. Several loans may be held at once.
///
/// Errors: FRAMELANE_ERROR_NO_FREE_SLOT with FRAMELANE_POLICY_DROP when every slot is in use (the frame counts as dropped);
/// FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_loan(
    publisher: Option<&framelane_publisher>,
    layout: Option<&framelane_layout>,
    loan: Option<&mut MaybeUninit<*mut framelane_loan>>,
) -> *mut framelane_error {
    fallible(|| {
        let loan = given(loan, "loan")?.write(std::ptr::null_mut());
        let shared = &given(publisher, "publisher")?.shared;
        let layout = given(layout, "layout")?.checked()?;
        let held = shared.with(|publisher| publisher.hold_while(&layout, &mut || shared.keep.ask()))?;
        let shown = framelane_layout::from(&layout);
        *loan = Box::into_raw(Box::new(framelane_loan { shared: shared.clone(), held, layout, shown }));
        Ok(())
    })
}

/// The channel's name. Valid until the publisher is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_channel(publisher: Option<&framelane_publisher>) -> *const c_char {
    publisher.map_or(std::ptr::null(), |publisher| publisher.shared.channel.as_ptr())
}

/// The number of this life of the publisher.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_epoch(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.shared.epoch)
}

/// The number given to the last frame, published or dropped; 0 before the first.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_sequence(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.shared.sequence.load(Ordering::Relaxed))
}

/// Frames that got a number but no slot.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_dropped(publisher: Option<&framelane_publisher>) -> u64 {
    publisher.map_or(0, |publisher| publisher.shared.dropped.load(Ordering::Relaxed))
}

/// Slots of the ring.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_slots(publisher: Option<&framelane_publisher>) -> u32 {
    publisher.map_or(0, |publisher| publisher.shared.slots)
}

/// Subscribers attached now. Makes a system call for each; waits for a call that another thread is in.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_publisher_subscribers(publisher: Option<&framelane_publisher>) -> u32 {
    value(0, || Some(lock(&publisher?.shared.publisher).as_ref()?.subscribers() as u32))
}

/// The slot's bytes, of the layout's size: write here. Page-aligned; valid until the loan is published or freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_data(loan: Option<&framelane_loan>) -> *mut u8 {
    loan.map_or(std::ptr::null_mut(), |loan| loan.held.as_ptr().as_ptr())
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
/// Errors: FRAMELANE_ERROR_CLOSED when the publisher has been freed; _INVALID_OPTION for a wrong `info`; _FORKED.
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
        let sent = loan.shared.with(|publisher| {
            publisher.publish_held_while(&loan.held, &loan.layout, &info, &mut || loan.shared.keep.ask())
        })?;
        give(sequence, sent);
        Ok(())
    })
}

/// Gives the slot back without publishing it.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_loan_free(loan: Option<Box<framelane_loan>>) {
    free(loan);
}
