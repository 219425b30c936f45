//! `list_channels` and `doctor`: channels, and leftovers of a crash.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::error::raise;

/// A subscriber of a channel, as it describes itself.
#[pyclass(frozen, get_all, module = "framelane")]
#[derive(Clone)]
pub(crate) struct SubscriberStatus {
    /// Its place among the channel's subscribers, 0 to 63.
    index: usize,
    /// Its process.
    pid: u32,
    /// "newest" or "every".
    delivery: &'static str,
    /// The frame received last.
    cursor: u64,
    /// Frames that it holds.
    leases: usize,
    /// Frames received.
    received: u64,
    /// Frames missed.
    dropped: u64,
}

#[pymethods]
impl SubscriberStatus {
    fn __repr__(&self) -> String {
        format!(
            "<framelane.SubscriberStatus: process {}, {}, at frame {}>",
            self.pid, self.delivery, self.cursor
        )
    }
}

/// The state of the link that feeds a channel.
#[pyclass(frozen, get_all, module = "framelane")]
#[derive(Clone)]
pub(crate) struct LinkStatus {
    /// The address of the peer, without secrets.
    peer: String,
    /// True if the link is connected.
    connected: bool,
    /// True if the channel is published on the other machine. False while the link is not connected.
    live: bool,
    /// Number of connections so far.
    connections: u32,
    /// Nanoseconds that the clock of the other machine is ahead, as estimated on the link.
    clock_offset_ns: i64,
    /// The shortest recent round trip in nanoseconds.
    round_trip_ns: u64,
    /// From the capture of the newest frame to its publication here, in nanoseconds.
    latency_ns: u64,
    /// Bytes of frames received.
    received_bytes: u64,
    /// Frames that the link skipped.
    missed: u64,
}

#[pymethods]
impl LinkStatus {
    fn __repr__(&self) -> String {
        let state = if self.connected { "connected" } else { "not connected" };
        format!("<framelane.LinkStatus: {state} to {}>", self.peer)
    }
}

impl From<framelane::LinkStatus> for LinkStatus {
    fn from(link: framelane::LinkStatus) -> Self {
        LinkStatus {
            peer: link.peer,
            connected: link.connected,
            live: link.live,
            connections: link.connections,
            clock_offset_ns: link.clock_offset_ns,
            round_trip_ns: link.round_trip_ns,
            latency_ns: link.latency_ns,
            received_bytes: link.received_bytes,
            missed: link.missed,
        }
    }
}

/// State of a channel.
#[pyclass(frozen, get_all, module = "framelane")]
pub(crate) struct ChannelStatus {
    /// The channel's name.
    name: String,
    /// "live", "stale" (its publisher has died), "closed" or "damaged".
    state: &'static str,
    /// The damage of its files, if the channel is damaged.
    fault: Option<String>,
    /// The process that publishes, or did.
    publisher_pid: u32,
    /// The life of the publisher.
    epoch: u64,
    /// Generation of the ring. Each new ring adds 1.
    generation: u64,
    /// The newest frame's number.
    sequence: u64,
    /// Frames that got no slot, in this epoch.
    dropped: u64,
    /// Slots of the ring.
    slots: usize,
    /// "drop" or "block".
    backpressure: &'static str,
    /// Bytes that the channel's files take up.
    memory_bytes: u64,
    /// The pixel format of the newest frame.
    format: Option<String>,
    /// Pixels in a row of the newest frame.
    width: Option<u32>,
    /// Rows of the newest frame.
    height: Option<u32>,
    /// When the newest frame was published, as `time.monotonic_ns()`.
    newest_published_ns: Option<u64>,
    /// The usual interval of frames in nanoseconds: the median of those in the ring.
    period_ns: Option<u64>,
    /// Nanoseconds since the newest frame if the channel is stalled: its publisher lives and has published no
    /// frame for five periods and a second.
    stalled_ns: Option<u64>,
    /// The subscribers.
    subscribers: Vec<SubscriberStatus>,
    /// The state of the link that feeds it; None for a channel that is published on this machine.
    link: Option<LinkStatus>,
}

#[pymethods]
impl ChannelStatus {
    fn __repr__(&self) -> String {
        format!(
            "<framelane.ChannelStatus {}: {}, frame {}, {} subscribers>",
            self.name,
            self.state,
            self.sequence,
            self.subscribers.len()
        )
    }
}

