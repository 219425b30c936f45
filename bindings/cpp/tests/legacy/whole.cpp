// Whole frames only, with any writer. The writers are other processes.
#define FRAME_W 640
#define FRAME_H 360
#define FRAMELANE_LEGACY_CORE_ONLY
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "process.h"

#include <time.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace {

struct Name {
  explicit Name(const char* test) : text("framelane-whole-" + std::to_string(getpid()) + "-" + test) {}
  ~Name() { SHAREDMEMORY::Remove(text.c_str()); }
  operator const char*() const { return text.c_str(); }
  std::string text;
};

/// A writer that knows the format alone: header, then pixels, into a separate mapping.
struct OldWriter {
  explicit OldWriter(const char* name) : pixels(FRAME_W_H * 3) {
    const int file = shm_open((std::string("/") + name).c_str(), O_RDWR, 0);
    memory = static_cast<unsigned char*>(mmap(nullptr, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    close(file);
  }

  void write(unsigned char value, std::size_t bytes) {
    std::memset(pixels.data(), value, pixels.size());
    const ImgInf header = {FRAME_W, FRAME_H, 16};
    std::memcpy(memory, &header, sizeof header);
    std::memcpy(memory + sizeof header, pixels.data(), bytes);
  }
  void write(unsigned char value) { write(value, pixels.size()); }

  std::vector<unsigned char> pixels;
  unsigned char* memory;
};

/// Processor time, as for decoding a frame.
void work(std::chrono::milliseconds time) {
  const auto used = [] {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  for (const auto start = used(); used() - start < time;) {}
}

/// The value of a frame all of whose bytes are the same; -1 for a torn one.
int value_of(const cv::Mat& frame) {
  const unsigned char* const end = frame.data + frame.total() * frame.elemSize();
  const unsigned char first = *frame.data;
  for (const unsigned char* at = frame.data; at < end; ++at) {
    if (*at != first) return -1;
  }
  return first;
}

/// Receives until `wanted` different frames have come, and checks that each is whole. The number of them.
int receive(SHAREDMEMORY& memory, int wanted, std::chrono::seconds time) {
  int found = 0, last = -1;
  const auto end = std::chrono::steady_clock::now() + time;
  while (found < wanted && std::chrono::steady_clock::now() < end) {
    const cv::Mat frame = memory.ReceiveMat(0);
    if (frame.empty()) continue;
    const int value = value_of(frame);
    REQUIRE(value >= 0);
    if (value != last) ++found;
    last = value;
  }
  return found;
}

constexpr std::chrono::seconds deadline(120);

}  // namespace

TEST_CASE("busy_old_writer_without_a_pause_gives_whole_frames") {
  const Name name("busy");
  SHAREDMEMORY memory(name);
  const Child writer([&](Child&) {
    OldWriter old(name);
    for (unsigned char value = 1;; ++value) {
      work(std::chrono::milliseconds(30));
      old.write(value);
    }
    return 0;
  });
  CHECK(receive(memory, 10, deadline) == 10);
}

TEST_CASE("old_writer_that_only_copies_gives_no_torn_frame") {
  const Name name("copies");
  SHAREDMEMORY memory(name);
  const Child writer([&](Child&) {
    OldWriter old(name);
    for (unsigned char value = 1;; ++value) old.write(value);
    return 0;
  });
  for (int call = 0; call < 12; ++call) receive(memory, 1, std::chrono::seconds(0));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  while (std::chrono::steady_clock::now() < end) receive(memory, 1000, std::chrono::seconds(1));
}

TEST_CASE("old_writer_that_sleeps_gives_each_frame_whole") {
  const Name name("sleeps");
  SHAREDMEMORY memory(name);
  Child writer([&](Child& self) {
    OldWriter old(name);
    for (unsigned char value = 1;; ++value) {
      old.write(value);
      self.wake_parent();
      self.wait_for_parent();
    }
    return 0;
  });
  for (int value = 1; value <= 20; ++value) {
    writer.wait_for_child();
    const cv::Mat frame = memory.ReceiveMat(0);
    REQUIRE(!frame.empty());
    CHECK(value_of(frame) == value);
    writer.wake_child();
  }
}

TEST_CASE("drop_in_writer_without_a_pause_gives_whole_frames") {
  const Name name("drop-in");
  SHAREDMEMORY memory(name);
  const Child writer([&](Child&) {
    SHAREDMEMORY own(name);
    for (int value = 1;; value = value % 255 + 1) own.SendMat(cv::Mat(FRAME_H, FRAME_W, CV_8UC3, cv::Scalar::all(value)), 0);
    return 0;
  });
  CHECK(receive(memory, 30, deadline) == 30);
}

TEST_CASE("writer_stopped_in_the_middle_gives_the_frame_before") {
  const Name name("stopped");
  SHAREDMEMORY memory(name);
  Child writer([&](Child& self) {
    OldWriter old(name);
    for (unsigned char value = 1;; value += 2) {
      old.write(value);
      self.wake_parent();
      self.wait_for_parent();
      old.write(static_cast<unsigned char>(value + 1), old.pixels.size() / 2);
      raise(SIGSTOP);
      old.write(static_cast<unsigned char>(value + 1));
      self.wake_parent();
      self.wait_for_parent();
    }
    return 0;
  });
  for (int value = 1; value < 6; value += 2) {
    writer.wait_for_child();
    CHECK(value_of(memory.ReceiveMat(0)) == value);
    writer.wake_child();
    int status = 0;
    REQUIRE(waitpid(writer.id(), &status, WUNTRACED) == writer.id());
    REQUIRE(WIFSTOPPED(status));
    for (int look = 0; look < 3; ++look) CHECK(value_of(memory.ReceiveMat(0)) == value);
    kill(writer.id(), SIGCONT);
    writer.wait_for_child();
    CHECK(value_of(memory.ReceiveMat(0)) == value + 1);
    writer.wake_child();
  }
}

TEST_CASE("writer_that_has_ended_leaves_its_last_frame") {
  const Name name("ended");
  SHAREDMEMORY memory(name);
  Child writer([&](Child&) {
    OldWriter(name).write(7);
    return 0;
  });
  CHECK(writer.status() == 0);
  CHECK(value_of(memory.ReceiveMat(0)) == 7);
}

TEST_CASE("thread_of_this_process_without_a_pause_is_read_whole") {
  const Name name("thread");
  SHAREDMEMORY memory(name), other(name);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int value = 1; !stop; value = value % 255 + 1) {
      other.SendMat(cv::Mat(FRAME_H, FRAME_W, CV_8UC3, cv::Scalar::all(value)), 0);
    }
  });
  const int found = receive(memory, 20, deadline);
  stop = true;
  writer.join();
  CHECK(found == 20);
}
