//! Leased frames.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::Arc;

use framelane::Frame;

use crate::boundary::{free, given, value};
use crate::error::{fallible, framelane_error};
use crate::format::framelane_layout;
use crate::info::{framelane_frame_id, framelane_info};

/// A frame, read where the publisher wrote it. It does not change until it is freed. May outlive its
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

/// The frame's bytes, of the layout's size. Mapped read-only: a write ends the process, unless
/// the subscriber has the option `writable`. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_data(frame: Option<&framelane_frame>) -> *const u8 {
    frame.map_or(std::ptr::null(), |frame| frame.frame.bytes().as_ptr())
}

/// The frame's bytes, writable: of a subscriber with the option `writable`, else NULL. Other subscribers
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

/// Times, colour and rotation. The capture time is always set. Valid until the frame is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_info(frame: Option<&framelane_frame>) -> *const framelane_info {
    frame.map_or(std::ptr::null(), |frame| &raw const frame.info)
}

/// Sequence of the frame at its publisher, from 1. The same in every process, also over links.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_sequence(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.sequence())
}

/// Epoch of the frame's publisher: `framelane_publisher_epoch` there, also over links.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_epoch(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.epoch())
}

/// Frames that the subscriber missed between the previous frame and this one.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_dropped(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.dropped())
}

/// Publication time, in nanoseconds on this machine's CLOCK_MONOTONIC.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_published_ns(frame: Option<&framelane_frame>) -> u64 {
    frame.map_or(0, |frame| frame.frame.published_ns())
}

/// Nanoseconds since the publication.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_frame_age_ns(frame: Option<&framelane_frame>) -> u64 {
    value(0, || Some(frame?.frame.age_ns()))
}

/// Returns 1 if all bytes read before this call were those of the frame, and 0 if a process that violates the
/// protocol has changed them. No check is necessary in a directory that is not shared with other users. 0 in
/// a forked child: the frame belongs to the parent, and changes when the parent frees it. Copy a frame before
/// a fork.
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
