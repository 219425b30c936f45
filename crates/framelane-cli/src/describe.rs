//! Channels, links and sources as lines of text.

pub use framelane_dashboard::report::{
    ChannelReport, LayoutReport, LinkReport, PlaneReport, SourceReport, SubscriberReport,
};

use crate::latency::human_ns;
use crate::table::human_bytes;

/// State of a connected link whose channel has no publisher at the peer.
pub const NOT_PUBLISHED: &str = "no publisher there";

/// Lists the processes that hold slots of a channel.
pub fn holders_text(channel: &ChannelReport) -> String {
    let holders = channel.holders.iter().map(|holder| {
        let name = holder.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{} by process {}{name}", holder.slots, holder.pid)
    });
    holders.collect::<Vec<_>>().join(", ")
}

/// Describes a link in a line, without unknown values.
pub fn link_text(link: &LinkReport) -> String {
    let connected = if link.connected { "connected" } else { "not connected" };
    let mut text = match link.connections {
        0 | 1 => format!("{}, {connected}", link.peer),
        times => format!("{}, {connected} ({times} times)", link.peer),
    };
    let mut add = |known: bool, part: String| {
        if known {
            text = format!("{text}, {part}");
        }
    };
    add(link.connected && !link.live, NOT_PUBLISHED.to_owned());
    add(link.round_trip_ns > 0, format!("round trip {}", human_ns(link.round_trip_ns)));
    let side = if link.clock_offset_ns > 0 { "ahead" } else { "behind" };
    let apart = human_ns(link.clock_offset_ns.unsigned_abs());
    add(link.clock_offset_ns != 0, format!("clock {side} by {apart}"));
    add(link.latency_ns > 0, format!("{} from capture", human_ns(link.latency_ns)));
    add(true, format!("{} missed, {} received", link.missed, human_bytes(link.received_bytes)));
    text
}

/// Describes a source in a line.
pub fn source_text(source: &SourceReport) -> String {
    let since = human_ns(source.since_ns);
    let reason = source.reason.as_deref().unwrap_or("unknown");
    match (source.is_receiving(), source.connections) {
        (true, 0 | 1) => format!("{}, receiving for {since}", source.name),
        (true, connections) => format!(
            "{}, receiving for {since}, connected {connections} times, last lost because: {reason}",
            source.name
        ),
        (false, _) => format!("{}, reconnecting for {since}: {reason}", source.name),
    }
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
            link_text(&link),
            "tls://camera:7420/cam0, connected (3 times), round trip 1.20 ms, clock ahead by 3.40 ms, \
             12.0 ms from capture, 17 missed, 1.2 GiB received"
        );
        let unpublished = LinkReport { live: false, ..link.clone() };
        assert!(
            link_text(&unpublished).contains("connected (3 times), no publisher there, round trip"),
            "{}",
            link_text(&unpublished)
        );
        let behind = LinkReport { clock_offset_ns: i64::MIN, connected: false, live: false, ..link.clone() };
        assert!(link_text(&behind).contains("clock behind by 9223372037 s"), "{}", link_text(&behind));
        assert!(link_text(&behind).contains("not connected (3 times), round trip"), "{}", link_text(&behind));
        let new = LinkReport {
            connections: 1,
            clock_offset_ns: 0,
            round_trip_ns: 0,
            latency_ns: 0,
            received_bytes: 0,
            missed: 0,
            ..link
        };
        assert_eq!(link_text(&new), "tls://camera:7420/cam0, connected, 0 missed, 0 B received");
    }
}
