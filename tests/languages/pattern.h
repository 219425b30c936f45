/* What the C and C++ programs share: see README.md. */
#ifndef PATTERN_H
#define PATTERN_H

#include <framelane.h>

#include <stdio.h>
#include <stdlib.h>

static inline uint8_t pattern_byte(uint64_t n, uint64_t plane, uint64_t row, uint64_t byte) {
  return (uint8_t)((31 * n + 17 * plane + 7 * row + 3 * byte) % 251);
}

static inline framelane_info pattern_info(uint64_t n) {
  framelane_info info = FRAMELANE_INFO_INIT;
  info.timestamp_ns = 1000000000000000000u + n;
  info.pts_ns = (n % 2 ? -1 : 1) * (int64_t)(1000 * n);
  info.duration_ns = 7 * n + 1;
  info.matrix = (uint8_t)(1 + n % 5);
  info.primaries = (uint8_t)(n % 3);
  info.transfer = (uint8_t)(n % 4);
  info.range = (uint8_t)(n % 3);
  info.rotation_degrees = (uint16_t)(90 * (n % 4));
  info.keyframe = (uint8_t)(n % 2);
  return info;
}

/* Fills planes that begin at `planes` with these strides. */
static inline void pattern_fill(const framelane_layout *layout, uint64_t n, uint8_t *const *planes, const uint64_t *strides) {
  uint64_t p, r, b;
  for (p = 0; p < layout->plane_count; ++p) {
    for (r = 0; r < layout->planes[p].rows; ++r) {
      uint8_t *row = planes[p] + r * strides[p];
      for (b = 0; b < layout->planes[p].row_bytes; ++b) row[b] = pattern_byte(n, p, r, b);
    }
  }
}

/* The two sums over the bytes of a frame without padding. */
static inline void pattern_sums(const framelane_layout *layout, const uint8_t *data, uint64_t *sum, uint64_t *weighted) {
  uint64_t p, r, b, at = 0;
  *sum = *weighted = 0;
  for (p = 0; p < layout->plane_count; ++p) {
    for (r = 0; r < layout->planes[p].rows; ++r) {
      const uint8_t *row = data + layout->planes[p].offset_bytes + r * layout->planes[p].stride_bytes;
      for (b = 0; b < layout->planes[p].row_bytes; ++b) {
        *sum += row[b];
        *weighted += row[b] * ++at;
      }
    }
  }
}

#endif
