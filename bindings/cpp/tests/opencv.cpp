// cv::Mat over loans and frames without a copy; any cv::Mat published.
#include <doctest/doctest.h>
#include <framelane/opencv.hpp>

#include <opencv2/core.hpp>

#include "matrices.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

using framelane::Format;
using framelane::Publisher;
using framelane::Subscriber;

TEST_CASE("matrix of any depth, channels and region arrives unchanged") {
  Publisher publisher("any");
  Subscriber subscriber("any");
  for (int depth = CV_8U; depth <= CV_16F; ++depth) {
    for (const int channels : {1, 2, 3, 4, 5, 64, 512}) {
      const cv::Mat whole = noise(13, 17, CV_MAKETYPE(depth, channels));
      const cv::Mat region = whole(cv::Rect(3, 2, 9, 7));
      REQUIRE(!region.isContinuous());
      for (const cv::Mat& mat : {whole, region, whole.row(4), whole.col(5)}) {
        REQUIRE(framelane::publish(publisher, mat));
        const auto frame = subscriber.recv();
        CHECK(same(framelane::mat(frame), mat));
      }
    }
  }
  CHECK(publisher.dropped() == 0);
}

TEST_CASE("usual types become video formats, others matrices") {
  CHECK(framelane::format_of(CV_8UC1) == Format::Gray8);
  CHECK(framelane::format_of(CV_16UC1) == Format::Gray16);
  CHECK(framelane::format_of(CV_8UC3) == Format::Bgr8);
  CHECK(framelane::format_of(CV_8UC4) == Format::Bgra8);
  CHECK(framelane::format_of(CV_32FC2).name() == "matrix:f32:2");
  Publisher publisher("named");
  Subscriber subscriber("named");
  const cv::Mat rgb = noise(4, 6, CV_8UC3);
  framelane::publish(publisher, rgb, {}, Format::Rgb8);
  const auto frame = subscriber.recv();
  CHECK((frame.format() == Format::Rgb8 && same(framelane::mat(frame), rgb)));
  CHECK_THROWS_AS(framelane::publish(publisher, rgb, {}, Format::Gray8), framelane::FramelaneError);
}

TEST_CASE("strides and offsets that split a sample are refused") {
  const auto shape = [](std::uint32_t rows, std::uint64_t stride, std::uint64_t offset) {
    const framelane::Layout packed(Format::Gray16, 8, rows);
    framelane_layout hostile = packed.c();
    hostile.planes[0].stride_bytes = stride;
    hostile.planes[0].offset_bytes = offset;
    return framelane::inner::image_shape(framelane::Layout(hostile));
  };
  const std::vector<std::uint8_t> memory(1024);
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> hostile{{17, 0}, {16, 1}, {19, 3}};
  for (const auto& [stride, offset] : hostile) {
    try {
      framelane::inner::over(shape(4, stride, offset), memory.data());
      FAIL("expected an error");
    } catch (const framelane::FramelaneError& error) {
      CHECK(error.code() == framelane::Code::InvalidFrame);
    }
  }
  CHECK(framelane::inner::over(shape(4, 18, 2), memory.data()).step[0] == 18);
  // The stride of a single row is not used.
  CHECK(framelane::inner::over(shape(1, 17, 0), memory.data()).cols == 8);
}

TEST_CASE("planar formats travel in OpenCV's form") {
  Publisher publisher("planar");
  Subscriber subscriber("planar");
  for (const Format format : {Format::I420, Format::Nv12, Format::P010}) {
    const cv::Mat sent = noise(12 * 3 / 2, 16, format == Format::P010 ? CV_16UC1 : CV_8UC1);
    framelane::publish(publisher, sent, {}, format);
    const auto frame = subscriber.recv();
    CHECK((frame.format() == format && frame.width() == 16 && frame.height() == 12));
    CHECK(same(framelane::mat(frame), sent));
    CHECK(same(framelane::plane_mat(frame, 0), sent.rowRange(0, 12)));
  }
  CHECK_THROWS_AS(framelane::publish(publisher, noise(10, 16, CV_8UC1), {}, Format::I420), framelane::FramelaneError);
  // An odd side does not line up as one matrix; its planes are there.
  publisher.loan({Format::Nv12, 5, 3}).publish();
  const auto odd = subscriber.recv();
  CHECK_THROWS_WITH_AS(framelane::mat(odd), doctest::Contains("plane_mat"), framelane::FramelaneError);
  const cv::Mat chroma = framelane::plane_mat(odd, 1);
  CHECK((chroma.type() == CV_8UC2 && chroma.rows == 2 && chroma.cols == 3));
}

