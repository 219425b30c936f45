// An old program whose streams are byte offsets, as in the old class: frames of one line each, one behind the
// other.
#define FRAMELANE_LEGACY_BYTE_OFFSETS
#define FRAMELANE_LEGACY_CORE_ONLY
#define FRAMELANE_LEGACY_SETTLE_MS 0
#define FRAME_NUMBER 3
#define FRAME_W 64
#define FRAME_H 48
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "messages.h"

#include <cstring>

namespace {

struct Name {
  Name() : text("framelane-bytes-" + std::to_string(getpid())) {}
  ~Name() { SHAREDMEMORY::Remove(text.c_str()); }
  operator const char*() const { return text.c_str(); }
  std::string text;
};

std::string bytes_at(const Name& name, off_t offset, std::size_t count) {
  const int file = shm_open(("/" + name.text).c_str(), O_RDONLY, 0);
  std::string bytes(count, 0);
  REQUIRE(pread(file, &bytes[0], count, offset) == static_cast<ssize_t>(count));
  close(file);
  return bytes;
}

}  // namespace

TEST_CASE("old_program_finds_its_frames_at_their_byte_offsets") {
  const Name name;
  const Messages messages;
  SHAREDMEMORY memory(name);
  // A header and 12 pixels are 24 bytes.
  const char offsets[] = {0, 24, 48, 72, 96};
  for (const char offset : offsets) CHECK(memory.SendMat(cv::Mat(3, 4, CV_8UC1, cv::Scalar(offset + 1)), offset));
  for (const char offset : offsets) {
    const cv::Mat frame = memory.ReceiveMat(offset);
    REQUIRE(!frame.empty());
    CHECK((frame.rows == 3 && frame.cols == 4 && frame.at<unsigned char>(2, 3) == offset + 1));
    const ImgInf header = {4, 3, 0};
    const std::string bytes = bytes_at(name, offset, 24);
    CHECK(std::memcmp(bytes.data(), &header, sizeof header) == 0);
    CHECK(bytes.substr(12) == std::string(12, static_cast<char>(offset + 1)));
  }
  CHECK(messages.text().empty());
}

TEST_CASE("every_index_is_a_byte_offset_not_a_stream") {
  const Name name;
  const Messages messages;
  SHAREDMEMORY memory(name);
  // With streams, 1 would be the second area and '1' the same.
  CHECK(memory.SendMat(cv::Mat(3, 4, CV_8UC1, cv::Scalar(9)), 1));
  CHECK(bytes_at(name, 1 + 12, 12) == std::string(12, 9));
  CHECK(memory.SendMat(cv::Mat(3, 4, CV_8UC1, cv::Scalar(8)), '1'));
  CHECK(bytes_at(name, '1' + 12, 12) == std::string(12, 8));
  CHECK(memory.ReceiveMat('1').at<unsigned char>(0, 0) == 8);
  CHECK(memory.ReceiveMat(1).at<unsigned char>(0, 0) == 9);
  // The index of old callers, `index * FRAME_NUMBER`.
  CHECK(memory.SendMat(cv::Mat(3, 4, CV_8UC1, cv::Scalar(7)), 2 * FRAME_NUMBER));
  CHECK(bytes_at(name, 6 + 12, 12) == std::string(12, 7));
  CHECK(messages.contain("overwrite each other"));
}

TEST_CASE("whole_frames_fit_at_every_byte_offset") {
  const Name name;
  SHAREDMEMORY memory(name);
  cv::Mat sent(FRAME_H, FRAME_W, CV_8UC3, cv::Scalar(1, 2, 3));
  for (int offset = 0; offset < 128; ++offset) {
    sent.at<cv::Vec3b>(FRAME_H - 1, FRAME_W - 1) = cv::Vec3b(static_cast<unsigned char>(offset), 5, 6);
    REQUIRE(memory.SendMat(sent, static_cast<char>(offset)));
    const cv::Mat seen = memory.ReceiveMat(static_cast<char>(offset));
    REQUIRE(!seen.empty());
    CHECK(std::memcmp(seen.data, sent.data, FRAME_W_H * 3) == 0);
  }
  CHECK(!memory.SendMat(cv::Mat(FRAME_H + 1, FRAME_W, CV_8UC3), 0));
}

TEST_CASE("negative_byte_offset_is_refused_with_a_hint") {
  const Name name;
  const Messages messages;
  SHAREDMEMORY memory(name);
  for (const int index : {-1, -128}) {
    CHECK(!memory.SendMat(cv::Mat(3, 4, CV_8UC1, cv::Scalar(9)), static_cast<char>(index)));
    CHECK(memory.ReceiveMat(static_cast<char>(index)).empty());
  }
  CHECK(messages.count("pass an offset of 0 to 127 bytes") == 2);
}
