// framelane with OpenCV: cv::Mat over loans and frames without a copy, and any cv::Mat published.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
//     auto loan = framelane::loan(publisher, 1080, 1920, CV_8UC3);
//     cv::Mat slot = framelane::mat(loan);          // writes go where the readers read
//     capture.read(slot);
//     loan.publish();
//
//     framelane::publish(publisher, image);         // one copy; any depth, channels, region of interest
//
//     const cv::Mat view = framelane::mat(frame);   // no copy; valid while the frame is
//     const cv::Mat own = framelane::mat(std::move(frame));   // no copy; owns the frame
//
// A frame's memory is mapped read-only, so a view is `const`. A write through a copy of the header ends the
// process, because it would change the frame of other readers. `clone()` an image to change it, or subscribe
// with SubscriberOptions::writable:
//
//     cv::Mat image = framelane::writable_mat(frame);   // to be drawn into; others do not see it
#pragma once

#include <framelane/framelane.hpp>

#include <opencv2/core.hpp>

#include <iterator>
#include <limits>
#include <string>
#include <utility>

// The codes of depths and channels of this OpenCV. OpenCV 4 counts channels from bit 3, OpenCV 5 from bit 5.
static_assert(CV_8U == FRAMELANE_DEPTH_U8 && CV_8S == FRAMELANE_DEPTH_S8 && CV_16U == FRAMELANE_DEPTH_U16 &&
                  CV_16S == FRAMELANE_DEPTH_S16 && CV_32S == FRAMELANE_DEPTH_S32 && CV_32F == FRAMELANE_DEPTH_F32 &&
                  CV_64F == FRAMELANE_DEPTH_F64 && CV_16F == FRAMELANE_DEPTH_F16,
              "framelane does not know the depth codes of this OpenCV: use OpenCV 4 or 5");
static_assert((CV_CN_SHIFT == 3 && CV_CN_MAX == 512) || (CV_CN_SHIFT == 5 && CV_CN_MAX == 128),
              "framelane does not know the channel codes of this OpenCV: use OpenCV 4 or 5");
static_assert(CV_8UC3 == CV_8U + (2 << CV_CN_SHIFT) && CV_MAT_DEPTH(CV_8UC3) == CV_8U && CV_MAT_CN(CV_8UC3) == 3,
              "framelane does not know the type codes of this OpenCV: use OpenCV 4 or 5");

