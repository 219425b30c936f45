// The faults of the old class, one test each, and what else the drop-in promises.
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "../matrices.h"

#include <sys/wait.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

int oldProgram();

namespace {

/// A name that no other test run has, removed at the end.
struct Name {
  Name() : text("framelane-dropin-" + std::to_string(getpid()) + "-" + std::to_string(++count)) {}
  ~Name() { SHAREDMEMORY::Remove(text.c_str()); }
  operator const char*() const { return text.c_str(); }
  std::string text;
  static int count;
};
int Name::count = 0;

int make(const char* name, off_t bytes) {
  const int file = shm_open((std::string("/") + name).c_str(), O_CREAT | O_RDWR, 0600);
  REQUIRE(ftruncate(file, bytes) == 0);
  return file;
}

}  // namespace

TEST_CASE("a program of old compiles as it is, and works") {
  CHECK(oldProgram() == 0);
  SHAREDMEMORY::Remove();
}

TEST_CASE("fault: elements other than 1 and 8 bytes copied too little") {
  const Name name;
  SHAREDMEMORY memory(name);
  for (int depth = CV_8U; depth <= CV_16F; ++depth) {
    for (const int channels : {1, 2, 3, 4, 7}) {
      const cv::Mat sent = noise(31, 33, CV_MAKETYPE(depth, channels));
      CHECK(memory.SendMat(sent, 0));
      CHECK(same(memory.ReceiveMat(0), sent));
    }
  }
}

TEST_CASE("fault: a region of a larger matrix copied the wrong rows") {
  const Name name;
  SHAREDMEMORY memory(name);
  const cv::Mat region = noise(60, 80, CV_8UC3)(cv::Rect(10, 20, 30, 25));
  REQUIRE(!region.isContinuous());
  CHECK(memory.SendMat(region, 0));
  CHECK(same(memory.ReceiveMat(0), region));
}

TEST_CASE("fault: a frame larger than its area ran over what follows") {
  const Name name;
  SHAREDMEMORY memory(name);
  const cv::Mat next = noise(4, 4, CV_8UC3);
  REQUIRE(memory.SendMat(next, 1));
  REQUIRE(memory.SendMat(noise(FRAME_H, FRAME_W, CV_8UC3), 0));
  const cv::Mat before = memory.ReceiveMat(0);
  CHECK(!memory.SendMat(noise(FRAME_H + 1, FRAME_W, CV_8UC3), 0));
  CHECK(!memory.SendMat(noise(FRAME_H, FRAME_W, CV_64FC1), 0));
  CHECK(!memory.SendMat(noise(FRAME_H, FRAME_W, CV_8UC4), FRAME_NUMBER - 1));
  CHECK(same(memory.ReceiveMat(0), before));
  CHECK(same(memory.ReceiveMat(1), next));
}

TEST_CASE("fault: the state was success after a failed mapping") {
  CHECK(SHAREDMEMORY("no/such/place").state == CREATEMAPFAILED);
  const Name small;
  close(make(small, 100));
  SHAREDMEMORY memory(small);
  CHECK(memory.state == MAPVIEWFAILED);
  CHECK(!memory.SendMat(noise(1, 1, CV_8UC1), 0));
  CHECK(!memory.SendStr("text"));
  CHECK(!memory.SendBox(TrackBox(1, 2, 3, 4)));
  CHECK((memory.ReceiveMat(0).empty() && std::string(memory.ReceiveStr()).empty() && memory.RecieveVectorBox().empty()));
}

