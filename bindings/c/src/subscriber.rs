//! Receiving in C.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use framelane::Subscriber;

use crate::boundary::{c_text, fallible, free, given, lock, text, timeout, value};
use crate::error::framelane_error;
use crate::frame::framelane_frame;
use crate::options::{self, KeepWaiting, framelane_subscriber_options};

/// One that receives a channel's frames; up to 64 on a channel.
pub struct framelane_subscriber {
    subscriber: Mutex<Subscriber>,
    /// Shared with its frames.
    channel: Arc<CString>,
    keep: KeepWaiting,
    received: AtomicU64,
    dropped: AtomicU64,
}

/// Waits up to `timeout_ns` for the channel and subscribes. `options` may be NULL.
///
/// `channel` is a name, or the URL of a channel on another machine, as in "tls://camera:7420/cam0?fingerprint=sha256:...".
///
/// Errors: FRAMELANE_ERROR_NOT_FOUND when there is no channel with a live publisher in time; _INVALID_NAME,
/// _INVALID_OPTION, _PERMISSION, _LAYOUT_VERSION, _DAMAGED, _TOO_MANY_SUBSCRIBERS, _INTERRUPTED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_open(
    channel: *const c_char,
    options: *const framelane_subscriber_options,
    timeout_ns: i64,
    subscriber: Option<&mut MaybeUninit<*mut framelane_subscriber>>,
) -> *mut framelane_error {
    fallible(|| {
        let subscriber = given(subscriber, "subscriber")?.write(std::ptr::null_mut());
        let (options, keep) = options::subscriber(options, timeout(timeout_ns))?;
        let made = options.open_while(text(channel, "channel")?, &mut || keep.ask())?;
        *subscriber = Box::into_raw(Box::new(framelane_subscriber {
            channel: Arc::new(c_text(made.channel())),
            subscriber: Mutex::new(made),
            keep,
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }));
        Ok(())
    })
}

/// Frees the subscriber. Its frames stay valid.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_free(subscriber: Option<Box<framelane_subscriber>>) {
    free(subscriber);
}

/// Waits up to `timeout_ns` for a frame that has not been received yet; the caller frees it, which gives the slot back.
///
/// A subscriber holds at most the slots of the channel less two, at least 2 and at most 8: 4 with the default of 6 slots.
/// When the publisher dies, waiting goes on: a new one on the same channel is picked up by itself.
///
/// Errors: FRAMELANE_ERROR_TIMEOUT, which says whether the publisher is alive, idle or finds no free slot; _CLOSED when
/// the publisher has closed the channel and nothing is left; _TOO_MANY_LEASES; _INTERRUPTED; _FORKED; _DAMAGED.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_recv(
    subscriber: Option<&framelane_subscriber>,
    timeout_ns: i64,
    frame: Option<&mut MaybeUninit<*mut framelane_frame>>,
) -> *mut framelane_error {
    fallible(|| {
        let frame = given(frame, "frame")?.write(std::ptr::null_mut());
        let subscriber = given(subscriber, "subscriber")?;
        let mut taken = lock(&subscriber.subscriber);
        let received = taken.recv_while(timeout(timeout_ns), &mut || subscriber.keep.ask());
        subscriber.received.store(taken.received(), Ordering::Relaxed);
        subscriber.dropped.store(taken.dropped(), Ordering::Relaxed);
        let received = received.map_err(|error| taken.explain(error, timeout(timeout_ns)))?;
        *frame = Box::into_raw(Box::new(framelane_frame::new(received, &subscriber.channel)));
        Ok(())
    })
}

/// The channel's name. Valid until the subscriber is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_channel(subscriber: Option<&framelane_subscriber>) -> *const c_char {
    subscriber.map_or(std::ptr::null(), |subscriber| subscriber.channel.as_ptr())
}

/// Frames received so far.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_received(subscriber: Option<&framelane_subscriber>) -> u64 {
    subscriber.map_or(0, |subscriber| subscriber.received.load(Ordering::Relaxed))
}

/// Frames skipped so far, by their numbers.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_dropped(subscriber: Option<&framelane_subscriber>) -> u64 {
    subscriber.map_or(0, |subscriber| subscriber.dropped.load(Ordering::Relaxed))
}

/// The epoch of the channel's present publisher on this machine. Over a link that is the link's, not
/// `framelane_frame_epoch`. Waits for a call that another thread is in.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_epoch(subscriber: Option<&framelane_subscriber>) -> u64 {
    value(0, || Some(lock(&subscriber?.subscriber).epoch()))
}

/// 1 when a publisher holds the channel now, else 0. Makes a system call; waits for a call that another thread is in.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_subscriber_publisher_alive(subscriber: Option<&framelane_subscriber>) -> u8 {
    value(0, || Some(u8::from(lock(&subscriber?.subscriber).publisher_alive())))
}
