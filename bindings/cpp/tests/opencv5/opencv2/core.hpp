// A stand-in for OpenCV 5: its type codes, and as much of cv::Mat as framelane's headers and their tests use.
// Written from the codes alone: channels begin at bit 5, there are at most 128, and five depths are new.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

using uchar = unsigned char;

#ifndef STAND_IN_SHIFT
#define STAND_IN_SHIFT 5
#endif
#define CV_VERSION_MAJOR 5
#define CV_CN_SHIFT STAND_IN_SHIFT
#define CV_CN_MAX 128
#define CV_DEPTH_MAX (1 << CV_CN_SHIFT)

#define CV_8U 0
#define CV_8S 1
#define CV_16U 2
#define CV_16S 3
#define CV_32S 4
#define CV_32F 5
#define CV_64F 6
#define CV_16F 7
#define CV_16BF 8
#define CV_Bool 9
#define CV_64U 10
#define CV_64S 11
#define CV_32U 12

#define CV_MAT_DEPTH(flags) ((flags) & (CV_DEPTH_MAX - 1))
#define CV_MAT_CN(flags) ((((flags) >> CV_CN_SHIFT) & (CV_CN_MAX - 1)) + 1)
#define CV_MAT_TYPE(flags) ((flags) & (CV_DEPTH_MAX * CV_CN_MAX - 1))
#define CV_MAKETYPE(depth, channels) (CV_MAT_DEPTH(depth) + (((channels)-1) << CV_CN_SHIFT))
#define CV_ELEM_SIZE(type) (CV_MAT_CN(type) * cv::stand_in::depth_bytes(CV_MAT_DEPTH(type)))

#define CV_8UC1 CV_MAKETYPE(CV_8U, 1)
#define CV_8UC2 CV_MAKETYPE(CV_8U, 2)
#define CV_8UC3 CV_MAKETYPE(CV_8U, 3)
#define CV_8UC4 CV_MAKETYPE(CV_8U, 4)
#define CV_16UC1 CV_MAKETYPE(CV_16U, 1)
#define CV_32FC1 CV_MAKETYPE(CV_32F, 1)
#define CV_32FC2 CV_MAKETYPE(CV_32F, 2)
#define CV_32FC3 CV_MAKETYPE(CV_32F, 3)
#define CV_64FC1 CV_MAKETYPE(CV_64F, 1)

