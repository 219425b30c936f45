// Pixel formats, layouts, and metadata of frames.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace framelane {

/// The element type of a matrix, with OpenCV's depth codes.
enum class Depth : std::uint32_t {
  U8 = FRAMELANE_DEPTH_U8,
  S8 = FRAMELANE_DEPTH_S8,
  U16 = FRAMELANE_DEPTH_U16,
  S16 = FRAMELANE_DEPTH_S16,
  S32 = FRAMELANE_DEPTH_S32,
  F32 = FRAMELANE_DEPTH_F32,
  F64 = FRAMELANE_DEPTH_F64,
  F16 = FRAMELANE_DEPTH_F16,
};

/// Format of the bytes of a frame: a video format, or any matrix.
class Format {
 public:
  /// From the code of the C interface.
  constexpr explicit Format(std::uint32_t code) noexcept : code_(code) {}

  /// A matrix of 1 to 512 channels. \throws FramelaneError InvalidOption for other numbers of channels, or
  /// another depth.
  static Format matrix(Depth element, std::uint32_t count) {
    const auto number = static_cast<std::uint32_t>(element);
    const std::uint32_t code = framelane_format_matrix(number, count);
    if (code == 0) {
      throw FramelaneError(Code::InvalidOption,
                           "expected a matrix of depth 0 to 7 and 1 to 512 channels, found depth " +
                               std::to_string(number) + " and " + std::to_string(count) + " channels");
    }
    return Format(code);
  }

  /// Returns the format of a name, such as "bgr8" or "matrix:f32:3". \throws FramelaneError InvalidOption,
  /// which lists the known names.
  static Format from_name(const std::string& text) {
    std::uint32_t code = 0;
    inner::check(framelane_format_from_name(inner::c_text(text, "the name of a format"), &code));
    return Format(code);
  }

  constexpr std::uint32_t code() const noexcept { return code_; }

  /// The name, as in "bgr8" or "matrix:f32:3".
  std::string name() const {
    char text[64];
    return framelane_format_name(code_, text, sizeof text) == 0 ? "?" : text;
  }

  /// True for a matrix, which `depth` and `channels` describe.
  constexpr bool is_matrix() const noexcept { return (code_ & matrix_bit) != 0; }
  /// The element type of a matrix.
  constexpr Depth depth() const noexcept { return static_cast<Depth>((code_ & ~matrix_bit) >> 16); }
  /// Elements per pixel of a matrix.
  constexpr std::uint32_t channels() const noexcept { return code_ & 0xffff; }

  friend constexpr bool operator==(Format a, Format b) noexcept { return a.code_ == b.code_; }
  friend constexpr bool operator!=(Format a, Format b) noexcept { return a.code_ != b.code_; }

  static const Format Gray8, Gray16, Bgr8, Rgb8, Bgra8, Rgba8, I420, Nv12, Yuyv, P010;

 private:
  static constexpr std::uint32_t matrix_bit = 0x10000000;
  std::uint32_t code_;
};

inline constexpr Format Format::Gray8{FRAMELANE_FORMAT_GRAY8};
inline constexpr Format Format::Gray16{FRAMELANE_FORMAT_GRAY16};
inline constexpr Format Format::Bgr8{FRAMELANE_FORMAT_BGR8};
inline constexpr Format Format::Rgb8{FRAMELANE_FORMAT_RGB8};
inline constexpr Format Format::Bgra8{FRAMELANE_FORMAT_BGRA8};
inline constexpr Format Format::Rgba8{FRAMELANE_FORMAT_RGBA8};
inline constexpr Format Format::I420{FRAMELANE_FORMAT_I420};
inline constexpr Format Format::Nv12{FRAMELANE_FORMAT_NV12};
inline constexpr Format Format::Yuyv{FRAMELANE_FORMAT_YUYV};
inline constexpr Format Format::P010{FRAMELANE_FORMAT_P010};

/// Position and size of a plane. See `framelane_plane`.
using PlaneLayout = framelane_plane;

/// Size, format and planes of a frame.
class Layout {
 public:
  /// Rows without padding, and planes without gaps.
  /// \throws FramelaneError InvalidFrame for a side of 0 or an unknown format; FrameTooLarge above 4 GiB.
  Layout(Format format, std::uint32_t width, std::uint32_t height) {
    inner::check(framelane_layout_packed(format.code(), width, height, &layout_));
  }

  /// A layout of the C interface, with planes anywhere. Checked when it is used.
  explicit Layout(const framelane_layout& layout) noexcept : layout_(layout) {}

  Format format() const noexcept { return Format(layout_.format); }
  /// Pixels in a row.
  std::uint32_t width() const noexcept { return layout_.width; }
  /// Rows.
  std::uint32_t height() const noexcept { return layout_.height; }
  /// 1 for packed formats, 2 for nv12 and p010, 3 for i420.
  std::size_t plane_count() const noexcept { return layout_.plane_count; }
  /// One of them. \throws std::out_of_range
  const PlaneLayout& plane(std::size_t index) const {
    if (index >= plane_count() || index >= FRAMELANE_MAX_PLANES)
      throw std::out_of_range("the frame has " + std::to_string(plane_count()) + " planes");
    return layout_.planes[index];
  }
  /// Bytes of the whole frame, padding included.
  std::size_t size_bytes() const noexcept { return layout_.size_bytes; }

  const framelane_layout& c() const noexcept { return layout_; }

 private:
  framelane_layout layout_{};
};

/// Times, colour and rotation of a frame. All are unset by default: captured when it is
/// published, without position (FRAMELANE_NO_PTS) and duration (FRAMELANE_NO_DURATION).
struct FrameInfo : framelane_info {
  FrameInfo() noexcept : framelane_info FRAMELANE_INFO_INIT {}

  /// True if the frame has a position in its media.
  bool has_pts() const noexcept { return pts_ns != FRAMELANE_NO_PTS; }
  /// True if the duration of the frame is specified.
  bool has_duration() const noexcept { return duration_ns != FRAMELANE_NO_DURATION; }
};

/// An image in memory of the program, with as many planes as the format has.
struct Image {
  Format format = Format::Bgr8;
  /// Pixels in a row.
  std::uint32_t width = 0;
  /// Rows.
  std::uint32_t height = 0;
  /// The first sample of each plane.
  std::array<const void*, FRAMELANE_MAX_PLANES> planes{};
  /// Bytes from one row to the next in each plane; 0: rows without padding.
  std::array<std::uint64_t, FRAMELANE_MAX_PLANES> strides_bytes{};

  Image() = default;

  /// An image of one plane.
  Image(Format of, std::uint32_t columns, std::uint32_t rows, const void* pixels, std::uint64_t stride_bytes = 0)
      : format(of), width(columns), height(rows), planes{pixels}, strides_bytes{stride_bytes} {}

  framelane_image c() const noexcept {
    framelane_image image{};
    image.format = format.code();
    image.width = width;
    image.height = height;
    for (std::size_t i = 0; i < planes.size(); ++i) {
      image.planes[i] = planes[i];
      image.strides_bytes[i] = strides_bytes[i];
    }
    return image;
  }
};

}  // namespace framelane
