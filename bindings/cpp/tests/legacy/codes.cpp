// Type codes of both generations of OpenCV, read and written by a program of one of them. Compiled against
// the OpenCV that is here, and against a stand-in of OpenCV 5.
#define FRAMELANE_LEGACY_CORE_ONLY
#define FRAMELANE_LEGACY_SETTLE_MS 0
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "messages.h"

#include <cstring>

namespace {

using namespace framelane::legacy;

/// A mapping that is written by hand.
struct Memory {
  Memory() : name("framelane-codes-" + std::to_string(getpid())), shared(name.c_str()) {
    file = shm_open(("/" + name).c_str(), O_RDWR, 0);
  }
  ~Memory() {
    close(file);
    SHAREDMEMORY::Remove(name.c_str());
  }

  /// A frame of the bytes 0, 1, 2 …
  cv::Mat receive(int width, int height, int code, std::size_t bytes) {
    const ImgInf header = {width, height, code};
    std::string pixels(bytes, 0);
    for (std::size_t i = 0; i < bytes; ++i) pixels[i] = static_cast<char>(i % 251);
    REQUIRE(pwrite(file, pixels.data(), bytes, sizeof header) == static_cast<ssize_t>(bytes));
    REQUIRE(pwrite(file, &header, sizeof header, 0) == sizeof header);
    return shared.ReceiveMat(0);
  }
  int code() const {
    ImgInf header;
    REQUIRE(pread(file, &header, sizeof header, 0) == sizeof header);
    return header.type;
  }

  std::string name;
  SHAREDMEMORY shared;
  int file;
};

bool counts(const cv::Mat& frame) {
  const std::size_t bytes = frame.total() * frame.elemSize();
  for (std::size_t i = 0; i < bytes; ++i) {
    if (frame.data[i] != i % 251) return false;
  }
  return bytes != 0;
}

}  // namespace

TEST_CASE("frames_of_both_generations_have_the_right_pixels") {
  Memory memory;
  const struct {
    int code_4, code_5, type, pixel_bytes;
  } cases[] = {{16, 64, CV_8UC3, 3},           {24, 96, CV_8UC4, 4},
               {0, 0, CV_8UC1, 1},             {6, 6, CV_64FC1, 8},
               {21, 69, CV_32FC3, 12},         {18, 66, CV_MAKETYPE(CV_16U, 3), 6},
               {29, 101, CV_MAKETYPE(CV_32F, 4), 16}};
  for (const auto& one : cases) {
    for (const int code : {one.code_4, one.code_5}) {
      const cv::Mat frame = memory.receive(40, 30, code, static_cast<std::size_t>(40 * 30 * one.pixel_bytes));
      REQUIRE(!frame.empty());
      CHECK((frame.type() == one.type && frame.cols == 40 && frame.rows == 30 && counts(frame)));
    }
  }
  const cv::Mat large = memory.receive(FRAME_W, FRAME_H, 64, FRAME_W * FRAME_H * 3);
  CHECK((large.type() == CV_8UC3 && large.cols == FRAME_W && counts(large)));
}

TEST_CASE("frames_are_written_with_the_codes_of_opencv_4") {
  Memory memory;
  const int types[][2] = {{CV_8UC1, 0}, {CV_8UC3, 16}, {CV_8UC4, 24}, {CV_64FC1, 6}, {CV_32FC3, 21}};
  for (const auto& type : types) {
    cv::Mat frame(5, 7, type[0]);
    std::memset(frame.data, 9, frame.total() * frame.elemSize());
    CHECK(memory.shared.SendMat(frame, 0));
    CHECK(memory.code() == type[1]);
    const cv::Mat seen = memory.shared.ReceiveMat(0);
    CHECK((seen.type() == type[0] && seen.rows == 5 && seen.data[0] == 9));
  }
}

