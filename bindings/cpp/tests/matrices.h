// Matrices for tests: any bytes, compared bit by bit.
#pragma once

#include <opencv2/core.hpp>

#include <cstring>

inline cv::Mat noise(int rows, int cols, int type) {
  cv::Mat mat(rows, cols, type);
  cv::Mat bytes(rows, static_cast<int>(mat.step[0]), CV_8UC1, mat.data);
  cv::randu(bytes, 0, 256);
  return mat;
}

/// Bit by bit: random bytes are not always numbers.
inline bool same(const cv::Mat& a, const cv::Mat& b) {
  if (a.type() != b.type() || a.size() != b.size()) return false;
  for (int row = 0; row < a.rows; ++row) {
    if (std::memcmp(a.ptr(row), b.ptr(row), static_cast<std::size_t>(a.cols) * a.elemSize()) != 0) return false;
  }
  return true;
}
