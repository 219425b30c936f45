// Subscribers and frames.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/publisher.hpp>

#include <iterator>

namespace framelane {

/// Id of a frame, which a detector sends back with its boxes.
struct FrameId {
  std::string channel;
  /// Epoch of the frame's publisher.
  std::uint64_t epoch = 0;
  /// Sequence of the frame at its publisher.
  std::uint64_t sequence = 0;
  /// Its capture time in nanoseconds since 1970.
  std::uint64_t timestamp_ns = 0;
  /// Publication time, on CLOCK_MONOTONIC.
  std::uint64_t published_ns = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;

  FrameId() = default;
  explicit FrameId(const framelane_frame_id& id)
      : channel(inner::text(id.channel)),
        epoch(id.epoch),
        sequence(id.sequence),
        timestamp_ns(id.timestamp_ns),
        published_ns(id.published_ns),
        width(id.width),
        height(id.height) {}

  /// Valid while this object is. \throws FramelaneError InvalidName when the channel's name has a NUL inside.
  framelane_frame_id c() const {
    return {inner::c_channel(channel), epoch, sequence, timestamp_ns, published_ns, width, height};
  }
};

/// A frame, read where the publisher wrote it. It does not change until this object is destroyed.
///
/// Each frame is one of its subscriber's leases (the channel's slots less two, 2 to 8), and may outlive the
/// subscriber. Move-only. May be moved to other threads. Methods of an object that was moved from throw
/// FramelaneError Misuse.
class Frame {
 public:
  /// The bytes, `layout().size_bytes()` of them. Mapped read-only, unless `is_writable`.
  const std::uint8_t* data() const { return framelane_frame_data(handle()); }
  /// The first sample of a plane. \throws std::out_of_range
  const std::uint8_t* plane(std::size_t index) const { return data() + layout().plane(index).offset_bytes; }
  /// True if the bytes may be changed: those of a subscriber with SubscriberOptions::writable.
  bool is_writable() const { return framelane_frame_writable_data(handle()) != nullptr; }
  /// The bytes, writable. Other subscribers do not see the changes.
  /// \throws FramelaneError Misuse when the subscriber was opened without SubscriberOptions::writable.
  std::uint8_t* writable_data() {
    std::uint8_t* bytes = framelane_frame_writable_data(handle());
    if (bytes == nullptr) {
      throw FramelaneError(Code::Misuse, "expected a writable frame, found one that is read-only",
                           "set SubscriberOptions::writable, or change a copy");
    }
    return bytes;
  }
  /// Size, format and planes.
  const Layout& layout() const {
    handle();
    return layout_;
  }
  std::uint32_t width() const { return layout().width(); }
  std::uint32_t height() const { return layout().height(); }
  Format format() const { return layout().format(); }

  /// Times, colour, rotation. The capture time is always there.
  FrameInfo info() const {
    FrameInfo info;
    static_cast<framelane_info&>(info) = *framelane_frame_info(handle());
    return info;
  }
  /// Sequence of the frame at its publisher, from 1. The same in every process, also over links.
  std::uint64_t sequence() const { return framelane_frame_sequence(handle()); }
  /// Epoch of the frame's publisher: `Publisher::epoch` there, also over links.
  std::uint64_t epoch() const { return framelane_frame_epoch(handle()); }
  /// Frames that the subscriber missed between the previous frame and this one.
  std::uint64_t dropped() const { return framelane_frame_dropped(handle()); }
  /// Capture time in nanoseconds since 1970.
  std::uint64_t timestamp_ns() const { return framelane_frame_info(handle())->timestamp_ns; }
  /// Publication time, in nanoseconds on CLOCK_MONOTONIC.
  std::uint64_t published_ns() const { return framelane_frame_published_ns(handle()); }
  /// Nanoseconds since the publication.
  std::uint64_t age_ns() const { return framelane_frame_age_ns(handle()); }
  /// Returns true if all bytes that were read before this call were those of the frame. See
  /// `framelane_frame_is_intact`.
  bool is_intact() const { return framelane_frame_is_intact(handle()) != 0; }

  /// The id of this frame, for detections. Boxes that are found on one machine match the frame on every
  /// other.
  FrameId id() const {
    framelane_frame_id id{};
    inner::check(framelane_frame_get_id(handle(), &id));
    return FrameId(id);
  }

 private:
  friend class Subscriber;
  explicit Frame(framelane_frame* frame) : handle_(frame), layout_(*framelane_frame_layout(frame)) {}

  framelane_frame* handle() const { return inner::given(handle_, "Frame"); }