TEST_CASE("code_that_is_not_known_is_reported_once_with_a_hint") {
  Memory memory;
  const Messages messages;
  // No type of any OpenCV; a negative one; a depth that the area has no room for.
  for (int times = 0; times < 3; ++times) {
    CHECK(memory.receive(40, 30, 5000, 0).empty());
    CHECK(memory.receive(40, 30, -1, 0).empty());
    CHECK(memory.receive(FRAME_W, FRAME_H, 6, 0).empty());
  }
  CHECK(messages.count("type code 5000: neither OpenCV 4 nor OpenCV 5 has this type") == 1);
  CHECK(messages.count("type code -1") == 1);
  CHECK(messages.count("type code 6: 1 channel of 64F of 1920x1080 do not fit") == 1);
  CHECK(messages.count("hint: ") == 3);
}

TEST_CASE("memory_without_a_frame_is_not_reported") {
  Memory memory;
  const Messages messages;
  CHECK(memory.shared.ReceiveMat(0).empty());
  CHECK(memory.shared.SendStr("a text where a frame was expected"));
  CHECK(memory.shared.ReceiveMat(0).empty());
  CHECK(memory.receive(-5, 30, 16, 0).empty());
  CHECK(messages.text().empty());
}

TEST_CASE("messages_about_many_codes_come_to_an_end") {
  Memory memory;
  const Messages messages;
  for (int code = 5000; code < 5100; ++code) memory.receive(40, 30, code, 0);
  CHECK(messages.count("type code") == 20);
  CHECK(messages.contain("further messages are not shown"));
}

TEST_CASE("new_depths_of_opencv_5_are_mapped_or_refused") {
  Memory memory;
  const Messages messages;
  // 3 channels each, which OpenCV 4 would have as 9 or more.
  const struct {
    int depth, bytes;
    const char* name;
  } depths[] = {{8, 2, "16BF"}, {9, 1, "Bool"}, {10, 8, "64U"}, {11, 8, "64S"}, {12, 4, "32U"}};
  for (const auto& one : depths) {
    const cv::Mat frame = memory.receive(40, 30, one.depth | 2 << 5, static_cast<std::size_t>(40 * 30 * 3 * one.bytes));
    if (own_opencv == OpenCv::v5) {
      CHECK((frame.type() == (one.depth | 2 << 5) && counts(frame)));
    } else if (one.depth == 9) {
      CHECK((frame.type() == CV_8UC3 && counts(frame)));
    } else {
      CHECK(frame.empty());
      CHECK(messages.count("OpenCV has no 3 channels of " + std::string(one.name)) == 1);
      CHECK(messages.contain("build this program with OpenCV 5"));
    }
  }
}

#if CV_CN_SHIFT == 5
TEST_CASE("frame_of_a_new_depth_is_not_written_with_codes_of_opencv_4") {
  Memory memory;
  const Messages messages;
  CHECK(!memory.shared.SendMat(cv::Mat(4, 4, CV_MAKETYPE(CV_16BF, 3)), 0));
  CHECK(messages.contain("FRAMELANE_LEGACY_OPENCV 5"));
}

TEST_CASE("matrix_of_more_channels_than_opencv_5_has_is_refused") {
  Memory memory;
  const Messages messages;
  CHECK(memory.receive(4, 4, 511 << 3, 4 * 4 * 512).empty());
  CHECK(messages.contain("OpenCV has no 512 channels of 8U"));
}
#endif

TEST_CASE("reports_about_chosen_generations_name_the_option") {
  const std::size_t room = 12 * 12 * 3;
  const std::string four = refusal_of(12, 12, 64, room, OpenCv::v4, own_opencv);
  CHECK(four.find("FRAMELANE_LEGACY_OPENCV is 4") != std::string::npos);
  CHECK(four.find("define FRAMELANE_LEGACY_OPENCV 0") != std::string::npos);
  CHECK(refusal_of(12, 12, 16, room, OpenCv::v5, own_opencv).find("codes of OpenCV 4") != std::string::npos);
}
