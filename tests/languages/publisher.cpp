// Publishes a plan: see README.md. What is a matrix to OpenCV goes as a cv::Mat, else as planes.
#include <framelane/opencv.hpp>

#include "pattern.h"

#include <fstream>
#include <iostream>
#include <thread>

using framelane::Layout;

static framelane::FrameInfo info_of(std::uint64_t n) {
  framelane::FrameInfo info;
  static_cast<framelane_info&>(info) = pattern_info(n);
  return info;
}

static void publish_loan(framelane::Publisher& publisher, const Layout& layout, std::uint64_t n) {
  auto loan = publisher.loan(layout);
  std::uint8_t* planes[4] = {};
  std::uint64_t strides[4] = {};
  for (std::size_t p = 0; p < layout.plane_count(); ++p) {
    planes[p] = loan.plane(p);
    strides[p] = layout.plane(p).stride_bytes;
  }
  pattern_fill(&layout.c(), n, planes, strides);
  loan.publish(info_of(n));
}

static void publish_copy(framelane::Publisher& publisher, const Layout& layout, std::uint64_t n) {
  if (layout.plane_count() == 1 && layout.format() != framelane::Format::Yuyv) {
    // A region of a wider matrix.
    cv::Mat wide(static_cast<int>(layout.height()), static_cast<int>(layout.width()) + 5, framelane::mat_type(layout.format()));
    std::uint8_t* const planes[] = {wide.data};
    const std::uint64_t strides[] = {wide.step[0]};
    pattern_fill(&layout.c(), n, planes, strides);
    framelane::publish(publisher, wide.colRange(0, static_cast<int>(layout.width())), info_of(n), layout.format());
    return;
  }
  framelane::Image image(layout.format(), layout.width(), layout.height(), nullptr);
  std::vector<std::vector<std::uint8_t>> memory;
  std::uint8_t* planes[4] = {};
  for (std::size_t p = 0; p < layout.plane_count(); ++p) {
    image.strides_bytes[p] = layout.plane(p).row_bytes + 5;
    memory.emplace_back(image.strides_bytes[p] * layout.plane(p).rows);
    image.planes[p] = planes[p] = memory.back().data();
  }
  pattern_fill(&layout.c(), n, planes, image.strides_bytes.data());
  publisher.send(image, info_of(n));
}

static void print_boxes(const framelane::Detections& found) {
  std::cout << found.frame.sequence << ' ' << found.model << ' ' << found.boxes.size();
  for (const auto& box : found.boxes) {
    std::cout << ' ' << box.x << ',' << box.y << ',' << box.width << ',' << box.height << ',' << 8 * box.score << ','
              << found.label(box) << ',' << box.track_id;
  }
  std::cout << '\n';
}

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: " << argv[0] << " CHANNEL PLAN SUBSCRIBERS [DETECTIONS]\n";
    return 2;
  }
  framelane::PublisherOptions options;
  options.backpressure = framelane::Backpressure::Block;
  framelane::Publisher publisher(argv[1], options);
  while (publisher.subscribers() < static_cast<unsigned>(std::atoi(argv[3]))) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::optional<framelane::DetectionSubscriber> detections;
  if (argc > 4) detections.emplace(argv[4]);
  std::ifstream plan(argv[2]);
  std::string format, how;
  std::uint32_t width, height;
  std::uint64_t n = 0;
  while (plan >> format >> width >> height >> how) {
    const Layout layout(framelane::Format::from_name(format), width, height);
    ++n;
    if (how == "loan") publish_loan(publisher, layout, n);
    else publish_copy(publisher, layout, n);
    if (detections) print_boxes(detections->for_frame(publisher.epoch(), n));
  }
  publisher.drain();
}