TEST_CASE("a matrix over a loan writes where the readers read") {
  Publisher publisher("write");
  Subscriber subscriber("write");
  const cv::Mat picture = noise(48, 64, CV_8UC3);
  auto loan = framelane::loan(publisher, 48, 64, CV_8UC3);
  cv::Mat slot = framelane::mat(loan);
  CHECK(slot.data == loan.data());
  picture.copyTo(slot);
  CHECK(slot.data == loan.data());
  loan.publish();
  const auto frame = subscriber.recv();
  const cv::Mat view = framelane::mat(frame);
  CHECK((view.data == frame.data() && same(view, picture)));
  CHECK_THROWS_AS(framelane::loan(publisher, 0, 4, CV_8UC1), framelane::FramelaneError);
  CHECK_THROWS_AS(framelane::publish(publisher, cv::Mat()), framelane::FramelaneError);
  const int sizes[] = {2, 2, 2};
  CHECK_THROWS_AS(framelane::publish(publisher, cv::Mat(3, sizes, CV_8UC1)), framelane::FramelaneError);
}

TEST_CASE("matrix that owns its frame outlives the subscriber") {
  Publisher publisher("own", {4});
  cv::Mat kept;
  {
    Subscriber subscriber("own");
    framelane::publish(publisher, cv::Mat(8, 8, CV_8UC1, cv::Scalar(7)));
    kept = framelane::mat(subscriber.recv());
  }
  cv::Mat part = kept(cv::Rect(2, 2, 4, 4));
  kept.release();
  for (int i = 0; i < 20; ++i) REQUIRE(framelane::publish(publisher, cv::Mat(8, 8, CV_8UC1, cv::Scalar(i))));
  CHECK(cv::countNonZero(part != 7) == 0);
  // A header over a frame that gets another size also gets new memory.
  cv::Mat other = part;
  other.create(3, 3, CV_32F);
  other = cv::Scalar(1);
  CHECK(cv::countNonZero(part != 7) == 0);

  // Eight at a time: each header that goes frees a lease.
  Subscriber subscriber("own");
  for (int i = 0; i < 100; ++i) {
    framelane::publish(publisher, cv::Mat(8, 8, CV_8UC1, cv::Scalar(i)));
    std::thread([mat = framelane::mat(subscriber.recv()), i] { CHECK(cv::countNonZero(mat != i) == 0); }).join();
  }
}

TEST_CASE("writable_matrix_is_drawn_into_and_others_do_not_see_it") {
  Publisher publisher("draw");
  framelane::SubscriberOptions options;
  options.writable = true;
  Subscriber drawing("draw", options), reading("draw");
  const cv::Mat sent = noise(12 * 3 / 2, 16, CV_8UC1), picture = noise(8, 8, CV_8UC3);
  framelane::publish(publisher, picture);
  auto frame = drawing.recv();
  cv::Mat image = framelane::writable_mat(frame);
  CHECK((image.data == frame.data() && same(image, picture)));
  image = cv::Scalar(1, 2, 3);
  CHECK(frame.data()[0] == 1);
  // A copy of the header of a view writes to the same memory.
  cv::Mat view = framelane::mat(frame);
  view.at<cv::Vec3b>(7, 7) = cv::Vec3b(7, 8, 9);
  CHECK(image.at<cv::Vec3b>(7, 7) == cv::Vec3b(7, 8, 9));
  cv::Mat owned = framelane::mat(std::move(frame));
  owned = cv::Scalar(4, 5, 6);
  auto shared = reading.recv();
  CHECK(same(framelane::mat(shared), picture));
  CHECK_THROWS_WITH_AS(framelane::writable_mat(shared), doctest::Contains("SubscriberOptions::writable"),
                       framelane::FramelaneError);
  framelane::publish(publisher, sent, {}, Format::I420);
  auto planar = drawing.recv();
  framelane::writable_plane_mat(planar, 2) = cv::Scalar(9);
  CHECK(cv::countNonZero(framelane::plane_mat(planar, 2) != 9) == 0);
  CHECK(same(framelane::plane_mat(planar, 0), sent.rowRange(0, 12)));
}

TEST_CASE("write to a frame's matrix ends the writer" *
          doctest::skip(std::getenv("FRAMELANE_NO_DEATH") != nullptr)) {
  Publisher publisher("readonly");
  Subscriber subscriber("readonly");
  framelane::publish(publisher, cv::Mat(4, 4, CV_8UC1, cv::Scalar(9)));
  const auto frame = subscriber.recv();
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    cv::Mat view = framelane::mat(frame);
    view.data[0] = 1;
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
  CHECK(frame.data()[0] == 9);
}
