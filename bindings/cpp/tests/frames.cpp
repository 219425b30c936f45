// Publishing and receiving: loans, copies, planes, leases that outlive what they came from.
#include <doctest/doctest.h>
#include <framelane/framelane.hpp>

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#include "errors.h"

using framelane::Code;
using framelane::FramelaneError;
using framelane::Format;
using framelane::Layout;
using framelane::Publisher;
using framelane::Subscriber;

static_assert(!std::is_copy_constructible_v<framelane::Frame> && std::is_nothrow_move_constructible_v<framelane::Frame>);
static_assert(!std::is_copy_constructible_v<framelane::Loan> && std::is_nothrow_move_constructible_v<framelane::Loan>);
static_assert(!std::is_copy_constructible_v<Publisher> && std::is_nothrow_move_constructible_v<Publisher>);
static_assert(!std::is_copy_constructible_v<Subscriber> && std::is_nothrow_move_constructible_v<Subscriber>);

TEST_CASE("loan becomes a frame with its pixels and metadata") {
  Publisher publisher("loan");
  Subscriber subscriber("loan");
  auto loan = publisher.loan({Format::Bgr8, 5, 3});
  CHECK(loan.layout().size_bytes() == 45);
  for (std::size_t i = 0; i < 45; ++i) loan.data()[i] = static_cast<std::uint8_t>(i);
  framelane::FrameInfo info;
  info.timestamp_ns = 1234;
  info.pts_ns = -5;
  info.duration_ns = 7;
  info.matrix = 1;
  info.range = FRAMELANE_RANGE_LIMITED;
  info.rotation_degrees = 270;
  info.keyframe = 1;
  CHECK(loan.publish(info) == 1);

  const auto frame = subscriber.recv();
  CHECK((frame.sequence() == 1 && frame.dropped() == 0 && frame.epoch() == publisher.epoch()));
  CHECK((frame.width() == 5 && frame.height() == 3 && frame.format() == Format::Bgr8));
  for (std::size_t i = 0; i < 45; ++i) CHECK(frame.data()[i] == i);
  const auto said = frame.info();
  CHECK((said.timestamp_ns == 1234 && said.has_pts() && said.pts_ns == -5 && said.duration_ns == 7 && said.matrix == 1));
  CHECK((said.range == FRAMELANE_RANGE_LIMITED && said.rotation_degrees == 270 && said.keyframe == 1));
  CHECK(frame.timestamp_ns() == 1234);
  CHECK(frame.is_intact());
  CHECK((publisher.sequence() == 1 && publisher.subscribers() == 1 && subscriber.received() == 1));
}

TEST_CASE("frame without metadata has the time of publication") {
  Publisher publisher("plain");
  Subscriber subscriber("plain");
  publisher.loan({Format::Gray8, 1, 1}).publish();
  const auto info = subscriber.recv().info();
  CHECK(info.timestamp_ns > 1700000000000000000u);
  CHECK((!info.has_pts() && !info.has_duration() && info.matrix == 2 && info.range == FRAMELANE_RANGE_UNSPECIFIED));
}

TEST_CASE("images with padding and planes apart are packed on the way") {
  Publisher publisher("planes");
  Subscriber subscriber("planes");
  // 4x2 i420, each plane in separate memory, rows padded to 9, 3 and 5.
  const std::vector<std::uint8_t> y{1, 2, 3, 4, 0, 0, 0, 0, 0, 5, 6, 7, 8}, u{9, 10}, v{11, 12};
  framelane::Image image;
  image.format = Format::I420;
  image.width = 4;
  image.height = 2;
  image.planes = {y.data(), u.data(), v.data()};
  image.strides_bytes = {9, 3, 5};
  CHECK(publisher.send(image) == 1u);
  const auto frame = subscriber.recv();
  REQUIRE(frame.layout().size_bytes() == 12);
  for (std::size_t i = 0; i < 12; ++i) CHECK(frame.data()[i] == i + 1);
  CHECK((frame.plane(2)[0] == 11 && frame.layout().plane(1).row_bytes == 2));
  CHECK_THROWS_AS(frame.plane(3), std::out_of_range);

  image.strides_bytes[0] = 3;
  CHECK(code_of([&] { publisher.send(image); }) == FRAMELANE_ERROR_INVALID_FRAME);
  image.planes[1] = nullptr;
  image.strides_bytes[0] = 0;
  CHECK(code_of([&] { publisher.send(image); }) == FRAMELANE_ERROR_INVALID_OPTION);
}

