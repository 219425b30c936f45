// The reading end of a channel.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/publisher.hpp>

#include <iterator>

namespace framelane {

/// Names a frame: what a detector sends back with its boxes.
struct FrameId {
  std::string channel;
  /// The life of the frame's publisher.
  std::uint64_t epoch = 0;
  /// The frame's number as its publisher counts.
  std::uint64_t sequence = 0;
  /// Its capture time in nanoseconds since 1970.
  std::uint64_t timestamp_ns = 0;
  /// When it was published, on CLOCK_MONOTONIC.
  std::uint64_t published_ns = 0;
  std::uint32_t width = 0;
  std::uint32_t height = 0;

  FrameId() = default;
  explicit FrameId(const framelane_frame_id& id)
      : channel(id.channel),
        epoch(id.epoch),
        sequence(id.sequence),
        timestamp_ns(id.timestamp_ns),
        published_ns(id.published_ns),
        width(id.width),
        height(id.height) {}

  /// Valid while this object is.
  framelane_frame_id c() const noexcept {
    return {channel.c_str(), epoch, sequence, timestamp_ns, published_ns, width, height};
  }
};

/// A frame, read where the publisher wrote it: it does not change until this object is destroyed.
///
/// Each is one of its subscriber's leases (the channel's slots less two, 2 to 8), and may outlive it. Move-only; may go to other threads.
class Frame {
 public:
  /// The bytes, `layout().size_bytes()` of them, without a copy. Mapped for reading only.
  const std::uint8_t* data() const noexcept { return framelane_frame_data(handle_.get()); }
  /// The first sample of a plane. \throws std::out_of_range
  const std::uint8_t* plane(std::size_t index) const { return data() + layout_.plane(index).offset_bytes; }
  /// Size, format and planes.
  const Layout& layout() const noexcept { return layout_; }
  std::uint32_t width() const noexcept { return layout_.width(); }
  std::uint32_t height() const noexcept { return layout_.height(); }
  Format format() const noexcept { return layout_.format(); }

  /// Times, colour, rotation; the capture time is always there.
  FrameInfo info() const noexcept {
    FrameInfo info;
    static_cast<framelane_info&>(info) = *framelane_frame_info(handle_.get());
    return info;
  }
  /// The frame's number, from 1, as its publisher counts: the same in every process, also over links.
  std::uint64_t sequence() const noexcept { return framelane_frame_sequence(handle_.get()); }
  /// The life of the frame's publisher: `Publisher::epoch` there, also over links.
  std::uint64_t epoch() const noexcept { return framelane_frame_epoch(handle_.get()); }
  /// Frames that the subscriber missed between the frame before and this one.
  std::uint64_t dropped() const noexcept { return framelane_frame_dropped(handle_.get()); }
  /// Capture time in nanoseconds since 1970.
  std::uint64_t timestamp_ns() const noexcept { return framelane_frame_info(handle_.get())->timestamp_ns; }
  /// When it was published, in nanoseconds on CLOCK_MONOTONIC.
  std::uint64_t published_ns() const noexcept { return framelane_frame_published_ns(handle_.get()); }
  /// Nanoseconds since it was published.
  std::uint64_t age_ns() const noexcept { return framelane_frame_age_ns(handle_.get()); }
  /// Whether everything that was read of the frame before this call was the frame; see `framelane_frame_is_intact`.
  bool is_intact() const noexcept { return framelane_frame_is_intact(handle_.get()) != 0; }

  /// What detections need to name this frame. Boxes that are found on one machine match the frame on every other.
  FrameId id() const {
    framelane_frame_id id{};
    detail::check(framelane_frame_get_id(handle_.get(), &id));
    return FrameId(id);
  }

 private:
  friend class Subscriber;
  explicit Frame(framelane_frame* handle) : handle_(handle), layout_(*framelane_frame_layout(handle)) {}

