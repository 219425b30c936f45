// Arguments that cannot be what is meant: texts with a NUL inside, times, sizes and enumerators out of range.
#include <doctest/doctest.h>
#include <framelane/opencv.hpp>

#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "errors.h"

using framelane::Code;
using framelane::Format;
using framelane::FramelaneError;
using framelane::Timeout;
using namespace std::chrono_literals;

TEST_CASE("text_with_a_nul_is_refused_wherever_it_crosses") {
  const std::string nul("a\0b", 3);
  framelane::PublisherOptions writing;
  framelane::SubscriberOptions reading;
  writing.directory = reading.directory = std::string("/dev/shm/a\0b", 12);
  const std::uint32_t name = FRAMELANE_ERROR_INVALID_NAME, option = FRAMELANE_ERROR_INVALID_OPTION;
  CHECK(code_of([&] { framelane::Publisher publisher(nul); }) == name);
  CHECK(code_of([&] { framelane::Publisher publisher(std::string("tls://host/a\0b", 14)); }) == name);
  CHECK(code_of([&] { framelane::Publisher publisher("a", writing); }) == option);
  CHECK(code_of([&] { framelane::Subscriber subscriber(nul); }) == name);
  CHECK(code_of([&] { framelane::Subscriber subscriber("a", reading); }) == option);
  CHECK(code_of([&] { framelane::DetectionPublisher finder(nul); }) == name);
  CHECK(code_of([&] { framelane::DetectionPublisher finder("a", {"x", nul}); }) == option);
  CHECK(code_of([&] { framelane::DetectionPublisher finder("a", {"x"}, nul); }) == option);
  CHECK(code_of([&] { framelane::DetectionPublisher finder("a", {}, "", writing); }) == option);
  CHECK(code_of([&] { framelane::DetectionSubscriber found(nul); }) == name);
  CHECK(code_of([&] { framelane::DetectionSubscriber found("a", reading); }) == option);
  CHECK(code_of([&] { Format::from_name(std::string("bgr8\0x", 6)); }) == option);
  CHECK(code_of([&] { framelane::list_channels(writing.directory); }) == option);
  framelane::DetectionPublisher finder("nul/detections");
  framelane::FrameId id;
  id.channel = nul;
  CHECK(code_of([&] { id.c(); }) == name);
  CHECK(code_of([&] { finder.send(id, {}); }) == name);
  CHECK_THROWS_WITH_AS(framelane::Subscriber{nul},
                       doctest::Contains("NUL, found one at byte 1 of 3 behind \"a\""), FramelaneError);
  CHECK(framelane::list_channels().size() == 1);
}

TEST_CASE("timeout_takes_every_duration_and_refuses_nonsense") {
  CHECK((Timeout().ns() == FRAMELANE_FOREVER && Timeout(std::nullopt).ns() == FRAMELANE_FOREVER));
  CHECK((Timeout(0ns).ns() == 0 && Timeout(3us).ns() == 3000 && Timeout(std::chrono::duration<double>(0.25)).ns() == 250000000));
  CHECK((Timeout(std::optional<std::chrono::seconds>()).ns() == FRAMELANE_FOREVER && Timeout(std::optional(2s)).ns() == 2000000000));
  CHECK(Timeout(std::chrono::nanoseconds::max()).ns() == std::chrono::nanoseconds::max().count());
  // No number of nanoseconds, and meant to be long.
  const auto most = std::numeric_limits<std::int64_t>::max();
  CHECK((Timeout(std::chrono::hours::max()).ns() == most && Timeout(std::chrono::seconds::max()).ns() == most));
  CHECK(Timeout(std::chrono::duration<float>(std::numeric_limits<float>::infinity())).ns() == most);
  const std::uint32_t option = FRAMELANE_ERROR_INVALID_OPTION;
  CHECK(code_of([] { Timeout(-1ns); }) == option);
  CHECK(code_of([] { Timeout{std::chrono::seconds::min()}; }) == option);
  CHECK(code_of([] { Timeout(std::chrono::duration<double>(std::nan(""))); }) == option);
  CHECK_THROWS_WITH_AS(Timeout(-1500ms), doctest::Contains("found -1.5"), FramelaneError);

  framelane::Publisher publisher("times");
  framelane::Subscriber subscriber("times");
  framelane::DetectionPublisher finder("times/detections");
  framelane::DetectionSubscriber found("times/detections");
  CHECK(code_of([&] { subscriber.recv(-1s); }) == option);
  CHECK(code_of([&] { subscriber.try_recv(-1s); }) == option);
  CHECK(code_of([&] { found.recv(-1s); }) == option);
  CHECK(code_of([&] { found.try_recv(-1s); }) == option);
  CHECK(code_of([&] { found.for_frame(1, 1, -1s); }) == option);
  CHECK(code_of([&] { found.answer(1, 1, -1s); }) == option);
  framelane::SubscriberOptions options;
  CHECK(code_of([&] { options.open_timeout = -1s; }) == option);
  options.spin = -1us;
  CHECK(code_of([&] { framelane::Subscriber spinning("times", options); }) == option);
  publisher.loan({Format::Gray8, 1, 1}).publish();
  CHECK(subscriber.recv(std::chrono::hours::max()).sequence() == 1);
}

