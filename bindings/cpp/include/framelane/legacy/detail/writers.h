// Shows that no other program is in the middle of a write to a mapping (spec/legacy.md).
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The old format has no lock. The kernel knows more: a thread that sleeps is not in the middle of a copy, and
// neither is one that has slept, or has used much processor time, since the memory last changed. A thread
// that was preempted or stopped has done neither. All of it is in /proc, for every process that has the
// memory mapped for writing. Processes of other users and of other PID namespaces are not visible there.
#ifndef FRAMELANE_LEGACY_DETAIL_WRITERS_H
#define FRAMELANE_LEGACY_DETAIL_WRITERS_H

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

namespace framelane {
namespace legacy {

/// The state of one thread.
struct Activity {
  bool is_asleep = false;
  /// By a signal, a debugger, or the wait for a page.
  bool is_stopped = false;
  /// How often it went to sleep, lost a processor, and got one (0: the kernel does not count).
  std::uint64_t sleeps = 0, preemptions = 0, runs = 0;
  /// Processor time; 0 where the kernel does not account for it.
  std::uint64_t cpu_ns = 0;

  /// How often it got a processor less how often it left one: constant while it has none.
  std::uint64_t balance() const { return runs - sleeps - preemptions; }

  bool has_run_since(const Activity& before) const {
    if (runs != 0 && before.runs != 0) return runs != before.runs;
    return !is_asleep || !before.is_asleep || sleeps != before.sleeps;
  }

  /// False when a field is missing.
  bool parse(const std::string& status, const std::string& schedstat) {
    const char* const state = field(status, "State:");
    const char* const slept = field(status, "\nvoluntary_ctxt_switches:");
    const char* const preempted = field(status, "\nnonvoluntary_ctxt_switches:");
    if (state == nullptr || slept == nullptr || preempted == nullptr) return false;
    // Not D: a page that is read back from swap leaves a thread so, in the middle of a copy.
    is_asleep = std::strchr("SIZX", *state) != nullptr;
    is_stopped = std::strchr("TtD", *state) != nullptr;
    sleeps = std::strtoull(slept, nullptr, 10);
    preemptions = std::strtoull(preempted, nullptr, 10);
    unsigned long long cpu = 0, waited = 0, slices = 0;
    if (std::sscanf(schedstat.c_str(), "%llu %llu %llu", &cpu, &waited, &slices) != 3) cpu = slices = 0;
    cpu_ns = cpu;
    runs = slices;
    return true;
  }

 private:
  static const char* field(const std::string& text, const char* name) {
    const std::size_t at = text.find(name);
    if (at == std::string::npos) return nullptr;
    const char* value = text.c_str() + at + std::strlen(name);
    return value + std::strspn(value, " \t");
  }
};

/// A file of /proc that is read again and again.
class ProcFile {
 public:
  explicit ProcFile(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~ProcFile() {
    if (file_ >= 0) ::close(file_);
  }
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;

  /// Empty when what it described has ended.
  std::string text() const {
    std::string all;
    char part[4096];
    for (ssize_t count; (count = ::pread(file_, part, sizeof part, static_cast<off_t>(all.size()))) > 0;) {
      all.append(part, static_cast<std::size_t>(count));
    }
    return all;
  }

 private:
  int file_;
};

class Thread {
 public:
  Thread(int process_number, int number)
    : process(process_number), id(number), status_(path("status")), schedstat_(path("schedstat")) {
    if (look()) marked_ = began_ = now_;
  }

  const int process, id;

  /// Reads its state; false when it has ended.
  bool look() {
    for (;;) {
      Activity found, again;
      if (!found.parse(status_.text(), schedstat_.text()) || !again.parse(status_.text(), "")) return false;
      // Two files: of one instant when the thread got no processor in between.
      if (found.is_asleep != again.is_asleep || found.sleeps != again.sleeps || found.preemptions != again.preemptions) {
        continue;
      }
      see(found);
      return true;
    }
  }

  bool is_asleep() const { return now_.is_asleep; }
  /// Asleep, or waiting for a processor since it was.
  bool is_outside() const { return is_outside_; }

  void mark() { marked_ = now_; }
  bool has_run_since_mark() const { return now_.has_run_since(marked_); }
  /// Whether it can have changed the memory since the mark.
  bool may_have_written() const { return is_running(marked_) || has_run_since_mark(); }