namespace framelane {

namespace inner {

/// The type with which a matrix is stored: of CV_8U for the bool of OpenCV 5, one byte of 0 or 1.
/// \throws FramelaneError InvalidOption for a number that is no type, or of a depth that framelane does not
/// have.
inline int stored_type(int type) {
  // From the first depth that OpenCV 4 does not have.
  constexpr int first = 8, bool_depth = 9;
  static constexpr const char* names[] = {"16BF", "Bool", "64U", "64S", "32U"};
  const int depth = CV_MAT_DEPTH(type);
  if (type != CV_MAT_TYPE(type) || depth >= first + static_cast<int>(std::size(names))) {
    throw FramelaneError(Code::InvalidOption, "expected a type of OpenCV, found " + std::to_string(type),
                         "pass Mat::type(), or a constant such as CV_8UC3");
  }
  if (depth < first) return type;
  if (depth == bool_depth) return CV_MAKETYPE(CV_8U, CV_MAT_CN(type));
  throw FramelaneError(
      Code::InvalidOption,
      std::string("expected a depth that framelane has, found OpenCV's ") + names[depth - first],
      "convert the matrix: mat.convertTo(converted, CV_32F), or another depth from CV_8U to CV_16F");
}

}  // namespace inner

/// The OpenCV type of a format's samples, as rows of pixels: CV_8UC3 for bgr8. Of planar formats, that of the
/// first plane.
/// \throws FramelaneError InvalidFrame for a matrix of more channels than OpenCV has (512, or 128 in 5).
inline int mat_type(Format format) {
  if (format.is_matrix()) {
    if (format.channels() > CV_CN_MAX) {
      throw FramelaneError(
          Code::InvalidFrame,
          "expected at most " + std::to_string(CV_CN_MAX) + " channels, found " + format.name(),
          "read it by Frame::data");
    }
    return CV_MAKETYPE(static_cast<int>(format.depth()), static_cast<int>(format.channels()));
  }
  switch (format.code()) {
    case FRAMELANE_FORMAT_BGR8:
    case FRAMELANE_FORMAT_RGB8:
      return CV_8UC3;
    case FRAMELANE_FORMAT_BGRA8:
    case FRAMELANE_FORMAT_RGBA8:
      return CV_8UC4;
    case FRAMELANE_FORMAT_GRAY16:
    case FRAMELANE_FORMAT_P010:
      return CV_16UC1;
    case FRAMELANE_FORMAT_YUYV:
      return CV_8UC2;
    case FRAMELANE_FORMAT_GRAY8:
    case FRAMELANE_FORMAT_I420:
    case FRAMELANE_FORMAT_NV12:
      return CV_8UC1;
    default:
      throw FramelaneError(Code::InvalidFrame, "expected an image, found " + format.name());
  }
}

/// The format of a matrix of this OpenCV type: gray8, gray16, bgr8 and bgra8 for the usual ones, else a
/// matrix. The bool of OpenCV 5 becomes a byte of 0 or 1.
/// \throws FramelaneError InvalidOption for a number that is no type, or of a depth that framelane does not
/// have.
inline Format format_of(int type) {
  type = inner::stored_type(type);
  switch (type) {
    case CV_8UC1:
      return Format::Gray8;
    case CV_16UC1:
      return Format::Gray16;
    case CV_8UC3:
      return Format::Bgr8;
    case CV_8UC4:
      return Format::Bgra8;
    default:
      return Format::matrix(static_cast<Depth>(CV_MAT_DEPTH(type)), static_cast<std::uint32_t>(CV_MAT_CN(type)));
  }
}

namespace inner {

/// Shape of the matrix over a whole image.
struct MatShape {
  int rows, cols, type;
  std::size_t step;
};

/// The matrix over one plane; chroma of nv12 and p010 has two channels.
inline MatShape plane_shape(const Layout& layout, std::size_t index) {
  const PlaneLayout& plane = layout.plane(index);
  int type = mat_type(layout.format());
  if (index == 1 && layout.plane_count() == 2) type = CV_MAKETYPE(CV_MAT_DEPTH(type), 2);
  const auto pixel_bytes = static_cast<std::uint64_t>(CV_ELEM_SIZE(type));
  const std::uint64_t cols = plane.row_bytes / pixel_bytes;
  // Half as much again: the rows of a whole i420 image.
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<int>::max());
  if (plane.rows > most / 3 * 2 || cols > most) {
    throw FramelaneError(Code::InvalidFrame, "expected rows and columns that a cv::Mat can have, found " +
                                                 std::to_string(cols) + "x" + std::to_string(plane.rows),
                         "read it by Frame::data, or publish it in parts");
  }
  // A publisher chooses both. OpenCV throws its own error for such a stride, and reads whole samples.
  const std::uint64_t sample_bytes = pixel_bytes / static_cast<std::uint64_t>(CV_MAT_CN(type));
  if ((plane.rows > 1 && plane.stride_bytes % sample_bytes != 0) || plane.offset_bytes % sample_bytes != 0) {
    throw FramelaneError(Code::InvalidFrame,
                         "expected a stride and an offset that are multiples of " +
                             std::to_string(sample_bytes) + " bytes, found " +
                             std::to_string(plane.stride_bytes) + " and " +
                             std::to_string(plane.offset_bytes),
                         "read it by Frame::data");
  }
  // The stride of a single row has no meaning, because no row follows.
  const std::size_t step = plane.rows > 1 ? plane.stride_bytes : cols * pixel_bytes;
  return {static_cast<int>(plane.rows), static_cast<int>(cols), type, step};
}

/// The matrix over the whole image. Planar formats have OpenCV's shape (height * 3 / 2, width), as
/// cv::cvtColor takes them.
inline MatShape image_shape(const Layout& layout) {
  MatShape shape = plane_shape(layout, 0);
  if (layout.plane_count() == 1) return shape;
  const PlaneLayout& luma = layout.plane(0);
  // OpenCV's form: chroma rows follow the luminance; with three planes there is no room for padding.
  bool lines_up = layout.width() % 2 == 0 && layout.height() % 2 == 0 && luma.offset_bytes == 0;
  const bool three = layout.plane_count() == 3;
  std::uint64_t next = luma.stride_bytes * luma.rows;
  for (std::size_t i = 1; i < layout.plane_count(); ++i) {
    const PlaneLayout& chroma = layout.plane(i);
    lines_up = lines_up && chroma.offset_bytes == next &&
               chroma.stride_bytes == (three ? luma.stride_bytes / 2 : luma.stride_bytes) &&
               (!three || luma.stride_bytes == luma.row_bytes);
    next += chroma.stride_bytes * chroma.rows;
  }
  if (!lines_up) {
    throw FramelaneError(Code::InvalidFrame,
                         "expected planes that line up as one matrix, found " +
                             std::to_string(layout.width()) + "x" + std::to_string(layout.height()) + " " +
                             layout.format().name() + " with padding or an odd side",
                         "use framelane::plane_mat for each plane");
  }
  shape.rows += shape.rows / 2;
  return shape;
}

inline cv::Mat over(const MatShape& shape, const std::uint8_t* data) {
  // OpenCV has no header over constant memory; callers return it as a const cv::Mat.
  return cv::Mat(shape.rows, shape.cols, shape.type, const_cast<std::uint8_t*>(data), shape.step);
}

/// Frees a frame after its last matrix. Allocates no memory.
class FrameAllocator final : public cv::MatAllocator {
 public:
  static FrameAllocator& instance() {
    // Never destroyed: matrices may live until the very end of the program.
    static auto* const allocator = new FrameAllocator;
    return *allocator;
  }

