// The writing end of a channel.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/format.hpp>
#include <framelane/options.hpp>

#include <memory>
#include <optional>
#include <string>

namespace framelane {

namespace detail {
/// Frees a handle with its function of the C interface.
template <auto Free>
struct Deleter {
  template <class Handle>
  void operator()(Handle* handle) const noexcept {
    Free(handle);
  }
};
}  // namespace detail

class DetectionSubscriber;
struct Detections;

/// A slot lent to the publisher, to write one frame in place. Destroyed without `publish`, it gives the slot back.
class Loan {
 public:
  /// The slot's bytes, `layout().size_bytes()` of them; what they hold at first is left over. Valid until `publish`.
  std::uint8_t* data() const noexcept { return framelane_loan_data(handle_.get()); }
  /// The first sample of a plane. \throws std::out_of_range
  std::uint8_t* plane(std::size_t index) const { return data() + layout_.plane(index).offset_bytes; }
  /// The layout that was asked for.
  const Layout& layout() const noexcept { return layout_; }

  /// Makes the frame the newest of the channel; gives its sequence. The loan is used up, also when this throws.
  /// \throws Error Closed when the publisher is gone; InvalidOption for a wrong `info`.
  std::uint64_t publish(const FrameInfo& info = {}) {
    std::uint64_t sequence = 0;
    detail::check(framelane_loan_publish(handle_.release(), &info, &sequence));
    return sequence;
  }

 private:
  friend class Publisher;
  explicit Loan(framelane_loan* handle) : handle_(handle), layout_(*framelane_loan_layout(handle)) {}

  std::unique_ptr<framelane_loan, detail::Deleter<framelane_loan_free>> handle_;
  Layout layout_;
};

/// The one that publishes a channel's frames. Closes the channel when it is destroyed.
///
/// Usable from any thread; calls take turns. Moving is allowed, copying is not.
class Publisher {
 public:
  /// Makes the channel, or takes it over, with its subscribers, when its publisher has died.
  /// \throws Error InvalidName, InvalidOption, ChannelBusy (another publisher lives), Permission, NoSpace, Damaged.
  explicit Publisher(const std::string& channel, PublisherOptions options = {})
      : question_(detail::make_question(std::move(options.keep_waiting))) {
    const auto c = detail::c_options(options, question_);
    framelane_publisher* handle = nullptr;
    detail::check(framelane_publisher_create(channel.c_str(), &c, &handle));
    handle_.reset(handle);
  }

  /// Lends a slot to write in place, without a copy. Blocks only with Policy::Wait. Several loans may be held at once.
  /// \throws Error NoFreeSlot with Policy::Drop when every slot is in use (counted as dropped); NoSpace; Interrupted.
  Loan loan(const Layout& layout) {
    framelane_loan* loan = nullptr;
    detail::check(framelane_publisher_loan(handle_.get(), &layout.c(), &loan), question_);
    return Loan(loan);
  }

  /// As `loan`; nothing when every slot is in use.
  std::optional<Loan> try_loan(const Layout& layout) {
    framelane_loan* loan = nullptr;
    framelane_error* error = framelane_publisher_loan(handle_.get(), &layout.c(), &loan);
    if (detail::failed_with(error, Code::NoFreeSlot)) return std::nullopt;
    detail::check(error, question_);
    return Loan(loan);
  }

  /// Copies an image into a slot and publishes it: one copy, whatever its strides. Gives its sequence; nothing when it
  /// was dropped because every slot was in use.
  /// \throws Error InvalidFrame, FrameTooLarge, NoSpace, Interrupted.
  std::optional<std::uint64_t> send(const Image& image, const FrameInfo& info = {}) {
    const framelane_image c_image = image.c();
    std::uint64_t sequence = 0;
    detail::check(framelane_publisher_send(handle_.get(), &c_image, &info, &sequence), question_);
    return sequence == 0 ? std::nullopt : std::make_optional(sequence);
  }

  /// Publishes an image as `send` does and waits for the boxes found in it: to call a detector like a function.
  /// `detections` is a subscriber of its channel; when the detector ends, the next one is waited for.
  /// \throws Error NoFreeSlot when the frame was dropped; Timeout; as `send` and DetectionSubscriber::recv.
  Detections send_and_wait(const Image& image, DetectionSubscriber& detections, Timeout timeout = std::nullopt,
                           const FrameInfo& info = {});

  /// With Policy::Wait, waits until every live reader of every frame has received all. Call it before the end of a
  /// channel of which nothing may be missed. \throws Error Interrupted.
  void drain() { detail::check(framelane_publisher_drain(handle_.get()), question_); }

  /// The channel's name.
  std::string channel() const { return detail::text(framelane_publisher_channel(handle_.get())); }
  /// The number of this life of the publisher.
  std::uint64_t epoch() const noexcept { return framelane_publisher_epoch(handle_.get()); }
  /// The number given to the last frame, published or dropped; 0 before the first.
  std::uint64_t sequence() const noexcept { return framelane_publisher_sequence(handle_.get()); }
  /// Frames that got a number but no slot.
  std::uint64_t dropped() const noexcept { return framelane_publisher_dropped(handle_.get()); }
  /// Slots of the ring.
  std::uint32_t slots() const noexcept { return framelane_publisher_slots(handle_.get()); }
  /// Subscribers attached now. Makes a system call for each.
  std::uint32_t subscribers() const noexcept { return framelane_publisher_subscribers(handle_.get()); }

  /// The handle of the C interface, still owned by this object.
  framelane_publisher* c() const noexcept { return handle_.get(); }

 private:
  // Outlives the handle, which asks it.
  std::unique_ptr<detail::Question> question_;
  std::unique_ptr<framelane_publisher, detail::Deleter<framelane_publisher_free>> handle_;
};

}  // namespace framelane
