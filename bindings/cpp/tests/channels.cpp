// Which channels there are.
#include <doctest/doctest.h>
#include <framelane/framelane.hpp>

#include <unistd.h>

#include <chrono>
#include <thread>

TEST_CASE("list has the newest frame and the readers of channels") {
  CHECK(framelane::list_channels().empty());
  framelane::Publisher first("list/b"), second("list/a");
  framelane::Subscriber subscriber("list/a");
  second.loan({framelane::Format::Bgr8, 64, 32}).publish();
  const auto channels = framelane::list_channels();
  REQUIRE(channels.size() == 2);
  CHECK((channels[0].name == "list/a" && channels[1].name == "list/b"));
  CHECK((channels[0].state == FRAMELANE_CHANNEL_LIVE && channels[0].sequence == 1 && channels[0].subscribers == 1));
  CHECK((channels[0].format == framelane::Format::Bgr8 && channels[0].width == 64 && channels[0].height == 32));
  CHECK((!channels[1].format && channels[1].publisher_pid == static_cast<std::uint32_t>(getpid())));
  CHECK(framelane::list_channels("/nowhere").empty());
  CHECK_THROWS_AS(framelane::list_channels("/dev/null"), framelane::FramelaneError);
}

TEST_CASE("stalled channel has the time since its newest frame") {
  framelane::Publisher publisher("stalls");
  CHECK(!framelane::list_channels().front().newest_published_ns);
  framelane::FrameInfo info;
  info.duration_ns = 1'000'000;
  publisher.loan({framelane::Format::Bgr8, 64, 32}).publish(info);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  framelane::ChannelStatus status;
  while (!(status = framelane::list_channels().front()).stalled_ns) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK((status.period_ns == 1'000'000u && *status.stalled_ns > 1'000'000'000u && status.newest_published_ns));
  CHECK(status.state == FRAMELANE_CHANNEL_LIVE);
}

TEST_CASE("doctor_counts_live_channels_and_finds_no_leftovers") {
  framelane::Publisher publisher("healthy");
  const framelane::Diagnosis found = framelane::doctor();
  CHECK((found.live_channels == 1 && found.leftovers.empty() && found.free_bytes > 0));
  CHECK(framelane::doctor({}, framelane::Leftovers::Remove).live_channels == 1);
  CHECK(!framelane::list_channels().front().link);
  CHECK_THROWS_AS(framelane::doctor("/dev/null"), framelane::FramelaneError);
}

TEST_CASE("options that weaken a link need a trusted URL") {
  const auto code = [](const char* name, framelane::Urls urls) {
    framelane::SubscriberOptions options;
    options.open_timeout = std::chrono::seconds(0);
    options.urls = urls;
    try {
      framelane::Subscriber subscriber(name, options);
    } catch (const framelane::FramelaneError& error) {
      return error.code();
    }
    return framelane::Code{};
  };
  const char* weak = "tcp://203.0.113.7/cam0?token-file=/nonexistent&insecure=1";
  CHECK(code(weak, framelane::Urls::Safe) == framelane::Code::InvalidOption);
  CHECK(code(weak, framelane::Urls::Refuse) == framelane::Code::InvalidName);
  CHECK(code("unix:/x.sock/cam0", framelane::Urls::Refuse) == framelane::Code::InvalidName);
}