impl From<framelane::ChannelStatus> for ChannelStatus {
    fn from(status: framelane::ChannelStatus) -> Self {
        let layout = status.layout.as_ref();
        let subscribers = status.subscribers.iter().map(|subscriber| SubscriberStatus {
            index: subscriber.index,
            pid: subscriber.pid,
            delivery: subscriber.delivery.name(),
            cursor: subscriber.cursor,
            leases: subscriber.leases,
            received: subscriber.received,
            dropped: subscriber.dropped,
        });
        ChannelStatus {
            state: status.state.name(),
            fault: status.state.damage().map(str::to_owned),
            publisher_pid: status.publisher_pid,
            epoch: status.epoch,
            generation: status.generation,
            sequence: status.sequence,
            dropped: status.dropped,
            slots: status.slots,
            backpressure: status.backpressure.name(),
            memory_bytes: status.memory_bytes,
            format: layout.map(|layout| layout.format().name().into_owned()),
            width: layout.map(framelane::Layout::width),
            height: layout.map(framelane::Layout::height),
            newest_published_ns: status.newest_published_ns,
            period_ns: status.period_ns,
            stalled_ns: status.stalled_for().map(|time| time.as_nanos() as u64),
            subscribers: subscribers.collect(),
            link: status.link.map(LinkStatus::from),
            name: status.name,
        }
    }
}

/// Files of a channel that has no publisher.
#[pyclass(frozen, get_all, module = "framelane")]
#[derive(Clone)]
pub(crate) struct Leftover {
    /// The channel.
    channel: String,
    /// The cause.
    reason: String,
    /// The files.
    files: Vec<String>,
    /// Bytes that they take up.
    bytes: u64,
    /// True if they were removed.
    removed: bool,
}

#[pymethods]
impl Leftover {
    fn __repr__(&self) -> String {
        format!("<framelane.Leftover of {}: {}, {} bytes>", self.channel, self.reason, self.bytes)
    }
}

/// The result of `doctor`.
#[pyclass(frozen, get_all, module = "framelane")]
pub(crate) struct Diagnosis {
    /// The directory of the channels.
    directory: String,
    /// Free bytes of its file system.
    free_bytes: u64,
    /// All bytes of its file system.
    total_bytes: u64,
    /// Channels with a live publisher.
    live_channels: usize,
    /// Files without a process.
    leftovers: Vec<Leftover>,
}

#[pymethods]
impl Diagnosis {
    fn __repr__(&self) -> String {
        format!(
            "<framelane.Diagnosis of {}: {} live channels, {} leftovers>",
            self.directory,
            self.live_channels,
            self.leftovers.len()
        )
    }
}

/// Every channel in the directory (None: the usual one), by name.
#[pyfunction]
#[pyo3(signature = (directory=None))]
pub(crate) fn list_channels(py: Python<'_>, directory: Option<PathBuf>) -> PyResult<Vec<ChannelStatus>> {
    let found = py.detach(|| framelane::list(directory.as_deref())).map_err(|error| raise(py, error))?;
    Ok(found.into_iter().map(ChannelStatus::from).collect())
}

/// Looks for channels whose publisher has died and for stray files, and reports them. remove=True removes
/// them. Live channels are never touched.
#[pyfunction]
#[pyo3(signature = (directory=None, *, remove=false))]
pub(crate) fn doctor(py: Python<'_>, directory: Option<PathBuf>, remove: bool) -> PyResult<Diagnosis> {
    let leftovers = if remove { framelane::Leftovers::Remove } else { framelane::Leftovers::Report };
    let found =
        py.detach(|| framelane::doctor(directory.as_deref(), leftovers)).map_err(|error| raise(py, error))?;
    let leftovers = found.leftovers.into_iter().map(|leftover| Leftover {
        channel: leftover.channel,
        reason: leftover.reason,
        files: leftover.files.iter().map(|file| file.display().to_string()).collect(),
        bytes: leftover.bytes,
        removed: leftover.removed,
    });
    Ok(Diagnosis {
        directory: found.directory.display().to_string(),
        free_bytes: found.free_bytes,
        total_bytes: found.total_bytes,
        live_channels: found.live_channels,
        leftovers: leftovers.collect(),
    })
}
