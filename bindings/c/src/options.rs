//! Options, in structs that begin with their size.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use framelane::{
    Backpressure, CancelToken, Delivery, Error, ErrorKind, PublisherOptions, SubscriberOptions, Urls,
};

use crate::boundary::path;
use crate::cancel::{self, framelane_cancel_token};

/// When every slot is in use, a new frame is dropped and counted.
pub const FRAMELANE_BACKPRESSURE_DROP: u32 = 0;
/// When every slot is in use, the publisher blocks. It never overwrites a frame that a reader of every frame
/// has not received.
pub const FRAMELANE_BACKPRESSURE_BLOCK: u32 = 1;
/// The newest frame. Older frames are skipped and counted.
pub const FRAMELANE_DELIVERY_NEWEST: u32 = 0;
/// Every frame, in order.
pub const FRAMELANE_DELIVERY_EVERY: u32 = 1;

/// URLs without options that weaken the link, name files with secrets or raise a limit (`insecure`,
/// `token-file`, `certificate`, `server-uid`, and `max-bytes`, `max-memory` and `max-pixels` above their
/// defaults).
pub const FRAMELANE_URLS_SAFE: u32 = 0;
/// URLs with every option: for URLs that the program or its user wrote.
pub const FRAMELANE_URLS_TRUSTED: u32 = 1;
/// No URLs, only the names of channels of this machine: for names from elsewhere.
pub const FRAMELANE_URLS_REFUSE: u32 = 2;

/// Options of a publisher. Initialise them with `FRAMELANE_PUBLISHER_OPTIONS_INIT`. 0 and NULL mean default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_publisher_options {
    /// sizeof(framelane_publisher_options).
    pub size: usize,
    /// The directory of the channel's files; NULL: $FRAMELANE_DIR, else /dev/shm/framelane-UID.
    pub directory: *const c_char,
    /// Frames that the ring holds, 2 to 128; 0: 6 (32 for detections). At least 2 more than all readers lease
    /// at once.
    pub slots: u32,
    /// FRAMELANE_BACKPRESSURE_DROP or FRAMELANE_BACKPRESSURE_BLOCK.
    pub backpressure: u32,
    /// Permissions of the files as for chmod; 0: 0600.
    pub permissions: u32,
    /// The URLs that are accepted instead of a name: FRAMELANE_URLS_SAFE, FRAMELANE_URLS_TRUSTED or
    /// FRAMELANE_URLS_REFUSE.
    pub urls: u32,
    /// Minimum size of a slot, so that frames up to this size need no new ring.
    pub frame_bytes: u64,
    /// Cancels waits of the handle, or NULL. Read during this call: the token may be freed afterwards.
    pub cancel: *const framelane_cancel_token,
}

/// Options of a subscriber. Initialise them with `FRAMELANE_SUBSCRIBER_OPTIONS_INIT`. 0 and NULL mean
/// default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_subscriber_options {
    /// sizeof(framelane_subscriber_options).
    pub size: usize,
    /// The directory of the channel's files, as for the publisher.
    pub directory: *const c_char,
    /// FRAMELANE_DELIVERY_NEWEST or FRAMELANE_DELIVERY_EVERY. Detections are always received in order, every
    /// one of them.
    pub delivery: u32,
    /// The same as for the publisher.
    pub urls: u32,
    /// Time to poll for a frame before sleeping, in nanoseconds. Saves the wake-up, and occupies a core.
    pub spin_ns: u64,
    /// Cancels waits of the handle, or NULL. Read during this call: the token may be freed afterwards.
    pub cancel: *const framelane_cancel_token,
    /// 1: when the publisher closes the channel, receive calls wait for it to be published again, instead of
    /// ending with FRAMELANE_ERROR_CHANNEL_CLOSED. 0: they end.
    pub reconnect: u32,
    /// 1: copy each frame into memory of this process, where `framelane_frame_writable_data` may change it.
    /// Other subscribers do not see the changes, and the frame occupies no slot. 0: frames are read where
    /// they were published.
    pub writable: u32,
}

/// A struct of numbers and pointers that begins with its size: every pattern of bits is a value.
///
/// # Safety
/// That it is so; the first field is `size: usize`, and the struct is `repr(C)`.
pub(crate) unsafe trait SizedStruct: Copy {}

// SAFETY: numbers and pointers; the size comes first.
unsafe impl SizedStruct for framelane_publisher_options {}
// SAFETY: as above.
unsafe impl SizedStruct for framelane_subscriber_options {}

/// Reads a struct of the caller's size: fields that it does not have are 0; ones that only a later version
/// knows must be.
pub(crate) fn read_sized<T: SizedStruct>(from: *const T, name: &str) -> Result<Option<T>, Error> {
    if from.is_null() {
        return Ok(None);
    }
    let size_at = from.cast::<usize>();
    // SAFETY: by the contract of this crate a struct that begins with its size.
    let size = unsafe { size_at.read() };
    if size < size_of::<usize>() || size > 1 << 16 {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("{name}: expected its size in bytes in `size`, found {size}"),
        )
        .with_hint("begin with the _INIT macro of the struct"));
    }
    let bytes = from.cast::<u8>();
    let mut value = MaybeUninit::<T>::zeroed();
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's struct has `size` bytes, `value` has `size_of::<T>()`; `known` is within both.
    unsafe { std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast::<u8>(), known) };
    for at in known..size {
        // SAFETY: within the caller's struct.
        let byte = unsafe { bytes.add(at) };
        // SAFETY: as above.
        if unsafe { byte.read() } != 0 {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("{name}: it sets something at byte {at}, this library knows {known} bytes"),
            )
            .with_hint("use a library that is as new as the header"));
        }
    }
    // SAFETY: all bytes are initialised, and `T: SizedStruct` says that every pattern of bits is a value.
    Ok(Some(unsafe { value.assume_init() }))
}

