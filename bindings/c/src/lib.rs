//! The C interface of framelane: `include/framelane.h` is made from this crate and committed.
//!
//! # Conventions
//!
//! - A function's name begins with the type that it belongs to: `framelane_publisher_send`.
//! - A handle is a pointer to a type whose inside is not shown. Who gets a handle frees it, with the type's `_free`;
//!   freeing NULL does nothing. A frame, a loan or a batch may outlive what it came from.
//! - A function that can fail gives a `framelane_error *`: NULL when all went well, else an error that the caller
//!   frees. What it would have written through its pointers is then NULL or untouched.
//! - NULL for what must not be NULL is an error of code `FRAMELANE_ERROR_INVALID_OPTION`; functions that give
//!   a value give 0 or NULL for it.
//! - Structs of options begin with their size, so that they can grow: begin with the `_INIT` macro. Zero means default.
//! - Constants are macros, and their types integers of a fixed width.
//! - Timeouts are in nanoseconds: `FRAMELANE_FOREVER` waits without limit, 0 not at all.
//! - Text is UTF-8 and ends with a NUL. Text and pixels that a function gives belong to the handle that it was asked of.
//! - Handles may be used from any thread. Calls on one handle take turns; it must not be freed while another call uses it.
//! - No panic crosses the boundary: it becomes an error of code `FRAMELANE_ERROR_INTERNAL`.
//!
//! # Safety
//!
//! What C must keep to, for all functions: a pointer is NULL or valid for what its type says (a handle: from the function
//! that makes it, and not freed), text ends with a NUL, counts are those of the arrays, and nobody else changes what
//! a pointer leads to during the call. References and boxes in the signatures below say just that.
#![allow(non_camel_case_types, reason = "the names that C sees")]
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "only C can call these: the library has no Rust interface"
)]

mod boundary;
mod channels;
mod detection;
mod error;
mod format;
mod frame;
mod info;
mod options;
mod publisher;
mod subscriber;

pub use boundary::FRAMELANE_FOREVER;
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
