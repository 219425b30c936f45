//! Leased frames.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;

use framelane::Frame;

use crate::boundary::{free, given, value};
use crate::error::{fallible, framelane_error};
use crate::format::framelane_layout;
use crate::info::{framelane_frame_id, framelane_info};

/// A frame, read where the publisher wrote it; it does not change until it is freed. May outlive its
/// subscriber.
pub struct framelane_frame {
    frame: Frame,
    layout: framelane_layout,
    info: framelane_info,
    channel: Arc<CString>,
}

impl framelane_frame {
    pub(crate) fn new(frame: Frame, channel: &Arc<CString>) -> Self {
        framelane_frame {
            layout: frame.layout().into(),
            info: framelane_info::of(frame.info()),
            channel: channel.clone(),
            frame,
        }
    }
}

/// Returns the slot. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_free(frame: Option<Box<framelane_frame>>) {
    free(frame);
}

/// The frame's bytes, of the layout's size. Mapped for reading only: writing there ends the process, unless
/// the subscriber has the option `writable`. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_data(frame: Option<&framelane_frame>) -> *const u8 {
    frame.map_or(std::ptr::null(), |frame| frame.frame.bytes().as_ptr())
}

/// The frame's bytes, to be changed: of a subscriber with the option `writable`, else NULL. Other subscribers
/// do not see the changes. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_writable_data(frame: Option<&framelane_frame>) -> *mut u8 {
    frame.and_then(|frame| frame.frame.as_mut_ptr()).unwrap_or(std::ptr::null_mut())
}

/// Size, format and planes. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_layout(frame: Option<&framelane_frame>) -> *const framelane_layout {
    frame.map_or(std::ptr::null(), |frame| &raw const frame.layout)
}

/// Times, colour, rotation; the capture time is always there. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_info(frame: Option<&framelane_frame>) -> *const framelane_info {
    frame.map_or(std::ptr::null(), |frame| &raw const frame.info)
}

/// The frame's number, from 1, as its publisher counts: the same in every process, also over links.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_sequence(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.sequence())
}

/// The life of the frame's publisher: `framelane_publisher_epoch` there, also over links.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_epoch(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.epoch())
}

/// Frames that its subscriber missed between the frame before and this one.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_dropped(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.dropped())
}

/// When it was published, in nanoseconds on this machine's CLOCK_MONOTONIC.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_published_ns(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.published_ns())
}

/// Nanoseconds since it was published.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_age_ns(frame: Option<&framelane_frame>) -> u64 {
    value(0, || Some(frame?.frame.age_ns()))
}

/// 1 when everything that was read of the frame before this call was the frame; 0 when a process that does
/// not keep to the protocol has changed it meanwhile. There is no need to ask in a directory of your own. 0
/// in a forked child: the frame is the parent's, and changes once the parent frees it. Copy a frame before a
/// fork.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_is_intact(frame: Option<&framelane_frame>) -> u8 {
    value(0, || Some(u8::from(frame?.frame.is_intact())))
}

/// Writes the id of this frame, for detections. `id->channel` is valid until the frame is freed.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_get_id(
    frame: Option<&framelane_frame>,
    id: Option<&mut MaybeUninit<framelane_frame_id>>,
) -> *mut framelane_error {
    fallible(|| {
        let id = given(id, "id")?;
        let frame = given(frame, "frame")?;
        id.write(framelane_frame_id::of(&frame.frame.id(), frame.channel.as_ptr()));
        Ok(())
    })
}

/// The channel's name. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_channel(frame: Option<&framelane_frame>) -> *const c_char {
    frame.map_or(std::ptr::null(), |frame| frame.channel.as_ptr())
}
