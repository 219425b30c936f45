// Whole frames from memory that an old program overwrites at any time (spec/legacy.md).
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_READER_H
#define FRAMELANE_LEGACY_DETAIL_READER_H

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include <time.h>

#include "frames.h"
#include "turns.h"
#include "writers.h"

/// Milliseconds without a change after which a frame counts as whole when its writer is not visible in /proc.
#ifndef FRAMELANE_LEGACY_SETTLE_MS
#define FRAMELANE_LEGACY_SETTLE_MS 200
#endif

namespace framelane {
namespace legacy {

/// Places that are compared to see whether the memory has changed. Not members: C++14 would want a
/// definition.
constexpr std::size_t probes = 64, probe_bytes = 64;
/// Some copies, as those of the C library, write the first bytes of a large block last.
constexpr std::size_t head_bytes = 64;
/// Differences between frames that must have been seen before a change at the top is evidence.
constexpr int least_differences = 4;

/// Reads one area. Two equal looks show nothing: a writer that is preempted in the middle of a frame leaves
/// them equal. So a copy is a frame only with one of these kinds of evidence.
///
/// - Asleep. No thread that may write ran while it was copied, and each was outside a write before.
/// - Outside. The memory has not changed since the copy, and each of those threads has slept meanwhile, or
///   has
///   used three times the processor time that the copy took here.
/// - Begun again. The memory did not change while it was copied, and the next change is at the top while the
///   lower half is unchanged. Programs write from top to bottom.
/// - Settled. No thread is known, or this process has written it, and nothing has changed for the settle
///   time.
class Reader {
 public:
  Reader(const unsigned char* area, std::size_t area_bytes, std::size_t offset, int file)
    : area_(area), pixels_(area + sizeof(ImgInf)), area_bytes_(area_bytes), offset_(offset), file_(file),
      turns_(Turns::of(file)), writers_(file) {}

  /// The newest frame that is known to be whole, as a copy. Returns at once while the memory is unchanged or
  /// its writers are asleep, else within `time_limit()`. Returns the frame before when the new one is not
  /// known to be whole by then. Empty without a frame. `report` is what the user must know; empty if nothing.
  cv::Mat read(std::string& report) {
    const std::lock_guard<std::mutex> lock(mutex_);
    // After the first look, which may have to search all processes for writers.
    Clock::time_point start;
    std::unique_ptr<Wish> wish;
    bool was_none = false;
    for (;;) {
      // Once more after the time is up: this thread may have waited for a processor.
      const bool is_over = wish && Clock::now() - start >= time_limit();
      const Poll found = poll(report);
      if (found == Poll::whole) return last_.clone();
      if (found == Poll::none) {
        // Twice: the header may be half written.
        if (was_none || (last_.empty() && report.empty())) {
          last_.release();
          return cv::Mat();
        }
        was_none = true;
      } else if (is_over) {
        report =
            "cannot determine whether a frame is whole: its writer never pauses, or is stopped in the middle"
            "\n  hint: after each frame, pause the writer for longer than a copy takes (waitKey(5)), "
            "and run the reader as the same user, where /proc shows the writer";
        return last_.clone();
      }
      if (!wish) {
        wish.reset(new Wish(file_));
        start = Clock::now();
      }
      // The writer needs the processor to show that it does something else.
      nap(100000);
    }
  }

  static std::chrono::milliseconds time_limit() { return std::chrono::milliseconds(FRAMELANE_LEGACY_SETTLE_MS + 100); }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Poll { none, whole, changed };

  Poll poll(std::string& report) {
    const std::unique_lock<std::mutex> turn = turns_->take();
    report.clear();
    ImgInf header;
    std::memcpy(&header, area_, sizeof header);
    const std::size_t room = area_bytes_ - sizeof header;
    const Element element = as_own(element_in(header.width, header.height, header.type, room, chosen_opencv));
    const std::size_t bytes = frame_bytes(header.width, header.height, element, room);
    if (bytes == 0) {
      is_pending_ = false;
      report = refusal_of(header.width, header.height, header.type, room, chosen_opencv, own_opencv);
      return Poll::none;
    }
    if (is_pending_) {
      if (is_same(header, header_) && probes_are_same()) return wait();
      // First: the writer does not wait.
      const bool has_begun = is_same(header, header_) && has_begun_again();
      explain();
      if (has_begun) return accept();
      std::swap(former_, copied_);
    } else {
      if (!last_.empty() && is_same(header, last_header_) && holds(last_, 0)) {
        written_ = turns_->written(offset_);
        return Poll::whole;
      }
      explain();
    }
    return copy(header, element, bytes);
  }

  /// Finds out who has changed the memory.
  void explain() {
    const std::uint64_t written = turns_->written(offset_);
    is_own_ = written != written_;
    written_ = written;
    if (!is_own_ && is_watched_) writers_.explain();
  }

  Poll copy(const ImgInf& header, const Element& element, std::size_t bytes) {
    const bool are_outside = writers_.mark();
    is_watched_ = true;
    is_pending_ = false;
    copied_.create(header.height, header.width, code_of(element, own_opencv));
    const std::uint64_t start_ns = cpu_ns();
    std::memcpy(copied_.data, pixels_, bytes);
    copy_ns_ = cpu_ns() - start_ns;
    // The compiler must not take the second look for the first one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    // After the pixels: a writer begins with the header.
    if (std::memcmp(&header, area_, sizeof header) != 0) return Poll::changed;
    header_ = header;
    is_of_one_instant_ = probes_are_same();
    learn();
    if (are_outside && (is_own_ || writers_.is_known()) && writers_.have_not_run() && holds(copied_, 0)) return accept();
    writers_.begin();
    is_pending_ = true;
    since_ = checked_ = Clock::now();
    return Poll::changed;
  }

