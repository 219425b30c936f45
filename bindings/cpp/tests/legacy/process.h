// Other processes for tests of the drop-in: forked, controlled by single bytes, ended with the test.
#pragma once

#include <doctest/doctest.h>

#include "limit.h"

#include <csignal>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/// A child that runs `work`, with a pipe in each direction.
class Child {
 public:
  template <class Work>
  explicit Child(Work work) {
    REQUIRE((::pipe(to_) == 0 && ::pipe(from_) == 0));
    id_ = ::fork();
    REQUIRE(id_ >= 0);
    if (id_ != 0) return;
    // Not longer than the test, however that ends.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(work(*this));
  }
  ~Child() { end(); }
  Child(const Child&) = delete;

  /// Wakes the child, or the parent, which waits for it.
  void wake_child() { put(to_[1]); }
  void wait_for_child() {
    if (!get(from_[0])) FAIL("waited " << deadline_s() << " s until the child woke its parent");
  }
  void wake_parent() { put(from_[1]); }
  void wait_for_parent() {
    if (!get(to_[0])) _exit(9);
  }

  pid_t id() const { return id_; }
  /// Its exit status; -1 when a signal has ended it.
  int status() {
    int status = 0;
    REQUIRE(::waitpid(id_, &status, 0) == id_);
    id_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void end() {
    if (id_ == 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
    for (const int one : {to_[0], to_[1], from_[0], from_[1]}) ::close(one);
    id_ = 0;
  }

 private:
  static void put(int file) { (void)!::write(file, "x", 1); }
  /// Returns whether a byte has come before the deadline.
  static bool get(int file) {
    pollfd ready = {file, POLLIN, 0};
    char byte;
    return ::poll(&ready, 1, static_cast<int>(deadline_s() * 1000)) == 1 && ::read(file, &byte, 1) == 1;
  }

  int to_[2], from_[2];
  pid_t id_ = 0;
};
