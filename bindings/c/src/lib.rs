//! The C interface of framelane: `include/framelane.h` is made from this crate and committed.
//!
//! # Conventions
//!
//! - The name of a function starts with its type: `framelane_publisher_send`.
//! - A handle is a pointer to an opaque type. The caller that receives a handle frees it, with the type's
//!   `_free`. Freeing NULL does nothing. A frame, a loan or a batch may outlive the handle that returned it.
//! - A function that can fail returns a `framelane_error *`: NULL after success, else an error that the
//!   caller frees. After an error, its output parameters are NULL or unchanged.
//! - NULL for a required pointer is an error of code `FRAMELANE_ERROR_INVALID_OPTION`. Functions that return
//!   a value return 0 or NULL for it.
//! - Structs of options start with their size, so that they can grow. Initialise them with the `_INIT` macro.
//!   Zero means default.
//! - Constants are macros, and their types are integers of a fixed width.
//! - Timeouts are in nanoseconds. `FRAMELANE_FOREVER` waits without limit, 0 does not wait. Other negative
//!   values are errors.
//! - Text is UTF-8 and ends with a NUL. Directories are any bytes. Text and pixels that a function returns
//!   belong to its handle. A NUL inside a text of another process becomes U+2400.
//! - Handles may be used from any thread. Calls on one handle are serialised. A `_close` function ends the
//!   calls that wait. `_free` does so too, and no call of the handle may begin afterwards.
//! - Calls on a handle from the check of that handle's cancel token are errors of code
//!   `FRAMELANE_ERROR_MISUSE`. Signal handlers must not call the library, except
//!   `framelane_cancel_token_cancel`.
//! - No panic crosses the boundary: it becomes an error of code `FRAMELANE_ERROR_INTERNAL_FAILURE`.
//!
//! # Numbers
//!
//! Numbers of callers, and their checks before they are used as another type:
//!
//! | number | accepted | otherwise |
//! |---|---|---|
//! | `timeout_ns`, `open_timeout_ns` (`i64`) | `FRAMELANE_FOREVER`, 0 to `INT64_MAX` | `INVALID_OPTION` |
//! | `spin_ns` | 0 to `INT64_MAX` | `INVALID_OPTION` |
//! | `slots`, `permissions` | 0, 2 to 128; 0, 0600 to 0777 with 0600 set | `INVALID_OPTION` |
//! | `frame_bytes`, `size_bytes` of a layout | 0 to 4 GiB | `FRAME_TOO_LARGE` |
//! | `backpressure`, `delivery`, `urls`, `reconnect`, `writable` | their constants | `INVALID_OPTION` |
//! | `range`, `keyframe`, `rotation_degrees` | their constants | `INVALID_OPTION` |
//! | `format` | the constants, `framelane_format_matrix` | `INVALID_FRAME` |
//! | `depth`, `channels` of `framelane_format_matrix` | 0 to 7, 1 to 512 | returns 0 |
//! | `width`, `height` | 1 to `UINT32_MAX`, the frame at most 4 GiB | `INVALID_FRAME`, `FRAME_TOO_LARGE` |
//! | `plane_count`, `offset_bytes`, `stride_bytes` of a layout | the format's; within `size_bytes` | `INVALID_FRAME` |
//! | `strides_bytes` of an image | 0, the row's length, or from it to `INT32_MAX` | `INVALID_FRAME` |
//! | `size_bytes` of a frame | the layout's to `PTRDIFF_MAX` | `INVALID_FRAME`, `INVALID_OPTION` |
//! | `count`, `label_count` | 0 to 2^24 | `FRAME_TOO_LARGE`, before the array is read |
//! | `class_id` of a label, `index` of a channel | any | returns NULL |
//! | `reserved` of an image and an info | 0 | `INVALID_OPTION` |
//! | `size` of a struct | 8 to 65536; bytes that are not known must be 0 | `INVALID_OPTION` |
//! | times, colours, ids, boxes (NaN too) | any: carried as they are | |
//!
//! # Safety
//!
//! Obligations of C, for all functions. A pointer is NULL or valid for its type. A handle comes from the
//! function that creates it, and is not freed. Text ends with a NUL, and counts are those of the arrays. No
//! other thread changes the target of a pointer during the call. References and boxes in the signatures below
//! express the same.
#![allow(missing_debug_implementations, reason = "opaque types of C")]
#![allow(non_camel_case_types, reason = "the names that C sees")]
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "only C can call these: the library has no Rust interface"
)]

mod boundary;
mod cancel;
mod channels;
mod detection;
mod error;
mod format;
mod frame;
mod handle;
mod info;
mod options;
mod publisher;
mod subscriber;

pub use boundary::FRAMELANE_FOREVER;
pub use cancel::*;
pub use channels::*;
pub use detection::*;
pub use error::*;
pub use format::*;
pub use frame::*;
pub use info::*;
pub use options::*;
pub use publisher::*;
pub use subscriber::*;

/// The version of the library, as in "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn framelane_version() -> *const std::ffi::c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
