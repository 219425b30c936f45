/* Checks and a directory of channels for the tests of the C interface. Compiled as C99, C11 and C++17. */
#ifndef FRAMELANE_TESTS_CHECK_H
#define FRAMELANE_TESTS_CHECK_H

#include "../../../tests/kit/limit.h"

#include <framelane.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer than anything takes on a busy machine. */
#define LONG_NS (60 * (int64_t)1000000000)

static int failures = 0;

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                     \
    }                                                                 \
  } while (0)

#define INVALID FRAMELANE_ERROR_INVALID_OPTION

/* Frees the error and returns its code. */
static uint32_t code(framelane_error *error) {
  const uint32_t found = framelane_error_code(error);
  if (error != NULL) {
    CHECK(strlen(framelane_error_message(error)) > 0);
    CHECK(strncmp(framelane_error_text(error), framelane_error_message(error), strlen(framelane_error_message(error))) == 0);
    CHECK(strcmp(framelane_error_name(error), "ok") != 0);
  }
  framelane_error_free(error);
  return found;
}

/* Makes a directory of channels for this test. Returns 1 when that fails. */
static int begin(char *directory) {
  limit_test(__BASE_FILE__);
  if (mkdtemp(directory) == NULL || setenv("FRAMELANE_DIR", directory, 1) != 0) {
    perror(directory);
    return 1;
  }
  return 0;
}

/* Channels that ended well leave nothing. Returns what the program does. */
static int end(const char *directory) {
  CHECK(rmdir(directory) == 0);
  return failures == 0 ? 0 : 1;
}

#define DIRECTORY "/dev/shm/framelane-c-tests-XXXXXX"

#endif
