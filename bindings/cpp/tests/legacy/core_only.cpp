// The drop-in with OpenCV's core module alone, and without the constants that other modules would bring.
#define FRAMELANE_LEGACY_CORE_ONLY
#include <framelane/legacy/ShareMemory.h>

#ifdef OPENCV_ALL_HPP
#error "FRAMELANE_LEGACY_CORE_ONLY includes core alone"
#endif

int main() {
  SHAREDMEMORY memory("framelane-core-only");
  const bool sent = memory.SendMat(cv::Mat(2, 2, CV_8UC3, cv::Scalar::all(7)), 0);
  const cv::Mat seen = memory.ReceiveMat(0);
  SHAREDMEMORY::Remove("framelane-core-only");
  return sent && seen.at<cv::Vec3b>(1, 1) == cv::Vec3b(7, 7, 7) ? 0 : 1;
}
