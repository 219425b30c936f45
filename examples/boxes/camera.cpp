// A camera (a bright ball that moves) that asks another program, in any language, where the ball is, and
// draws it.
//
//     camera [FRAMES] [PICTURE.png]     prints the box of each frame, and saves the last picture
#include <framelane/opencv.hpp>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include <iostream>

int main(int argc, char** argv) {
  const int frames = argc > 1 ? std::atoi(argv[1]) : 50;
  framelane::Publisher publisher("boxes");
  framelane::DetectionSubscriber detections("boxes/detections");  // waits for the detector
  cv::Mat picture;
  for (int n = 0; n < frames; ++n) {
    cv::Mat image(240, 320, CV_8UC3, cv::Scalar(40, 40, 40));
    image(cv::Rect(10 + 4 * n % 280, 20 + 3 * n % 190, 20, 25)).setTo(cv::Scalar(255, 255, 255));
    const auto found = framelane::send_and_wait(publisher, image, detections);
    picture = image;
    std::cout << "frame " << found.frame.sequence << ':';
    for (const auto& box : found.boxes) {
      std::cout << ' ' << found.label(box) << ' ' << box.x << ',' << box.y << ' ' << box.width << 'x' << box.height;
      cv::rectangle(picture, cv::Rect(framelane::rect(box)), cv::Scalar(0, 0, 255));
    }
    std::cout << '\n';
  }
  if (argc > 2) cv::imwrite(argv[2], picture);
}
