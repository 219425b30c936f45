//! Which channels there are.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use framelane::{ChannelState, Leftovers};

use crate::boundary::{c_text, free, given, path};
use crate::error::{fallible, framelane_error};
use crate::options::flag;

/// A publisher holds the channel.
pub const FRAMELANE_CHANNEL_LIVE: u32 = 0;
/// Its publisher has died. A new one can take it over.
pub const FRAMELANE_CHANNEL_STALE: u32 = 1;
/// Its publisher is closing it.
pub const FRAMELANE_CHANNEL_CLOSED: u32 = 2;
/// Its files cannot be read.
pub const FRAMELANE_CHANNEL_DAMAGED: u32 = 3;

/// State of a channel.
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
    /// Frames for which no slot was free.
    pub dropped: u64,
    /// Bytes that the channel's files take up.
    pub memory_bytes: u64,
    /// Format of the newest frame; 0 when there is none.
    pub format: u32,
    /// Its pixels in a row.
    pub width: u32,
    /// Its rows.
    pub height: u32,
    /// Number of subscribers.
    pub subscribers: u32,
    /// When the newest frame was published, in nanoseconds of CLOCK_MONOTONIC. 0 if there is none.
    pub newest_published_ns: u64,
    /// The usual interval of frames in nanoseconds: the median of those in the ring. 0 if it is unknown.
    pub period_ns: u64,
    /// Time since the newest frame in nanoseconds if the channel is stalled, else 0. A channel is stalled if
    /// its publisher lives and has published no frame for five periods and a second.
    pub stalled_ns: u64,
}

/// The state of the link that feeds a channel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_link {
    /// The address of the peer, without secrets. Valid until the list is freed.
    pub peer: *const c_char,
    /// 1 when the link is connected.
    pub connected: u32,
    /// 1 when the channel is published on the other machine; 0 while the link is not connected.
    pub live: u32,
    /// Number of connections.
    pub connections: u64,
    /// Nanoseconds that the clock of the other machine is ahead, as estimated on the link.
    pub clock_offset_ns: i64,
    /// The shortest recent round trip, in nanoseconds.
    pub round_trip_ns: u64,
    /// From the capture of the newest frame to its publication here, in nanoseconds.
    pub latency_ns: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// Frames that the link skipped.
    pub missed: u64,
}

/// The channels of a directory, as they were when the list was made.
pub struct framelane_channels {
    channels: Vec<framelane_channel>,
    links: Vec<Option<framelane_link>>,
    /// Owns the targets of the pointers.
    _texts: Vec<CString>,
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
                _ => FRAMELANE_CHANNEL_DAMAGED,
            },
            publisher_pid: status.publisher_pid,
            sequence: status.sequence,
            dropped: status.dropped,
            memory_bytes: status.memory_bytes,
            format: status.layout.as_ref().map_or(0, |layout| layout.format().code()),
            width: status.layout.as_ref().map_or(0, |layout| layout.width()),
            height: status.layout.as_ref().map_or(0, |layout| layout.height()),
            subscribers: status.subscribers.len() as u32,
            newest_published_ns: status.newest_published_ns.unwrap_or(0),
            period_ns: status.period_ns.unwrap_or(0),
            stalled_ns: status.stalled_for().map_or(0, |time| time.as_nanos() as u64),
        });
        let entries = entries.collect();
        let peers: Vec<_> =
            found.iter().map(|status| status.link.as_ref().map(|link| c_text(&link.peer))).collect();
        let links = found.iter().zip(&peers).map(|(status, peer)| {
            let (link, peer) = (status.link.as_ref()?, peer.as_ref()?);
            Some(framelane_link {
                peer: peer.as_ptr(),
                connected: link.connected.into(),
                live: link.live.into(),
                connections: link.connections.into(),
                clock_offset_ns: link.clock_offset_ns,
                round_trip_ns: link.round_trip_ns,
                latency_ns: link.latency_ns,
                received_bytes: link.received_bytes,
                missed: link.missed,
            })
        });
        let links = links.collect();
        let texts = names.into_iter().chain(peers.into_iter().flatten()).collect();
        *channels = Box::into_raw(Box::new(framelane_channels { channels: entries, links, _texts: texts }));
        Ok(())
    })
}

