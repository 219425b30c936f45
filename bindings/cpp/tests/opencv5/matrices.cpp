// opencv.hpp with the type codes of OpenCV 5, by a stand-in of that version.
#include <doctest/doctest.h>
#include <framelane/opencv.hpp>

#include <cstring>

static_assert(CV_8UC3 == 64, "this is the stand-in of OpenCV 5");

using framelane::Format;

namespace {

cv::Mat counting(int rows, int cols, int type) {
  cv::Mat mat(rows, cols, type);
  for (std::size_t i = 0; i < mat.total() * mat.elemSize(); ++i) mat.data[i] = static_cast<unsigned char>(i % 251);
  return mat;
}

bool same(const cv::Mat& a, const cv::Mat& b) {
  if (a.type() != b.type() || a.rows != b.rows || a.cols != b.cols) return false;
  for (int y = 0; y < a.rows; ++y) {
    if (std::memcmp(a.ptr(y), b.ptr(y), a.elemSize() * static_cast<std::size_t>(a.cols)) != 0) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("types_of_opencv_5_become_the_same_formats") {
  CHECK((framelane::format_of(CV_8UC3) == Format::Bgr8 && framelane::mat_type(Format::Bgr8) == 64));
  CHECK((framelane::format_of(CV_8UC4) == Format::Bgra8 && framelane::mat_type(Format::Bgra8) == 96));
  CHECK((framelane::format_of(CV_8UC1) == Format::Gray8 && framelane::format_of(CV_16UC1) == Format::Gray16));
  CHECK(framelane::format_of(CV_32FC2).name() == "matrix:f32:2");
  CHECK(framelane::mat_type(Format::from_name("matrix:f32:2")) == CV_32FC2);
  CHECK(framelane::format_of(CV_MAKETYPE(CV_16F, 128)).name() == "matrix:f16:128");
}

TEST_CASE("matrices_of_every_depth_of_framelane_arrive") {
  framelane::Publisher publisher("opencv5");
  framelane::Subscriber subscriber("opencv5");
  for (int depth = CV_8U; depth <= CV_16F; ++depth) {
    for (const int channels : {1, 2, 3, 4, 5, 128}) {
      const cv::Mat mat = counting(13, 17, CV_MAKETYPE(depth, channels));
      REQUIRE(framelane::publish(publisher, mat));
      const auto frame = subscriber.recv();
      CHECK(same(framelane::mat(frame), mat));
    }
  }
}

TEST_CASE("bool_matrix_arrives_as_bytes") {
  framelane::Publisher publisher("bool");
  framelane::Subscriber subscriber("bool");
  const cv::Mat mask = counting(4, 6, CV_MAKETYPE(CV_Bool, 1));
  REQUIRE(framelane::publish(publisher, mask));
  const auto frame = subscriber.recv();
  const cv::Mat seen = framelane::mat(frame);
  CHECK((frame.format() == Format::Gray8 && seen.type() == CV_8UC1 && seen.data[20] == 20));
  CHECK(framelane::format_of(CV_MAKETYPE(CV_Bool, 3)) == Format::Bgr8);
}

TEST_CASE("depth_that_framelane_does_not_have_is_refused_by_name") {
  framelane::Publisher publisher("depths");
  const struct {
    int depth;
    const char* name;
  } depths[] = {{CV_16BF, "16BF"}, {CV_64U, "64U"}, {CV_64S, "64S"}, {CV_32U, "32U"}};
  for (const auto& one : depths) {
    const cv::Mat mat = counting(4, 6, CV_MAKETYPE(one.depth, 3));
    try {
      framelane::publish(publisher, mat);
      FAIL("published");
    } catch (const framelane::FramelaneError& error) {
      CHECK(error.code() == framelane::Code::InvalidOption);
      CHECK(std::string(error.what()).find(one.name) != std::string::npos);
      CHECK(std::string(error.hint()).find("convertTo") != std::string::npos);
    }
    CHECK_THROWS_AS(framelane::loan(publisher, 4, 6, CV_MAKETYPE(one.depth, 1)), framelane::FramelaneError);
  }
  CHECK_THROWS_AS(framelane::format_of(13), framelane::FramelaneError);
  CHECK_THROWS_AS(framelane::format_of(1 << 12), framelane::FramelaneError);
}

TEST_CASE("frame_of_more_channels_than_opencv_5_has_is_refused") {
  framelane::Publisher publisher("channels");
  framelane::Subscriber subscriber("channels");
  publisher.loan({Format::from_name("matrix:u8:512"), 4, 4}).publish();
  const auto frame = subscriber.recv();
  CHECK_THROWS_WITH_AS(framelane::mat(frame), doctest::Contains("at most 128 channels"),
                       framelane::FramelaneError);
}

TEST_CASE("owned_matrix_of_the_stand_in_frees_its_frame") {
  framelane::Publisher publisher("owned");
  framelane::Subscriber subscriber("owned");
  for (int i = 0; i < 50; ++i) {
    REQUIRE(framelane::publish(publisher, counting(4, 6, CV_8UC3)));
    const cv::Mat own = framelane::mat(subscriber.recv());
    CHECK(own.data[7] == 7);
  }
}
