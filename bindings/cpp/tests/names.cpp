// Every public name of framelane, in a program that uses three namespaces at once: none is ambiguous.
// Compiled only, with every warning that its user may have.
#include <opencv2/opencv.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/stitching.hpp>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <thread>

#include <framelane/opencv.hpp>

using namespace std;
using namespace cv;
using namespace framelane;

void publishing(const Mat& picture);
void receiving();
void detecting();

void publishing(const Mat& picture) {
  PublisherOptions options;
  options.slots = 8;
  options.backpressure = Backpressure::Block;
  options.urls = Urls::Refuse;
  Publisher publisher("cam0", options);
  const Layout layout(Format::Bgr8, 640, 480);
  const PlaneLayout& plane = layout.plane(0);
  cout << plane.rows << static_cast<uint32_t>(Depth::F32);
  Loan slot = loan(publisher, 480, 640, mat_type(format_of(picture.type())));
  Mat over = mat(slot);
  picture.copyTo(over);
  picture.copyTo(plane_mat(slot, 0));
  FrameInfo info;
  info.keyframe = 1;
  slot.publish(info);
  const Image sent = image(picture);
  publisher.send(sent);
  publish(publisher, picture);
  publisher.close();
}

void receiving() {
  SubscriberOptions options;
  options.delivery = Delivery::Every;
  options.writable = true;
  options.open_timeout = Timeout(chrono::seconds(1));
  Subscriber subscriber("cam0", options);
  try {
    for (Frame& frame : subscriber) {
      const FrameId id = frame.id();
      rectangle(writable_mat(frame), Rect(1, 2, 3, 4), Scalar(0, 0, 255));
      rectangle(writable_plane_mat(frame, 0), Rect(1, 2, 3, 4), Scalar(0, 0, 255));
      imwrite("frame.png", mat(frame));
      imwrite("plane.png", plane_mat(frame, 0));
      cout << id.sequence << format("%d", 1);
    }
  } catch (const FramelaneError& error) {
    if (error.code() != Code::ChannelClosed) throw;
  }
  for (const ChannelStatus& status : list_channels()) cout << status.name;
}

void detecting() {
  Publisher publisher("cam0");
  DetectionSubscriber found("cam0/detections");
  DetectionPublisher finder("cam0/detections", {"face"});
  const Detections batch = send_and_wait(publisher, Mat(4, 4, CV_8UC1), found);
  for (const Detection& box : batch.boxes) cout << rect(box) << batch.label(box);
  finder.send(batch.frame, {detection(Rect2f(1, 2, 3, 4))});
}
