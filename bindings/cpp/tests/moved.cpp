// Objects that were moved from: every method of every class throws, none crashes.
#include <doctest/doctest.h>
#include <framelane/opencv.hpp>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

using framelane::Code;
using framelane::Format;

#define MISUSE(call)                                   \
  do {                                                 \
    try {                                              \
      static_cast<void>(call);                         \
      FAIL_CHECK(#call " does not throw");             \
    } catch (const framelane::FramelaneError& error) { \
      CHECK_MESSAGE(error.code() == Code::Misuse, #call, ": ", error.what()); \
      CHECK(!error.hint().empty());                  \
    }                                                  \
  } while (0)

TEST_CASE("frame_moved_from_throws_at_every_method") {
  framelane::Publisher publisher("moved");
  framelane::Subscriber subscriber("moved");
  publisher.loan({Format::Gray8, 4, 2}).publish();
  framelane::Frame from = subscriber.recv();
  framelane::Frame frame = std::move(from);
  CHECK(frame.width() == 4);
  framelane::DetectionPublisher finder("moved/detections");
  framelane::DetectionSubscriber found("moved/detections");
  MISUSE(from.data());
  MISUSE(from.plane(0));
  MISUSE(from.is_writable());
  MISUSE(from.writable_data());
  MISUSE(from.layout());
  MISUSE(from.width());
  MISUSE(from.height());
  MISUSE(from.format());
  MISUSE(from.info());
  MISUSE(from.sequence());
  MISUSE(from.epoch());
  MISUSE(from.dropped());
  MISUSE(from.timestamp_ns());
  MISUSE(from.published_ns());
  MISUSE(from.age_ns());
  MISUSE(from.is_intact());
  MISUSE(from.id());
  MISUSE(finder.send(from, {}));
  MISUSE(found.for_frame(from));
  MISUSE(found.answer(from));
  MISUSE(framelane::mat(from));
  MISUSE(framelane::mat(std::move(from)));
  MISUSE(framelane::plane_mat(from, 0));
  MISUSE(framelane::writable_mat(from));
  MISUSE(framelane::writable_plane_mat(from, 0));
  // It can be given another frame.
  from = std::move(frame);
  CHECK((from.height() == 2 && from.timestamp_ns() > 0));
  MISUSE(frame.timestamp_ns());
  const cv::Mat owned = framelane::mat(std::move(from));
  CHECK(owned.rows == 2);
  MISUSE(from.info());
}

TEST_CASE("loan_moved_from_or_published_throws_at_every_method") {
  framelane::Publisher publisher("moved");
  framelane::Loan published = publisher.loan({Format::Gray8, 4, 2});
  published.publish();
  framelane::Loan moved = publisher.loan({Format::Gray8, 4, 2});
  const framelane::Loan taken = std::move(moved);
  CHECK(taken.layout().width() == 4);
  for (framelane::Loan* loan : {&published, &moved}) {
    MISUSE(loan->data());
    MISUSE(loan->plane(0));
    MISUSE(loan->layout());
    MISUSE(loan->publish());
    MISUSE(framelane::mat(*loan));
    MISUSE(framelane::plane_mat(*loan, 0));
  }
}

TEST_CASE("publisher_moved_from_throws_at_every_method") {
  framelane::Publisher from("moved");
  framelane::DetectionPublisher finder("moved/detections");
  framelane::DetectionSubscriber found("moved/detections");
  framelane::Publisher publisher = std::move(from);
  CHECK(publisher.channel() == "moved");
  const std::uint8_t pixel = 0;
  const framelane::Image image(Format::Gray8, 1, 1, &pixel);
  const cv::Mat mat(1, 1, CV_8UC1, cv::Scalar(0));
  MISUSE(from.loan({Format::Gray8, 1, 1}));
  MISUSE(from.try_loan({Format::Gray8, 1, 1}));
  MISUSE(from.send(image));
  MISUSE(from.send_and_wait(image, found));
  MISUSE(from.drain());
  MISUSE(from.close());
  MISUSE(from.channel());
  MISUSE(from.epoch());
  MISUSE(from.sequence());
  MISUSE(from.dropped());
  MISUSE(from.slots());
  MISUSE(from.subscribers());
  MISUSE(from.c());
  MISUSE(framelane::loan(from, 1, 1, CV_8UC1));
  MISUSE(framelane::publish(from, mat));
  MISUSE(framelane::send_and_wait(from, mat, found));
  from = std::move(publisher);
  CHECK(from.send(image) == 1u);
}

TEST_CASE("subscriber_moved_from_throws_at_every_method") {
  framelane::Publisher publisher("moved");
  framelane::Subscriber from("moved");
  framelane::Subscriber subscriber = std::move(from);
  CHECK(subscriber.channel() == "moved");
  MISUSE(from.recv());
  MISUSE(from.try_recv());
  MISUSE(from.close());
  MISUSE(from.channel());
  MISUSE(from.received());
  MISUSE(from.dropped());
  MISUSE(from.epoch());
  MISUSE(from.publisher_alive());
  MISUSE(from.begin());
  MISUSE(from.c());
  CHECK(from.end() == from.end());
}

TEST_CASE("iterator_at_the_end_or_moved_from_throws") {
  auto publisher = std::make_optional<framelane::Publisher>("moved");
  framelane::Subscriber subscriber("moved");
  publisher->loan({Format::Gray8, 4, 2}).publish();
  auto from = subscriber.begin();
  auto iterator = std::move(from);
  CHECK(iterator->width() == 4);
  MISUSE(from->width());
  MISUSE((*from).data());
  publisher.reset();
  CHECK(++iterator == subscriber.end());
  MISUSE(*iterator);
  MISUSE(iterator->width());
  MISUSE(++iterator);
  auto end = subscriber.end();
  MISUSE(*end);
  MISUSE(++end);
}

TEST_CASE("detection_objects_moved_from_throw_at_every_method") {
  framelane::Publisher publisher("moved");
  framelane::DetectionPublisher finder("moved/detections");
  framelane::DetectionSubscriber found("moved/detections");
  framelane::FrameId id;
  id.channel = "moved";
  id.epoch = id.sequence = 1;
  finder.send(id, std::vector<framelane::Detection>(2));
  framelane::Detections batch = found.recv();
  const framelane::Detections kept = std::move(batch);
  // Structs of the standard library's: empty, and safe to ask.
  CHECK((batch.label(framelane::Detection()).empty() && batch.boxes.empty() && kept.boxes.size() == 2));
  const framelane::FrameId other = std::move(id);
  CHECK((other.channel == "moved" && std::string(id.c().channel).empty()));

  framelane::DetectionPublisher taken = std::move(finder);
  framelane::DetectionSubscriber also = std::move(found);
  const std::uint8_t pixel = 0;
  MISUSE(finder.send(other, {}));
  MISUSE(finder.drain());
  MISUSE(finder.close());
  MISUSE(found.recv());
  MISUSE(found.try_recv());
  MISUSE(found.for_frame(other));
  MISUSE(found.for_frame(1, 1));
  MISUSE(found.answer(other));
  MISUSE(found.answer(1, 1));
  MISUSE(found.close());
  MISUSE(found.c());
  MISUSE(publisher.send_and_wait({Format::Gray8, 1, 1, &pixel}, found));
}