TEST_CASE("fault: a text was cut to the size of a pointer") {
  const Name name;
  SHAREDMEMORY memory(name);
  const std::string text(5000, 'x');
  CHECK(memory.SendStr(text.c_str()));
  CHECK(memory.ReceiveStr() == text);
  CHECK(memory.SendStr("short"));
  CHECK(std::string(memory.RecieveStr()) == "short");
  CHECK(!memory.SendStr(std::string(MEMORY_SIZE, 'x').c_str()));
  CHECK(!memory.SendStr(nullptr));
  CHECK(std::string(memory.ReceiveStr()) == "short");
  // A mapping without any NUL is no text, and is not read beyond.
  const std::string all(MEMORY_SIZE, 'y');
  const int file = shm_open((std::string("/") + name.text).c_str(), O_RDWR, 0);
  REQUIRE(pwrite(file, all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
  CHECK(std::string(memory.ReceiveStr()).empty());
  close(file);
}

TEST_CASE("fault: a copy of the object unmapped shared memory") {
  const Name name;
  SHAREDMEMORY memory(name);
  const cv::Mat sent = noise(5, 5, CV_8UC1);
  for (int i = 0; i < 3; ++i) {
    const auto by_value = [&](SHAREDMEMORY copy) { return copy.SendMat(sent, 0); };
    CHECK(by_value(memory));
  }
  SHAREDMEMORY second(name);
  memory = second;
  CHECK(same(memory.ReceiveMat(0), sent));
}

TEST_CASE("what is in the memory is not trusted") {
  const Name name;
  SHAREDMEMORY memory(name);
  CHECK(memory.ReceiveMat(0).empty());
  const int file = shm_open((std::string("/") + name.text).c_str(), O_RDWR, 0);
  const char* given = std::getenv("FRAMELANE_SEED");
  const std::uint32_t seed = given ? static_cast<std::uint32_t>(std::strtoull(given, nullptr, 10)) : 1;
  INFO("FRAMELANE_SEED=", seed);
  std::mt19937 random(seed);
  const int tempting[] = {0, 1, -1, 16, 6, 4095, 4096, FRAME_W, FRAME_H, 65536, 1 << 30, INT32_MAX, INT32_MIN};
  for (int round = 0; round < 20000; ++round) {
    int header[3];
    for (int& word : header) word = tempting[random() % (sizeof tempting / sizeof *tempting)];
    REQUIRE(pwrite(file, header, sizeof header, 0) == sizeof header);
    const cv::Mat seen = memory.ReceiveMat(0);
    if (seen.empty()) continue;
    using namespace framelane::legacy;
    const Element element = own_element(seen.type());
    const bool is_type = code_of(element, OpenCv::v4) == header[2] || code_of(element, OpenCv::v5) == header[2];
    CHECK((seen.cols == header[0] && seen.rows == header[1] && is_type));
  }
  close(file);
  for (const int index : {-128, -1, FRAME_NUMBER + 1, 127}) {
    CHECK(memory.ReceiveMat(static_cast<char>(index)).empty());
    CHECK(!memory.SendMat(cv::Mat(1, 1, CV_8UC1), static_cast<char>(index)));
  }
  CHECK(!memory.SendMat(cv::Mat(), 0));
}

TEST_CASE("streams have separate areas, by number or by digit") {
  const Name name;
  SHAREDMEMORY memory(name);
  const cv::Mat first = noise(7, 9, CV_8UC3), second = noise(3, 4, CV_16UC1);
  CHECK((memory.SendMat(first, 0) && memory.SendMat(second, '1')));
  CHECK((same(memory.ReceiveMat('0'), first) && same(memory.ReceiveMat(1), second)));
}

TEST_CASE("an index of index * FRAME_NUMBER counts bytes, as of old") {
  const Name name;
  SHAREDMEMORY memory(name);
  const cv::Mat sent = noise(FRAME_H, FRAME_W, CV_8UC3);
  for (const char index : {0, 1, 2, 42}) {
    REQUIRE(memory.SendMat(sent, index * FRAME_NUMBER));
    CHECK(same(memory.ReceiveMat(index * FRAME_NUMBER), sent));
    const int file = shm_open((std::string("/") + name.text).c_str(), O_RDONLY, 0);
    std::vector<unsigned char> bytes(FRAME_SIZE);
    REQUIRE(pread(file, bytes.data(), bytes.size(), index * FRAME_NUMBER) == static_cast<ssize_t>(bytes.size()));
    close(file);
    const ImgInf header = {FRAME_W, FRAME_H, 16};
    CHECK(std::memcmp(bytes.data(), &header, sizeof header) == 0);
    CHECK(std::memcmp(bytes.data() + sizeof header, sent.data, bytes.size() - sizeof header) == 0);
  }
}

TEST_CASE("FRAME_SIZE and MEMORY_SIZE have the old values") {
  CHECK((FRAME_SIZE == FRAME_W * FRAME_H * 3 + sizeof(ImgInf) && MEMORY_SIZE == FRAME_NUMBER * FRAME_SIZE));
  CHECK(MEMORY_SIZE / FRAME_SIZE == FRAME_NUMBER);
}

TEST_CASE("a frame that is read is a copy") {
  const Name name;
  SHAREDMEMORY memory(name);
  std::atomic<bool> stop{false};
  memory.SendMat(cv::Mat(32, 32, CV_8UC1, cv::Scalar(0)), 0);
  std::thread writer([&, memory]() mutable {
    for (int value = 1; !stop; value = (value + 1) % 256) memory.SendMat(cv::Mat(32, 32, CV_8UC1, cv::Scalar(value)), 0);
  });
  int seen = 0;
  cv::Mat kept = memory.ReceiveMat(0);
  for (int look = 0; look < 20000 || seen < 10; ++look) {
    const cv::Mat frame = memory.ReceiveMat(0);
    if (frame.empty()) continue;
    ++seen;
    REQUIRE(cv::countNonZero(frame != frame.at<unsigned char>(0, 0)) == 0);
  }
  const cv::Mat copy = kept.clone();
  stop = true;
  writer.join();
  CHECK((kept.empty() || same(kept, copy)));
  const cv::Mat last = memory.ReceiveMat(0);
  CHECK(cv::countNonZero(last != last.at<unsigned char>(0, 0)) == 0);
}

TEST_CASE("boxes arrive together, from another process too") {
  const Name name;
  SHAREDMEMORY memory(name);
  CHECK((memory.RecieveVectorBox().empty() && memory.RecBox().width == 0));
  const pid_t child = fork();
  if (child == 0) {
    SHAREDMEMORY writer(name);
    bool sent = true;
    for (int n = 0; n < 5000; ++n) {
      sent = sent && writer.SendVectorBox(std::vector<TrackBox>(static_cast<std::size_t>(n % 7), TrackBox(n, n, n, n, n, 1, 0.5F)), 1);
    }
    sent = sent && writer.SendBox(TrackBox(cv::Rect(1, 2, 3, 4)), 1);
    _exit(sent ? 0 : 1);
  }
  int status = 0;
  bool done = false;
  while (!done) {
    done = waitpid(child, &status, WNOHANG) == child;
    const std::vector<TrackBox> boxes = memory.ReceiveVectorBox(1);
    for (const TrackBox& box : boxes) {
      const bool whole = box.x == boxes[0].x && box.height == boxes[0].height && box.id == boxes[0].id;
      if (!whole) FAIL("boxes of two batches");
    }
  }
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(cv::Rect(memory.RecBox(1)) == cv::Rect(1, 2, 3, 4));
  CHECK(!memory.SendVectorBox(std::vector<TrackBox>(FRAMELANE_LEGACY_BOXES + 1)));
}

TEST_CASE("mapping stays for later programs until it is removed") {
  const Name name;
  const cv::Mat sent = noise(2, 2, CV_8UC3);
  SHAREDMEMORY(name).SendMat(sent, 0);
  CHECK(same(SHAREDMEMORY(name).ReceiveMat(0), sent));
  SHAREDMEMORY::Remove(name);
  CHECK(SHAREDMEMORY(name).ReceiveMat(0).empty());
}