TEST_CASE("enumerators_and_sizes_out_of_range_are_refused") {
  const std::uint32_t option = FRAMELANE_ERROR_INVALID_OPTION, invalid = FRAMELANE_ERROR_INVALID_FRAME;
  framelane::PublisherOptions writing;
  writing.backpressure = static_cast<framelane::Backpressure>(7);
  CHECK(code_of([&] { framelane::Publisher publisher("range", writing); }) == option);
  framelane::SubscriberOptions reading;
  reading.delivery = static_cast<framelane::Delivery>(7);
  CHECK(code_of([&] { framelane::Subscriber subscriber("range", reading); }) == option);
  CHECK(code_of([] { Format::matrix(static_cast<framelane::Depth>(8), 1); }) == option);
  CHECK(code_of([] { Format::matrix(framelane::Depth::U8, 0); }) == option);

  framelane::Publisher publisher("range");
  const std::vector<std::uint8_t> pixels(64);
  for (const std::int64_t stride : {std::int64_t{1}, std::int64_t{-12}, std::numeric_limits<std::int64_t>::max()}) {
    const framelane::Image image(Format::Bgr8, 4, 4, pixels.data(), static_cast<std::uint64_t>(stride));
    CHECK(code_of([&] { publisher.send(image); }) == invalid);
  }
  framelane_layout many = framelane::Layout(Format::Gray8, 4, 4).c();
  many.plane_count = 1000;
  const framelane::Layout unchecked(many);
  CHECK(code_of([&] { publisher.loan(unchecked); }) == invalid);
  CHECK_THROWS_AS(unchecked.plane(999), std::out_of_range);
  framelane_frame_id nameless{};
  CHECK(framelane::FrameId(nameless).channel.empty());
}

TEST_CASE("what_a_matrix_cannot_be_is_refused") {
  const std::uint32_t option = FRAMELANE_ERROR_INVALID_OPTION, invalid = FRAMELANE_ERROR_INVALID_FRAME;
  framelane::Publisher publisher("matrix");
  // OpenCV counts rows and columns in int.
  CHECK(code_of([] { framelane::inner::image_shape(framelane::Layout(Format::Gray8, 3000000000u, 1)); }) == invalid);
  CHECK(code_of([] { framelane::inner::image_shape(framelane::Layout(Format::Gray8, 1, 3000000000u)); }) == invalid);
  CHECK(framelane::inner::image_shape(framelane::Layout(Format::Gray8, 2147483647u, 1)).cols == 2147483647);
  CHECK(code_of([] { framelane::format_of(-1); }) == option);
  CHECK(code_of([] { framelane::format_of(1 << 20); }) == option);
  CHECK(code_of([&] { framelane::loan(publisher, 4, 4, 0x42ff4005); }) == option);
  CHECK(code_of([&] { framelane::loan(publisher, -4, 4, CV_8UC1); }) == invalid);
  CHECK(code_of([&] { framelane::loan(publisher, 4, std::numeric_limits<int>::min(), CV_8UC1); }) == invalid);
  CHECK(publisher.sequence() == 0);
}
