// One named piece of shared memory: made if it is not there, mapped, and unmapped exactly once.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_DETAIL_MAPPING_H
#define FRAMELANE_LEGACY_DETAIL_MAPPING_H

#ifdef _WIN32
#error "framelane's ShareMemory.h needs POSIX shared memory (Linux). On Windows keep the old header."
#endif

#include <cerrno>
#include <cstddef>
#include <cstdio>
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

/// The user that a mapping must belong to, an expression: this program's. Name another user to trust that
/// one.
#ifndef FRAMELANE_LEGACY_OWNER
#define FRAMELANE_LEGACY_OWNER ::geteuid()
#endif

inline std::string path_of(const std::string& name) { return "/dev/shm" + posix_name(name); }

inline std::string octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%o", static_cast<unsigned>(mode));
  return text;
}

/// The reason not to use a file of this name, and a hint; empty if it is a mapping of the expected user.
/// Every user of the machine can make files in /dev/shm.
inline std::string refusal_of(const std::string& name, const struct stat& found, uid_t expected) {
  const std::string path = path_of(name);
  if (!S_ISREG(found.st_mode)) {
    return "is no shared memory\n  hint: remove " + path + ", or choose another name";
  }
  if (found.st_uid != expected) {
    const std::string owner = std::to_string(found.st_uid);
    return "belongs to another user: expected user " + std::to_string(expected) + ", found user " + owner +
           "\n  hint: remove " + path +
           " and start again, choose another name, or define FRAMELANE_LEGACY_OWNER " + owner +
           " if you trust that user";
  }
  if (found.st_nlink > 1) {
    return "is a file with " + std::to_string(found.st_nlink) +
           " names, expected 1\n  hint: remove the hard link " + path;
  }
  return std::string();
}

/// Removes the name of a mapping of this program's user. Programs that have the memory mapped keep it. A
/// program that opens the name later makes a new mapping.
/// Returns the reason where it refuses; empty when the name is gone.
inline std::string remove_mapping(const std::string& name) {
  struct stat found;
  if (::lstat(path_of(name).c_str(), &found) != 0) return std::string();
  // No other user can replace it meanwhile: only its owner may remove it from a sticky directory.
  const std::string refusal = refusal_of(name, found, ::geteuid());
  if (refusal.empty() && ::shm_unlink(posix_name(name).c_str()) != 0 && errno != ENOENT) {
    return std::string("cannot be removed: ") + std::strerror(errno);
  }
  return refusal;
}

