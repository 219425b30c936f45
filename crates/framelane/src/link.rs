//! The state of the link that feeds a channel.

use crate::redact;
use crate::ring::{Control, Ordering::Relaxed};
use crate::text::{load_text, store_text};

/// State of the link that feeds a channel. Written by the channel's publisher, informational.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatus {
    /// Address of the peer, without secrets, cut to 128 bytes.
    pub peer: String,
    /// True if it is connected now.
    pub connected: bool,
    /// True if the channel is published at the peer; unknown, and so false, while the link is not connected.
    pub live: bool,
    /// Number of connections so far.
    pub connections: u32,
    /// Nanoseconds that the other machine's clock is ahead of ours, as estimated on the link.
    pub clock_offset_ns: i64,
    /// The shortest round trip of late, in nanoseconds.
    pub round_trip_ns: u64,
    /// From the capture of the newest frame to its publication here, in nanoseconds of our clock.
    pub latency_ns: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// Frames that the link skipped. [`ChannelStatus::dropped`](crate::ChannelStatus::dropped) includes them.
    pub missed: u64,
}

const CONNECTED: u32 = 1;
const AWAY: u32 = 2;
/// Connected, and the channel has no publisher at the peer.
const NOT_PUBLISHED: u32 = 3;

pub(crate) fn clear(control: &Control) {
    control.link_state.store(0, Relaxed);
}

pub(crate) fn write(control: &Control, link: &LinkStatus) {
    store_text(&control.link_peer, &redact::url(&link.peer));
    control.link_connections.store(link.connections, Relaxed);
    control.link_clock_offset_ns.store(link.clock_offset_ns.cast_unsigned(), Relaxed);
    control.link_round_trip_ns.store(link.round_trip_ns, Relaxed);
    control.link_latency_ns.store(link.latency_ns, Relaxed);
    control.link_received_bytes.store(link.received_bytes, Relaxed);
    control.link_missed.store(link.missed, Relaxed);
    let state = match (link.connected, link.live) {
        (true, true) => CONNECTED,
        (true, false) => NOT_PUBLISHED,
        (false, _) => AWAY,
    };
    control.link_state.store(state, Relaxed);
}

/// Reads the link status that the publisher wrote; `None` for a channel without a link.
pub(crate) fn read(control: &Control) -> Option<LinkStatus> {
    let state = control.link_state.load(Relaxed);
    let (connected, live) = match state {
        CONNECTED => (true, true),
        NOT_PUBLISHED => (true, false),
        AWAY => (false, false),
        _ => return None,
    };
    Some(LinkStatus {
        peer: load_text(&control.link_peer),
        connected,
        live,
        connections: control.link_connections.load(Relaxed),
        clock_offset_ns: control.link_clock_offset_ns.load(Relaxed).cast_signed(),
        round_trip_ns: control.link_round_trip_ns.load(Relaxed),
        latency_ns: control.link_latency_ns.load(Relaxed),
        received_bytes: control.link_received_bytes.load(Relaxed),
        missed: control.link_missed.load(Relaxed),
    })
}
