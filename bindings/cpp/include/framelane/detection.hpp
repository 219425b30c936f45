// Boxes found in frames, sent back on a separate channel.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/subscriber.hpp>

#include <vector>

namespace framelane {

/// One object found in a frame: a box in pixels from the upper left corner, with its properties.
struct Detection : framelane_detection {
  Detection() : framelane_detection{} {}
  Detection(float left, float top, float columns, float rows, float confidence = 1, std::uint32_t class_number = 0,
            std::uint64_t track = 0)
      : framelane_detection{left, top, columns, rows, 0, confidence, class_number, 0, track} {}
  explicit Detection(const framelane_detection& c) : framelane_detection(c) {}

  /// The tracker has lost the object; the box is where it was last.
  bool is_lost() const noexcept { return (flags & FRAMELANE_DETECTION_LOST) != 0; }
  /// The box was predicted, not seen.
  bool is_predicted() const noexcept { return (flags & FRAMELANE_DETECTION_PREDICTED) != 0; }
};

static_assert(sizeof(Detection) == sizeof(framelane_detection), "an array of one is an array of the other");

/// All objects found in one frame. May be empty.
struct Detections {
  /// The frame.
  FrameId frame;
  /// The model that found them.
  std::string model;
  /// Names of the classes; `class_id` is an index into them.
  std::vector<std::string> labels;
  /// The objects.
  std::vector<Detection> boxes;
  /// The batch's own number on the detections channel.
  std::uint64_t sequence = 0;
  /// When the batch was published, on CLOCK_MONOTONIC.
  std::uint64_t published_ns = 0;
  /// Nanoseconds from the publication of the frame to the publication of its detections.
  std::uint64_t latency_ns = 0;
  /// Batches that the subscriber missed just before this one.
  std::uint64_t dropped = 0;

  /// The label of a box; empty when its class has none.
  std::string label(const Detection& box) const {
    return box.class_id < labels.size() ? labels[box.class_id] : std::string();
  }
};

namespace inner {

/// Takes a batch over from the C interface, and frees it there.
inline Detections take(framelane_detections* handle) {
  const std::unique_ptr<framelane_detections, Deleter<framelane_detections_free>> owner(handle);
  Detections found;
  found.frame = FrameId(*framelane_detections_frame(handle));
  found.model = text(framelane_detections_model(handle));
  for (std::uint32_t id = 0; id < framelane_detections_label_count(handle); ++id) {
    found.labels.push_back(text(framelane_detections_label(handle, id)));
  }
  const framelane_detection* boxes = framelane_detections_boxes(handle);
  for (std::size_t i = 0; i < framelane_detections_count(handle); ++i) found.boxes.emplace_back(boxes[i]);
  found.sequence = framelane_detections_sequence(handle);
  found.published_ns = framelane_detections_published_ns(handle);
  found.latency_ns = framelane_detections_latency_ns(handle);
  found.dropped = framelane_detections_dropped(handle);
  return found;
}

}  // namespace inner

/// Publishes detections. Send a batch for every frame that was processed, also without boxes.
///
/// Usable from any thread. Calls are serialised. Methods of an object that was moved from throw
/// FramelaneError Misuse.
class DetectionPublisher {
 public:
  /// Creates a detections channel, by convention named CHANNEL/detections. Every batch contains `labels` and
  /// `model`.
  /// \throws FramelaneError as Publisher; InvalidOption for a label or model with a NUL inside.
  explicit DetectionPublisher(const std::string& channel, const std::vector<std::string>& labels = {},
                              const std::string& model = {}, const PublisherOptions& options = {}) {
    const auto c_options = inner::c_options(options);
    std::vector<const char*> c_labels;
    for (const std::string& label : labels) c_labels.push_back(inner::c_text(label, "a label"));
    framelane_detection_publisher* made = nullptr;
    const inner::Call call;
    call.check(framelane_detection_publisher_create(inner::c_channel(channel), &c_options, c_labels.data(),
                                                    c_labels.size(), inner::c_text(model, "a model"), &made));
    handle_.reset(made);
  }

  /// Sends the boxes found in a frame. Returns the batch's own number, or nothing when it was dropped.
  /// \throws FramelaneError FrameTooLarge with more than 2^24 boxes; NoSpace, Interrupted.
  std::optional<std::uint64_t> send(const FrameId& frame, const std::vector<Detection>& boxes) {
    const framelane_frame_id id = frame.c();
    std::uint64_t number = 0;
    const inner::Call call;
    call.check(framelane_detection_publisher_send(handle(), &id, boxes.data(), boxes.size(), &number));
    return number == 0 ? std::nullopt : std::make_optional(number);
  }
  std::optional<std::uint64_t> send(const Frame& frame, const std::vector<Detection>& boxes) {
    return send(frame.id(), boxes);
  }

