// Options of publishers and subscribers.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/cancel.hpp>
#include <framelane/error.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>
#include <string>

namespace framelane {

/// Behaviour of a publisher without a free slot.
enum class Backpressure : std::uint32_t {
  /// Drops the new frame and counts it.
  Drop = FRAMELANE_BACKPRESSURE_DROP,
  /// Blocks until a slot is free, and never overwrites a frame that a subscriber with Delivery::Every lacks.
  Block = FRAMELANE_BACKPRESSURE_BLOCK,
};

/// The frames that a subscriber receives.
enum class Delivery : std::uint32_t {
  /// The newest frame. Older frames are skipped and counted.
  Newest = FRAMELANE_DELIVERY_NEWEST,
  /// Every frame in order.
  Every = FRAMELANE_DELIVERY_EVERY,
};

/// The URLs that are accepted instead of a channel's name.
enum class Urls : std::uint32_t {
  /// Without options that weaken the link, name files with secrets or raise a limit.
  Safe = FRAMELANE_URLS_SAFE,
  /// With every option: for URLs that the program or its user wrote.
  Trusted = FRAMELANE_URLS_TRUSTED,
  /// None, only the names of channels of this machine: for names from elsewhere.
  Refuse = FRAMELANE_URLS_REFUSE,
};

/// The time to wait. Any duration of std::chrono, or std::nullopt: without limit.
///
/// Durations beyond 292 years wait without limit. \throws FramelaneError InvalidOption for a negative
/// duration or NaN: pass zero when a deadline has passed.
class Timeout {
 public:
  /// Waits without limit.
  constexpr Timeout() noexcept = default;
  /// Waits without limit.
  constexpr Timeout(std::nullopt_t) noexcept {}
  /// Waits this long. Zero does not wait.
  template <class Rep, class Period>
  Timeout(std::chrono::duration<Rep, Period> time) : ns_(count(time)) {}
  /// Waits this long, or without limit.
  template <class Rep, class Period>
  Timeout(const std::optional<std::chrono::duration<Rep, Period>>& time) : ns_(time ? count(*time) : FRAMELANE_FOREVER) {}

  /// Nanoseconds, or FRAMELANE_FOREVER, as the C interface takes them.
  constexpr std::int64_t ns() const noexcept { return ns_; }

 private:
  template <class Rep, class Period>
  static std::int64_t count(std::chrono::duration<Rep, Period> time) {
    // Wide enough for every duration: hours::max() has no number of nanoseconds.
    const long double ns = std::chrono::duration<long double, std::nano>(time).count();
    if (!(ns >= 0)) {
      throw FramelaneError(Code::InvalidOption,
                           "expected a timeout from 0, found " + std::to_string(ns / 1e9L) + " s",
                           "pass zero when a deadline has passed, or std::nullopt to wait without limit");
    }
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    return ns >= static_cast<long double>(most) ? most : static_cast<std::int64_t>(ns);
  }

  std::int64_t ns_ = FRAMELANE_FOREVER;
};

/// Options of a publisher.
struct PublisherOptions {
  /// Frames that the ring holds, 2 to 128: at least 2 more than all readers lease at once. 0: 6, or 32 for
  /// detections.
  std::uint32_t slots = 0;
  Backpressure backpressure = Backpressure::Drop;
  /// The directory of the channel's files; empty: $FRAMELANE_DIR, else /dev/shm/framelane-UID.
  std::string directory{};
  /// Permissions of the files as for chmod; 0: 0600.
  std::uint32_t permissions = 0;
  /// Minimum size of a slot.
  std::uint64_t frame_bytes = 0;
  /// Cancels waits. Default: none.
  std::optional<CancelToken> cancel{};
  Urls urls = Urls::Safe;
};

/// Options of a subscriber.
struct SubscriberOptions {
  Delivery delivery = Delivery::Newest;
  /// The directory of the channel's files, as for the publisher.
  std::string directory{};
  /// Time limit for opening, while there is no live channel. Default: none.
  Timeout open_timeout{};
  /// Time to poll for a frame before sleeping. Saves the wake-up, and occupies a core.
  std::chrono::nanoseconds spin{0};
  /// The same as for the publisher.
  std::optional<CancelToken> cancel{};
  /// Waits for the channel to be published again when its publisher closes it, instead of ending with
  /// Code::ChannelClosed.
  bool reconnect = false;
  /// Copies each frame into memory of this process, where it may be changed: see Frame::writable_data. Other
  /// subscribers do not see the changes, and the frame occupies no slot.
  bool writable = false;
  Urls urls = Urls::Safe;
};

namespace inner {

inline framelane_publisher_options c_options(const PublisherOptions& options) {
  framelane_publisher_options c = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  c.directory = c_directory(options.directory);
  c.slots = options.slots;
  c.backpressure = static_cast<std::uint32_t>(options.backpressure);
  c.permissions = options.permissions;
  c.frame_bytes = options.frame_bytes;
  c.urls = static_cast<std::uint32_t>(options.urls);
  c.cancel = options.cancel ? options.cancel->c() : nullptr;
  return c;
}

inline framelane_subscriber_options c_options(const SubscriberOptions& options) {
  framelane_subscriber_options c = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  c.directory = c_directory(options.directory);
  c.delivery = static_cast<std::uint32_t>(options.delivery);
  c.spin_ns = static_cast<std::uint64_t>(Timeout(options.spin).ns());
  c.reconnect = options.reconnect ? 1 : 0;
  c.urls = static_cast<std::uint32_t>(options.urls);
  c.writable = options.writable ? 1 : 0;
  c.cancel = options.cancel ? options.cancel->c() : nullptr;
  return c;
}

}  // namespace inner
}  // namespace framelane