  /// A matrix over a frame's memory that owns the frame.
  cv::Mat adopt(Frame&& frame, const MatShape& shape) const {
    auto owned = std::make_unique<Frame>(std::move(frame));
    cv::Mat mat = over(shape, owned->data());
    auto data = std::make_unique<cv::UMatData>(this);
    data->data = data->origdata = mat.data;
    data->size = static_cast<std::size_t>(mat.dataend - mat.datastart);
    data->userdata = owned.release();
    data->refcount = 1;
    // The header now counts references to the frame.
    mat.u = data.release();
    return mat;
  }

  // A header over a frame that gets a new size also gets new memory, like any matrix.
  cv::UMatData* allocate(int dims, const int* sizes, int type, void* data, size_t* step, cv::AccessFlag flags,
                         cv::UMatUsageFlags usage) const override {
    return cv::Mat::getStdAllocator()->allocate(dims, sizes, type, data, step, flags, usage);
  }
  bool allocate(cv::UMatData* data, cv::AccessFlag access, cv::UMatUsageFlags usage) const override {
    return cv::Mat::getStdAllocator()->allocate(data, access, usage);
  }
  void deallocate(cv::UMatData* data) const override {
    if (data == nullptr) return;
    delete static_cast<Frame*>(data->userdata);
    data->userdata = nullptr;
    delete data;
  }
};

}  // namespace inner

/// A slot for a matrix of this size and type. Blocks only with Backpressure::Block. \throws FramelaneError as
/// Publisher::loan.
inline Loan loan(Publisher& publisher, int rows, int cols, int type) {
  if (rows <= 0 || cols <= 0) {
    throw FramelaneError(Code::InvalidFrame,
                "a frame has at least one pixel, found " + std::to_string(cols) + "x" + std::to_string(rows));
  }
  return publisher.loan(
      Layout(format_of(type), static_cast<std::uint32_t>(cols), static_cast<std::uint32_t>(rows)));
}

/// The loan as a matrix to write to, without a copy. Valid until the loan is published or destroyed.
///
/// OpenCV functions that need another size or type than the matrix has allocate a new one, and the slot stays
/// unchanged: compare `data` with that of the loan where this can happen. (`publish` below is not affected.)
inline cv::Mat mat(Loan& loan) { return inner::over(inner::image_shape(loan.layout()), loan.data()); }

/// One plane of the loan.
inline cv::Mat plane_mat(Loan& loan, std::size_t plane) {
  return inner::over(inner::plane_shape(loan.layout(), plane), loan.plane(plane));
}

/// The frame as a matrix, without a copy. Valid while the frame is. Must not be written to.
/// \throws FramelaneError InvalidFrame when the planes do not line up as one matrix: use plane_mat then.
inline const cv::Mat mat(const Frame& frame) {
  return inner::over(inner::image_shape(frame.layout()), frame.data());
}

/// The frame as a matrix that owns it, without a copy. It may outlive this scope, the subscriber and the
/// channel, and be passed on. The last copy of the header releases the frame. Until then it is one of the
/// subscriber's leases. Must not be written to. \throws FramelaneError InvalidFrame as above. The caller then
/// still owns the frame.
inline const cv::Mat mat(Frame&& frame) {
  const inner::MatShape shape = inner::image_shape(frame.layout());
  return inner::FrameAllocator::instance().adopt(std::move(frame), shape);
}

