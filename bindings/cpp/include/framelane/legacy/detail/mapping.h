// One named piece of shared memory: made if it is not there, mapped, and unmapped exactly once.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_MAPPING_H
#define FRAMELANE_LEGACY_DETAIL_MAPPING_H

#ifdef _WIN32
#error "framelane's ShareMemory.h needs POSIX shared memory (Linux). On Windows keep the old header."
#endif

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace framelane {
namespace legacy {

/// How far the making of a mapping came.
enum class Stage { mapped, not_created, not_viewed };

/// POSIX wants one slash in front; programs give the bare name, as on Windows.
inline std::string posix_name(const std::string& name) {
  return name.empty() || name[0] != '/' ? "/" + name : name;
}

/// Takes the name away. Who has the memory mapped keeps it; who opens the name later gets a new one.
inline bool remove_mapping(const std::string& name) { return ::shm_unlink(posix_name(name).c_str()) == 0; }

class Mapping {
 public:
  /// Opens the memory, or makes it with room for `bytes` and a little more. Memory that is there and smaller than `bytes`
  /// is left as it is and not mapped: the program that made it relies on its size.
  Mapping(const std::string& name, std::size_t bytes, mode_t mode) {
    const std::string path = posix_name(name);
    bool made = true;
    int file = ::shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, mode);
    if (file < 0 && errno == EEXIST) {
      made = false;
      // O_CREAT again: somebody may remove the name between the two calls.
      file = ::shm_open(path.c_str(), O_CREAT | O_RDWR, mode);
    }
    if (file < 0) {
      fail(Stage::not_created, "cannot be opened or made: " + error_text(errno),
                 "use a name without slashes, and look at the owner and mode of /dev/shm" + path);
      return;
    }
    std::size_t room = 0;
    if (size_it(file, bytes, room)) view(file, bytes, room);
    ::close(file);
    if (made && data_ == nullptr) ::shm_unlink(path.c_str());
  }

  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, room_);
  }

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /// Null unless `stage()` is mapped.
  unsigned char* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// Bytes that are there: at least `bytes()`, and up to the end of the memory page that an offset may reach into.
  std::size_t room() const { return room_; }
  Stage stage() const { return stage_; }
  /// What was found, and what to do about it; empty when mapped.
  const std::string& failure() const { return failure_; }

 private:
  static std::string error_text(int number) { return std::strerror(number); }

  void fail(Stage stage, const std::string& found, const std::string& hint) {
    stage_ = stage;
    failure_ = found + "\n  hint: " + hint;
  }

  /// Whole pages, so that a frame at a small byte offset has room as it had on Windows.
  static std::size_t with_slack(std::size_t bytes) {
    const std::size_t page = 4096;
    return (bytes + 127 + page - 1) / page * page;
  }

  bool size_it(int file, std::size_t bytes, std::size_t& room) {
    struct stat status;
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
      fail(Stage::not_created, "is no shared memory", "remove what has this name in /dev/shm, or take another name");
      return false;
    }
    const std::size_t found = static_cast<std::size_t>(status.st_size);
    if (found != 0 && found < bytes) {
      fail(Stage::not_viewed,
                 "has " + std::to_string(found) + " bytes, expected at least " + std::to_string(bytes),
                 "give all programs the same FRAME_NUMBER, FRAME_W and FRAME_H, or remove the old one: rm /dev/shm/NAME");
      return false;
    }
    // ftruncate first: it refuses in one call what can never fit. Then the pages: memory that is only promised ends
    // the process with SIGBUS when /dev/shm is full.
    room = found == 0 || found > with_slack(bytes) ? with_slack(bytes) : found;
    const off_t length = static_cast<off_t>(room);
    int error = found == 0 && ::ftruncate(file, length) != 0 ? errno : 0;
    if (error == 0) error = ::posix_fallocate(file, 0, length);
    if (error != 0) {
      fail(Stage::not_created, "cannot get " + std::to_string(bytes) + " bytes: " + error_text(error),
                 "make room in /dev/shm (in a container: --shm-size), or use fewer or smaller streams");
      return false;
    }
    return true;
  }

  void view(int file, std::size_t bytes, std::size_t room) {
    void* const address = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) {
      fail(Stage::not_viewed, "cannot be mapped: " + error_text(errno), "free address space (ulimit -v)");
      return;
    }
    data_ = static_cast<unsigned char*>(address);
    bytes_ = bytes;
    room_ = room;
  }

  unsigned char* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t room_ = 0;
  Stage stage_ = Stage::mapped;
  std::string failure_;
};

}  // namespace legacy
}  // namespace framelane

#endif
