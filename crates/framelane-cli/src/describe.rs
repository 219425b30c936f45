//! Reports of channels, layouts and colours, in JSON and as text.

use framelane::{
    ChannelState, ChannelStatus, Color, Layout, LinkStatus, SlotHolder, SourceStatus, SubscriberStatus,
};
use serde::Serialize;

use crate::latency::human_ns;
use crate::table::human_bytes;

/// A channel, for `list`, `info` and `top`.
#[derive(Debug, Serialize)]
pub struct ChannelReport {
    pub name: String,
    /// `live`, `stale`, `closed`, `damaged` or `no_access`.
    pub state: &'static str,
    /// The cause of `damaged` and `no_access`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    pub publisher_pid: u32,
    pub epoch: u64,
    pub generation: u64,
    pub sequence: u64,
    /// Frames with a number and without a slot. Includes frames that a link skipped.
    pub dropped: u64,
    pub slots: usize,
    pub backpressure: &'static str,
    pub memory_bytes: u64,
    /// Size and format of the newest frame.
    pub layout: Option<LayoutReport>,
    pub color: ColorReport,
    pub newest_published_ns: Option<u64>,
    /// Time since the publication of the newest frame.
    pub newest_age_ns: Option<u64>,
    pub subscribers: Vec<SubscriberReport>,
    /// Slots that subscribers hold, the newest one apart.
    pub held_slots: usize,
    /// The processes that hold slots, those with the most first.
    pub holders: Vec<HolderReport>,
    /// State of the link that feeds it; `null` for a channel that is published here.
    pub link: Option<LinkReport>,
    /// State of the live source that feeds it; `null` for a channel without one.
    pub source: Option<SourceReport>,
}

/// A process that holds slots.
#[derive(Debug, Serialize)]
pub struct HolderReport {
    pub pid: u32,
    /// `null` where the system does not show it.
    pub name: Option<String>,
    pub slots: usize,
}

impl ChannelReport {
    pub fn new(status: &ChannelStatus) -> Self {
        let (state, damage) = match &status.state {
            ChannelState::Live => ("live", None),
            ChannelState::Stale => ("stale", None),
            ChannelState::Closed => ("closed", None),
            ChannelState::Damaged(why) => ("damaged", Some(why.clone())),
        };
        ChannelReport {
            name: status.name.clone(),
            state,
            damage,
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
        // The two numbers are read one after the other, and from untrusted memory.
        self.dropped.saturating_sub(self.link.as_ref().map_or(0, |link| link.missed))
    }

    /// True if subscribers hold every slot but the newest: new frames find none.
    pub fn is_starved(&self) -> bool {
        self.state == "live" && self.slots > 1 && self.held_slots + 1 >= self.slots
    }

    /// The processes that hold slots, for people.
    pub fn holders_text(&self) -> String {
        let holders = self.holders.iter().map(|holder| {
            let name = holder.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            format!("{} by process {}{name}", holder.slots, holder.pid)
        });
        holders.collect::<Vec<_>>().join(", ")
    }

    /// The report for a channel that this user may not read.
    pub fn without_access(self) -> Self {
        ChannelReport { state: "no_access", ..self }
    }
}

/// The layout of a frame.
#[derive(Clone, Debug, Serialize)]
pub struct LayoutReport {
    pub format: String,
    pub width: u32,
    pub height: u32,
    pub size_bytes: usize,
    pub planes: Vec<PlaneReport>,
}

/// Position of a plane.
#[derive(Clone, Debug, Serialize)]
pub struct PlaneReport {
    pub offset_bytes: usize,
    pub stride_bytes: usize,
}

impl LayoutReport {
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
    pub matrix: u8,
    pub matrix_name: &'static str,
    pub primaries: u8,
    pub primaries_name: &'static str,
    pub transfer: u8,
    pub transfer_name: &'static str,
    pub range: &'static str,
    #[serde(skip)]
    pub color: Color,
}

impl ColorReport {
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
    pub index: usize,
    pub pid: u32,
    pub delivery: &'static str,
    /// The sequence of the frame received last.
    pub cursor: u64,
    pub leases: usize,
    pub received: u64,
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
    /// The URL of the channel at the peer.
    pub peer: String,
    pub connected: bool,
    /// True while connected, if the channel has a publisher at the peer.
    pub live: bool,
    pub connections: u32,
    /// The peer's clock minus this machine's.
    pub clock_offset_ns: i64,
    /// 0 before the first measurement.
    pub round_trip_ns: u64,
    /// From the capture of the newest frame to its publication here. 0 if the time of capture is unknown.
    pub latency_ns: u64,
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

