// Turns between programs that use this header: one writes, or reads, at a time.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_TURNS_H
#define FRAMELANE_LEGACY_DETAIL_TURNS_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace framelane {
namespace legacy {

inline void nap(long nanoseconds) {
  const timespec pause = {0, nanoseconds};
  ::nanosleep(&pause, nullptr);
}

/// One mapping in this process, shared by all its objects.
class Turns {
 public:
  /// The one of an open file.
  static std::shared_ptr<Turns> of(int file) {
    static std::mutex mutex;
    static std::map<std::pair<dev_t, ino_t>, std::weak_ptr<Turns>> all;
    struct stat found = {};
    ::fstat(file, &found);
    const std::lock_guard<std::mutex> lock(mutex);
    std::weak_ptr<Turns>& place = all[{found.st_dev, found.st_ino}];
    std::shared_ptr<Turns> turns = place.lock();
    if (!turns) place = turns = std::make_shared<Turns>();
    return turns;
  }

  /// Waits until no other thread of this process reads or writes. Threads that ask all the time take turns:
  /// the next one waits for `memory_` with `queue_` in its hands.
  std::unique_lock<std::mutex> take() {
    const std::lock_guard<std::mutex> next(queue_);
    return std::unique_lock<std::mutex>(memory_);
  }

  /// Notes a frame of this process at an offset. To be called within a turn.
  void wrote(std::size_t offset) { ++written_[offset]; }
  /// The number of frames that this process has written there. To be called within a turn.
  std::uint64_t written(std::size_t offset) const {
    const auto found = written_.find(offset);
    return found == written_.end() ? 0 : found->second;
  }

 private:
  std::mutex queue_, memory_;
  std::map<std::size_t, std::uint64_t> written_;
};

/// A reader's wish that writers of other processes pause: a lock on a byte far behind the memory, which its
/// process loses when it ends (spec/legacy.md). Old programs do not know it.
class Wish {
 public:
  explicit Wish(int file) : file_(file) { set(F_RDLCK); }
  ~Wish() { set(F_UNLCK); }
  Wish(const Wish&) = delete;
  Wish& operator=(const Wish&) = delete;

  /// Pauses a writer while readers of other objects wish for it, for 20 ms at most: one of them may be
  /// stopped.
  static void grant(int file) {
    for (int pauses = 0; pauses < 10; ++pauses) {
      struct flock lock = byte(F_WRLCK);
      if (::fcntl(file, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return;
      nap(2000000);
    }
  }

 private:
  static struct flock byte(short kind) {
    struct flock lock = {};
    lock.l_type = kind;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(1) << (sizeof(off_t) > 4 ? 62 : 30);
    lock.l_len = 1;
    return lock;
  }

  void set(short kind) {
    struct flock lock = byte(kind);
    ::fcntl(file_, F_OFD_SETLK, &lock);
  }

  int file_;
};

}  // namespace legacy
}  // namespace framelane

#endif
