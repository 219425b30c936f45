// Which channels there are.
#include <doctest/doctest.h>
#include <framelane/framelane.hpp>

#include <unistd.h>

TEST_CASE("channels are listed with their newest frame and their readers") {
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