/// Returns the number of channels in the list.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_count(channels: Option<&framelane_channels>) -> usize {
    channels.map_or(0, |channels| channels.channels.len())
}

/// Returns one of them, or NULL from the count on. Valid until the list is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_get(
    channels: Option<&framelane_channels>,
    index: usize,
) -> *const framelane_channel {
    let channel = channels.and_then(|channels| channels.channels.get(index));
    channel.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// The state of the link that feeds one of them. NULL for a channel that is published on this machine, and
/// from the count on. Valid until the list is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_link(
    channels: Option<&framelane_channels>,
    index: usize,
) -> *const framelane_link {
    let link = channels.and_then(|channels| channels.links.get(index)?.as_ref());
    link.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Files of a channel that has no publisher.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct framelane_leftover {
    /// The channel. Valid until the diagnosis is freed.
    pub channel: *const c_char,
    /// The cause, informational. Valid until the diagnosis is freed.
    pub reason: *const c_char,
    /// Bytes that the files take up.
    pub size_bytes: u64,
    /// 1 when they were removed.
    pub removed: u32,
}

/// The result of `framelane_doctor`.
pub struct framelane_diagnosis {
    leftovers: Vec<framelane_leftover>,
    live_channels: usize,
    free_bytes: u64,
    /// Owns the targets of the pointers.
    _texts: Vec<CString>,
}

/// Looks for channels whose publisher has died and for stray files. Live channels are never touched. The
/// caller frees the diagnosis.
///
/// `directory`: NULL is the usual one. `remove`: 1 removes leftovers, 0 reports them.
///
/// Errors: FRAMELANE_ERROR_NOT_FOUND when a directory that was named does not exist; _PERMISSION_DENIED;
/// _SYSTEM_FAILURE; _INVALID_OPTION.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn framelane_doctor(
    directory: *const c_char,
    remove: u32,
    diagnosis: Option<&mut MaybeUninit<*mut framelane_diagnosis>>,
) -> *mut framelane_error {
    fallible(|| {
        let diagnosis = given(diagnosis, "diagnosis")?.write(std::ptr::null_mut());
        let leftovers = if flag("remove", remove)? { Leftovers::Remove } else { Leftovers::Report };
        let found = framelane::doctor(path(directory)?, leftovers)?;
        let mut texts = Vec::new();
        let mut kept = |text: &str| {
            texts.push(c_text(text));
            texts.last().map_or(std::ptr::null(), |text| text.as_ptr())
        };
        let leftovers = found.leftovers.iter().map(|leftover| framelane_leftover {
            channel: kept(&leftover.channel),
            reason: kept(&leftover.reason),
            size_bytes: leftover.bytes,
            removed: leftover.removed.into(),
        });
        let leftovers = leftovers.collect();
        let (live_channels, free_bytes) = (found.live_channels, found.free_bytes);
        let made = framelane_diagnosis { leftovers, live_channels, free_bytes, _texts: texts };
        *diagnosis = Box::into_raw(Box::new(made));
        Ok(())
    })
}

/// Returns the number of leftovers in the diagnosis.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_diagnosis_count(diagnosis: Option<&framelane_diagnosis>) -> usize {
    diagnosis.map_or(0, |diagnosis| diagnosis.leftovers.len())
}

/// Returns one of them, or NULL from the count on. Valid until the diagnosis is freed.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_diagnosis_get(
    diagnosis: Option<&framelane_diagnosis>,
    index: usize,
) -> *const framelane_leftover {
    let leftover = diagnosis.and_then(|diagnosis| diagnosis.leftovers.get(index));
    leftover.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Returns the number of channels with a live publisher.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_diagnosis_live_channels(diagnosis: Option<&framelane_diagnosis>) -> usize {
    diagnosis.map_or(0, |diagnosis| diagnosis.live_channels)
}

/// Free bytes of the file system of the directory.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_diagnosis_free_bytes(diagnosis: Option<&framelane_diagnosis>) -> u64 {
    diagnosis.map_or(0, |diagnosis| diagnosis.free_bytes)
}

/// Frees a diagnosis.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_diagnosis_free(diagnosis: Option<Box<framelane_diagnosis>>) {
    free(diagnosis);
}

/// Frees a list.
#[unsafe(no_mangle)]
pub extern "C" fn framelane_channels_free(channels: Option<Box<framelane_channels>>) {
    free(channels);
}