/// The frame as a matrix to write to, of a subscriber with SubscriberOptions::writable. No copy beyond that
/// of receiving it; valid while the frame is. Other subscribers do not see the changes.
/// \throws FramelaneError Misuse when the frame is read-only; InvalidFrame as above.
inline cv::Mat writable_mat(Frame& frame) {
  return inner::over(inner::image_shape(frame.layout()), frame.writable_data());
}

/// One plane of the frame. Valid while the frame is. Must not be written to.
inline const cv::Mat plane_mat(const Frame& frame, std::size_t plane) {
  return inner::over(inner::plane_shape(frame.layout(), plane), frame.plane(plane));
}

/// One plane of the frame, to write to. Otherwise equal to writable_mat.
inline cv::Mat writable_plane_mat(Frame& frame, std::size_t plane) {
  const inner::MatShape shape = inner::plane_shape(frame.layout(), plane);
  return inner::over(shape, frame.writable_data() + frame.layout().plane(plane).offset_bytes);
}

/// The matrix as an image to send, without a copy; valid while the matrix is. Any depth and channels, regions
/// of interest too.
/// \throws FramelaneError InvalidFrame for an empty matrix or one of more than two dimensions.
inline Image image(const cv::Mat& mat, std::optional<Format> format = std::nullopt) {
  if (mat.dims > 2 || mat.empty()) {
    throw FramelaneError(Code::InvalidFrame,
                "expected a matrix of rows and columns, found " +
                    (mat.empty() ? std::string("an empty one") : std::to_string(mat.dims) + " dimensions"),
                "was the image read? Matrices of more dimensions can be sent as channels: Mat::reshape");
  }
  const Format chosen = format.value_or(format_of(mat.type()));
  if (mat_type(chosen) != inner::stored_type(mat.type())) {
    throw FramelaneError(Code::InvalidFrame, chosen.name() + " is of OpenCV type " +
                                                 std::to_string(mat_type(chosen)) +
                                                 ", found a matrix of type " + std::to_string(mat.type()));
  }
  auto height = static_cast<std::uint32_t>(mat.rows);
  const auto width = static_cast<std::uint32_t>(mat.cols);
  const bool three = chosen == Format::I420;
  if (!three && chosen != Format::Nv12 && chosen != Format::P010) return {chosen, width, height, mat.data, mat.step[0]};

  // Luminance rows, then half as many of chroma, in OpenCV's form.
  if (height % 3 != 0 || width % 2 != 0 || (height / 3 * 2) % 2 != 0 || (three && !mat.isContinuous())) {
    throw FramelaneError(Code::InvalidFrame,
                         "expected a continuous matrix of height * 3 / 2 rows with even sides for " +
                             chosen.name() + ", found " + std::to_string(width) + "x" +
                             std::to_string(height));
  }
  height = height / 3 * 2;
  Image sent(chosen, width, height, mat.data, mat.step[0]);
  const std::uint8_t* chroma = mat.data + mat.step[0] * height;
  sent.planes[1] = chroma;
  sent.strides_bytes[1] = three ? mat.step[0] / 2 : mat.step[0];
  if (three) {
    sent.planes[2] = chroma + mat.step[0] / 2 * (height / 2);
    sent.strides_bytes[2] = mat.step[0] / 2;
  }
  return sent;
}

/// Copies any matrix into a slot and publishes it. Returns its sequence, or nothing if it was dropped. One
/// copy. `format` specifies an order of samples other than OpenCV's, such as Format::Rgb8 or Format::I420.
/// \throws FramelaneError InvalidFrame for an empty matrix or one of more than two dimensions; else as
/// Publisher::send.
inline std::optional<std::uint64_t> publish(Publisher& publisher, const cv::Mat& mat, const FrameInfo& info = {},
                                            std::optional<Format> format = std::nullopt) {
  return publisher.send(image(mat, format), info);
}

/// Publishes a matrix and waits for the boxes found in it; see Publisher::send_and_wait.
inline Detections send_and_wait(Publisher& publisher, const cv::Mat& mat, DetectionSubscriber& detections,
                                Timeout timeout = std::nullopt) {
  return publisher.send_and_wait(image(mat), detections, timeout);
}

/// The box as OpenCV's rectangle.
inline cv::Rect2f rect(const Detection& box) { return {box.x, box.y, box.width, box.height}; }

/// A rectangle as a box.
inline Detection detection(const cv::Rect2f& rect, float score = 1, std::uint32_t class_id = 0) {
  return {rect.x, rect.y, rect.width, rect.height, score, class_id};
}

}  // namespace framelane
