// Watches many cameras in one process, a thread for each.
//
//     watch [CAMERAS]     prints for each how many frames came, their size, and the sum of their bytes
#include <framelane/opencv.hpp>

#include <opencv2/core.hpp>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

static std::string watch(int number) {
  const std::string channel = "cameras/" + std::to_string(number);
  framelane::SubscriberOptions options;
  options.delivery = framelane::Delivery::Every;
  framelane::Subscriber subscriber(channel, options);
  std::uint64_t frames = 0, sum = 0;
  int rows = 0;
  for (const framelane::Frame& frame : subscriber) {
    const cv::Mat image = framelane::mat(frame);
    ++frames;
    sum += static_cast<std::uint64_t>(cv::sum(image)[0]);
    rows = image.rows;
  }
  return channel + ": " + std::to_string(frames) + " frames of 160x" + std::to_string(rows) + ", sum " +
         std::to_string(sum);
}

int main(int argc, char** argv) {
  const int cameras = argc > 1 ? std::atoi(argv[1]) : 4;
  std::vector<std::string> lines(static_cast<std::size_t>(cameras));
  std::vector<std::thread> threads;
  for (int number = 0; number < cameras; ++number) {
    threads.emplace_back([&lines, number] { lines[static_cast<std::size_t>(number)] = watch(number); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& line : lines) std::cout << line << '\n';
}
