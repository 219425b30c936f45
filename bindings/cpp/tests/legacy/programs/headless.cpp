// What the old programs show goes to standard output, a line a picture, as tests have no screen: corner,
// centre, size. FRAMELANE_TEST_PICTURES pictures, then the key that ends them.
#include <opencv2/highgui.hpp>

#include <time.h>

#include <cstdio>
#include <cstdlib>

static int shown = 0;

namespace cv {

void imshow(const String& window, InputArray picture) {
  const Mat image = picture.getMat();
  const Vec3b corner = image.at<Vec3b>(0, 0), centre = image.at<Vec3b>(image.rows / 2, image.cols / 2);
  std::printf("%s %dx%d %d %d %d\n", window.c_str(), image.cols, image.rows, image.type(), corner[0],
              centre[2]);
  std::fflush(stdout);
  ++shown;
}

int waitKey(int milliseconds) {
  const timespec pause = {0, milliseconds * 1000000L};
  nanosleep(&pause, nullptr);
  const char* const most = std::getenv("FRAMELANE_TEST_PICTURES");
  return most != nullptr && shown >= std::atoi(most) ? 27 : -1;
}

void destroyAllWindows() {}

}  // namespace cv
