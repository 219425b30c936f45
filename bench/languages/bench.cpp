// One end of the benchmark across languages: see run.py.
#include <framelane/opencv.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

using Clock = std::chrono::steady_clock;

static int publish(const char* channel, double fps, double seconds) {
  framelane::Publisher publisher(channel);
  while (publisher.subscribers() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / fps));
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (auto due = Clock::now(); due < end; due += period) {
    std::this_thread::sleep_until(due);
    auto loan = framelane::loan(publisher, 1080, 1920, CV_8UC3);
    loan.data()[0] = 1;
    loan.publish();
  }
  return 0;
}

static int read(const char* channel) {
  std::vector<std::uint64_t> ages;
  framelane::Subscriber subscriber(channel);
  for (framelane::Frame& frame : subscriber) {
    const cv::Mat image = framelane::mat(frame);
    if (image.data[0] == 1) ages.push_back(frame.age_ns());
  }
  std::sort(ages.begin(), ages.end());
  if (ages.empty()) return 1;
  std::printf("{\"frames\": %zu, \"p50_us\": %.3f, \"p99_us\": %.3f}\n", ages.size(),
              double(ages[ages.size() / 2]) / 1e3, double(ages[ages.size() * 99 / 100]) / 1e3);
  return 0;
}

static int copy(const char* channel, double seconds) {
  framelane::Publisher publisher(channel);
  const cv::Mat image(1080, 1920, CV_8UC3, cv::Scalar(1, 2, 3));
  for (int i = 0; i < 20; ++i) framelane::publish(publisher, image);
  const auto began = Clock::now();
  std::uint64_t frames = 0;
  std::chrono::duration<double> spent{};
  while (spent.count() < seconds) {
    framelane::publish(publisher, image);
    ++frames;
    spent = Clock::now() - began;
  }
  std::printf("{\"frames_per_second\": %.2f}\n", double(frames) / spent.count());
  return 0;
}

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "publish" && argc == 5) return publish(argv[2], std::stod(argv[3]), std::stod(argv[4]));
  if (what == "read" && argc == 3) return read(argv[2]);
  if (what == "copy" && argc == 4) return copy(argv[2], std::stod(argv[3]));
  std::fprintf(stderr, "usage: %s publish CHANNEL FPS SECONDS | read CHANNEL | copy CHANNEL SECONDS\n",
               argv[0]);
  return 2;
}
