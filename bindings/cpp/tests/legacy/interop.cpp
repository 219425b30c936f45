// The drop-in with old programs, written in Python from the format alone, in both directions.
// FRAMELANE_PYTHON names a Python with numpy; without it the tests say that they are skipped.
#define FRAME_NUMBER 2
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "skip.h"

#include <cstdio>
#include <cstdlib>

namespace {

/// Answers of a Python peer to lines on its standard input. Empty without Python.
std::string ask(const std::string& lines, const std::string& program, const std::string& arguments) {
  const char* const python = std::getenv("FRAMELANE_PYTHON");
  if (python == nullptr) {
    SKIP("python", "FRAMELANE_PYTHON does not name a Python with numpy");
    return std::string();
  }
  const std::string command =
      "printf '" + lines + "' | " + python + " " + PEERS "/" + program + " " + arguments;
  FILE* const output = popen(command.c_str(), "r");
  REQUIRE(output != nullptr);
  std::string answer;
  for (int byte; (byte = std::fgetc(output)) != EOF;) answer.push_back(static_cast<char>(byte));
  REQUIRE(pclose(output) == 0);
  REQUIRE(!answer.empty());
  return answer;
}

}  // namespace

TEST_CASE("an old writer's frames and texts arrive") {
  const std::string name = "framelane-interop-w-" + std::to_string(getpid());
  SHAREDMEMORY memory(name.c_str());
  const std::string arguments = name + " 1920 1080 2";
  if (!ask("frame 1 640 480 16 7\\nframe 0 64 48 6 63\\n", "legacy_writer.py", arguments).empty()) {
    const cv::Mat second = memory.ReceiveMat(1);
    CHECK((second.type() == CV_8UC3 && second.cols == 640 && second.rows == 480));
    CHECK(second.at<cv::Vec3b>(479, 639) == cv::Vec3b(7, 7, 7));
    const cv::Mat first = memory.ReceiveMat(0);
    CHECK((first.type() == CV_64FC1 && first.cols == 64 && first.ptr<unsigned char>(47)[64 * 8 - 1] == 63));
    ask("text a word from an old program\\n", "legacy_writer.py", arguments);
    CHECK(std::string(memory.ReceiveStr()) == "a word from an old program");
    ask("raw 0 -5 2147483647 16\\n", "legacy_writer.py", arguments);
    CHECK(memory.ReceiveMat(0).empty());
  }
  SHAREDMEMORY::Remove(name.c_str());
}

TEST_CASE("an old reader, which skips the header, sees what is sent") {
  const std::string name = "framelane-interop-r-" + std::to_string(getpid());
  SHAREDMEMORY memory(name.c_str());
  cv::Mat image(1080, 1920, CV_8UC3, cv::Scalar(1, 2, 3));
  image.at<cv::Vec3b>(0, 0) = cv::Vec3b(9, 8, 7);
  REQUIRE(memory.SendMat(image, 1));
  const std::string seen = ask("\\n", "legacy_reader.py", name + " 1");
  if (!seen.empty()) {
    const long long sum = 1080LL * 1920 * 6 + (9 + 8 + 7) - 6;
    CHECK(seen == "9 8 7 1 2 3 " + std::to_string(sum) + " 1920 1080 16\n");
  }
  SHAREDMEMORY::Remove(name.c_str());
}
