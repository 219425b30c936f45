//! `/metrics` in the text format of Prometheus.

use std::fmt;
use std::sync::Arc;

use framelane::Error;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::feed::{Feed, Size};
use crate::latency::{BOUNDS, Hop};
use crate::report::{ChannelReport, channels};
use crate::shared::Shared;

pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the metrics of all channels. Latencies are measured for 90 s after each call.
pub(crate) fn text(shared: &Shared) -> Result<String, Error> {
    let reports = channels(shared.directory.as_deref())?;
    let live = reports.iter().filter(|report| report.state == "live").map(|report| report.name.as_str());
    shared.feeds.measure(live)?;
    shared.feeds.retain(|channel| reports.iter().any(|report| report.name == channel));
    let channels = reports.into_iter().map(|report| (shared.feeds.get(&report.name), report)).collect();
    let clients = shared.max_clients - shared.clients.available_permits();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot { channels, clients }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes all text");
    Ok(text)
}

/// The values of one scrape.
struct Snapshot {
    channels: Vec<(Option<Arc<Feed>>, ChannelReport)>,
    clients: usize,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.counter(encoder, "framelane_frames", "Frames published in this epoch", |c| {
            Some(c.sequence.saturating_sub(c.dropped))
        })?;
        self.counter(
            encoder,
            "framelane_dropped_frames",
            "Frames without a slot, or skipped by a link",
            |c| Some(c.dropped),
        )?;
        self.gauge(encoder, "framelane_live", "1 if a publisher holds the channel", |c| {
            Some(u64::from(c.state == "live").into_f64())
        })?;
        let help = "1 if the publisher lives and has published no frame for five periods and a second";
        self.gauge(encoder, "framelane_stalled", help, |c| {
            Some(u64::from(c.stalled_ns.is_some()).into_f64())
        })?;
        self.gauge(encoder, "framelane_newest_frame_age_seconds", "Time since the newest frame", |c| {
            c.newest_age_ns.map(seconds)
        })?;
        self.gauge(encoder, "framelane_subscribers", "Subscribers", |c| {
            Some((c.subscribers.len() as u64).into_f64())
        })?;
        self.gauge(encoder, "framelane_leases", "Frames that subscribers hold now", |c| {
            Some((c.subscribers.iter().map(|reader| reader.leases as u64).sum::<u64>()).into_f64())
        })?;
        self.gauge(encoder, "framelane_slots", "Slots of the ring", |c| Some((c.slots as u64).into_f64()))?;
        self.gauge(encoder, "framelane_held_slots", "Slots that the publisher cannot use", |c| {
            Some((c.held_slots as u64).into_f64())
        })?;
        self.gauge(encoder, "framelane_memory_bytes", "Memory of the channel's files", |c| {
            Some(c.memory_bytes.into_f64())
        })?;
        self.gauge(
            encoder,
            "framelane_link_connected",
            "1 if the link that feeds the channel is connected",
            |c| c.link.as_ref().map(|link| u64::from(link.connected).into_f64()),
        )?;
        self.gauge(
            encoder,
            "framelane_link_round_trip_seconds",
            "Shortest recent round trip of the link",
            |c| c.link.as_ref().map(|link| seconds(link.round_trip_ns)),
        )?;
        self.counter(
            encoder,
            "framelane_link_received_bytes",
            "Bytes of frames received over the link",
            |c| c.link.as_ref().map(|link| link.received_bytes),
        )?;
        self.readers(encoder, "framelane_subscriber_received_frames", "Frames received", |r| r.received)?;
        self.readers(encoder, "framelane_subscriber_dropped_frames", "Frames missed", |r| r.dropped)?;
        self.latencies(encoder)?;
        self.encodes(encoder)?;
        let help = "Pages and streams of the dashboard";
        let mut metric =
            encoder.encode_descriptor("framelane_dashboard_clients", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&(self.clients as u64).into_f64())
    }
}

impl Snapshot {
    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ChannelReport) -> Option<u64>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (_, channel) in &self.channels {
            if let Some(value) = value(channel) {
                let labels = [("channel", channel.name.as_str())];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&ChannelReport) -> Option<f64>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (_, channel) in &self.channels {
            if let Some(value) = value(channel) {
                let labels = [("channel", channel.name.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn readers(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&crate::report::SubscriberReport) -> u64,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (_, channel) in &self.channels {
            for reader in &channel.subscribers {
                let (pid, index) = (reader.pid.to_string(), reader.index.to_string());
                let labels =
                    [("channel", channel.name.as_str()), ("pid", pid.as_str()), ("index", index.as_str())];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value(reader), None)?;
            }
        }
        Ok(())
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Latencies of frames, hop by hop, while the dashboard receives the channel";
        let mut metric =
            encoder.encode_descriptor("framelane_latency_seconds", help, None, MetricType::Histogram)?;
        for (feed, channel) in &self.channels {
            let Some(feed) = feed else { continue };
            for hop in Hop::ALL {
                let counts = feed.latencies.totals(hop);
                // The encoder adds the bucket without a bound.
                let buckets: Vec<_> = BOUNDS.into_iter().zip(counts.buckets).collect();
                let labels = [("channel", channel.name.as_str()), ("hop", hop.name())];
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    counts.sum_seconds,
                    counts.count,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn encodes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Pictures encoded, for all viewers together";
        let mut metric =
            encoder.encode_descriptor("framelane_dashboard_encodes", help, None, MetricType::Counter)?;
        for (feed, channel) in &self.channels {
            let Some(feed) = feed else { continue };
            for size in Size::ALL {
                let labels = [("channel", channel.name.as_str()), ("size", size.name())];
                let encodes = feed.encodes(size);
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&encodes, None)?;
            }
        }
        Ok(())
    }
}

/// Integers as the floating-point numbers of Prometheus.
trait IntoF64 {
    fn into_f64(self) -> f64;
}

impl IntoF64 for u64 {
    fn into_f64(self) -> f64 {
        self as f64
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
