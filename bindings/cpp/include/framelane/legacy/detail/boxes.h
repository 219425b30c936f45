// Boxes, in a mapping separate from the frames (spec/legacy.md). No old program reads them.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_BOXES_H
#define FRAMELANE_LEGACY_DETAIL_BOXES_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "frames.h"
#include "mapping.h"

/// One tracked object in a frame, in pixels of that frame.
struct TrackBox {
  int x;
  int y;
  int width;
  int height;
  /// The track; -1: not tracked.
  int id;
  /// The class of the object; -1: not known.
  int classId;
  float score;

  TrackBox() : TrackBox(0, 0, 0, 0) {}
  TrackBox(int left, int top, int w, int h, int track = -1, int kind = -1, float confidence = 0.0F)
    : x(left), y(top), width(w), height(h), id(track), classId(kind), score(confidence) {}
  TrackBox(const cv::Rect& box) : TrackBox(box.x, box.y, box.width, box.height) {}
  operator cv::Rect() const { return cv::Rect(x, y, width, height); }
};
static_assert(sizeof(TrackBox) == 28, "a box is seven numbers of 4 bytes");
static_assert(std::is_trivially_copyable<TrackBox>::value, "a box is copied as bytes");

namespace framelane {
namespace legacy {

/// All boxes of one mapping: a header, then one area for each stream.
class Boxes {
 public:
  Boxes(const std::string& name, std::uint32_t streams, std::uint32_t capacity, mode_t mode)
    : streams_(streams), capacity_(capacity), mapping_(name, header_bytes + streams * area_bytes(), mode) {
    failure_ = mapping_.failure();
    if (mapping_.data() != nullptr) agree();
  }

  /// What went wrong with the mapping; empty if nothing.
  const std::string& failure() const { return failure_; }

  /// What others can do with the memory; empty if nothing.
  const std::string& warning() const { return mapping_.warning(); }

  /// False if there are too many. One writer for each stream at a time.
  bool write(std::size_t stream, const std::vector<TrackBox>& boxes) {
    if (!failure_.empty() || boxes.size() > capacity_) return false;
    std::uint32_t* const area = area_of(stream);
    // Odd while writing, also after a writer that died in the middle.
    const std::uint32_t writing = (__atomic_load_n(area, __ATOMIC_RELAXED) + 1) | 1;
    __atomic_store_n(area, writing, __ATOMIC_RELAXED);
    // Readers that see a word of these boxes see `writing` too: their fence is in read().
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(area + 1, static_cast<std::uint32_t>(boxes.size()), __ATOMIC_RELAXED);
    std::uint32_t* to = area + 2;
    for (const TrackBox& box : boxes) {
      std::uint32_t words[box_words];
      std::memcpy(words, &box, sizeof box);
      for (const std::uint32_t word : words) __atomic_store_n(to++, word, __ATOMIC_RELAXED);
    }
    // Pairs with the first load in read().
    __atomic_store_n(area, writing + 1, __ATOMIC_RELEASE);
    return true;
  }

  /// All boxes of one `write`, never parts of two. Empty if there are none, or if they change all the time.
  std::vector<TrackBox> read(std::size_t stream) const {
    if (!failure_.empty()) return {};
    const std::uint32_t* const area = area_of(stream);
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const std::uint32_t before = __atomic_load_n(area, __ATOMIC_ACQUIRE);
      if (before % 2 != 0) continue;
      // Never more than fit, for any content of the memory.
      const std::uint32_t count = std::min(__atomic_load_n(area + 1, __ATOMIC_RELAXED), capacity_);
      std::vector<TrackBox> boxes(count);
      const std::uint32_t* from = area + 2;
      for (TrackBox& box : boxes) {
        std::uint32_t words[box_words];
        for (std::uint32_t& word : words) word = __atomic_load_n(from++, __ATOMIC_RELAXED);
        std::memcpy(&box, words, sizeof box);
      }
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      if (__atomic_load_n(area, __ATOMIC_RELAXED) == before) return boxes;
    }
    return {};
  }

 private:
  static constexpr std::size_t header_bytes = 16;
  static constexpr std::size_t box_words = sizeof(TrackBox) / sizeof(std::uint32_t);

  std::size_t area_bytes() const { return 8 + capacity_ * sizeof(TrackBox); }

  /// Sequence, count, boxes.
  std::uint32_t* area_of(std::size_t stream) const {
    return reinterpret_cast<std::uint32_t*>(mapping_.data() + header_bytes + stream * area_bytes());
  }

  /// Sets the two words of the header where they are 0 still, and refuses any other than ours.
  void agree() {
    std::uint64_t magic;
    std::memcpy(&magic, "FLBOXES1", sizeof magic);
    std::uint64_t shape;
    const std::uint32_t numbers[2] = {streams_, capacity_};
    std::memcpy(&shape, numbers, sizeof shape);
    if (!claim(0, magic)) {
      failure_ = "holds something else than boxes\n  hint: remove it, or take another name";
    } else if (!claim(1, shape)) {
      failure_ =
        "was made for other numbers of streams or boxes\n  hint: give all programs the same FRAME_NUMBER and "
        "FRAMELANE_LEGACY_BOXES, or remove the old one";
    }
  }

  bool claim(std::size_t word, std::uint64_t ours) {
    std::uint64_t found = 0;
    std::uint64_t* const at = reinterpret_cast<std::uint64_t*>(mapping_.data()) + word;
    return __atomic_compare_exchange_n(at, &found, ours, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || found == ours;
  }

  std::uint32_t streams_;
  std::uint32_t capacity_;
  Mapping mapping_;
  std::string failure_;
};

}  // namespace legacy
}  // namespace framelane

#endif