/// The options of a publisher, with a token that `close` cancels too.
pub(crate) fn publisher(
    options: *const framelane_publisher_options,
    slots: usize,
) -> Result<(PublisherOptions, CancelToken), Error> {
    framelane_net::register_url_schemes();
    let made = PublisherOptions::new().slots(slots);
    let Some(given) = read_sized(options, "options")? else {
        let closing = CancelToken::new();
        return Ok((made.cancel(closing.clone()), closing));
    };
    let backpressure = match given.backpressure {
        FRAMELANE_BACKPRESSURE_DROP => Backpressure::Drop,
        FRAMELANE_BACKPRESSURE_BLOCK => Backpressure::Block,
        other => {
            return Err(unknown(
                "backpressure",
                "FRAMELANE_BACKPRESSURE_DROP or FRAMELANE_BACKPRESSURE_BLOCK",
                other,
            ));
        }
    };
    let mut made = made
        .backpressure(backpressure)
        .urls(urls(given.urls)?)
        .frame_bytes(usize::try_from(given.frame_bytes).unwrap_or(usize::MAX));
    if given.slots != 0 {
        made = made.slots(given.slots as usize);
    }
    if given.permissions != 0 {
        made = made.permissions(given.permissions);
    }
    if let Some(directory) = path(given.directory)? {
        made = made.directory(directory);
    }
    let closing = CancelToken::any([cancel::token(given.cancel)?]);
    Ok((made.cancel(closing.clone()), closing))
}

/// The options of a subscriber, with a token that `close` cancels too.
pub(crate) fn subscriber(
    options: *const framelane_subscriber_options,
    open_timeout: Option<Duration>,
) -> Result<(SubscriberOptions, CancelToken), Error> {
    framelane_net::register_url_schemes();
    let made = SubscriberOptions::new().open_timeout(open_timeout);
    let Some(given) = read_sized(options, "options")? else {
        let closing = CancelToken::new();
        return Ok((made.cancel(closing.clone()), closing));
    };
    let delivery = match given.delivery {
        FRAMELANE_DELIVERY_NEWEST => Delivery::Newest,
        FRAMELANE_DELIVERY_EVERY => Delivery::Every,
        other => {
            return Err(unknown("delivery", "FRAMELANE_DELIVERY_NEWEST or FRAMELANE_DELIVERY_EVERY", other));
        }
    };
    if i64::try_from(given.spin_ns).is_err() {
        let fault = format!("spin_ns: expected nanoseconds up to INT64_MAX, found {}", given.spin_ns);
        return Err(Error::new(ErrorKind::InvalidOption, fault));
    }
    let mut made = made
        .delivery(delivery)
        .spin(Duration::from_nanos(given.spin_ns))
        .reconnect(flag("reconnect", given.reconnect)?)
        .writable(flag("writable", given.writable)?)
        .urls(urls(given.urls)?);
    if let Some(directory) = path(given.directory)? {
        made = made.directory(directory);
    }
    let closing = CancelToken::any([cancel::token(given.cancel)?]);
    Ok((made.cancel(closing.clone()), closing))
}

/// A field that is 0 or 1.
pub(crate) fn flag(name: &str, value: u32) -> Result<bool, Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unknown(name, "0 or 1", other)),
    }
}

fn urls(given: u32) -> Result<Urls, Error> {
    match given {
        FRAMELANE_URLS_SAFE => Ok(Urls::Safe),
        FRAMELANE_URLS_TRUSTED => Ok(Urls::Trusted),
        FRAMELANE_URLS_REFUSE => Ok(Urls::Refuse),
        other => Err(unknown("urls", "one of the FRAMELANE_URLS_ constants", other)),
    }
}

fn unknown(name: &str, expected: &str, found: u32) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("{name}: expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Later {
        known: framelane_subscriber_options,
        added: u64,
    }

    fn none() -> framelane_subscriber_options {
        framelane_subscriber_options {
            size: size_of::<framelane_subscriber_options>(),
            directory: std::ptr::null(),
            delivery: FRAMELANE_DELIVERY_EVERY,
            urls: FRAMELANE_URLS_SAFE,
            spin_ns: 5,
            cancel: std::ptr::null(),
            reconnect: 0,
            writable: 0,
        }
    }

    #[test]
    fn struct_of_an_earlier_version_keeps_the_other_defaults() {
        let mut options = none();
        options.size = std::mem::offset_of!(framelane_subscriber_options, spin_ns);
        let read = read_sized(&raw const options, "options").unwrap().unwrap();
        assert_eq!((read.delivery, read.spin_ns), (FRAMELANE_DELIVERY_EVERY, 0));
    }

    #[test]
    fn unknown_fields_of_a_later_struct_are_refused() {
        let mut later = Later { known: none(), added: 0 };
        later.known.size = size_of::<Later>();
        assert!(read_sized((&raw const later).cast::<framelane_subscriber_options>(), "options").is_ok());
        later.added = 1;
        let error = read_sized((&raw const later).cast::<framelane_subscriber_options>(), "options");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidOption);
    }

    #[test]
    fn a_struct_without_a_size_is_refused() {
        for size in [0, 7, usize::MAX] {
            let mut options = none();
            options.size = size;
            assert!(read_sized(&raw const options, "options").is_err());
        }
    }
}