  void begin() {
    began_ = now_;
    is_cleared_ = false;
    ran_from_ns_ = 0;
  }
  bool has_run_since_begin() const { return now_.has_run_since(began_); }
  void clear() { is_cleared_ = true; }
  /// Whether it was outside a write at some time since `begin`, as of the last look.
  bool is_cleared(std::uint64_t run_ns) {
    // The kernel's account of a running thread lags behind: it counts from an update within the window.
    if (is_outside_ || (was_asleep_ && now_.sleeps != began_.sleeps)) {
      is_cleared_ = true;
    } else if (ran_from_ns_ != 0) {
      is_cleared_ = is_cleared_ || now_.cpu_ns - ran_from_ns_ >= run_ns;
    } else if (now_.cpu_ns != began_.cpu_ns) {
      ran_from_ns_ = now_.cpu_ns;
    }
    return is_cleared_;
  }

 private:
  std::string path(const char* file) const {
    return "/proc/" + std::to_string(process) + "/task/" + std::to_string(id) + "/" + file;
  }

  bool is_running(const Activity& at) const {
    return !at.is_asleep && !(was_asleep_ && at.runs != 0 && at.balance() == idle_balance_);
  }

  /// The kernel counts a stop, and the wait for a page, as sleep: after those it must be seen asleep again.
  void see(const Activity& now) {
    if (now.is_asleep) {
      was_asleep_ = true;
      idle_balance_ = now.balance();
    } else if (now.is_stopped) {
      was_asleep_ = false;
    }
    const bool is_waiting = was_asleep_ && now.runs != 0 && now.balance() == idle_balance_;
    const bool was_same = now.sleeps == now_.sleeps && now.preemptions == now_.preemptions;
    is_outside_ = now.is_asleep || (is_waiting && (was_same ? is_outside_ : now.preemptions == now_.preemptions));
    now_ = now;
  }

  ProcFile status_, schedstat_;
  Activity now_, marked_, began_;
  bool is_outside_ = false, was_asleep_ = false, is_cleared_ = false;
  std::uint64_t idle_balance_ = 0, ran_from_ns_ = 0;
};

/// The threads of other processes that may write to one mapping.
class Writers {
 public:
  explicit Writers(int file) {
    struct stat found = {};
    ::fstat(file, &found);
    char text[64];
    std::snprintf(text, sizeof text, "%02x:%02x %llu", major(found.st_dev), minor(found.st_dev),
                  static_cast<unsigned long long>(found.st_ino));
    id_ = text;
  }

  /// Whether what is known of the threads can be evidence: one of them can have made the changes that were
  /// seen, and there was none that no known thread can have made.
  bool is_known() const { return !threads_.empty() && is_explained_ && !is_hidden_; }

  /// Notes what every thread does now; returns whether all are outside a write.
  bool mark() {
    find();
    look();
    bool all = true;
    for (const auto& thread : threads_) {
      thread->mark();
      all = all && thread->is_outside();
    }
    return all;
  }

  /// Whether no thread has run since `mark`.
  bool have_not_run() {
    const std::size_t before = threads_.size();
    look();
    const auto ran = [](const auto& thread) { return thread->has_run_since_mark(); };
    return threads_.size() == before && std::none_of(threads_.begin(), threads_.end(), ran);
  }

  /// Begins a window in which the memory does not change.
  void begin() {
    for (const auto& thread : threads_) thread->begin();
    began_ns_.clear();
    for (const int process : processes_) began_ns_.push_back(cpu_ns(process));
  }

  /// Whether each thread was outside a write at some time since `begin`. `run_ns`: processor time that is
  /// more than a copy takes.
  bool are_outside(std::uint64_t run_ns) {
    look();
    const auto is_cleared = [&](const auto& thread) { return thread->is_cleared(run_ns); };
    const auto are_cleared = [&] { return std::count_if(threads_.begin(), threads_.end(), is_cleared); };
    const auto all = static_cast<std::ptrdiff_t>(threads_.size());
    if (are_cleared() == all) return true;
    // The kernel's account of a single thread is coarse.
    for (std::size_t i = 0; i < began_ns_.size(); ++i) {
      if (cpu_ns(processes_[i]) - began_ns_[i] >= run_ns) clear_only_one_that_ran(processes_[i]);
    }
    return are_cleared() == all;
  }

