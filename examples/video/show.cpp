// Shows a channel in a window, with the frames per second; q or Escape ends it.
//
//     show [CHANNEL] [--headless]     prints how many frames were shown, and the sum of their bytes
#include <framelane/opencv.hpp>

#include <opencv2/core.hpp>
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>

#include <iostream>

int main(int argc, char** argv) {
  std::string channel = "video";
  bool headless = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--headless") headless = true;
    else channel = argv[i];
  }
  framelane::SubscriberOptions options;
  options.delivery = framelane::Delivery::Every;  // for a live picture leave this out
  framelane::Subscriber subscriber(channel, options);
  std::uint64_t frames = 0;
  double sum = 0, fps = 0;
  auto last = std::chrono::steady_clock::now();
  for (const framelane::Frame& frame : subscriber) {
    const cv::Mat view = framelane::mat(frame);
    const cv::Scalar sums = cv::sum(view);
    sum += sums[0] + sums[1] + sums[2];
    ++frames;
    const auto now = std::chrono::steady_clock::now();
    fps = 0.9 * fps + 0.1 / std::chrono::duration<double>(now - last).count();
    last = now;
    // The frame is everybody's: what is drawn goes on a copy.
    cv::Mat picture = view.clone();
    cv::putText(picture, cv::format("%.0f fps", fps), {10, 30}, cv::FONT_HERSHEY_SIMPLEX, 1, {0, 255, 0}, 2);
    if (headless) continue;
    cv::imshow(channel, picture);
    const int key = cv::waitKey(1);
    if (key == 'q' || key == 27) break;
  }
  std::cout << frames << " frames, sum " << static_cast<std::uint64_t>(sum) << '\n';
}
