//! State of channels, as seen by other processes: subscribers, links, leftovers of a crash.

mod doctor;
mod holders;
mod stall;

use std::path::Path;

use crate::color::Color;
use crate::descriptor;
use crate::directory::{ChannelFile, Directory, Part, check_name, compare_names};
use crate::error::{Error, ErrorKind};
use crate::files::{ControlFile, DataFile, PUBLISHER_LOCK, ReadersFile};
use crate::frame::Layout;
use crate::link::{self, LinkStatus};
use crate::os;
use crate::ring::{self, Backpressure, Delivery, Ordering::Relaxed, PINS, READERS, State};
use crate::source::{self, SourceStatus};

pub use holders::SlotHolder;
pub(crate) use holders::{describe, held_slots, holders};

pub use doctor::{Diagnosis, Leftover, Leftovers, Starved, doctor};

/// State of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelState {
    /// A publisher holds it.
    Live,
    /// Its publisher has died. A new one can take it over.
    Stale,
    /// Its publisher is closing it.
    Closed,
    /// Its files cannot be read, for this reason.
    Damaged(String),
}

impl ChannelState {
    /// Returns `live`, `stale`, `closed` or `damaged`.
    pub fn name(&self) -> &'static str {
        match self {
            ChannelState::Live => "live",
            ChannelState::Stale => "stale",
            ChannelState::Closed => "closed",
            ChannelState::Damaged(_) => "damaged",
        }
    }

    /// Returns the fault of a damaged channel.
    pub fn damage(&self) -> Option<&str> {
        match self {
            ChannelState::Damaged(fault) => Some(fault),
            _ => None,
        }
    }
}

/// Observable state of a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// The channel's name.
    pub name: String,
    /// State of the channel.
    pub state: ChannelState,
    /// The process that publishes, or did.
    pub publisher_pid: u32,
    /// Epoch of the publisher.
    pub epoch: u64,
    /// Number of the ring, which increases when the ring is replaced.
    pub generation: u64,
    /// Sequence of the newest frame.
    pub sequence: u64,
    /// Frames of this epoch without a slot, including those that a link skipped ([`LinkStatus::missed`]).
    pub dropped: u64,
    /// Slots of the ring.
    pub slots: usize,
    /// Behaviour of the publisher when no slot is free.
    pub backpressure: Backpressure,
    /// Bytes that the channel's files take up.
    pub memory_bytes: u64,
    /// Size and format of the newest frame.
    pub layout: Option<Layout>,
    /// Its colour.
    pub color: Color,
    /// Publication time of the newest frame, on `CLOCK_MONOTONIC`.
    pub newest_published_ns: Option<u64>,
    /// Usual interval of its frames in nanoseconds: the median of those in the ring, or the duration that the
    /// publisher states for a single one. `None` if unknown.
    pub period_ns: Option<u64>,
    /// Attached subscribers.
    pub subscribers: Vec<SubscriberStatus>,
    /// Slots that subscribers hold and the publisher cannot use. The newest one does not count.
    pub held_slots: usize,
    /// The processes that hold slots, those with the most first.
    pub holders: Vec<SlotHolder>,
    /// State of the link that feeds it; `None` for a channel that is published here.
    pub link: Option<LinkStatus>,
    /// State of the live source that feeds it, such as a camera; `None` for a channel without one.
    pub source: Option<SourceStatus>,
}

/// Observable state of a subscriber, which the subscriber writes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStatus {
    /// Its record, 0 to 63.
    pub index: usize,
    /// Id of its process.
    pub pid: u32,
    /// Newest or every frame.
    pub delivery: Delivery,
    /// Sequence of the frame received last.
    pub cursor: u64,
    /// Number of frames that it holds.
    pub leases: usize,
    /// Frames received.
    pub received: u64,
    /// Frames missed.
    pub dropped: u64,
}

/// Every channel in the directory (`None`: the usual one), by name.
///
/// # Errors
/// [`ErrorKind::NotFound`] when a directory that was named does not exist;
/// [`ErrorKind::PermissionDenied`] or [`ErrorKind::SystemFailure`] when the directory cannot be read. A
/// channel that cannot be read is listed as [`ChannelState::Damaged`].
pub fn list(directory: Option<&Path>) -> Result<Vec<ChannelStatus>, Error> {
    let Some(directory) = Directory::existing(directory)? else {
        return Ok(Vec::new());
    };
    let files = directory.files()?;
    let mut names: Vec<_> =
        files.iter().filter(|file| file.part == Part::Control).map(|file| file.channel.clone()).collect();
    names.sort_by(|a, b| compare_names(a, b));
    let mut found = Vec::new();
    for name in names {
        match look(&directory, &name, &files) {
            Ok(status) => found.push(status),
            // Closed since the directory was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.is_exhaustion() => return Err(error),
            Err(error) => {
                let state = ChannelState::Damaged(error.to_string());
                found.push(ChannelStatus { state, ..empty(&name, &files) });
            }
        }
    }
    Ok(found)
}

/// One channel.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::PermissionDenied`]; [`ErrorKind::Damaged`];
/// [`ErrorKind::IncompatibleVersion`].
pub fn status(directory: Option<&Path>, channel: &str) -> Result<ChannelStatus, Error> {
    check_name(channel)?;
    let missing = || {
        let place = Directory::path_of(directory);
        let message = format!("there is no channel {channel} in {}", place.display());
        Error::new(ErrorKind::NotFound, message)
            .with_hint("see `framelane list`; both sides need the same FRAMELANE_DIR")
    };
    let Some(place) = Directory::existing(directory)? else { return Err(missing()) };
    look(&place, channel, &place.files()?)
        .map_err(|error| if error.kind() == ErrorKind::NotFound { missing() } else { error })
}

