// Frames and strings in the old format: written and read in memory that others write at any time.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_FRAMES_H
#define FRAMELANE_LEGACY_DETAIL_FRAMES_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <opencv2/core.hpp>

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
enum class Written { yes, nothing_to_write, too_large };

/// How often a reader looks before it gives up on memory that changes all the time.
constexpr int read_attempts = 8;

/// The size of the pixels, or 0 if the header is nonsense or says more than `room`. The header may hold any numbers.
inline std::size_t pixel_bytes(const ImgInf& header, std::size_t room) {
  if (header.width <= 0 || header.height <= 0 || header.type != CV_MAT_TYPE(header.type)) return 0;
  const std::uint64_t row = static_cast<std::uint64_t>(header.width) * static_cast<std::uint64_t>(CV_ELEM_SIZE(header.type));
  const std::uint64_t height = static_cast<std::uint64_t>(header.height);
  if (row == 0 || height > room / row) return 0;
  return static_cast<std::size_t>(row * height);
}

/// Header first, then pixels without padding of rows, as the old writers do. Nothing is written unless all fits.
inline Written write_frame(unsigned char* area, std::size_t area_bytes, const cv::Mat& image) {
  if (image.empty() || image.dims != 2) return Written::nothing_to_write;
  const ImgInf header = {image.cols, image.rows, image.type()};
  const std::size_t bytes = pixel_bytes(header, area_bytes - sizeof header);
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

/// Copies a frame out, then compares the copy with the memory; a frame that changed meanwhile is read anew.
/// `between` runs between the two looks. Empty if there is no frame, or none that stays as it is for two looks.
template <class Between>
cv::Mat read_frame(const unsigned char* area, std::size_t area_bytes, Between between) {
  const unsigned char* const pixels = area + sizeof(ImgInf);
  for (int attempt = 0; attempt < read_attempts; ++attempt) {
    ImgInf header;
    std::memcpy(&header, area, sizeof header);
    const std::size_t bytes = pixel_bytes(header, area_bytes - sizeof header);
    cv::Mat image;
    if (bytes != 0) {
      image.create(header.height, header.width, header.type);
      std::memcpy(image.data, pixels, bytes);
    }
    between();
    // The compiler must not take the second look for the first one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (std::memcmp(&header, area, sizeof header) != 0) continue;
    if (bytes == 0 || std::memcmp(image.data, pixels, bytes) == 0) return image;
  }
  return cv::Mat();
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
    // The copy may hold a NUL by now, if the memory changed; then the comparison fails, or the text is that short.
    if (memory[length] == 0 && std::memcmp(text.data(), memory, length) == 0) return text.c_str();
  }
  return std::string();
}

}  // namespace legacy
}  // namespace framelane

#endif