  /// Same as Publisher::drain.
  void drain(Timeout timeout = std::nullopt) {
    const inner::Call call;
    call.check(framelane_detection_publisher_drain(handle(), timeout.ns()));
  }

  /// Same as Publisher::close.
  void close() { framelane_detection_publisher_close(handle()); }

 private:
  framelane_detection_publisher* handle() const { return inner::given(handle_, "DetectionPublisher"); }

  std::unique_ptr<framelane_detection_publisher, inner::Deleter<framelane_detection_publisher_free>> handle_;
};

/// Receives detections: every batch in order, or the batch of one frame.
///
/// Usable from any thread. Calls are serialised. Methods of an object that was moved from throw
/// FramelaneError Misuse.
class DetectionSubscriber {
 public:
  /// Waits for the channel (see SubscriberOptions::open_timeout). The delivery is always Every. \throws
  /// FramelaneError as Subscriber.
  explicit DetectionSubscriber(const std::string& channel, const SubscriberOptions& options = {}) {
    const auto c_options = inner::c_options(options);
    framelane_detection_subscriber* opened = nullptr;
    const inner::Call call;
    call.check(
        framelane_detection_subscriber_open(inner::c_channel(channel), &c_options, options.open_timeout.ns(), &opened));
    handle_.reset(opened);
  }

  /// Receives the next batch. \throws FramelaneError Timeout, ChannelClosed, InvalidFrame when the channel
  /// carries images.
  Detections recv(Timeout timeout = std::nullopt) {
    framelane_detections* found = nullptr;
    const inner::Call call;
    call.check(framelane_detection_subscriber_recv(handle(), timeout.ns(), &found));
    return inner::take(found);
  }

  /// Same as `recv`. Returns nothing after the timeout. By default does not wait.
  std::optional<Detections> try_recv(Timeout timeout = std::chrono::nanoseconds(0)) {
    framelane_detections* found = nullptr;
    const inner::Call call;
    framelane_error* error = framelane_detection_subscriber_recv(handle(), timeout.ns(), &found);
    if (call.failed_with(error, Code::Timeout)) return std::nullopt;
    call.check(error);
    return inner::take(found);
  }

  /// Returns the detections of a frame, in any order among the last 256. A subscriber passes the frame, its
  /// `id()`, or `epoch` and `sequence`. The publisher passes `Publisher::epoch` and the result of `send` or
  /// `publish`.
  /// \throws FramelaneError Timeout, which names the newest frame with detections; ChannelClosed.
  Detections for_frame(const FrameId& frame, Timeout timeout = std::nullopt) {
    return for_frame(frame.epoch, frame.sequence, timeout);
  }
  Detections for_frame(const Frame& frame, Timeout timeout = std::nullopt) {
    return for_frame(frame.epoch(), frame.sequence(), timeout);
  }
  Detections for_frame(std::uint64_t epoch, std::uint64_t sequence, Timeout timeout = std::nullopt) {
    framelane_detections* found = nullptr;
    const inner::Call call;
    call.check(framelane_detection_subscriber_for_frame(handle(), epoch, sequence, timeout.ns(), &found));
    return inner::take(found);
  }

  /// Same as `for_frame`, across restarts of the detector: waits for the next one.
  /// \throws FramelaneError Timeout, also when there is no detector.
  Detections answer(const FrameId& frame, Timeout timeout = std::nullopt) {
    return answer(frame.epoch, frame.sequence, timeout);
  }
  Detections answer(const Frame& frame, Timeout timeout = std::nullopt) {
    return answer(frame.epoch(), frame.sequence(), timeout);
  }
  Detections answer(std::uint64_t epoch, std::uint64_t sequence, Timeout timeout = std::nullopt) {
    framelane_detections* found = nullptr;
    const inner::Call call;
    call.check(framelane_detection_subscriber_answer(handle(), epoch, sequence, timeout.ns(), &found));
    return inner::take(found);
  }

  /// Same as Subscriber::close.
  void close() { framelane_detection_subscriber_close(handle()); }

  /// The handle of the C interface, still owned by this object.
  framelane_detection_subscriber* c() const { return handle(); }

 private:
  friend class Publisher;
  framelane_detection_subscriber* handle() const { return inner::given(handle_, "DetectionSubscriber"); }

  std::unique_ptr<framelane_detection_subscriber, inner::Deleter<framelane_detection_subscriber_free>> handle_;
};

inline Detections Publisher::send_and_wait(const Image& image, DetectionSubscriber& detections, Timeout timeout,
                                           const FrameInfo& info) {
  const framelane_image c_image = image.c();
  framelane_detections* found = nullptr;
  const inner::Call call;
  call.check(framelane_publisher_send_and_wait(handle(), &c_image, &info, detections.handle(), timeout.ns(), &found));
  return inner::take(found);
}

}  // namespace framelane
