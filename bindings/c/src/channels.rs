//! Which channels there are.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use framelane::ChannelState;

use crate::boundary::{c_text, free, given, path};
use crate::error::{fallible, framelane_error};

/// A publisher holds the channel.
pub const FRAMELANE_CHANNEL_LIVE: u32 = 0;
/// Its publisher has died; a new one can take it over.
pub const FRAMELANE_CHANNEL_STALE: u32 = 1;
/// Its publisher is closing it.
pub const FRAMELANE_CHANNEL_CLOSED: u32 = 2;
/// Its files cannot be read.
pub const FRAMELANE_CHANNEL_DAMAGED: u32 = 3;

/// What can be seen of a channel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_channel {
    /// Its name. Valid until the list is freed.
    pub name: *const c_char,
    /// FRAMELANE_CHANNEL_LIVE, _STALE, _CLOSED or _DAMAGED.
    pub state: u32,
    /// The process that publishes, or did.
    pub publisher_pid: u32,
    /// The newest frame's number.
    pub sequence: u64,
    /// Frames that got no slot.
    pub dropped: u64,
    /// Bytes that the channel's files take up.
    pub memory_bytes: u64,
    /// Format of the newest frame; 0 when there is none.
    pub format: u32,
    /// Its pixels in a row.
    pub width: u32,
    /// Its rows.
    pub height: u32,
    /// How many subscribers read it.
    pub subscribers: u32,
}

/// The channels of a directory, as they were when the list was made.
pub struct framelane_channels {
    channels: Vec<framelane_channel>,
    /// What the names point to.
    _names: Vec<CString>,
}

/// Lists the channels of a directory by name; NULL: the usual directory. The caller frees the list.
///
/// Errors: FRAMELANE_ERROR_NOT_FOUND when a directory that was named does not exist; _PERMISSION_DENIED;
/// _SYSTEM_FAILURE.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_list(
    directory: *const c_char,
    channels: Option<&mut MaybeUninit<*mut framelane_channels>>,
) -> *mut framelane_error {
    fallible(|| {
        let channels = given(channels, "channels")?.write(std::ptr::null_mut());
        let found = framelane::list(path(directory)?)?;
        let names: Vec<_> = found.iter().map(|status| c_text(&status.name)).collect();
        let entries = found.iter().zip(&names).map(|(status, name)| framelane_channel {
            name: name.as_ptr(),
            state: match status.state {
                ChannelState::Live => FRAMELANE_CHANNEL_LIVE,
                ChannelState::Stale => FRAMELANE_CHANNEL_STALE,
                ChannelState::Closed => FRAMELANE_CHANNEL_CLOSED,
                ChannelState::Damaged(_) => FRAMELANE_CHANNEL_DAMAGED,
            },
            publisher_pid: status.publisher_pid,
            sequence: status.sequence,
            dropped: status.dropped,
            memory_bytes: status.memory_bytes,
            format: status.layout.as_ref().map_or(0, |layout| layout.format().code()),
            width: status.layout.as_ref().map_or(0, |layout| layout.width()),
            height: status.layout.as_ref().map_or(0, |layout| layout.height()),
            subscribers: status.subscribers.len() as u32,
        });
        let entries = entries.collect();
        *channels = Box::into_raw(Box::new(framelane_channels { channels: entries, _names: names }));
        Ok(())
    })
}

/// How many channels the list has.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_count(channels: Option<&framelane_channels>) -> usize {
    channels.map_or(0, |channels| channels.channels.len())
}

/// One of them, or NULL from the count on. Valid until the list is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_get(
    channels: Option<&framelane_channels>,
    index: usize,
) -> *const framelane_channel {
    let channel = channels.and_then(|channels| channels.channels.get(index));
    channel.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Frees a list.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_free(channels: Option<Box<framelane_channels>>) {
    free(channels);
}