  std::unique_ptr<framelane_frame, detail::Deleter<framelane_frame_free>> handle_;
  Layout layout_;
};

/// One that receives a channel's frames; up to 64 on a channel.
///
///     framelane::Subscriber subscriber("cam0");
///     for (framelane::Frame& frame : subscriber) …   // the newest frame, until the channel closes
///
/// When the publisher dies, waiting goes on: a new one on the same channel is picked up by itself.
class Subscriber {
 public:
  /// Waits for the channel (see SubscriberOptions::wait) and subscribes.
  /// \throws Error NotFound, InvalidName, Permission, LayoutVersion, Damaged, TooManySubscribers, Interrupted.
  explicit Subscriber(const std::string& channel, SubscriberOptions options = {})
      : question_(detail::make_question(std::move(options.keep_waiting))) {
    const auto c = detail::c_options(options, question_);
    framelane_subscriber* handle = nullptr;
    detail::check(framelane_subscriber_open(channel.c_str(), &c, detail::timeout_ns(options.wait), &handle), question_);
    handle_.reset(handle);
  }

  /// Waits for a frame that has not been received yet.
  /// \throws Error Timeout, Closed, TooManyLeases, Interrupted, Damaged.
  Frame recv(Timeout timeout = std::nullopt) {
    framelane_frame* frame = nullptr;
    detail::check(framelane_subscriber_recv(handle_.get(), detail::timeout_ns(timeout), &frame), question_);
    return Frame(frame);
  }

  /// As `recv`; nothing when the time has passed. By default takes only what is there.
  std::optional<Frame> try_recv(std::chrono::nanoseconds timeout = std::chrono::nanoseconds(0)) {
    framelane_frame* frame = nullptr;
    framelane_error* error = framelane_subscriber_recv(handle_.get(), detail::timeout_ns(timeout), &frame);
    if (detail::failed_with(error, Code::Timeout)) return std::nullopt;
    detail::check(error, question_);
    return Frame(frame);
  }

  /// The channel's name.
  std::string channel() const { return detail::text(framelane_subscriber_channel(handle_.get())); }
  /// Frames received so far.
  std::uint64_t received() const noexcept { return framelane_subscriber_received(handle_.get()); }
  /// Frames skipped so far, by their numbers.
  std::uint64_t dropped() const noexcept { return framelane_subscriber_dropped(handle_.get()); }
  /// The epoch of the channel's present publisher on this machine. Over a link that is the link's, not `Frame::epoch`.
  std::uint64_t epoch() const noexcept { return framelane_subscriber_epoch(handle_.get()); }
  /// Whether a publisher holds the channel now. Makes a system call.
  bool publisher_alive() const noexcept { return framelane_subscriber_publisher_alive(handle_.get()) != 0; }

  /// Goes over frames as they come, until the channel closes. Each frame is let go before the next is received, unless
  /// it was moved out.
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
    Frame& operator*() { return *frame_; }
    Frame* operator->() { return &*frame_; }
    Iterator& operator++() {
      frame_.reset();
      framelane_frame* frame = nullptr;
      framelane_error* error = framelane_subscriber_recv(subscriber_->c(), FRAMELANE_FOREVER, &frame);
      if (detail::failed_with(error, Code::Closed)) {
        subscriber_ = nullptr;
        return *this;
      }
      detail::check(error, subscriber_->question_);
      frame_.emplace(Frame(frame));
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.subscriber_ == b.subscriber_; }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return !(a == b); }

   private:
    Subscriber* subscriber_;
    std::optional<Frame> frame_;
  };

  /// Waits for the first frame.
  Iterator begin() { return Iterator(this); }
  Iterator end() { return Iterator(nullptr); }

  /// The handle of the C interface, still owned by this object.
  framelane_subscriber* c() const noexcept { return handle_.get(); }

 private:
  std::unique_ptr<detail::Question> question_;
  std::unique_ptr<framelane_subscriber, detail::Deleter<framelane_subscriber_free>> handle_;
};

}  // namespace framelane