impl ChannelStatus {
    /// Returns an error if subscribers hold every slot but the newest, so that new frames are dropped.
    ///
    /// The error names the processes that hold the slots, and has a hint.
    pub fn starvation(&self) -> Option<Error> {
        let starved = self.state == ChannelState::Live && self.slots > 1 && self.held_slots + 1 >= self.slots;
        starved.then(|| all_held(&self.name, self.slots, &self.holders))
    }
}

/// The error for a ring whose slots are all held.
pub(crate) fn all_held(channel: &str, slots: usize, holders: &[SlotHolder]) -> Error {
    let held = if holders.is_empty() { "every slot is held".to_owned() } else { describe(holders) };
    let fault = format!("channel {channel} has no free slot of {slots}: {held}");
    let more = slots + holders.iter().map(|holder| holder.slots).sum::<usize>().clamp(2, 8);
    Error::new(ErrorKind::NoFreeSlot, fault).with_hint(format!(
        "release or copy frames there (`frame.copy()`, `array.copy()`), or publish with more slots (`--slots {more}`, \
         `slots={more}`)"
    ))
}

fn empty(name: &str, files: &[ChannelFile]) -> ChannelStatus {
    let own = files.iter().filter(|file| file.channel == name);
    ChannelStatus {
        name: name.to_owned(),
        state: ChannelState::Closed,
        publisher_pid: 0,
        epoch: 0,
        generation: 0,
        sequence: 0,
        dropped: 0,
        slots: 0,
        backpressure: Backpressure::Drop,
        memory_bytes: own.map(|file| os::used_bytes(&file.place)).sum(),
        layout: None,
        color: Color::default(),
        newest_published_ns: None,
        period_ns: None,
        subscribers: Vec::new(),
        held_slots: 0,
        holders: Vec::new(),
        link: None,
        source: None,
    }
}

/// `None` when there is nothing to read; an error when it is we who cannot.
pub(super) fn readable<T>(opened: Result<T, Error>) -> Result<Option<T>, Error> {
    match opened {
        Err(error) if error.is_exhaustion() => Err(error),
        opened => Ok(opened.ok()),
    }
}

pub(crate) fn look(
    directory: &Directory,
    channel: &str,
    files: &[ChannelFile],
) -> Result<ChannelStatus, Error> {
    let control = ControlFile::open(&directory.control(channel), false)?;
    let words = control.words();
    let alive = control.lock.is_locked(PUBLISHER_LOCK);
    let alive = alive.map_err(|error| Error::from_io(format!("channel {channel}"), error))?;
    let (sequence, slot) = ring::newest(words);
    let channel_id = words.channel_id.load(Relaxed);
    let mut status = ChannelStatus {
        state: match alive {
            _ if words.state_now() == State::Closed as u32 => ChannelState::Closed,
            true => ChannelState::Live,
            false => ChannelState::Stale,
        },
        publisher_pid: words.publisher_pid.load(Relaxed),
        epoch: words.epoch.load(Relaxed),
        generation: words.generation_now(),
        sequence,
        dropped: words.dropped.load(Relaxed),
        slots: words.slots.load(Relaxed) as usize,
        link: link::read(words),
        source: source::read(control.source()),
        backpressure: if words.backpressure.load(Relaxed) == Backpressure::Block as u32 {
            Backpressure::Block
        } else {
            Backpressure::Drop
        },
        ..empty(channel, files)
    };
    // Both may be removed or changed by now; then the newest frame and the readers are unknown.
    if let Some(data) = readable(DataFile::open(directory, channel, channel_id, status.generation))?
        && let Some(entry) = data.entry(slot)
        && let Ok(descriptor) = descriptor::read(entry, data.slot_bytes)
    {
        status.layout = Some(descriptor.layout);
        status.color = descriptor.info.color;
        status.newest_published_ns = Some(descriptor.published_ns);
        status.period_ns = stall::period_ns(&data, descriptor.info.duration_ns);
    }
    if let Some(readers) = readable(ReadersFile::open(&directory.readers(channel), channel_id))? {
        status.subscribers = subscribers(&readers);
        status.held_slots = held_slots(words, &readers);
        status.holders = holders(words, &readers, None);
    }
    control.check(channel)?;
    Ok(status)
}

fn subscribers(readers: &ReadersFile) -> Vec<SubscriberStatus> {
    let words = readers.words();
    (0..READERS)
        .filter(|&index| words.active.load(Relaxed) >> index & 1 == 1)
        .filter(|&index| readers.lock.is_locked(index as u64).unwrap_or(false))
        .map(|index| {
            let record = &words.records[index];
            let pins = record.pins.iter().filter(|pin| pin.load(Relaxed) != 0);
            SubscriberStatus {
                index,
                pid: record.pid.load(Relaxed),
                delivery: if record.delivery.load(Relaxed) == Delivery::Every as u32 {
                    Delivery::Every
                } else {
                    Delivery::Newest
                },
                cursor: record.cursor.load(Relaxed),
                leases: pins.count().min(PINS),
                received: record.received.load(Relaxed),
                dropped: record.dropped.load(Relaxed),
            }
        })
        .collect()
}
