// Which channels there are.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/format.hpp>

#include <memory>
#include <vector>

namespace framelane {

/// What can be seen of a channel.
struct ChannelStatus {
  std::string name;
  /// FRAMELANE_CHANNEL_LIVE, _STALE, _CLOSED or _DAMAGED.
  std::uint32_t state = 0;
  /// The process that publishes, or did.
  std::uint32_t publisher_pid = 0;
  /// The newest frame's number.
  std::uint64_t sequence = 0;
  /// Frames that got no slot.
  std::uint64_t dropped = 0;
  /// Bytes that the channel's files take up.
  std::uint64_t memory_bytes = 0;
  /// Format and size of the newest frame; none before the first.
  std::optional<Format> format;
  std::uint32_t width = 0, height = 0;
  /// How many subscribers read it.
  std::uint32_t subscribers = 0;
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
    found.push_back(std::move(status));
  }
  return found;
}

}  // namespace framelane
