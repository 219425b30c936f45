/* Prints what arrives in `hello`, until the publisher is done. */
#include <framelane.h>

#include <stdio.h>

int main(void) {
  framelane_subscriber *subscriber = NULL;
  framelane_frame *frame;
  framelane_error *error = framelane_subscriber_open("hello", NULL, FRAMELANE_FOREVER, &subscriber);
  while (error == NULL && (error = framelane_subscriber_recv(subscriber, FRAMELANE_FOREVER, &frame)) == NULL) {
    const framelane_layout *layout = framelane_frame_layout(frame);
    printf("%llu: %ux%u brightness %u\n", (unsigned long long)framelane_frame_sequence(frame), layout->width,
           layout->height, framelane_frame_data(frame)[0]);
    framelane_frame_free(frame);
  }
  int failed = framelane_error_code(error) != FRAMELANE_ERROR_CHANNEL_CLOSED;
  if (failed) fprintf(stderr, "%s\n", framelane_error_text(error));
  framelane_error_free(error);
  framelane_subscriber_free(subscriber);
  return failed;
}
