/* Options of subscribers, limits of leases, directories: what a C program sees of them.
 *
 * Compiled as C99, C11 and C++17. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

static framelane_layout small(void) {
  framelane_layout layout;
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, 4, 4, &layout)) == 0);
  return layout;
}

static void publish(const framelane_publisher *publisher, uint8_t value) {
  const framelane_layout layout = small();
  uint8_t pixels[16];
  memset(pixels, value, sizeof pixels);
  CHECK(code(framelane_publisher_send_bytes(publisher, &layout, pixels, sizeof pixels, NULL, NULL)) == 0);
}

static void writable_frames_are_copies_and_hold_no_slot(void) {
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *drawing = NULL, *reading = NULL;
  framelane_frame *frames[20], *seen = NULL;
  size_t i;
  CHECK(code(framelane_publisher_create("writable", NULL, &publisher)) == 0);
  options.writable = 1;
  CHECK(code(framelane_subscriber_open("writable", &options, LONG_NS, &drawing)) == 0);
  CHECK(code(framelane_subscriber_open("writable", NULL, LONG_NS, &reading)) == 0);
  for (i = 0; i < 20; ++i) {
    publish(publisher, (uint8_t)i);
    CHECK(code(framelane_subscriber_recv(drawing, LONG_NS, &frames[i])) == 0);
    CHECK(framelane_frame_writable_data(frames[i]) == framelane_frame_data(frames[i]));
    memset(framelane_frame_writable_data(frames[i]), 100 + (int)i, 16);
  }
  CHECK(framelane_publisher_dropped(publisher) == 0);
  CHECK(code(framelane_subscriber_recv(reading, LONG_NS, &seen)) == 0);
  CHECK(framelane_frame_writable_data(seen) == NULL && framelane_frame_data(seen)[15] == 19);
  framelane_frame_free(seen);
  framelane_subscriber_free(drawing);
  framelane_publisher_free(publisher);
  for (i = 0; i < 20; ++i) {
    CHECK(framelane_frame_data(frames[i])[0] == 100 + i);
    framelane_frame_free(frames[i]);
  }
  framelane_subscriber_free(reading);
}

static void leases_beyond_the_limit_are_refused(void) {
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_frame *frames[4], *more = NULL;
  framelane_error *error;
  size_t i;
  CHECK(code(framelane_publisher_create("leases", NULL, &publisher)) == 0);
  CHECK(code(framelane_subscriber_open("leases", NULL, LONG_NS, &subscriber)) == 0);
  for (i = 0; i < 4; ++i) {
    publish(publisher, 0);
    CHECK(code(framelane_subscriber_recv(subscriber, LONG_NS, &frames[i])) == 0);
  }
  publish(publisher, 0);
  error = framelane_subscriber_recv(subscriber, LONG_NS, &more);
  CHECK(framelane_error_code(error) == FRAMELANE_ERROR_TOO_MANY_LEASES && more == NULL);
  CHECK(strcmp(framelane_error_name(error), "too_many_leases") == 0);
  CHECK(strstr(framelane_error_message(error), "holds 4 frames of channel leases") != NULL);
  CHECK(strstr(framelane_error_message(error), "6 slots") != NULL);
  CHECK(strstr(framelane_error_hint(error), "release frames") != NULL);
  framelane_error_free(error);
  framelane_frame_free(frames[0]);
  CHECK(code(framelane_subscriber_recv(subscriber, LONG_NS, &frames[0])) == 0);
  CHECK(framelane_frame_sequence(frames[0]) == 5);
  for (i = 0; i < 4; ++i) framelane_frame_free(frames[i]);
  framelane_subscriber_free(subscriber);
  framelane_publisher_free(publisher);
}

/* Two subscribers hold all slots between them: errors on both sides name the process. */
static void errors_of_a_full_ring_name_the_holders(void) {
  framelane_publisher_options options = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscribers[2];
  framelane_frame *frames[4], *more = NULL;
  const framelane_layout layout = small();
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_detections *batch = NULL;
  framelane_loan *loan = NULL;
  framelane_image image;
  const uint8_t pixels[16] = {0};
  framelane_error *errors[3];
  char holder[64];
  size_t i;
  options.slots = 4;
  CHECK(code(framelane_publisher_create("full", &options, &publisher)) == 0);
  CHECK(code(framelane_subscriber_open("full", NULL, LONG_NS, &subscribers[0])) == 0);
  CHECK(code(framelane_subscriber_open("full", NULL, LONG_NS, &subscribers[1])) == 0);
  CHECK(code(framelane_detection_publisher_create("full/detections", NULL, NULL, 0, NULL, &finder)) == 0);
  CHECK(code(framelane_detection_subscriber_open("full/detections", NULL, LONG_NS, &found)) == 0);
  for (i = 0; i < 4; ++i) {
    publish(publisher, 0);
    CHECK(code(framelane_subscriber_recv(subscribers[i / 2], LONG_NS, &frames[i])) == 0);
  }
  memset(&image, 0, sizeof image);
  image.format = FRAMELANE_FORMAT_GRAY8;
  image.width = image.height = 4;
  image.planes[0] = pixels;
  errors[0] = framelane_publisher_loan(publisher, &layout, &loan);
  errors[1] = framelane_publisher_send_and_wait(publisher, &image, NULL, found, LONG_NS, &batch);
  errors[2] = framelane_subscriber_recv(subscribers[1], 1000000, &more);
  snprintf(holder, sizeof holder, "process %ld", (long)getpid());
  for (i = 0; i < 3; ++i) {
    CHECK(framelane_error_code(errors[i]) == (i < 2 ? FRAMELANE_ERROR_NO_FREE_SLOT : FRAMELANE_ERROR_TIMEOUT));
    CHECK(strstr(framelane_error_message(errors[i]), holder) != NULL);
    CHECK(strstr(framelane_error_hint(errors[i]), "release or copy frames") != NULL);
    framelane_error_free(errors[i]);
  }
  CHECK(framelane_publisher_dropped(publisher) == 2);
  for (i = 0; i < 4; ++i) framelane_frame_free(frames[i]);
  framelane_detection_subscriber_free(found);
  framelane_detection_publisher_free(finder);
  framelane_subscriber_free(subscribers[0]);
  framelane_subscriber_free(subscribers[1]);
  framelane_publisher_free(publisher);
}

