// Prints what arrives: see README.md.
#include <framelane/framelane.hpp>

#include "pattern.h"

#include <chrono>
#include <iostream>
#include <stdexcept>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: " << argv[0] << " CHANNEL newest|every [DETECTIONS]\n";
    return 2;
  }
  std::optional<framelane::DetectionPublisher> finder;
  if (argc > 3) finder.emplace(argv[3], std::vector<std::string>{"a", "b"}, "m");
  std::optional<framelane::DetectionSubscriber> found;
  framelane::SubscriberOptions options;
  options.delivery = std::string(argv[2]) == "every" ? framelane::Delivery::Every : framelane::Delivery::Newest;
  framelane::Subscriber subscriber(argv[1], options);
  for (framelane::Frame& frame : subscriber) {
    const auto info = frame.info();
    std::uint64_t sum, weighted;
    pattern_sums(&frame.layout().c(), frame.data(), &sum, &weighted);
    std::cout << frame.sequence() << ' ' << frame.format().name() << ' ' << frame.width() << ' ' << frame.height() << ' '
              << frame.dropped() << ' ' << info.timestamp_ns << ' ' << info.pts_ns << ' ' << info.duration_ns << ' '
              << +info.matrix << ' ' << +info.primaries << ' ' << +info.transfer << ' ' << +info.range << ' '
              << info.rotation_degrees << ' ' << +info.keyframe << ' ' << sum << ' ' << weighted << '\n';
    if (!finder) continue;
    std::vector<framelane::Detection> boxes;
    const auto n = frame.sequence();
    for (std::uint64_t i = 0; i < n % 4; ++i) {
      boxes.emplace_back(static_cast<float>(n + i), static_cast<float>(i), static_cast<float>(2 * i + 1), 3.0f,
                         static_cast<float>(i) / 8, static_cast<std::uint32_t>(i % 2), 100 * n + i);
    }
    finder->send(frame, boxes);
    if (!found) found.emplace(argv[3]);
    using std::chrono::nanoseconds;
    const auto batch = found->for_frame(frame);
    const bool same = batch.boxes.size() == boxes.size() && batch.frame.sequence == n &&
                      found->for_frame(frame.id(), nanoseconds(0)).sequence == batch.sequence &&
                      found->for_frame(frame.epoch(), n, nanoseconds(0)).sequence == batch.sequence;
    if (!same) throw std::runtime_error("other boxes");
  }
}
