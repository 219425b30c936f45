// Boxes back.
#include <doctest/doctest.h>
#include <framelane/opencv.hpp>

#include <thread>

using framelane::Detection;
using namespace std::chrono_literals;

TEST_CASE("boxes arrive with frame, labels and flags") {
  framelane::Publisher publisher("boxes");
  framelane::Subscriber subscriber("boxes");
  framelane::DetectionPublisher finder("boxes/detections", {"cat", "dog"}, "eyes");
  framelane::DetectionSubscriber found("boxes/detections");

  publisher.loan({framelane::Format::Gray8, 64, 48}).publish();
  const auto frame = subscriber.recv();
  Detection lost(1.5f, 2, 3, 4, 0.5f, 1, 99);
  lost.flags = FRAMELANE_DETECTION_LOST;
  lost.rotation = 0.25f;
  CHECK(finder.send(frame, {lost, Detection(5, 6, 7, 8)}) == 1u);

  const auto batch = found.for_frame(publisher.epoch(), 1, 10s);
  CHECK((batch.frame.channel == "boxes" && batch.frame.sequence == 1 && batch.frame.width == 64));
  CHECK((batch.model == "eyes" && batch.labels == std::vector<std::string>{"cat", "dog"}));
  REQUIRE(batch.boxes.size() == 2);
  const Detection& box = batch.boxes[0];
  CHECK((box.x == 1.5f && box.y == 2 && box.width == 3 && box.height == 4 && box.score == 0.5f && box.rotation == 0.25f));
  CHECK((box.class_id == 1 && box.track_id == 99 && box.is_lost() && !box.is_predicted()));
  CHECK((batch.label(box) == "dog" && batch.label(batch.boxes[1]) == "cat"));
  CHECK((batch.sequence == 1 && batch.dropped == 0 && batch.published_ns >= batch.frame.published_ns));
  CHECK(batch.latency_ns == batch.published_ns - batch.frame.published_ns);
}

TEST_CASE("batches are had in order or by their frame, also empty ones") {
  framelane::DetectionPublisher finder("order/detections");
  framelane::DetectionSubscriber found("order/detections");
  framelane::FrameId id;
  id.channel = "order";
  id.epoch = 3;
  for (std::uint64_t sequence = 1; sequence <= 5; ++sequence) {
    id.sequence = sequence;
    finder.send(id, std::vector<Detection>(sequence - 1));
  }
  CHECK(found.for_frame(3, 4, 10s).boxes.size() == 3);
  CHECK(found.for_frame(3, 1, 10s).boxes.empty());
  CHECK(found.recv().frame.sequence == 5);
  CHECK(!found.try_recv());
  try {
    found.for_frame(3, 6, 1ms);
    FAIL("there is no frame 6");
  } catch (const framelane::FramelaneError& error) {
    CHECK(error.code() == framelane::Code::Timeout);
    CHECK(std::string(error.what()).find("newest are of frame 5") != std::string::npos);
  }
}

TEST_CASE("a channel of images is no channel of detections") {
  framelane::Publisher publisher("images");
  framelane::DetectionSubscriber found("images");
  publisher.loan({framelane::Format::Gray8, 1, 1}).publish();
  CHECK_THROWS_WITH_AS(found.recv(), doctest::Contains("expected to carry detections"),
                       framelane::FramelaneError);
}

TEST_CASE("send_and_wait returns boxes also from the next detector") {
  framelane::Publisher publisher("ask");
  const auto detect = [](framelane::DetectionPublisher& finder, int count) {
    framelane::Subscriber frames("ask");
    for (int i = 0; i < count; ++i) {
      const auto frame = frames.recv();
      finder.send(frame, std::vector<Detection>(frame.data()[0]));
    }
  };
  auto first = std::make_optional<framelane::DetectionPublisher>("ask/detections");
  framelane::DetectionSubscriber detections("ask/detections");
  std::thread worker([&] { detect(*first, 3); });
  for (int pixel = 0; pixel < 3; ++pixel) {
    const auto found = framelane::send_and_wait(publisher, cv::Mat(2, 2, CV_8UC1, cv::Scalar(pixel)), detections);
    CHECK(found.boxes.size() == static_cast<std::size_t>(pixel));
    CHECK((found.frame.sequence == publisher.sequence() && found.frame.epoch == publisher.epoch()));
  }
  worker.join();
  first.reset();
  CHECK_THROWS_WITH_AS(framelane::send_and_wait(publisher, cv::Mat(2, 2, CV_8UC1, cv::Scalar(5)), detections, 1ms),
                       doctest::Contains("has no publisher"), framelane::FramelaneError);
  framelane::DetectionPublisher second("ask/detections");
  std::thread next([&] { detect(second, 1); });
  // What was asked when there was no detector is answered by the next.
  CHECK(detections.answer(publisher.epoch(), publisher.sequence()).boxes.size() == 5);
  next.join();
}

TEST_CASE("boxes and OpenCV's rectangles are the same") {
  const Detection box = framelane::detection(cv::Rect2f(1, 2, 3, 4), 0.5f, 6);
  CHECK((framelane::rect(box) == cv::Rect2f(1, 2, 3, 4) && box.score == 0.5f && box.class_id == 6));
}
