//! Channels in JSON, for `framelane list`, `info`, `top` and the dashboard.

use std::path::Path;

use framelane::{
    ChannelState, ChannelStatus, Color, Error, ErrorKind, Layout, LinkStatus, SlotHolder, SourceStatus,
    SubscriberStatus,
};
use serde::Serialize;

/// All channels of a directory.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Path of the directory.
    pub directory: String,
    /// The channels, by name.
    pub channels: Vec<ChannelReport>,
}

impl Report {
    /// Describes the channels of a directory (`None`: the default one). Makes some system calls for each
    /// channel.
    ///
    /// # Errors
    /// As [`framelane::list`].
    pub fn of(directory: Option<&Path>) -> Result<Self, Error> {
        Ok(Report {
            directory: framelane::directory(directory).display().to_string(),
            channels: channels(directory)?,
        })
    }
}

/// Describes the channels of a directory (`None`: the default one), by name.
///
/// # Errors
/// As [`framelane::list`].
pub fn channels(directory: Option<&Path>) -> Result<Vec<ChannelReport>, Error> {
    let report = |status: &ChannelStatus| {
        let report = ChannelReport::new(status);
        match is_denied(directory, status) {
            true => ChannelReport { state: "no_access", ..report },
            false => report,
        }
    };
    Ok(framelane::list(directory)?.iter().map(report).collect())
}

/// True if the system denies access to a channel that may be healthy. [`framelane::list`] reports both as
/// damage, in words only.
fn is_denied(directory: Option<&Path>, status: &ChannelStatus) -> bool {
    matches!(status.state, ChannelState::Damaged(_))
        && framelane::status(directory, &status.name)
            .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// A channel.
#[derive(Debug, Serialize)]
pub struct ChannelReport {
    /// The name.
    pub name: String,
    /// `live`, `stale`, `closed`, `damaged` or `no_access`.
    pub state: &'static str,
    /// Fault of a channel that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Process of the publisher.
    pub publisher_pid: u32,
    /// Epoch of the publisher.
    pub epoch: u64,
    /// Generation of the ring.
    pub generation: u64,
    /// Sequence of the newest frame.
    pub sequence: u64,
    /// Frames with a number and without a slot, and frames that a link skipped.
    pub dropped: u64,
    /// Slots.
    pub slots: usize,
    /// `drop` or `block`.
    pub backpressure: &'static str,
    /// Memory of the files of the channel.
    pub memory_bytes: u64,
    /// Size and format of the newest frame.
    pub layout: Option<LayoutReport>,
    /// Colour of the newest frame.
    pub color: ColorReport,
    /// Time of its publication, on `CLOCK_MONOTONIC`.
    pub newest_published_ns: Option<u64>,
    /// Time since its publication.
    pub newest_age_ns: Option<u64>,
    /// Usual interval of frames. `null` if unknown.
    pub period_ns: Option<u64>,
    /// Time since the newest frame of a stalled channel: its publisher lives and has published no frame for
    /// five periods and a second. `null` for other channels.
    pub stalled_ns: Option<u64>,
    /// The subscribers.
    pub subscribers: Vec<SubscriberReport>,
    /// Slots that subscribers hold, without the newest frame.
    pub held_slots: usize,
    /// The processes that hold slots, those with the most first.
    pub holders: Vec<HolderReport>,
    /// State of the link that feeds it. `null` for a channel of this machine.
    pub link: Option<LinkReport>,
    /// State of the live source that feeds it; `null` for a channel without one.
    pub source: Option<SourceReport>,
}

/// A process that holds slots.
#[derive(Debug, Serialize)]
pub struct HolderReport {
    /// Process.
    pub pid: u32,
    /// `null` where the system does not show it.
    pub name: Option<String>,
    /// Slots.
    pub slots: usize,
}

impl ChannelReport {
    /// Describes a channel now.
    pub fn new(status: &ChannelStatus) -> Self {
        ChannelReport {
            name: status.name.clone(),
            state: status.state.name(),
            damage: status.state.damage().map(str::to_owned),
            publisher_pid: status.publisher_pid,
            epoch: status.epoch,
            generation: status.generation,
            sequence: status.sequence,
            dropped: status.dropped,
            slots: status.slots,
            backpressure: status.backpressure.name(),
            memory_bytes: status.memory_bytes,
            layout: status.layout.as_ref().map(LayoutReport::new),
            color: ColorReport::new(status.color),
            newest_published_ns: status.newest_published_ns,
            newest_age_ns: status
                .newest_published_ns
                .map(|published| monotonic_ns().saturating_sub(published)),
            period_ns: status.period_ns,
            stalled_ns: status
                .stalled_for()
                .map(|stalled| u64::try_from(stalled.as_nanos()).unwrap_or(u64::MAX)),
            subscribers: status.subscribers.iter().map(SubscriberReport::new).collect(),
            held_slots: status.held_slots,
            holders: status.holders.iter().map(HolderReport::new).collect(),
            link: status.link.as_ref().map(LinkReport::new),
            source: status.source.as_ref().map(SourceReport::new),
        }
    }
}

impl ChannelReport {
    /// Frames that found no free slot.
    pub fn without_slot(&self) -> u64 {
        // The two counts are not read at once.
        self.dropped.saturating_sub(self.link.as_ref().map_or(0, |link| link.missed))
    }

    /// Returns the state for people: `stalled` for a live channel without new frames.
    pub fn shown_state(&self) -> String {
        match self.stalled_ns {
            Some(_) => "stalled".to_owned(),
            None => self.state.replace('_', " "),
        }
    }

    /// True if subscribers hold every slot but the newest: new frames find none.
    pub fn is_starved(&self) -> bool {
        self.state == "live" && self.slots > 1 && self.held_slots + 1 >= self.slots
    }
}

/// The layout of a frame.
#[derive(Clone, Debug, Serialize)]
pub struct LayoutReport {
    /// Name of the pixel format.
    pub format: String,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes of the payload.
    pub size_bytes: usize,
    /// The planes.
    pub planes: Vec<PlaneReport>,
}

/// A plane.
#[derive(Clone, Debug, Serialize)]
pub struct PlaneReport {
    /// Offset of the first row.
    pub offset_bytes: usize,
    /// Bytes from row to row.
    pub stride_bytes: usize,
}

impl LayoutReport {
    /// Describes the value.
    pub fn new(layout: &Layout) -> Self {
        let plane = |plane: &framelane::Plane| PlaneReport {
            offset_bytes: plane.offset_bytes,
            stride_bytes: plane.stride_bytes,
        };
        LayoutReport {
            format: layout.format().name().into_owned(),
            width: layout.width(),
            height: layout.height(),
            size_bytes: layout.size_bytes(),
            planes: layout.planes().iter().map(plane).collect(),
        }
    }
}

/// Colour in the code points of ITU-T H.273, 2 being "unspecified".
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ColorReport {
    /// Code point of the matrix.
    pub matrix: u8,
    /// Its name.
    pub matrix_name: &'static str,
    /// Code point of the primaries.
    pub primaries: u8,
    /// Their name.
    pub primaries_name: &'static str,
    /// Code point of the transfer function.
    pub transfer: u8,
    /// Its name.
    pub transfer_name: &'static str,
    /// `limited`, `full` or `unspecified`.
    pub range: &'static str,
    /// The colour itself.
    #[serde(skip)]
    pub color: Color,
}

impl ColorReport {
    /// Describes the value.
    pub fn new(color: Color) -> Self {
        ColorReport {
            matrix: color.matrix,
            matrix_name: color.matrix_name(),
            primaries: color.primaries,
            primaries_name: color.primaries_name(),
            transfer: color.transfer,
            transfer_name: color.transfer_name(),
            range: color.range.name(),
            color,
        }
    }
}

/// A subscriber.
#[derive(Debug, Serialize)]
pub struct SubscriberReport {
    /// Record, 0 to 63.
    pub index: usize,
    /// Process.
    pub pid: u32,
    /// `newest` or `every`.
    pub delivery: &'static str,
    /// The sequence of the frame received last.
    pub cursor: u64,
    /// Frames that it holds.
    pub leases: usize,
    /// Frames received.
    pub received: u64,
    /// Frames missed.
    pub dropped: u64,
}

impl HolderReport {
    fn new(holder: &SlotHolder) -> Self {
        HolderReport { pid: holder.pid, name: holder.name.clone(), slots: holder.slots }
    }
}

impl SubscriberReport {
    fn new(status: &SubscriberStatus) -> Self {
        SubscriberReport {
            index: status.index,
            pid: status.pid,
            delivery: status.delivery.name(),
            cursor: status.cursor,
            leases: status.leases,
            received: status.received,
            dropped: status.dropped,
        }
    }
}

/// The link that feeds a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// Address of the peer.
    pub peer: String,
    /// True if it is connected.
    pub connected: bool,
    /// True if the channel has a publisher there. False while it is not connected.
    pub live: bool,
    /// Connections so far.
    pub connections: u32,
    /// Lead of the other machine's clock. Negative if it is behind.
    pub clock_offset_ns: i64,
    /// Shortest recent round trip. 0 before the first measurement.
    pub round_trip_ns: u64,
    /// Time from the capture of the newest frame to its publication here. 0 if unknown.
    pub latency_ns: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// Frames that the link skipped.
    pub missed: u64,
}

