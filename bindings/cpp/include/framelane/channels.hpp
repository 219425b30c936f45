// Channels of a directory.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/format.hpp>

#include <memory>
#include <vector>

namespace framelane {

/// The state of the link that feeds a channel.
struct LinkStatus {
  /// The address of the peer, without secrets.
  std::string peer;
  /// True while the link is connected.
  bool connected = false;
  /// True while the channel has a publisher on the other machine. False while the link is not connected.
  bool live = false;
  /// Number of connections.
  std::uint64_t connections = 0;
  /// Nanoseconds that the clock of the other machine is ahead, as estimated on the link.
  std::int64_t clock_offset_ns = 0;
  /// The shortest recent round trip.
  std::uint64_t round_trip_ns = 0;
  /// From the capture of the newest frame to its publication here.
  std::uint64_t latency_ns = 0;
  /// Bytes of frames received.
  std::uint64_t received_bytes = 0;
  /// Frames that the link skipped.
  std::uint64_t missed = 0;
};

/// State of a channel.
struct ChannelStatus {
  std::string name;
  /// FRAMELANE_CHANNEL_LIVE, _STALE, _CLOSED or _DAMAGED.
  std::uint32_t state = 0;
  /// The process that publishes, or did.
  std::uint32_t publisher_pid = 0;
  /// The newest frame's number.
  std::uint64_t sequence = 0;
  /// Frames for which no slot was free.
  std::uint64_t dropped = 0;
  /// Bytes that the channel's files take up.
  std::uint64_t memory_bytes = 0;
  /// Format and size of the newest frame; none before the first.
  std::optional<Format> format;
  std::uint32_t width = 0, height = 0;
  /// Number of subscribers.
  std::uint32_t subscribers = 0;
  /// When the newest frame was published, in nanoseconds of CLOCK_MONOTONIC. None before the first frame.
  std::optional<std::uint64_t> newest_published_ns;
  /// The usual interval of frames in nanoseconds: the median of those in the ring.
  std::optional<std::uint64_t> period_ns;
  /// Time since the newest frame in nanoseconds if the channel is stalled: its publisher lives and has
  /// published no frame for five periods and a second.
  std::optional<std::uint64_t> stalled_ns;
  /// The state of the link that feeds it; none for a channel that is published on this machine.
  std::optional<LinkStatus> link = std::nullopt;
};

/// The channels of a directory, by name; empty: the usual directory. \throws FramelaneError NotFound,
/// PermissionDenied, SystemFailure.
inline std::vector<ChannelStatus> list_channels(const std::string& directory = {}) {
  framelane_channels* handle = nullptr;
  inner::check(framelane_channels_list(inner::c_directory(directory), &handle));
  const std::unique_ptr<framelane_channels, void (*)(framelane_channels*)> owner(handle, &framelane_channels_free);
  std::vector<ChannelStatus> found;
  for (std::size_t i = 0; i < framelane_channels_count(handle); ++i) {
    const framelane_channel& c = *framelane_channels_get(handle, i);
    ChannelStatus status;
    status.name = inner::text(c.name);
    status.state = c.state;
    status.publisher_pid = c.publisher_pid;
    status.sequence = c.sequence;
    status.dropped = c.dropped;
    status.memory_bytes = c.memory_bytes;
    if (c.format != 0) status.format = Format(c.format);
    status.width = c.width;
    status.height = c.height;
    status.subscribers = c.subscribers;
    if (c.newest_published_ns != 0) status.newest_published_ns = c.newest_published_ns;
    if (c.period_ns != 0) status.period_ns = c.period_ns;
    if (c.stalled_ns != 0) status.stalled_ns = c.stalled_ns;
    if (const framelane_link* link = framelane_channels_link(handle, i)) {
      status.link = LinkStatus{inner::text(link->peer), link->connected != 0, link->live != 0,
                               link->connections, link->clock_offset_ns, link->round_trip_ns,
                               link->latency_ns, link->received_bytes, link->missed};
    }
    found.push_back(std::move(status));
  }
  return found;
}

/// Files of a channel that has no publisher.
struct Leftover {
  std::string channel;
  /// The cause, informational.
  std::string reason;
  /// Bytes that the files take up.
  std::uint64_t size_bytes = 0;
  /// True if they were removed.
  bool removed = false;
};

/// Treatment of leftovers by `doctor`.
enum class Leftovers : std::uint32_t { Report = 0, Remove = 1 };

/// The result of `doctor`.
struct Diagnosis {
  std::vector<Leftover> leftovers;
  /// Channels with a live publisher.
  std::size_t live_channels = 0;
  /// Free bytes of the file system of the directory.
  std::uint64_t free_bytes = 0;
};

/// Looks for channels whose publisher has died and for stray files; empty: the usual directory. Live channels
/// are never touched. \throws FramelaneError NotFound, PermissionDenied, SystemFailure.
inline Diagnosis doctor(const std::string& directory = {}, Leftovers leftovers = Leftovers::Report) {
  framelane_diagnosis* handle = nullptr;
  inner::check(framelane_doctor(inner::c_directory(directory), static_cast<std::uint32_t>(leftovers), &handle));
  const std::unique_ptr<framelane_diagnosis, void (*)(framelane_diagnosis*)> owner(handle, &framelane_diagnosis_free);
  Diagnosis found;
  found.live_channels = framelane_diagnosis_live_channels(handle);
  found.free_bytes = framelane_diagnosis_free_bytes(handle);
  for (std::size_t i = 0; i < framelane_diagnosis_count(handle); ++i) {
    const framelane_leftover& c = *framelane_diagnosis_get(handle, i);
    found.leftovers.push_back({inner::text(c.channel), inner::text(c.reason), c.size_bytes, c.removed != 0});
  }
  return found;
}

}  // namespace framelane
