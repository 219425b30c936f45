// Finds the ball in the frames of channel `boxes`, and sends its box back.
#include <framelane/opencv.hpp>

#include <opencv2/imgproc.hpp>

int main() {
  framelane::DetectionPublisher finder("boxes/detections", {"ball"}, "threshold");
  framelane::Subscriber subscriber("boxes");
  for (const framelane::Frame& frame : subscriber) {
    cv::Mat bright;
    cv::inRange(framelane::mat(frame), cv::Scalar(200, 200, 200), cv::Scalar(255, 255, 255), bright);
    finder.send(frame, {framelane::detection(cv::boundingRect(bright))});
  }
}
