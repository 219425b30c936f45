// Publishers and loans.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/format.hpp>
#include <framelane/options.hpp>

#include <memory>
#include <optional>
#include <string>

namespace framelane {

namespace inner {
/// Frees a handle with its function of the C interface.
template <auto Free>
struct Deleter {
  template <class Handle>
  void operator()(Handle* handle) const noexcept {
    Free(handle);
  }
};
}  // namespace inner

class DetectionSubscriber;
struct Detections;

/// A slot lent to the publisher, to write one frame in place. Destruction without `publish` returns the slot.
///
/// A loan that was published or moved from has no slot: its methods throw FramelaneError Misuse.
class Loan {
 public:
  /// The slot's bytes, `layout().size_bytes()` of them. They contain an older frame at first. Valid until
  /// `publish`.
  std::uint8_t* data() const { return framelane_loan_data(handle()); }
  /// The first sample of a plane. \throws std::out_of_range
  std::uint8_t* plane(std::size_t index) const { return data() + layout().plane(index).offset_bytes; }
  /// The requested layout.
  const Layout& layout() const {
    handle();
    return layout_;
  }

  /// Makes the frame the newest of the channel. Returns its sequence. Ends the loan, also when this throws.
  /// \throws FramelaneError ChannelClosed when the publisher is closed; InvalidOption for a wrong `info`;
  /// Interrupted.
  std::uint64_t publish(const FrameInfo& info = {}) {
    handle();
    std::uint64_t sequence = 0;
    const inner::Call call;
    call.check(framelane_loan_publish(handle_.release(), &info, &sequence));
    return sequence;
  }

 private:
  friend class Publisher;
  explicit Loan(framelane_loan* loan) : handle_(loan), layout_(*framelane_loan_layout(loan)) {}

  framelane_loan* handle() const { return inner::given(handle_, "Loan", "published or moved from"); }

  std::unique_ptr<framelane_loan, inner::Deleter<framelane_loan_free>> handle_;
  Layout layout_;
};

/// Publishes the frames of a channel. Closes the channel when it is destroyed.
///
/// Usable from any thread. Calls are serialised. Move-only. Methods of an object that was moved from throw
/// FramelaneError Misuse.
class Publisher {
 public:
  /// Creates the channel, or takes it over, with its subscribers, when its publisher has died.
  /// \throws FramelaneError InvalidName, InvalidOption, ChannelBusy (another publisher lives),
  /// PermissionDenied, NoSpace, Damaged.
  explicit Publisher(const std::string& name, const PublisherOptions& options = {}) {
    const auto c_options = inner::c_options(options);
    framelane_publisher* made = nullptr;
    const inner::Call call;
    call.check(framelane_publisher_create(inner::c_channel(name), &c_options, &made));
    handle_.reset(made);
  }

  /// Lends a slot to write in place, without a copy. Blocks only with Backpressure::Block. Several loans may
  /// be held at once.
  /// \throws FramelaneError NoFreeSlot with Backpressure::Drop when every slot is in use (counted as
  /// dropped); NoSpace; Interrupted.
  Loan loan(const Layout& layout) {
    framelane_loan* lent = nullptr;
    const inner::Call call;
    call.check(framelane_publisher_loan(handle(), &layout.c(), &lent));
    return Loan(lent);
  }

  /// Same as `loan`. Returns nothing when every slot is in use.
  std::optional<Loan> try_loan(const Layout& layout) {
    framelane_loan* lent = nullptr;
    const inner::Call call;
    framelane_error* error = framelane_publisher_loan(handle(), &layout.c(), &lent);
    if (call.failed_with(error, Code::NoFreeSlot)) return std::nullopt;
    call.check(error);
    return Loan(lent);
  }

  /// Copies an image into a slot and publishes it: one copy, also with padded rows. Returns its sequence, or
  /// nothing when it was dropped because every slot was in use.
  /// \throws FramelaneError InvalidFrame, FrameTooLarge, NoSpace, Interrupted.
  std::optional<std::uint64_t> send(const Image& image, const FrameInfo& info = {}) {
    const framelane_image c_image = image.c();
    std::uint64_t number = 0;
    const inner::Call call;
    call.check(framelane_publisher_send(handle(), &c_image, &info, &number));
    return number == 0 ? std::nullopt : std::make_optional(number);
  }

  /// Publishes an image as `send` does and waits for the boxes found in it: calls a detector like a function.
  /// `detections` is a subscriber of the detector's channel. If the detector ends, waits for the next one.
  /// \throws FramelaneError NoFreeSlot when the frame was dropped; Timeout; as `send` and
  /// DetectionSubscriber::recv.
  Detections send_and_wait(const Image& image, DetectionSubscriber& detections, Timeout timeout = std::nullopt,
                           const FrameInfo& info = {});

  /// Waits until every live subscriber with Delivery::Every has received all frames. For a URL, also waits
  /// until the link has taken the newest frame. Works with either backpressure. If no frame may be lost, call
  /// it before close.
  /// \throws FramelaneError Timeout, Interrupted. Damaged if a file of the channel was cut short. The error
  /// of a link that has ended, of any kind.
  void drain(Timeout timeout = std::nullopt) {
    const inner::Call call;
    call.check(framelane_publisher_drain(handle(), timeout.ns()));
  }

  /// Closes the channel, as the destructor does, and never waits for a subscriber. Waiting calls in other
  /// threads, and later calls, fail with Code::ChannelClosed. Returns when the waiting calls have ended and
  /// the channel is gone. From the check of a cancel token, returns at once.
  void close() { framelane_publisher_close(handle()); }

  /// The channel's name.
  std::string channel() const { return inner::text(framelane_publisher_channel(handle())); }
  /// The epoch of the publisher.
  std::uint64_t epoch() const { return framelane_publisher_epoch(handle()); }
  /// The sequence of the last frame, published or dropped. 0 before the first.
  std::uint64_t sequence() const { return framelane_publisher_sequence(handle()); }
  /// Frames dropped because no slot was free.
  std::uint64_t dropped() const { return framelane_publisher_dropped(handle()); }
  /// Slots of the ring.
  std::uint32_t slots() const { return framelane_publisher_slots(handle()); }
  /// Subscribers attached now. Makes a system call for each.
  std::uint32_t subscribers() const { return framelane_publisher_subscribers(handle()); }

  /// The handle of the C interface, still owned by this object.
  framelane_publisher* c() const { return handle(); }

 private:
  framelane_publisher* handle() const { return inner::given(handle_, "Publisher"); }

  std::unique_ptr<framelane_publisher, inner::Deleter<framelane_publisher_free>> handle_;
};

}  // namespace framelane
