// How to publish and to subscribe.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/error.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace framelane {

/// What a publisher does when every slot is in use.
enum class Policy : std::uint32_t {
  /// The new frame is dropped, and counted.
  Drop = FRAMELANE_POLICY_DROP,
  /// The publisher waits, and never overwrites what a reader of every frame has not received.
  Wait = FRAMELANE_POLICY_WAIT,
};

/// Which frames a subscriber gets.
enum class Mode : std::uint32_t {
  /// The newest; what is skipped is counted.
  Newest = FRAMELANE_MODE_NEWEST,
  /// Every one, in order.
  Every = FRAMELANE_MODE_EVERY,
};

/// How long to wait; none: without limit, zero: not at all.
using Timeout = std::optional<std::chrono::nanoseconds>;

/// How to make a channel.
struct PublisherOptions {
  /// Frames that the ring holds, 2 to 128: at least 2 more than all readers hold at once. 0: 6, or 32 for detections.
  std::uint32_t slots = 0;
  Policy policy = Policy::Drop;
  /// The directory of the channel's files; empty: $FRAMELANE_DIR, else /dev/shm/framelane-UID.
  std::string directory{};
  /// Permissions of the files as for chmod; 0: 0600.
  std::uint32_t mode = 0;
  /// Room that each slot gets at least.
  std::uint64_t frame_bytes = 0;
  /// Asked several times a second, and after each signal, while a call waits; false ends it with Code::Interrupted. What
  /// it throws comes out of the call that waited. It must not use the object that waits.
  std::function<bool()> keep_waiting{};
};

/// How to subscribe.
struct SubscriberOptions {
  Mode mode = Mode::Newest;
  /// The directory of the channel's files, as for the publisher.
  std::string directory{};
  /// How long to wait for the channel to appear.
  Timeout wait{};
  /// How long to look for a frame before going to sleep: saves the wake-up, and costs a core.
  std::chrono::nanoseconds spin{0};
  /// As for the publisher.
  std::function<bool()> keep_waiting{};
  /// When the publisher closes the channel: wait for it to be published again, instead of ending with Code::Closed.
  bool reconnect = false;
};

namespace detail {

inline std::int64_t timeout_ns(const Timeout& timeout) noexcept {
  if (!timeout) return FRAMELANE_FOREVER;
  return timeout->count() < 0 ? 0 : static_cast<std::int64_t>(timeout->count());
}

/// A question that C code asks; exceptions wait here until C is left behind.
class Question {
 public:
  explicit Question(std::function<bool()> ask) : ask_(std::move(ask)) {}

  static framelane_keep_waiting function(const std::unique_ptr<Question>& question) {
    return question ? &Question::call : nullptr;
  }

  void rethrow() {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }

 private:
  static int call(void* context) noexcept {
    auto* question = static_cast<Question*>(context);
    try {
      return question->ask_() ? 1 : 0;
    } catch (...) {
      question->thrown_ = std::current_exception();
      return 0;
    }
  }

  std::function<bool()> ask_;
  std::exception_ptr thrown_;
};

inline std::unique_ptr<Question> make_question(std::function<bool()> ask) {
  return ask ? std::make_unique<Question>(std::move(ask)) : nullptr;
}

/// Throws what the question threw, or what the call gave.
inline void check(framelane_error* error, const std::unique_ptr<Question>& question) {
  if (question && error != nullptr) {
    try {
      question->rethrow();
    } catch (...) {
      framelane_error_free(error);
      throw;
    }
  }
  check(error);
}

inline framelane_publisher_options c_options(const PublisherOptions& options, const std::unique_ptr<Question>& question) {
  framelane_publisher_options c = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  c.directory = options.directory.empty() ? nullptr : options.directory.c_str();
  c.slots = options.slots;
  c.policy = static_cast<std::uint32_t>(options.policy);
  c.mode = options.mode;
  c.frame_bytes = options.frame_bytes;
  c.keep_waiting = Question::function(question);
  c.context = question.get();
  return c;
}

inline framelane_subscriber_options c_options(const SubscriberOptions& options, const std::unique_ptr<Question>& question) {
  framelane_subscriber_options c = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  c.directory = options.directory.empty() ? nullptr : options.directory.c_str();
  c.mode = static_cast<std::uint32_t>(options.mode);
  c.spin_ns = options.spin.count() < 0 ? 0 : static_cast<std::uint64_t>(options.spin.count());
  c.reconnect = options.reconnect ? 1 : 0;
  c.keep_waiting = Question::function(question);
  c.context = question.get();
  return c;
}

}  // namespace detail
}  // namespace framelane
