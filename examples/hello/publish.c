/* Publishes 100 frames in `hello`: each one brighter than the one before. */
#define _POSIX_C_SOURCE 199309L
#include <framelane.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check(framelane_error *error) {
  if (error == NULL) return;
  fprintf(stderr, "%s\n", framelane_error_text(error));
  framelane_error_free(error);
  exit(1);
}

int main(void) {
  const struct timespec pause = {0, 33000000};
  framelane_publisher *publisher;
  framelane_layout layout;
  int brightness;
  check(framelane_publisher_create("hello", NULL, &publisher));
  check(framelane_layout_packed(FRAMELANE_FORMAT_BGR8, 640, 480, &layout));
  for (brightness = 0; brightness < 100; ++brightness) {
    framelane_loan *loan;
    check(framelane_publisher_loan(publisher, &layout, &loan));
    memset(framelane_loan_data(loan), brightness, layout.size_bytes);
    check(framelane_loan_publish(loan, NULL, NULL));
    nanosleep(&pause, NULL);
  }
  framelane_publisher_free(publisher);
  return 0;
}