class Mapping {
 public:
  /// Opens the memory, or makes it with room for `bytes` and a little more. Refuses the memory of another
  /// user, and memory that is smaller than `bytes`: the program that made it relies on its size.
  Mapping(const std::string& name, std::size_t bytes, mode_t mode) {
    const std::string path = posix_name(name);
    bool made = false;
    // Without O_CREAT first: in a sticky directory the system does not open files of other users with it.
    while (file_ < 0) {
      file_ = ::shm_open(path.c_str(), O_RDWR, 0);
      if (file_ >= 0 || errno != ENOENT) break;
      file_ = ::shm_open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, mode);
      made = file_ >= 0;
      // Another program was faster, and may have removed it since.
      if (!made && errno != EEXIST) break;
    }
    if (file_ < 0) {
      not_opened(name, errno);
      return;
    }
    std::size_t room = 0;
    if ((made || is_ours(name)) && size_it(bytes, room)) view(bytes, room);
    if (data_ == nullptr) {
      if (made && is_named(name)) ::shm_unlink(path.c_str());
      return;
    }
    warn(name, mode);
  }

  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, room_);
    if (file_ >= 0) ::close(file_);
  }

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /// Null unless `stage()` is mapped.
  unsigned char* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// Bytes that are there: at least `bytes()`, and up to the end of the memory page that an offset may reach
  /// into.
  std::size_t room() const { return room_; }
  /// The open file.
  int file() const { return file_; }
  Stage stage() const { return stage_; }
  /// What was found, and what to do about it; empty when mapped.
  const std::string& failure() const { return failure_; }
  /// What others can do with the memory, and how to restrict it; empty if nothing.
  const std::string& warning() const { return warning_; }

 private:
  static std::string error_text(int number) { return std::strerror(number); }
  static uid_t owner() { return static_cast<uid_t>(FRAMELANE_LEGACY_OWNER); }

  void fail(Stage stage, const std::string& found, const std::string& hint) {
    fail_with(stage, found + "\n  hint: " + hint);
  }

  void fail_with(Stage stage, const std::string& failure) {
    stage_ = stage;
    failure_ = failure;
  }

  /// Whole pages, so that a frame at a small byte offset has room as it had on Windows.
  static std::size_t with_slack(std::size_t bytes) {
    const std::size_t page = 4096;
    return (bytes + 127 + page - 1) / page * page;
  }

  void not_opened(const std::string& name, int error) {
    struct stat found;
    const std::string refusal = ::lstat(path_of(name).c_str(), &found) == 0 ? refusal_of(name, found, owner()) : std::string();
    if (!refusal.empty()) {
      fail_with(Stage::not_created, refusal);
    } else {
      fail(Stage::not_created, "cannot be opened or made: " + error_text(error),
           "use a name without slashes, and look at the owner and mode of " + path_of(name));
    }
  }

  /// Of the open file: what has the name may be another one by now.
  bool is_ours(const std::string& name) {
    struct stat found;
    const bool is_known = ::fstat(file_, &found) == 0;
    const std::string refusal =
        is_known ? refusal_of(name, found, owner()) : "cannot be examined: " + error_text(errno);
    if (!refusal.empty()) fail_with(Stage::not_created, refusal);
    return refusal.empty();
  }

  /// Whether the open file still has the name.
  bool is_named(const std::string& name) const {
    struct stat open, named;
    return ::fstat(file_, &open) == 0 && ::lstat(path_of(name).c_str(), &named) == 0 && open.st_dev == named.st_dev &&
           open.st_ino == named.st_ino;
  }

  /// Permissions that the program has asked for itself need no warning.
  void warn(const std::string& name, mode_t wanted) {
    struct stat found;
    if (::fstat(file_, &found) != 0) return;
    const mode_t open = found.st_mode & 066 & ~wanted;
    if (open == 0) return;
    const mode_t mode = found.st_mode & 0777;
    warning_ = std::string("can be ") + ((open & 022) != 0 ? "written" : "read") +
               " by other users: its mode is " + octal(mode) + "\n  hint: chmod 600 " + path_of(name) +
               ", or define FRAMELANE_LEGACY_MODE 0" + octal(mode) + " to accept it";
  }

  bool size_it(std::size_t bytes, std::size_t& room) {
    struct stat status;
    if (::fstat(file_, &status) != 0) {
      fail(Stage::not_created, "cannot be examined: " + error_text(errno),
           "remove it, or choose another name");
      return false;
    }
    const std::size_t found = static_cast<std::size_t>(status.st_size);
    if (found != 0 && found < bytes) {
      fail(Stage::not_viewed,
           "has " + std::to_string(found) + " bytes, expected at least " + std::to_string(bytes),
           "give all programs the same FRAME_NUMBER, FRAME_W and FRAME_H, "
           "or remove the old one: rm /dev/shm/NAME");
      return false;
    }
    // ftruncate first: it refuses in one call what can never fit. Then the pages: memory that is only
    // promised ends the process with SIGBUS when /dev/shm is full.
    room = found == 0 || found > with_slack(bytes) ? with_slack(bytes) : found;
    const off_t length = static_cast<off_t>(room);
    int error = found == 0 && ::ftruncate(file_, length) != 0 ? errno : 0;
    if (error == 0) error = ::posix_fallocate(file_, 0, length);
    if (error != 0) {
      fail(Stage::not_created, "cannot get " + std::to_string(bytes) + " bytes: " + error_text(error),
                 "make room in /dev/shm (in a container: --shm-size), or use fewer or smaller streams");
      return false;
    }
    return true;
  }

  void view(std::size_t bytes, std::size_t room) {
    void* const address = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
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
  int file_ = -1;
  std::string failure_, warning_;
};

}  // namespace legacy
}  // namespace framelane

#endif
