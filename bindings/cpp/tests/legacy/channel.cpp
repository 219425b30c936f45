// The option that publishes to a channel as well.
#define FRAMELANE_LEGACY_CHANNEL "legacy/cam"
#define FRAME_NUMBER 2
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

TEST_CASE("frames of the old API are published, a channel a stream") {
  const std::string name = "framelane-dropin-channel-" + std::to_string(getpid());
  {
    SHAREDMEMORY memory(name.c_str());
    REQUIRE(memory.SendMat(cv::Mat(4, 6, CV_8UC3, cv::Scalar(1, 2, 3)), 0));
    REQUIRE(memory.SendMat(cv::Mat(4, 6, CV_16UC1, cv::Scalar(400)), 1));
    framelane::Subscriber first("legacy/cam"), second("legacy/cam/1");
    const auto one = first.recv(), two = second.recv();
    CHECK((one.format() == framelane::Format::Bgr8 && framelane::mat(one).at<cv::Vec3b>(3, 5) == cv::Vec3b(1, 2, 3)));
    CHECK(framelane::mat(two).at<std::uint16_t>(3, 5) == 400);
    // What does not fit the old area has room in the channel.
    CHECK(!memory.SendMat(cv::Mat(FRAME_H + 1, FRAME_W, CV_8UC3, cv::Scalar::all(9)), 0));
    CHECK(first.recv().height() == FRAME_H + 1);
  }
  {
    // A busy channel does not block the mapping.
    framelane::Publisher other("legacy/cam");
    SHAREDMEMORY memory(name.c_str());
    CHECK(memory.SendMat(cv::Mat(2, 2, CV_8UC1, cv::Scalar(5)), 0));
    CHECK(memory.ReceiveMat(0).at<unsigned char>(1, 1) == 5);
  }
  SHAREDMEMORY::Remove(name.c_str());
}
