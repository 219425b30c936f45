// Frames and strings in the old format: written and read in memory that others write at any time.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_FRAMES_H
#define FRAMELANE_LEGACY_DETAIL_FRAMES_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#ifdef FRAMELANE_LEGACY_CORE_ONLY
#include <opencv2/core.hpp>
#else
#include <opencv2/opencv.hpp>
#endif

#include "types.h"

static_assert((CV_CN_SHIFT == 3 && CV_CN_MAX == 512) || (CV_CN_SHIFT == 5 && CV_CN_MAX == 128),
              "framelane does not know the channel codes of this OpenCV: use OpenCV 4 or 5");
static_assert(CV_8U == 0 && CV_8S == 1 && CV_16U == 2 && CV_16S == 3 && CV_32S == 4 && CV_32F == 5 && CV_64F == 6,
              "framelane does not know the depth codes of this OpenCV: use OpenCV 4 or 5");

/// The 12 bytes in front of a frame's pixels: native-endian, `type` as in `cv::Mat::type()`.
struct ImgInf {
  int width;
  int height;
  int type;
};
static_assert(sizeof(ImgInf) == 12, "the header of a frame is three int32");

namespace framelane {
namespace legacy {

/// What became of a frame or a string that was to be written.
enum class Written { yes, nothing_to_write, too_large, no_type };

/// Attempts to read a text from memory that changes permanently.
constexpr int read_attempts = 8;

/// The OpenCV that this program is compiled with.
constexpr OpenCv own_opencv = CV_CN_SHIFT == 5 ? OpenCv::v5 : OpenCv::v4;

/// Which type codes are read and written: 4, 5, or 0: read both, write those of OpenCV 4.
#ifndef FRAMELANE_LEGACY_OPENCV
#define FRAMELANE_LEGACY_OPENCV 0
#endif
static_assert(FRAMELANE_LEGACY_OPENCV == 0 || FRAMELANE_LEGACY_OPENCV == 4 || FRAMELANE_LEGACY_OPENCV == 5,
              "FRAMELANE_LEGACY_OPENCV is 0, 4 or 5");
constexpr OpenCv chosen_opencv = static_cast<OpenCv>(FRAMELANE_LEGACY_OPENCV);

/// The element of a type of this program's OpenCV.
inline Element own_element(int type) { return element_of(type, own_opencv); }

/// The element as this program's OpenCV has it: bool is u8 before OpenCV 5. Depth -1 where it has none.
inline Element as_own(Element element) {
  if (element.depth == bool_depth && own_opencv == OpenCv::v4) element.depth = CV_8U;
  if (code_of(element, own_opencv) < 0) element.depth = -1;
  return element;
}

/// Header first, then pixels without padding of rows, as the old writers do. Nothing is written unless all
/// fits.
inline Written write_frame(unsigned char* area, std::size_t area_bytes, const cv::Mat& image,
                           OpenCv version = chosen_opencv) {
  if (image.empty() || image.dims > 2) return Written::nothing_to_write;
  const Element element = own_element(image.type());
  const int code = code_of(element, version == OpenCv::v5 ? OpenCv::v5 : OpenCv::v4);
  if (code < 0) return Written::no_type;
  const ImgInf header = {image.cols, image.rows, code};
  const std::size_t bytes = frame_bytes(header.width, header.height, element, area_bytes - sizeof header);
  if (bytes == 0) return Written::too_large;
  std::memcpy(area, &header, sizeof header);
  unsigned char* to = area + sizeof header;
  if (image.isContinuous()) {
    std::memcpy(to, image.data, bytes);
    return Written::yes;
  }
  const std::size_t row = bytes / static_cast<std::size_t>(image.rows);
  for (int y = 0; y < image.rows; ++y, to += row) std::memcpy(to, image.ptr(y), row);
  return Written::yes;
}

/// The text with its NUL, from the start of the memory on.
inline Written write_text(unsigned char* memory, std::size_t memory_bytes, const char* text) {
  if (text == nullptr) return Written::nothing_to_write;
  const std::size_t bytes = std::strlen(text) + 1;
  if (bytes > memory_bytes) return Written::too_large;
  std::memcpy(memory, text, bytes);
  return Written::yes;
}

/// The text in front of the first NUL; empty if there is no NUL, or if the text changes all the time.
template <class Between>
std::string read_text(const unsigned char* memory, std::size_t memory_bytes, Between between) {
  for (int attempt = 0; attempt < read_attempts; ++attempt) {
    const void* const end = std::memchr(memory, 0, memory_bytes);
    if (end == nullptr) return std::string();
    const std::size_t length = static_cast<std::size_t>(static_cast<const unsigned char*>(end) - memory);
    const std::string text(reinterpret_cast<const char*>(memory), length);
    between();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // The copy may hold a NUL by now, if the memory changed; then the comparison fails, or the text is that
    // short.
    if (memory[length] == 0 && std::memcmp(text.data(), memory, length) == 0) return text.c_str();
  }
  return std::string();
}

}  // namespace legacy
}  // namespace framelane

#endif