static volatile sig_atomic_t stopped = 0;

static void stop(int number) {
  (void)number;
  stopped = 1;
}

/* A camera process: publishes until SIGTERM, then closes the channel, as a graceful restart does. */
static pid_t camera(void) {
  const struct timespec pause = {0, 2000000};
  const pid_t child = fork();
  if (child != 0) return child;
  framelane_publisher *publisher = NULL;
  failures = 0;
  signal(SIGTERM, &stop);
  CHECK(code(framelane_publisher_create("camera", NULL, &publisher)) == 0);
  while (!stopped) {
    publish(publisher, 0);
    nanosleep(&pause, NULL);
  }
  framelane_publisher_free(publisher);
  _exit(failures == 0 ? 0 : 1);
}

static void end_camera(pid_t child) {
  int status = 0;
  CHECK(kill(child, SIGTERM) == 0);
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void reconnecting_subscriber_goes_on_after_sigterm(void) {
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_subscriber *lasting = NULL, *ending = NULL;
  framelane_frame *frame = NULL;
  framelane_error *error;
  uint64_t epoch;
  pid_t child = camera();
  CHECK(child > 0);
  options.reconnect = 1;
  CHECK(code(framelane_subscriber_open("camera", &options, LONG_NS, &lasting)) == 0);
  CHECK(code(framelane_subscriber_open("camera", NULL, LONG_NS, &ending)) == 0);
  CHECK(code(framelane_subscriber_recv(lasting, LONG_NS, &frame)) == 0);
  epoch = framelane_frame_epoch(frame);
  framelane_frame_free(frame);
  end_camera(child);
  /* What was left in the ring, then the end; or, with the option, nothing for now. */
  while ((error = framelane_subscriber_recv(ending, LONG_NS, &frame)) == NULL) framelane_frame_free(frame);
  CHECK(code(error) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  while ((error = framelane_subscriber_recv(lasting, 0, &frame)) == NULL) framelane_frame_free(frame);
  CHECK(code(error) == FRAMELANE_ERROR_TIMEOUT && framelane_subscriber_publisher_alive(lasting) == 0);
  child = camera();
  CHECK(code(framelane_subscriber_recv(lasting, LONG_NS, &frame)) == 0);
  CHECK(framelane_frame_epoch(frame) != epoch && framelane_subscriber_publisher_alive(lasting) == 1);
  framelane_frame_free(frame);
  end_camera(child);
  framelane_subscriber_free(lasting);
  framelane_subscriber_free(ending);
}

static void reconnecting_detections_go_on_after_close(void) {
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_detections *batch = NULL;
  framelane_frame_id id;
  uint64_t life;
  memset(&id, 0, sizeof id);
  id.channel = "again";
  id.epoch = 7;
  for (life = 1; life <= 3; ++life) {
    id.sequence = life;
    CHECK(code(framelane_detection_publisher_create("again/detections", NULL, NULL, 0, NULL, &finder)) == 0);
    options.reconnect = 1;
    if (found == NULL) CHECK(code(framelane_detection_subscriber_open("again/detections", &options, LONG_NS, &found)) == 0);
    CHECK(code(framelane_detection_publisher_send(finder, &id, NULL, 0, NULL)) == 0);
    CHECK(code(framelane_detection_subscriber_for_frame(found, 7, life, LONG_NS, &batch)) == 0);
    framelane_detections_free(batch);
    framelane_detection_publisher_free(finder);
  }
  framelane_detection_subscriber_free(found);
}

/* On Linux a path is any bytes. */
static void directories_need_not_be_utf8(const char *parent) {
  char directory[256];
  framelane_publisher_options options = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_subscriber_options reading = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_channels *channels = NULL;
  framelane_error *error;
  snprintf(directory, sizeof directory, "%s/caf\xe9\xff", parent);
  options.directory = reading.directory = directory;
  CHECK(code(framelane_publisher_create("bytes", &options, &publisher)) == 0);
  CHECK(access(directory, F_OK) == 0);
  CHECK(code(framelane_subscriber_open("bytes", &reading, 0, &subscriber)) == 0);
  CHECK(code(framelane_channels_list(directory, &channels)) == 0 && framelane_channels_count(channels) == 1);
  framelane_channels_free(channels);
  framelane_subscriber_free(subscriber);
  /* In messages it is shown as far as it is text. */
  error = framelane_subscriber_open("missing", &reading, 0, &subscriber);
  CHECK(framelane_error_code(error) == FRAMELANE_ERROR_NOT_FOUND && strstr(framelane_error_message(error), "/caf") != NULL);
  framelane_error_free(error);
  framelane_publisher_free(publisher);
  CHECK(rmdir(directory) == 0);
}

/* A free that waited for the subscriber would never end: it receives nothing meanwhile. */
static void drain_waits_for_subscribers_and_free_does_not(void) {
  framelane_publisher_options publishing = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_frame *frame = NULL;
  framelane_image image;
  framelane_error *error;
  const uint8_t pixel = 7;
  memset(&image, 0, sizeof image);
  image.format = FRAMELANE_FORMAT_GRAY8;
  image.width = image.height = 1;
  image.planes[0] = &pixel;
  publishing.backpressure = FRAMELANE_BACKPRESSURE_BLOCK;
  options.delivery = FRAMELANE_DELIVERY_EVERY;
  CHECK(code(framelane_publisher_create("drain", &publishing, &publisher)) == 0);
  CHECK(code(framelane_subscriber_open("drain", &options, LONG_NS, &subscriber)) == 0);
  CHECK(code(framelane_publisher_drain(publisher, 0)) == 0);
  CHECK(code(framelane_publisher_send(publisher, &image, NULL, NULL)) == 0);
  error = framelane_publisher_drain(publisher, 1000000);
  CHECK(error != NULL &&
        strstr(framelane_error_message(error), "1 subscriber has not received frame 1") != NULL);
  CHECK(code(error) == FRAMELANE_ERROR_TIMEOUT);
  CHECK(code(framelane_subscriber_recv(subscriber, LONG_NS, &frame)) == 0);
  framelane_frame_free(frame);
  CHECK(code(framelane_publisher_drain(publisher, FRAMELANE_FOREVER)) == 0);
  CHECK(code(framelane_publisher_send(publisher, &image, NULL, NULL)) == 0);
  framelane_publisher_free(publisher);
  CHECK(code(framelane_subscriber_recv(subscriber, LONG_NS, &frame)) == 0);
  framelane_frame_free(frame);
  CHECK(code(framelane_subscriber_recv(subscriber, LONG_NS, &frame)) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  framelane_subscriber_free(subscriber);
}

int main(void) {
  drain_waits_for_subscribers_and_free_does_not();
  char directory[] = DIRECTORY;
  if (begin(directory) != 0) return 1;
  writable_frames_are_copies_and_hold_no_slot();
  leases_beyond_the_limit_are_refused();
  errors_of_a_full_ring_name_the_holders();
  reconnecting_subscriber_goes_on_after_sigterm();
  reconnecting_detections_go_on_after_close();
  directories_need_not_be_utf8(directory);
  return end(directory);
}
