// Old programs, each a separate process, against each other and against `framelane receive` where
// FRAMELANE_COMMAND names it.
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "skip.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/wait.h>

namespace {

/// A film of grey frames in the folder of the tests: MJPEG, which OpenCV writes and reads by itself.
std::string film() {
  const std::string path = std::string(PROGRAMS) + "/old-programs.avi";
  cv::VideoWriter writer(path, cv::VideoWriter::fourcc('M', 'J', 'P', 'G'), 25, cv::Size(320, 240));
  REQUIRE(writer.isOpened());
  for (int n = 0; n < 50; ++n) writer.write(cv::Mat(240, 320, CV_8UC3, cv::Scalar::all(100)));
  writer.release();
  return path;
}

/// A process whose standard output is read; waited for at the end.
struct Process {
  explicit Process(const std::string& command) : output(popen(command.c_str(), "r")) { REQUIRE(output != nullptr); }
  ~Process() { CHECK(pclose(output) == 0); }
  std::string line() {
    char text[512];
    return std::fgets(text, sizeof text, output) == nullptr ? std::string() : std::string(text);
  }
  FILE* output;
};

std::string program(const std::string& name) { return std::string(PROGRAMS) + "/" + name; }

}  // namespace

TEST_CASE("an old writer's frames reach an old reader") {
  SHAREDMEMORY::Remove();
  const std::string path = film();
  Process writer(program("old_writer") + " " + path);
  std::string header = writer.line();
  CHECK(header ==
        "mapping of " + std::to_string(MEMORY_SIZE) + " bytes, " + std::to_string(FRAME_SIZE) + " each\n");
  Process reader("FRAMELANE_TEST_PICTURES=3 " + program("old_reader"));
  int pictures = 0;
  for (std::string line; !(line = reader.line()).empty(); ++pictures) {
    CHECK(line.substr(0, 20) == "reader 1920x1080 16 ");
    CHECK(std::abs(std::atoi(line.c_str() + 20) - 100) <= 3);
  }
  CHECK(pictures == 3);
  // Its last frame stays.
  const cv::Mat last = SHAREDMEMORY().ReceiveMat(0);
  CHECK((last.cols == FRAME_W && last.rows == FRAME_H && last.type() == CV_8UC3));
  SHAREDMEMORY::Remove();
}

TEST_CASE("a program of Windows runs with the stand-in for its headers") {
  SHAREDMEMORY::Remove();
  { Process windows(program("old_windows")); }
  CHECK(SHAREDMEMORY().ReceiveMat(0).at<cv::Vec3b>(FRAME_H - 1, FRAME_W - 1) == cv::Vec3b(10, 20, 30));
  SHAREDMEMORY::Remove();
}

TEST_CASE("an old writer's frames reach framelane receive") {
  const char* const command = std::getenv("FRAMELANE_COMMAND");
  if (command == nullptr) {
    SKIP("command", "FRAMELANE_COMMAND does not name the framelane command");
    return;
  }
  SHAREDMEMORY::Remove();
  const std::string folder = std::string("/dev/shm/framelane-old-programs-") + std::to_string(getpid());
  Process receive("FRAMELANE_DIR=" + folder + " " + command +
                  " receive legacy-memory:" FRAMELANE_LEGACY_NAME " cam0 --count 1 --json");
  REQUIRE(receive.line().find("started") != std::string::npos);
  {
    Process writer(program("old_writer") + " " + film());
    // It prints a line: read, or it ends before its first frame.
    CHECK(!writer.line().empty());
  }
  std::string summary;
  for (std::string line; !(line = receive.line()).empty();) summary = line;
  CHECK(summary.find("\"frames\":1") != std::string::npos);
  SHAREDMEMORY::Remove();
  CHECK(std::system(("rm -rf " + folder).c_str()) == 0);
}
