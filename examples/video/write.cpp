// Plays a video file into a channel: OpenCV writes its pictures straight into shared memory.
//
//     write FILM [CHANNEL]        prints how many frames went, and the sum of their bytes
#include <framelane/opencv.hpp>

#include <opencv2/core.hpp>
#include <opencv2/videoio.hpp>

#include <iostream>
#include <thread>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " FILM [CHANNEL]\n";
    return 2;
  }
  cv::VideoCapture film(argv[1]);
  if (!film.isOpened()) {
    std::cerr << argv[1] << " could not be opened\n";
    return 1;
  }
  const int width = static_cast<int>(film.get(cv::CAP_PROP_FRAME_WIDTH));
  const int height = static_cast<int>(film.get(cv::CAP_PROP_FRAME_HEIGHT));
  framelane::PublisherOptions options;
  options.backpressure = framelane::Backpressure::Block;  // a film can wait; for a camera leave this out
  framelane::Publisher publisher(argc > 2 ? argv[2] : "video", options);
  while (publisher.subscribers() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));

  std::uint64_t frames = 0;
  double sum = 0;
  while (film.grab()) {
    auto loan = framelane::loan(publisher, height, width, CV_8UC3);
    cv::Mat slot = framelane::mat(loan);
    film.retrieve(slot);
    if (slot.data != loan.data()) {
      std::cerr << "the size of the film has changed\n";
      return 1;
    }
    const cv::Scalar sums = cv::sum(slot);
    sum += sums[0] + sums[1] + sums[2];
    loan.publish();
    ++frames;
  }
  publisher.drain();
  std::cout << frames << " frames, sum " << static_cast<std::uint64_t>(sum) << '\n';
}
