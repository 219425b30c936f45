// Type codes of matrices, as OpenCV 4 and OpenCV 5 number them (spec/legacy.md). Needs no OpenCV.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_TYPES_H
#define FRAMELANE_LEGACY_DETAIL_TYPES_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace framelane {
namespace legacy {

/// The generation of OpenCV that numbers the types. OpenCV 3 has the codes of 4.
enum class OpenCv { automatic = 0, v4 = 4, v5 = 5 };

/// The first depth that OpenCV 4 does not have, and that of bool.
constexpr int first_new_depth = 8, bool_depth = 9;

/// A depth code and a number of channels; depth -1: no type.
struct Element {
  int depth;
  int channels;

  /// Bytes of one pixel; 0 without a type.
  std::size_t bytes() const {
    static const unsigned char sizes[] = {1, 1, 2, 2, 4, 4, 8, 2, 2, 1, 8, 8, 4};
    return depth < 0 ? 0 : static_cast<std::size_t>(sizes[depth]) * static_cast<std::size_t>(channels);
  }
};

/// The element of a code of one generation.
inline Element element_of(int code, OpenCv version) {
  const Element none = {-1, 0};
  if (code < 0 || code >= 1 << 12) return none;
  const int shift = version == OpenCv::v5 ? 5 : 3;
  const int depths = version == OpenCv::v5 ? 13 : 8;
  const Element found = {code & ((1 << shift) - 1), (code >> shift) + 1};
  return found.depth < depths ? found : none;
}

/// The code of an element; -1 where this generation has none.
inline int code_of(const Element& element, OpenCv version) {
  const bool is_v5 = version == OpenCv::v5;
  const bool exists = element.depth >= 0 && element.depth < (is_v5 ? 13 : 8) && element.channels >= 1 &&
                      element.channels <= (is_v5 ? 128 : 512);
  return exists ? element.depth | (element.channels - 1) << (is_v5 ? 5 : 3) : -1;
}

/// The size of a frame's pixels; 0 if there is none of this size and type in `room` bytes.
inline std::size_t frame_bytes(int width, int height, const Element& element, std::size_t room) {
  if (width <= 0 || height <= 0 || element.depth < 0) return 0;
  const std::uint64_t row = static_cast<std::uint64_t>(width) * element.bytes();
  const std::uint64_t rows = static_cast<std::uint64_t>(height);
  return rows > room / row ? 0 : static_cast<std::size_t>(row * rows);
}

/// The element of a frame that is in `room` bytes. Where both generations have a type that fits: that of
/// OpenCV 5 when it has at most 4 channels and that of OpenCV 4 has more, else that of OpenCV 4.
inline Element element_in(int width, int height, int code, std::size_t room, OpenCv version) {
  const Element none = {-1, 0};
  const auto fitting = [&](OpenCv one) {
    const Element element = element_of(code, one);
    return frame_bytes(width, height, element, room) == 0 ? none : element;
  };
  if (version != OpenCv::automatic) return fitting(version);
  const Element old = fitting(OpenCv::v4), recent = fitting(OpenCv::v5);
  if (old.depth < 0) return recent;
  return recent.depth >= 0 && recent.channels <= 4 && old.channels > 4 ? recent : old;
}

/// The element in words: "3 channels of 8U".
inline std::string text_of(const Element& element) {
  static const char* const names[] = {"8U",   "8S",   "16U",  "16S", "32S", "32F", "64F",
                                      "16F", "16BF", "Bool", "64U", "64S", "32U"};
  return std::to_string(element.channels) + (element.channels == 1 ? " channel of " : " channels of ") +
         names[element.depth];
}

/// The reason that a header announces no frame for a program with the type codes of `own`, and a hint. Empty
/// without a frame: all zeros, a text, or sides that no frame of one byte a pixel can have in `room` bytes.
inline std::string refusal_of(int width, int height, int code, std::size_t room, OpenCv version, OpenCv own) {
  if (frame_bytes(width, height, Element{0, 1}, room) == 0) return std::string();
  const std::string found = "cannot read frames with type code " + std::to_string(code) + ": ";
  const Element read = element_in(width, height, code, room, version);
  if (read.depth >= 0) {
    return found + "this program's OpenCV has no " + text_of(read) + "\n  hint: " +
           (own == OpenCv::v5 ? "convert the frame in the writer (cv::Mat::reshape, cv::Mat::convertTo)"
                              : "convert the frame in the writer (cv::Mat::convertTo), or build this program "
                                "with OpenCV 5");
  }
  const Element old = element_of(code, OpenCv::v4), recent = element_of(code, OpenCv::v5);
  if (version != OpenCv::automatic) {
    const OpenCv other = version == OpenCv::v5 ? OpenCv::v4 : OpenCv::v5;
    if (element_in(width, height, code, room, other).depth >= 0) {
      return found + "it is a frame with the codes of OpenCV " + std::to_string(static_cast<int>(other)) +
             ", and FRAMELANE_LEGACY_OPENCV is " + std::to_string(static_cast<int>(version)) +
             "\n  hint: define FRAMELANE_LEGACY_OPENCV 0, which reads both";
    }
  }
  if (old.depth < 0 && recent.depth < 0) {
    return found + "neither OpenCV 4 nor OpenCV 5 has this type\n  hint: write cv::Mat::type() in the writer";
  }
  return found + text_of(old.depth >= 0 ? old : recent) + " of " + std::to_string(width) + "x" +
         std::to_string(height) + " do not fit an area of " + std::to_string(room) +
         " bytes\n  hint: define larger FRAME_W and FRAME_H in all programs";
}

}  // namespace legacy
}  // namespace framelane

#endif
