//! FFmpeg's C libraries behind small owning types. The only place in this crate with `unsafe`.
//!
//! Each type owns one structure of FFmpeg, frees it once, and hands out plain Rust values. Fields that FFmpeg
//! 6, 7 or 8 removed are read through `cfg(ffmpeg_…)`, set by build.rs. Enumerations that come from a stream
//! are read as numbers, for a stream may carry a number that the enums of the bindings lack.

#[cfg(test)]
mod all_formats;
pub(crate) mod decoder;
pub(crate) mod dictionary;
pub(crate) mod encoder;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod hardware;
mod hooks;
pub(crate) mod input;
pub(crate) mod log;
pub(crate) mod open_error;
pub(crate) mod orientation;
pub(crate) mod packet_decoder;
pub(crate) mod picture;
pub(crate) mod pixel;
pub(crate) mod reach;
mod reader;
pub(crate) mod scale;
pub(crate) mod slots;
pub(crate) mod streams;
pub(crate) mod turn;

use std::sync::Once;

use ffmpeg_sys_next as ff;

/// Must run before anything else here; cheap when it has run before.
fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: registers the devices in FFmpeg's own list, once.
        unsafe { ff::avdevice_register_all() };
    });
    log::install();
}

/// A count of a time base, in nanoseconds.
pub(crate) fn to_ns(count: i64, time_base: (i64, i64)) -> i64 {
    let ns = i128::from(count) * i128::from(time_base.0) * 1_000_000_000 / i128::from(time_base.1.max(1));
    ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The version of the FFmpeg library that runs, as in `59.37.100` (libavcodec 59 is FFmpeg 5, 60 is 6, and so
/// on).
pub fn libavcodec_version() -> String {
    // SAFETY: returns a number.
    let version = unsafe { ff::avcodec_version() };
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}
