//! Receiving in C.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framelane::{Observer, Subscriber};

use crate::boundary::{self, Wait, c_text, given, handle, share, unshare, value};
use crate::error::{fallible, framelane_error};
use crate::frame::framelane_frame;
use crate::handle::Handle;
use crate::options::{self, framelane_subscriber_options};

/// Receives the frames of a channel. A channel has up to 64 subscribers.
pub struct framelane_subscriber {
    handle: Handle<Subscriber>,
    observer: Observer,
    /// Shared with its frames.
    channel: Arc<CString>,
    received: AtomicU64,
    dropped: AtomicU64,
    epoch: AtomicU64,
}

/// Waits up to `open_timeout_ns` for the channel and subscribes. `options` may be NULL.
///
/// `channel` is a name, or the URL of a channel on another machine, as in
/// "tls://camera:7420/cam0?fingerprint=sha256:...".
///
/// Errors: FRAMELANE_ERROR_NOT_FOUND when there is no channel with a live publisher in time; _INVALID_NAME,
/// _INVALID_OPTION, _PERMISSION_DENIED, _INCOMPATIBLE_VERSION, _DAMAGED, _TOO_MANY_SUBSCRIBERS, _INTERRUPTED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_open(
    channel: *const c_char,
    options: *const framelane_subscriber_options,
    open_timeout_ns: i64,
    subscriber: Option<&mut MaybeUninit<*mut framelane_subscriber>>,
) -> *mut framelane_error {
    fallible(|| {
        let subscriber = given(subscriber, "subscriber")?.write(std::ptr::null_mut());
        let (options, cancel) =
            options::subscriber(options, Wait::new("open_timeout_ns", open_timeout_ns)?.timeout)?;
        let made = options.open(boundary::channel(channel)?)?;
        *subscriber = handle(framelane_subscriber {
            observer: made.observer(),
            channel: Arc::new(c_text(made.channel())),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            epoch: AtomicU64::new(made.epoch()),
            handle: Handle::new("subscriber", made, cancel),
        });
        Ok(())
    })
}

/// Detaches from the channel. Frames that were received stay valid.
///
/// Ends the waiting calls of other threads with FRAMELANE_ERROR_CHANNEL_CLOSED within half a second, and
/// waits for their end. Later calls fail with FRAMELANE_ERROR_CHANNEL_CLOSED. The subscriber must still be
/// freed. Returns at once in the check of its cancel token: the waiting call then detaches when it ends. Must
/// not be called in a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_close(subscriber: *const framelane_subscriber) {
    value((), || share(subscriber, "subscriber").ok().map(|subscriber| subscriber.handle.close()));
}

/// Closes the subscriber like `framelane_subscriber_close`, and frees it. Its frames stay valid. No call may
/// use it afterwards. If other threads may still call it, close it first.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_free(subscriber: *mut framelane_subscriber) {
    value((), || unshare(subscriber).map(|subscriber| subscriber.handle.close()));
}

/// Waits up to `timeout_ns` for the next frame. The caller frees it, which releases its slot.
///
/// A subscriber holds at most the slots of the channel less two, at least 2 and at most 8: 4 with the default
/// of 6 slots. If the publisher dies, the call continues to wait, and receives from the next publisher of the
/// channel.
///
/// Errors: FRAMELANE_ERROR_TIMEOUT, whose message states if the publisher is dead, is idle or finds no free
/// slot, _CHANNEL_CLOSED after the last frame of a closed channel, _TOO_MANY_LEASES, _INTERRUPTED, _FORKED,
/// _DAMAGED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_recv(
    subscriber: *const framelane_subscriber,
    timeout_ns: i64,
    frame: Option<&mut MaybeUninit<*mut framelane_frame>>,
) -> *mut framelane_error {
    fallible(|| {
        let frame = given(frame, "frame")?.write(std::ptr::null_mut());
        let subscriber = share(subscriber, "subscriber")?;
        let wait = Wait::new("timeout_ns", timeout_ns)?;
        let received = subscriber.handle.call(wait.deadline, |taken| {
            let received = taken.recv_timeout(wait.left());
            subscriber.received.store(taken.received(), Ordering::Relaxed);
            subscriber.dropped.store(taken.dropped(), Ordering::Relaxed);
            subscriber.epoch.store(taken.epoch(), Ordering::Relaxed);
            received.map_err(|error| taken.explain(error, wait.timeout))
        })?;
        *frame = Box::into_raw(Box::new(framelane_frame::new(received, &subscriber.channel)));
        Ok(())
    })
}

/// Returns the channel's name. Valid until the subscriber is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_channel(subscriber: Option<&framelane_subscriber>) -> *const c_char {
    subscriber.map_or(std::ptr::null(), |subscriber| subscriber.channel.as_ptr())
}

/// Returns the number of received frames.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_received(subscriber: Option<&framelane_subscriber>) -> u64 {
    subscriber.map_or(0, |subscriber| subscriber.received.load(Ordering::Relaxed))
}

/// Returns the number of skipped frames.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_dropped(subscriber: Option<&framelane_subscriber>) -> u64 {
    subscriber.map_or(0, |subscriber| subscriber.dropped.load(Ordering::Relaxed))
}

/// Returns the epoch of the channel's present publisher on this machine. Over a link this is the epoch of the
/// link, not `framelane_frame_epoch`. Does not wait for calls of other threads.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_epoch(subscriber: *const framelane_subscriber) -> u64 {
    value(0, || {
        let subscriber = share(subscriber, "subscriber").ok()?;
        let here = subscriber.handle.peek(Subscriber::epoch);
        let seen = || (!subscriber.handle.is_closing()).then(|| subscriber.observer.epoch())?;
        Some(here.or_else(seen).unwrap_or_else(|| subscriber.epoch.load(Ordering::Relaxed)))
    })
}

/// Returns 1 while a publisher holds the channel, else 0, also after close. Makes system calls. Does not wait
/// for calls of other threads.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_publisher_alive(subscriber: *const framelane_subscriber) -> u8 {
    value(0, || {
        let subscriber = share(subscriber, "subscriber").ok()?;
        let seen = || !subscriber.handle.is_closing() && subscriber.observer.publisher_alive();
        Some(u8::from(subscriber.handle.peek(Subscriber::publisher_alive).unwrap_or_else(seen)))
    })
}