namespace cv {

namespace stand_in {
inline int depth_bytes(int depth) {
  const int bytes[] = {1, 1, 2, 2, 4, 4, 8, 2, 2, 1, 8, 8, 4};
  if (depth >= 13) throw std::invalid_argument("no such depth");
  return bytes[depth];
}
}  // namespace stand_in

enum AccessFlag { ACCESS_RW = 3 };
enum UMatUsageFlags { USAGE_DEFAULT = 0 };
struct UMatData;

class MatAllocator {
 public:
  virtual ~MatAllocator() = default;
  virtual UMatData* allocate(int dims, const int* sizes, int type, void* data, std::size_t* step, AccessFlag flags,
                             UMatUsageFlags usage) const = 0;
  virtual bool allocate(UMatData* data, AccessFlag access, UMatUsageFlags usage) const = 0;
  virtual void deallocate(UMatData* data) const = 0;
};

struct UMatData {
  explicit UMatData(const MatAllocator* allocator) : currAllocator(allocator) {}
  const MatAllocator* currAllocator;
  std::atomic<int> refcount{0};
  uchar* data = nullptr;
  uchar* origdata = nullptr;
  std::size_t size = 0;
  void* userdata = nullptr;
};

struct Scalar {
  Scalar(double a, double b = 0, double c = 0, double d = 0) : val{a, b, c, d} {}
  static Scalar all(double value) { return Scalar(value, value, value, value); }
  double val[4];
};

struct Rect {
  Rect(int left, int top, int w, int h) : x(left), y(top), width(w), height(h) {}
  int x, y, width, height;
};

struct Rect2f {
  float x, y, width, height;
};

class Mat {
 public:
  Mat() = default;
  Mat(int height, int width, int type) { create(height, width, type); }
  Mat(int height, int width, int type, void* memory, std::size_t stride) : Mat() {
    shape(height, width, type, stride);
    data = static_cast<uchar*>(memory);
    datastart = data;
    dataend = data + stride * static_cast<std::size_t>(rows - 1) + elemSize() * static_cast<std::size_t>(cols);
  }
  Mat(int dimensions, const int*, int type) : flags(type), dims(dimensions), rows(-1), cols(-1), data(&placeholder()) {}
  Mat(const Mat& other) { take(other); }
  Mat& operator=(const Mat& other) {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  ~Mat() { release(); }

  void create(int height, int width, int type) {
    if (data != nullptr && rows == height && cols == width && this->type() == type) return;
    release();
    const std::size_t stride = static_cast<std::size_t>(width) * static_cast<std::size_t>(CV_ELEM_SIZE(type));
    shape(height, width, type, stride);
    u = getStdAllocator()->allocate(2, &height, type, nullptr, &step.bytes, ACCESS_RW, USAGE_DEFAULT);
    u->size = stride * static_cast<std::size_t>(height);
    u->data = u->origdata = new uchar[u->size]();
    u->refcount = 1;
    data = u->data;
    datastart = data;
    dataend = data + u->size;
  }
  void release() {
    if (u != nullptr && --u->refcount == 0) u->currAllocator->deallocate(u);
    u = nullptr;
    data = nullptr;
    rows = cols = dims = 0;
  }
  Mat clone() const {
    Mat copy;
    if (empty()) return copy;
    copy.create(rows, cols, type());
    for (int y = 0; y < rows; ++y) std::memcpy(copy.ptr(y), ptr(y), copy.step[0]);
    return copy;
  }

  int type() const { return CV_MAT_TYPE(flags); }
  int channels() const { return CV_MAT_CN(flags); }
  std::size_t elemSize() const { return static_cast<std::size_t>(CV_ELEM_SIZE(flags)); }
  std::size_t total() const { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols); }
  bool empty() const { return data == nullptr || rows == 0 || cols == 0; }
  bool isContinuous() const { return rows == 1 || step[0] == elemSize() * static_cast<std::size_t>(cols); }
  uchar* ptr(int row) { return data + step[0] * static_cast<std::size_t>(row); }
  const uchar* ptr(int row) const { return data + step[0] * static_cast<std::size_t>(row); }

  static MatAllocator* getStdAllocator();

  struct Step {
    std::size_t bytes = 0;
    std::size_t operator[](int) const { return bytes; }
  };

  int flags = 0, dims = 0, rows = 0, cols = 0;
  uchar* data = nullptr;
  const uchar* datastart = nullptr;
  const uchar* dataend = nullptr;
  UMatData* u = nullptr;
  Step step;

 private:
  static uchar& placeholder() {
    static uchar byte;
    return byte;
  }
  void shape(int height, int width, int type, std::size_t stride) {
    flags = type;
    dims = 2;
    rows = height;
    cols = width;
    step.bytes = stride;
  }
  void take(const Mat& other) {
    flags = other.flags;
    dims = other.dims;
    rows = other.rows;
    cols = other.cols;
    data = other.data;
    datastart = other.datastart;
    dataend = other.dataend;
    step = other.step;
    u = other.u;
    if (u != nullptr) ++u->refcount;
  }
};

namespace stand_in {
class Allocator final : public MatAllocator {
 public:
  UMatData* allocate(int, const int*, int, void*, std::size_t*, AccessFlag, UMatUsageFlags) const override {
    return new UMatData(this);
  }
  bool allocate(UMatData*, AccessFlag, UMatUsageFlags) const override { return true; }
  void deallocate(UMatData* data) const override {
    delete[] data->origdata;
    delete data;
  }
};
}  // namespace stand_in

inline MatAllocator* Mat::getStdAllocator() {
  static stand_in::Allocator allocator;
  return &allocator;
}

}  // namespace cv