  /// Compares a change of the memory since `mark` with what the threads have done since then.
  void explain() {
    const std::size_t before = threads_.size();
    look();
    const auto may = [](const auto& thread) { return thread->may_have_written(); };
    if (threads_.size() != before || std::any_of(threads_.begin(), threads_.end(), may)) {
      is_explained_ = true;
    } else if (!threads_.empty()) {
      // A new thread or process, or one that is not visible.
      scanned_ = Clock::time_point();
      find();
      is_hidden_ = is_hidden_ || threads_.size() == before;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// The processor time of a process, exact also while it runs.
  static std::uint64_t cpu_ns(int process) {
    clockid_t clock;
    timespec time = {};
    if (::clock_getcpuclockid(process, &clock) == 0) ::clock_gettime(clock, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 + static_cast<std::uint64_t>(time.tv_nsec);
  }

  /// The processor time of a process is that of its only thread that ran.
  void clear_only_one_that_ran(int process) {
    Thread* only = nullptr;
    std::size_t count = 0;
    for (const auto& thread : threads_) {
      if (thread->process != process) continue;
      ++count;
      if (!thread->has_run_since_begin() && thread->is_asleep()) continue;
      if (only != nullptr) return;
      only = thread.get();
    }
    // Not one that was started since.
    const bool is_all = numbers_in("/proc/" + std::to_string(process) + "/task").size() == count;
    if (only != nullptr && is_all) only->clear();
  }

  void look() {
    const auto ended = [](const auto& thread) { return !thread->look(); };
    threads_.erase(std::remove_if(threads_.begin(), threads_.end(), ended), threads_.end());
  }

  /// Looks for new threads, and from time to time for new processes: often while there is none.
  void find() {
    const auto pause = std::chrono::milliseconds(processes_.empty() ? 100 : 1000);
    if (scanned_ == Clock::time_point() || Clock::now() - scanned_ >= pause) {
      scanned_ = Clock::now();
      processes_.clear();
      for (const int process : numbers_in("/proc")) {
        if (process != ::getpid() && may_write(process)) processes_.push_back(process);
      }
      const auto gone = [&](const auto& thread) {
        return std::find(processes_.begin(), processes_.end(), thread->process) == processes_.end();
      };
      threads_.erase(std::remove_if(threads_.begin(), threads_.end(), gone), threads_.end());
    }
    for (const int process : processes_) {
      for (const int id : numbers_in("/proc/" + std::to_string(process) + "/task")) {
        const auto is_it = [&](const auto& thread) {
          return thread->process == process && thread->id == id;
        };
        if (std::none_of(threads_.begin(), threads_.end(), is_it)) {
          threads_.emplace_back(new Thread(process, id));
        }
      }
    }
  }

  static std::vector<int> numbers_in(const std::string& folder) {
    std::vector<int> numbers;
    DIR* const entries = ::opendir(folder.c_str());
    if (entries == nullptr) return numbers;
    while (const dirent* const entry = ::readdir(entries)) {
      const bool is_number = entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
      if (is_number) numbers.push_back(std::atoi(entry->d_name));
    }
    ::closedir(entries);
    return numbers;
  }

  /// Whether a process has the memory mapped for writing, or the file open for it.
  bool may_write(int process) const {
    const std::string folder = "/proc/" + std::to_string(process);
    const std::string maps = ProcFile(folder + "/maps").text();
    for (std::size_t at = 0; (at = maps.find(" " + id_ + " ", at)) != std::string::npos; at += id_.size()) {
      const std::size_t line = maps.rfind('\n', at) == std::string::npos ? 0 : maps.rfind('\n', at) + 1;
      // ADDRESSES PERMISSIONS OFFSET DEVICE INODE
      const std::size_t permissions = maps.find(' ', line) + 1;
      if (maps[permissions + 1] == 'w' && maps[permissions + 3] == 's') return true;
    }
    for (const int number : numbers_in(folder + "/fd")) {
      struct stat found = {};
      const std::string name = std::to_string(number);
      if (::stat((folder + "/fd/" + name).c_str(), &found) == 0 && is_it(found) &&
          is_open_for_writing(folder + "/fdinfo/" + name)) {
        return true;
      }
    }
    return false;
  }

  bool is_it(const struct stat& found) const {
    char text[64];
    std::snprintf(text, sizeof text, "%02x:%02x %llu", major(found.st_dev), minor(found.st_dev),
                  static_cast<unsigned long long>(found.st_ino));
    return id_ == text;
  }

  static bool is_open_for_writing(const std::string& path) {
    const std::string text = ProcFile(path).text();
    const std::size_t at = text.find("flags:");
    // O_WRONLY is 1, O_RDWR is 2.
    return at != std::string::npos && (std::strtoul(text.c_str() + at + 6, nullptr, 8) & 3) != 0;
  }

  std::string id_;
  std::vector<int> processes_;
  /// Of each process at `begin`.
  std::vector<std::uint64_t> began_ns_;
  std::vector<std::unique_ptr<Thread>> threads_;
  Clock::time_point scanned_;
  bool is_explained_ = false, is_hidden_ = false;
};

}  // namespace legacy
}  // namespace framelane

#endif