impl LinkReport {
    fn new(status: &LinkStatus) -> Self {
        LinkReport {
            peer: status.peer.clone(),
            connected: status.connected,
            live: status.live,
            connections: status.connections,
            clock_offset_ns: status.clock_offset_ns,
            round_trip_ns: status.round_trip_ns,
            latency_ns: status.latency_ns,
            received_bytes: status.received_bytes,
            missed: status.missed,
        }
    }
}

/// The live source that feeds a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Name of the source, without secrets.
    pub name: String,
    /// `receiving` or `reconnecting`.
    pub state: &'static str,
    /// Time since the last change of the state.
    pub since_ns: u64,
    /// Connections so far.
    pub connections: u32,
    /// Cause of the last loss; `null` before the first.
    pub reason: Option<String>,
}

impl SourceReport {
    fn new(status: &SourceStatus) -> Self {
        SourceReport {
            name: status.name.clone(),
            state: if status.receiving { "receiving" } else { "reconnecting" },
            since_ns: monotonic_ns().saturating_sub(status.since_ns),
            connections: status.connections,
            reason: Some(status.reason.clone()).filter(|reason| !reason.is_empty()),
        }
    }

    /// Returns whether frames arrive.
    pub fn is_receiving(&self) -> bool {
        self.state == "receiving"
    }
}

/// `CLOCK_MONOTONIC`, the clock of [`ChannelStatus::newest_published_ns`].
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
