/* A limit for whole tests in C and C++, as the crate next to this file has it for Rust. */
#ifndef FRAMELANE_TEST_KIT_LIMIT_H
#define FRAMELANE_TEST_KIT_LIMIT_H

#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest single wait in seconds: FRAMELANE_TEST_DEADLINE, else 120. Fractions are allowed. */
static inline double deadline_s(void) {
  const char *const text = getenv("FRAMELANE_TEST_DEADLINE");
  return text == NULL ? 120 : atof(text);
}

/* The name of the running test. */
static inline const char **limited_test(void) {
  static const char *name = "";
  return &name;
}

static inline void write_text(const char *text) {
  (void)!write(STDERR_FILENO, text, strlen(text));
}

/* Prints the test and the stack of its main thread. Calls only functions that signal handlers may call. */
static inline void end_hung(int number) {
  void *frames[64];
  (void)number;
  write_text("\ntest ");
  write_text(*limited_test());
  write_text(" did not end within eight deadlines (FRAMELANE_TEST_DEADLINE). It waits here:\n");
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  _exit(101);
}

/* Ends the process when the test takes longer than eight deadlines from now. */
static inline void limit_test(const char *name) {
  void *frame;
  /* The first call loads a library, which a signal handler must not do. */
  (void)backtrace(&frame, 1);
  *limited_test() = name;
  signal(SIGALRM, end_hung);
  alarm(8 * deadline_s() > 1 ? (unsigned)(8 * deadline_s()) : 1);
}

#endif