  std::unique_ptr<framelane_frame, inner::Deleter<framelane_frame_free>> handle_;
  Layout layout_;
};

/// Receives the frames of a channel. A channel has up to 64 subscribers.
///
///     framelane::Subscriber subscriber("cam0");
///     for (framelane::Frame& frame : subscriber) …   // the newest frame, until the channel closes
///
/// When the publisher dies, the subscriber waits for a new publisher of the channel. Usable from any thread.
/// Calls are serialised. Methods of an object that was moved from throw FramelaneError Misuse.
class Subscriber {
 public:
  /// Waits for the channel (see SubscriberOptions::open_timeout) and subscribes.
  /// \throws FramelaneError NotFound, InvalidName, PermissionDenied, IncompatibleVersion, Damaged,
  /// TooManySubscribers, Interrupted.
  explicit Subscriber(const std::string& name, const SubscriberOptions& options = {}) {
    const auto c_options = inner::c_options(options);
    framelane_subscriber* opened = nullptr;
    const inner::Call call;
    call.check(framelane_subscriber_open(inner::c_channel(name), &c_options, options.open_timeout.ns(), &opened));
    handle_.reset(opened);
  }

  /// Waits for a frame that has not been received yet.
  /// \throws FramelaneError Timeout, ChannelClosed, TooManyLeases, Interrupted, Damaged.
  Frame recv(Timeout timeout = std::nullopt) {
    framelane_frame* frame = nullptr;
    const inner::Call call;
    call.check(framelane_subscriber_recv(handle(), timeout.ns(), &frame));
    return Frame(frame);
  }

  /// Same as `recv`. Returns nothing after the timeout. By default does not wait.
  std::optional<Frame> try_recv(Timeout timeout = std::chrono::nanoseconds(0)) {
    framelane_frame* frame = nullptr;
    const inner::Call call;
    framelane_error* error = framelane_subscriber_recv(handle(), timeout.ns(), &frame);
    if (call.failed_with(error, Code::Timeout)) return std::nullopt;
    call.check(error);
    return Frame(frame);
  }

  /// Detaches from the channel, as the destructor does. Waiting calls in other threads end with
  /// Code::ChannelClosed within half a second, and loops end. Later calls fail. Returns when waiting calls
  /// have ended. From the check of a cancel token, returns at once. Frames stay valid.
  void close() { framelane_subscriber_close(handle()); }

  /// The channel's name.
  std::string channel() const { return inner::text(framelane_subscriber_channel(handle())); }
  /// Frames received so far.
  std::uint64_t received() const { return framelane_subscriber_received(handle()); }
  /// Frames skipped so far, by their sequences.
  std::uint64_t dropped() const { return framelane_subscriber_dropped(handle()); }
  /// The epoch of the channel's present publisher on this machine. Over a link that is the link's, not
  /// `Frame::epoch`.
  std::uint64_t epoch() const { return framelane_subscriber_epoch(handle()); }
  /// Returns true while a publisher holds the channel. Makes a system call.
  bool publisher_alive() const { return framelane_subscriber_publisher_alive(handle()) != 0; }

  /// Iterates over frames until the channel closes. Each frame is released before the next one is received,
  /// unless it was moved out. At the end, access throws FramelaneError Misuse.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Frame;
    using difference_type = std::ptrdiff_t;
    using pointer = Frame*;
    using reference = Frame&;

    explicit Iterator(Subscriber* subscriber) : subscriber_(subscriber) {
      if (subscriber_ != nullptr) ++*this;
    }
    Frame& operator*() {
      if (!frame_) throw at_end();
      return *frame_;
    }
    Frame* operator->() { return &**this; }
    Iterator& operator++() {
      if (subscriber_ == nullptr) throw at_end();
      frame_.reset();
      framelane_frame* frame = nullptr;
      const inner::Call call;
      framelane_error* error = framelane_subscriber_recv(subscriber_->handle(), FRAMELANE_FOREVER, &frame);
      if (call.failed_with(error, Code::ChannelClosed)) {
        subscriber_ = nullptr;
        return *this;
      }
      call.check(error);
      frame_.emplace(Frame(frame));
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.subscriber_ == b.subscriber_; }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return !(a == b); }

   private:
    static FramelaneError at_end() {
      return FramelaneError(Code::Misuse,
                            "expected an iterator with a frame, found one at the end or moved from",
                            "compare it with end() first");
    }

    Subscriber* subscriber_;
    std::optional<Frame> frame_;
  };

  /// Waits for the first frame.
  Iterator begin() { return Iterator(this); }
  Iterator end() { return Iterator(nullptr); }

  /// The handle of the C interface, still owned by this object.
  framelane_subscriber* c() const { return handle(); }

 private:
  framelane_subscriber* handle() const { return inner::given(handle_, "Subscriber"); }

  std::unique_ptr<framelane_subscriber, inner::Deleter<framelane_subscriber_free>> handle_;
};

}  // namespace framelane