TEST_CASE("frames outlive the subscriber, loans fail after close") {
  auto publisher = std::make_optional<Publisher>("outlive");
  auto subscriber = std::make_optional<Subscriber>("outlive");
  auto loan = publisher->loan({Format::Gray8, 2, 1});
  std::memset(loan.data(), 42, 2);
  loan.publish();
  const auto frame = subscriber->recv();
  auto orphan = publisher->loan({Format::Gray8, 2, 1});
  subscriber.reset();
  publisher.reset();
  CHECK((frame.data()[0] == 42 && frame.data()[1] == 42));
  orphan.data()[0] = 1;  // The slot is still there to write to.
  CHECK(code_of([&] { orphan.publish(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
}

TEST_CASE("a loan that is not published leaves the channel as it was") {
  Publisher publisher("discard");
  Subscriber subscriber("discard");
  for (int i = 0; i < 100; ++i) {
    auto loan = publisher.loan({Format::Gray8, 8, 8});
    if (i == 50) {
      loan.data()[0] = 50;
      CHECK(loan.publish() == 1);
    }
  }
  CHECK((subscriber.recv().data()[0] == 50 && !subscriber.try_recv() && publisher.dropped() == 0));
}

TEST_CASE("frame without a free slot is dropped and counted") {
  Publisher publisher("full", {3});
  std::vector<framelane::Loan> loans;
  for (int i = 0; i < 3; ++i) loans.push_back(publisher.loan({Format::Gray8, 4, 4}));
  CHECK(code_of([&] { publisher.loan({Format::Gray8, 4, 4}); }) == FRAMELANE_ERROR_NO_FREE_SLOT);
  CHECK(!publisher.try_loan({Format::Gray8, 4, 4}));
  const std::uint8_t pixels[16] = {};
  CHECK(!publisher.send({Format::Gray8, 4, 4, pixels}));
  CHECK((publisher.dropped() == 3 && publisher.sequence() == 3));
  CHECK(loans[1].publish() == 4);
}

TEST_CASE("size and format change while running, and old frames stay") {
  Publisher publisher("resize", framelane::PublisherOptions{10});
  Subscriber subscriber("resize");
  std::vector<framelane::Frame> kept;
  for (std::uint32_t side = 1; side <= 512; side *= 2) {
    auto loan = publisher.loan({side % 3 == 1 ? Format::Gray16 : Format::Bgra8, side, side});
    std::memset(loan.data(), static_cast<int>(side % 251), loan.layout().size_bytes());
    loan.publish();
    if (kept.size() == 7) kept.erase(kept.begin());
    kept.push_back(subscriber.recv());
    for (const auto& frame : kept) {
      const auto expected = static_cast<std::uint8_t>(frame.width() % 251);
      CHECK((frame.data()[0] == expected && frame.data()[frame.layout().size_bytes() - 1] == expected));
    }
  }
}

TEST_CASE("range-for over a subscriber ends with the channel") {
  auto publisher = std::make_optional<Publisher>("range", framelane::PublisherOptions{4, framelane::Backpressure::Block});
  framelane::SubscriberOptions every;
  every.delivery = framelane::Delivery::Every;
  Subscriber subscriber("range", every);
  std::thread writer([&] {
    for (int i = 1; i <= 20; ++i) {
      auto loan = publisher->loan({Format::Gray8, 1, 1});
      loan.data()[0] = static_cast<std::uint8_t>(i);
      loan.publish();
    }
    publisher->drain();
    publisher.reset();
  });
  std::uint64_t count = 0;
  std::optional<framelane::Frame> last;
  for (framelane::Frame& frame : subscriber) {
    ++count;
    CHECK((frame.sequence() == count && frame.data()[0] == count));
    last = std::move(frame);
  }
  writer.join();
  CHECK((count == 20 && last->sequence() == 20 && subscriber.dropped() == 0));
  CHECK(code_of([&] { subscriber.recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
}

TEST_CASE("too many leases are refused until one is released") {
  Publisher publisher("leases", {12});
  Subscriber subscriber("leases");
  std::vector<framelane::Frame> held;
  for (int i = 0; i < 8; ++i) {
    publisher.loan({Format::Gray8, 1, 1}).publish();
    held.push_back(subscriber.recv());
  }
  publisher.loan({Format::Gray8, 1, 1}).publish();
  try {
    subscriber.recv();
    FAIL("nine leases");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::TooManyLeases);
    CHECK(std::string(error.what()).find("holds 8 frames of channel leases") != std::string::npos);
    CHECK(error.hint().find("release frames") != std::string::npos);
  }
  held.pop_back();
  CHECK(subscriber.recv().sequence() == 9);
}

TEST_CASE("full_ring_errors_name_the_process_that_holds_it") {
  Publisher publisher("holders", {4});
  Subscriber one("holders"), other("holders");
  framelane::DetectionPublisher finder("holders/detections");
  framelane::DetectionSubscriber found("holders/detections");
  std::vector<framelane::Frame> held;
  for (int i = 0; i < 4; ++i) {
    publisher.loan({Format::Gray8, 1, 1}).publish();
    held.push_back((i < 2 ? one : other).recv());
  }
  const std::uint8_t pixel = 0;
  const auto holder = doctest::Contains(("process " + std::to_string(getpid())).c_str());
  CHECK_THROWS_WITH_AS(publisher.loan({Format::Gray8, 1, 1}), holder, FramelaneError);
  CHECK_THROWS_WITH_AS(publisher.send_and_wait({Format::Gray8, 1, 1, &pixel}, found), holder, FramelaneError);
  CHECK_THROWS_WITH_AS(other.recv(std::chrono::milliseconds(1)), holder, FramelaneError);
  CHECK(code_of([&] { other.recv(std::chrono::milliseconds(1)); }) == FRAMELANE_ERROR_TIMEOUT);
}

TEST_CASE("reconnecting_subscriber_goes_on_when_the_channel_comes_again") {
  auto publisher = std::make_optional<Publisher>("again");
  framelane::SubscriberOptions options;
  options.reconnect = true;
  Subscriber subscriber("again", options), ending("again");
  auto finder = std::make_optional<framelane::DetectionPublisher>("again/detections");
  framelane::DetectionSubscriber boxes("again/detections", options);
  for (int life = 0; life < 3; ++life) {
    publisher->loan({Format::Gray8, 1, 1}).publish();
    const auto frame = subscriber.recv();
    if (life == 0) CHECK(ending.recv().sequence() == 1);
    CHECK((frame.epoch() == publisher->epoch() && subscriber.publisher_alive()));
    finder->send(frame, {});
    CHECK(boxes.for_frame(frame).frame.epoch == publisher->epoch());
    publisher.reset();
    finder.reset();
    CHECK((!subscriber.try_recv() && !boxes.try_recv() && !subscriber.publisher_alive()));
    CHECK(code_of([&] { ending.recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
    // Also while a call waits.
    std::thread late([&] {
      finder.emplace("again/detections");
      publisher.emplace("again");
      publisher->loan({Format::Gray8, 1, 1}).publish();
    });
    CHECK(subscriber.recv().sequence() >= 1);
    late.join();
  }
}

TEST_CASE("writable_frame_can_be_changed_and_holds_no_slot") {
  Publisher publisher("writable");
  framelane::SubscriberOptions options;
  options.writable = true;
  Subscriber drawing("writable", options), reading("writable");
  std::vector<framelane::Frame> held;
  for (int i = 0; i < 20; ++i) {
    auto loan = publisher.loan({Format::Gray8, 8, 8});
    std::memset(loan.data(), i, 64);
    loan.publish();
    held.push_back(drawing.recv());
    CHECK((held.back().is_writable() && held.back().writable_data() == held.back().data()));
    std::memset(held.back().writable_data(), 100 + i, 64);
  }
  auto frame = reading.recv();
  CHECK((!frame.is_writable() && frame.data()[63] == 19 && publisher.dropped() == 0));
  CHECK(code_of([&] { frame.writable_data(); }) == FRAMELANE_ERROR_MISUSE);
  for (int i = 0; i < 20; ++i) CHECK(held[static_cast<std::size_t>(i)].data()[63] == 100 + i);
}

TEST_CASE("directory_need_not_be_utf8") {
  const std::string directory = std::string(std::getenv("FRAMELANE_DIR")) + "/caf\xe9\xff";
  framelane::PublisherOptions writing;
  framelane::SubscriberOptions reading;
  writing.directory = reading.directory = directory;
  {
    Publisher publisher("bytes", writing);
    CHECK(Subscriber("bytes", reading).publisher_alive());
    CHECK(framelane::list_channels(directory).size() == 1);
  }
  CHECK(rmdir(directory.c_str()) == 0);
}

TEST_CASE("errors have the code, the text and what to do") {
  Publisher publisher("busy");
  try {
    Publisher second("busy");
    FAIL("two publishers");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::ChannelBusy);
    CHECK(std::string(error.what()).find(std::to_string(getpid())) != std::string::npos);
    CHECK(!error.hint().empty());
    CHECK(std::string(error.what()).find(error.hint()) != std::string::npos);
  }
  try {
    framelane::SubscriberOptions options;
    options.delivery = static_cast<framelane::Delivery>(9);
    framelane::Subscriber wrong("hint", options);
    FAIL("an unknown delivery");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::InvalidOption);
    CHECK(error.hint().find("documentation of the option") != std::string::npos);
  }
  CHECK(code_of([] { Publisher("not a name"); }) == FRAMELANE_ERROR_INVALID_NAME);
  CHECK(code_of([] { Publisher("slots", {1}); }) == FRAMELANE_ERROR_INVALID_OPTION);
  CHECK(code_of([&] { publisher.loan({Format::Gray8, 0, 4}); }) == FRAMELANE_ERROR_INVALID_FRAME);
  CHECK(code_of([&] { publisher.loan({Format(12345), 4, 4}); }) == FRAMELANE_ERROR_INVALID_FRAME);
  CHECK(code_of([&] { publisher.loan({Format::Bgra8, 1u << 20, 1u << 20}); }) == FRAMELANE_ERROR_FRAME_TOO_LARGE);
  CHECK(code_of([] { Format::matrix(framelane::Depth::F32, 513); }) == FRAMELANE_ERROR_INVALID_OPTION);
  CHECK(code_of([] { Format::from_name("bgr"); }) == FRAMELANE_ERROR_INVALID_OPTION);
}

TEST_CASE("formats have names, and names formats") {
  for (const Format format : {Format::Gray8, Format::Gray16, Format::Bgr8, Format::Rgb8, Format::Bgra8, Format::Rgba8,
                              Format::I420, Format::Nv12, Format::Yuyv, Format::P010}) {
    CHECK(Format::from_name(format.name()) == format);
    CHECK(!format.is_matrix());
  }
  const Format matrix = Format::matrix(framelane::Depth::F32, 7);
  CHECK((matrix.is_matrix() && matrix.depth() == framelane::Depth::F32 && matrix.channels() == 7));
  CHECK((matrix.name() == "matrix:f32:7" && Format::from_name("matrix:f32:7") == matrix));
}