    /// For people, without unknown values.
    pub fn text(&self) -> String {
        let connected = if self.connected { "connected" } else { "not connected" };
        let mut text = match self.connections {
            0 | 1 => format!("{}, {connected}", self.peer),
            times => format!("{}, {connected} ({times} times)", self.peer),
        };
        let mut add = |known: bool, part: String| {
            if known {
                text = format!("{text}, {part}");
            }
        };
        add(self.connected && !self.live, NOT_PUBLISHED.to_owned());
        add(self.round_trip_ns > 0, format!("round trip {}", human_ns(self.round_trip_ns)));
        let side = if self.clock_offset_ns > 0 { "ahead" } else { "behind" };
        let apart = human_ns(self.clock_offset_ns.unsigned_abs());
        add(self.clock_offset_ns != 0, format!("clock {side} by {apart}"));
        add(self.latency_ns > 0, format!("{} from capture", human_ns(self.latency_ns)));
        add(true, format!("{} missed, {} received", self.missed, human_bytes(self.received_bytes)));
        text
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

    pub fn is_receiving(&self) -> bool {
        self.state == "receiving"
    }

    /// For people.
    pub fn text(&self) -> String {
        let since = human_ns(self.since_ns);
        let reason = self.reason.as_deref().unwrap_or("unknown");
        match (self.is_receiving(), self.connections) {
            (true, 0 | 1) => format!("{}, receiving for {since}", self.name),
            (true, connections) => format!(
                "{}, receiving for {since}, connected {connections} times, last lost because: {reason}",
                self.name
            ),
            (false, _) => format!("{}, reconnecting for {since}: {reason}", self.name),
        }
    }
}

/// State of a connected link whose channel has no publisher at the peer.
pub const NOT_PUBLISHED: &str = "no publisher there";

/// `CLOCK_MONOTONIC`, the clock of [`ChannelStatus::newest_published_ns`].
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_what_is_known_of_it() {
        let link = LinkReport {
            peer: "tls://camera:7420/cam0".to_owned(),
            connected: true,
            live: true,
            connections: 3,
            clock_offset_ns: 3_400_000,
            round_trip_ns: 1_200_000,
            latency_ns: 12_000_000,
            received_bytes: 1_288_490_189,
            missed: 17,
        };
        assert_eq!(
            link.text(),
            "tls://camera:7420/cam0, connected (3 times), round trip 1.20 ms, clock ahead by 3.40 ms, \
             12.0 ms from capture, 17 missed, 1.2 GiB received"
        );
        let unpublished = LinkReport { live: false, ..link.clone() };
        assert!(
            unpublished.text().contains("connected (3 times), no publisher there, round trip"),
            "{}",
            unpublished.text()
        );
        let behind = LinkReport { clock_offset_ns: i64::MIN, connected: false, live: false, ..link.clone() };
        assert!(behind.text().contains("clock behind by 9223372037 s"), "{}", behind.text());
        assert!(behind.text().contains("not connected (3 times), round trip"), "{}", behind.text());
        let new = LinkReport {
            connections: 1,
            clock_offset_ns: 0,
            round_trip_ns: 0,
            latency_ns: 0,
            received_bytes: 0,
            missed: 0,
            ..link
        };
        assert_eq!(new.text(), "tls://camera:7420/cam0, connected, 0 missed, 0 B received");
    }
}