  /// Nothing has changed since the copy, as far as the probes show.
  Poll wait() {
    const auto now = Clock::now();
    const bool is_settled = now - since_ >= std::chrono::milliseconds(FRAMELANE_LEGACY_SETTLE_MS);
    if (!is_settled && now - checked_ < std::chrono::milliseconds(1)) return Poll::changed;
    checked_ = now;
    const bool are_outside = writers_.are_outside(run_ns());
    if (!are_outside || !(is_own_ || is_settled || writers_.is_known())) return Poll::changed;
    if (holds(copied_, 0)) return accept();
    is_pending_ = false;
    return Poll::changed;
  }

  Poll accept() {
    std::swap(last_, copied_);
    last_header_ = header_;
    is_pending_ = false;
    return Poll::whole;
  }

  /// Whether the next frame has begun at the top, and has not reached the lower half.
  bool has_begun_again() const {
    const std::size_t half = size_of(copied_) / 2;
    if (!is_of_one_instant_ || differences_ < least_differences || first_behind_ >= half) return false;
    // Frames that are equal in the lower half could not show that it was rewritten.
    const auto differs = [&](const cv::Mat& other) {
      return size_of(other) == size_of(copied_) && std::memcmp(other.data + half, copied_.data + half, half) != 0;
    };
    if (!differs(former_) && !differs(last_)) return false;
    // The first byte that differs from frame to frame: a writer that goes on in the middle does not come
    // there.
    const bool is_head_last = std::memcmp(pixels_, copied_.data, std::min(head_bytes, half)) == 0;
    const bool is_head_first = first_in_head_ < half && pixels_[first_in_head_] != copied_.data[first_in_head_];
    const bool is_begun = pixels_[first_behind_] != copied_.data[first_behind_];
    return is_begun && (is_head_last || is_head_first) && holds(copied_, half);
  }

  /// Notes where frames differ from each other.
  void learn() {
    for (const cv::Mat* const other : {&former_, &last_}) {
      const std::size_t bytes = size_of(copied_);
      if (size_of(*other) != bytes) continue;
      const auto first = [&](std::size_t from, std::size_t to) {
        const unsigned char* const begin = copied_.data + from;
        const unsigned char* const end = copied_.data + to;
        const unsigned char* const at = std::mismatch(begin, end, other->data + from).first;
        return at == end ? static_cast<std::size_t>(-1) : static_cast<std::size_t>(at - copied_.data);
      };
      const std::size_t head = std::min(head_bytes, bytes);
      const std::size_t in_head = first(0, head), behind = first(head, bytes);
      if (std::min(in_head, behind) == static_cast<std::size_t>(-1)) continue;
      first_in_head_ = std::min(first_in_head_, in_head);
      first_behind_ = std::min(first_behind_, behind);
      ++differences_;
      return;
    }
  }

  bool probes_are_same() const {
    const std::size_t bytes = size_of(copied_);
    const std::size_t end = bytes > probe_bytes ? bytes - probe_bytes : 0;
    const std::size_t step = std::max<std::size_t>(bytes / probes, 1);
    const auto is_same_at = [&](std::size_t at) {
      return std::memcmp(pixels_ + at, copied_.data + at, std::min(probe_bytes, bytes - at)) == 0;
    };
    for (std::size_t at = 0; at < end; at += step) {
      if (!is_same_at(at)) return false;
    }
    return is_same_at(end);
  }

  /// Whether the memory is that of the frame from byte `start` on.
  bool holds(const cv::Mat& frame, std::size_t start) const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return std::memcmp(pixels_ + start, frame.data + start, size_of(frame) - start) == 0;
  }

  static std::uint64_t cpu_ns() {
    timespec time = {};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 + static_cast<std::uint64_t>(time.tv_nsec);
  }
  /// Processor time after which a writer is not in the copy any more: three times as much as a copy takes
  /// here, and at least 10 ms. A virtual machine counts time in which its host runs others, which was seen to
  /// be 4 ms.
  std::uint64_t run_ns() const { return std::max<std::uint64_t>(3 * copy_ns_, 10000000); }

  static bool is_same(const ImgInf& a, const ImgInf& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
  static std::size_t size_of(const cv::Mat& frame) { return frame.empty() ? 0 : frame.total() * frame.elemSize(); }

  const unsigned char* area_;
  const unsigned char* pixels_;
  std::size_t area_bytes_, offset_;
  int file_;
  std::shared_ptr<Turns> turns_;
  std::mutex mutex_;
  Writers writers_;
  /// Of the last copy, and of the last frame.
  ImgInf header_ = {0, 0, 0}, last_header_ = {0, 0, 0};
  /// The last whole frame; the last copy; the copy before, whole or not.
  cv::Mat last_, copied_, former_;
  /// The copy is not known to be whole. Its end, and the last look at the writers.
  bool is_pending_ = false;
  Clock::time_point since_, checked_;
  bool is_of_one_instant_ = false;
  std::uint64_t copy_ns_ = 0;
  /// The memory was copied before: a change shows that a program has written.
  bool is_watched_ = false;
  /// This process has made the last change, at its frame `written_`.
  bool is_own_ = false;
  std::uint64_t written_ = 0;
  /// The first byte in which copies have differed, in the head and behind it, and how often one was compared.
  std::size_t first_in_head_ = static_cast<std::size_t>(-1), first_behind_ = static_cast<std::size_t>(-1);
  int differences_ = 0;
};

}  // namespace legacy
}  // namespace framelane

#endif
