// Many cameras in one process: a channel and a thread for each.
//
//     publish [CAMERAS] [FRAMES]
#include <framelane/opencv.hpp>

#include <string>
#include <thread>
#include <vector>

static void camera(int number, int frames) {
  framelane::PublisherOptions options;
  options.backpressure = framelane::Backpressure::Block;  // so that the counts come out even; for real cameras leave this out
  framelane::Publisher publisher("cameras/" + std::to_string(number), options);
  while (publisher.subscribers() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  for (int n = 0; n < frames; ++n) {
    auto loan = framelane::loan(publisher, 120 + number, 160, CV_8UC1);
    framelane::mat(loan).setTo(cv::Scalar(10 * number + n % 10));
    loan.publish();
  }
  publisher.drain();
}

int main(int argc, char** argv) {
  const int cameras = argc > 1 ? std::atoi(argv[1]) : 4, frames = argc > 2 ? std::atoi(argv[2]) : 100;
  std::vector<std::thread> threads;
  for (int number = 0; number < cameras; ++number) threads.emplace_back(camera, number, frames);
  for (auto& thread : threads) thread.join();
}
