/* Every number that a caller passes is checked before it is used as another type: the table in
 * bindings/c/src/lib.rs lists them.
 *
 * Compiled as C99, C11 and C++17. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <math.h>

#define FRAME FRAMELANE_ERROR_INVALID_FRAME
#define LARGE FRAMELANE_ERROR_FRAME_TOO_LARGE

static void timeouts_below_zero_are_refused(void) {
  framelane_error *error;
  const int64_t wrong[] = {-2, -1000000000, INT64_MIN};
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL, *second = NULL;
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL, *other = NULL;
  framelane_frame *frame = NULL;
  framelane_detections *batch = NULL;
  framelane_image image;
  const uint8_t pixel = 0;
  size_t i;
  memset(&image, 0, sizeof image);
  image.format = FRAMELANE_FORMAT_GRAY8;
  image.width = image.height = 1;
  image.planes[0] = &pixel;
  CHECK(code(framelane_publisher_create("timeouts", NULL, &publisher)) == 0);
  CHECK(code(framelane_subscriber_open("timeouts", NULL, INT64_MAX, &subscriber)) == 0);
  CHECK(code(framelane_detection_publisher_create("timeouts/detections", NULL, NULL, 0, NULL, &finder)) == 0);
  CHECK(code(framelane_detection_subscriber_open("timeouts/detections", NULL, LONG_NS, &found)) == 0);
  for (i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    const int64_t ns = wrong[i];
    error = framelane_subscriber_open("timeouts", NULL, ns, &second);
    CHECK(error != NULL && strstr(framelane_error_message(error), "open_timeout_ns: ") != NULL);
    CHECK(code(error) == INVALID && second == NULL);
    CHECK(code(framelane_subscriber_recv(subscriber, ns, &frame)) == INVALID && frame == NULL);
    CHECK(code(framelane_detection_subscriber_open("timeouts/detections", NULL, ns, &other)) == INVALID && other == NULL);
    CHECK(code(framelane_publisher_drain(publisher, ns)) == INVALID);
    CHECK(code(framelane_detection_publisher_drain(finder, ns)) == INVALID);
    CHECK(code(framelane_detection_subscriber_recv(found, ns, &batch)) == INVALID);
    CHECK(code(framelane_detection_subscriber_for_frame(found, 1, 1, ns, &batch)) == INVALID);
    CHECK(code(framelane_detection_subscriber_answer(found, 1, 1, ns, &batch)) == INVALID);
    CHECK(code(framelane_publisher_send_and_wait(publisher, &image, NULL, found, ns, &batch)) == INVALID && batch == NULL);
  }
  /* Refused before anything was sent. */
  CHECK(framelane_publisher_sequence(publisher) == 0);
  framelane_detection_subscriber_free(found);
  framelane_detection_publisher_free(finder);
  framelane_subscriber_free(subscriber);
  framelane_publisher_free(publisher);
}

static void options_out_of_range_are_refused(void) {
  const framelane_publisher_options usual = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  const framelane_subscriber_options usually = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_publisher_options options;
  framelane_subscriber_options reading;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
#define REFUSED(field, value, expected)                                                                          \
  do {                                                                                                           \
    options = usual;                                                                                             \
    options.field = value;                                                                                       \
    CHECK(code(framelane_publisher_create("options", &options, &publisher)) == expected && publisher == NULL);   \
  } while (0)
#define REFUSED_READING(field, value)                                                                            \
  do {                                                                                                           \
    reading = usually;                                                                                           \
    reading.field = value;                                                                                       \
    CHECK(code(framelane_subscriber_open("options", &reading, 0, &subscriber)) == INVALID && subscriber == NULL); \
  } while (0)
  REFUSED(slots, 1, INVALID);
  REFUSED(slots, 129, INVALID);
  REFUSED(slots, UINT32_MAX, INVALID);
  REFUSED(backpressure, UINT32_MAX, INVALID);
  REFUSED(permissions, 0400, INVALID);
  REFUSED(permissions, 04600, INVALID);
  REFUSED(permissions, UINT32_MAX, INVALID);
  REFUSED(urls, 3, INVALID);
  REFUSED(frame_bytes, ((uint64_t)1 << 32) + 1, LARGE);
  REFUSED(frame_bytes, UINT64_MAX, LARGE);
  REFUSED(size, 7, INVALID);
  REFUSED(size, SIZE_MAX, INVALID);
  REFUSED_READING(delivery, 2);
  REFUSED_READING(delivery, UINT32_MAX);
  REFUSED_READING(reconnect, 2);
  REFUSED_READING(writable, UINT32_MAX);
  REFUSED_READING(urls, UINT32_MAX);
  REFUSED_READING(spin_ns, (uint64_t)-1);
  REFUSED_READING(size, 0);
}

static void images_that_do_not_fit_are_refused(void) {
  const uint64_t strides[] = {1, 5, (uint64_t)-6, (uint32_t)-6, (uint64_t)1 << 31, (uint64_t)1 << 62, INT64_MAX, UINT64_MAX};
  const uint32_t formats[] = {0, 11, 999, FRAMELANE_FORMAT_DETECTIONS + 1, UINT32_MAX};
  framelane_publisher *publisher = NULL;
  framelane_error *error;
  framelane_image image, good;
  framelane_info info;
  const framelane_info usual = FRAMELANE_INFO_INIT;
  uint8_t pixels[12] = {0};
  uint64_t sequence = 77;
  size_t i;
  memset(&good, 0, sizeof good);
  good.format = FRAMELANE_FORMAT_BGR8;
  good.width = good.height = 2;
  good.planes[0] = pixels;
  CHECK(code(framelane_publisher_create("images", NULL, &publisher)) == 0);
#define REFUSED_IMAGE(field, value, expected)                                                    \
  do {                                                                                           \
    image = good;                                                                                \
    image.field = value;                                                                         \
    CHECK(code(framelane_publisher_send(publisher, &image, NULL, &sequence)) == expected);       \
  } while (0)
#define REFUSED_INFO(field, value)                                                               \
  do {                                                                                           \
    info = usual;                                                                                \
    info.field = value;                                                                          \
    CHECK(code(framelane_publisher_send(publisher, &good, &info, &sequence)) == INVALID);        \
  } while (0)
  for (i = 0; i < sizeof strides / sizeof strides[0]; ++i) REFUSED_IMAGE(strides_bytes[0], strides[i], FRAME);
  for (i = 0; i < sizeof formats / sizeof formats[0]; ++i) REFUSED_IMAGE(format, formats[i], FRAME);
  REFUSED_IMAGE(width, 0, FRAME);
  REFUSED_IMAGE(height, 0, FRAME);
  REFUSED_IMAGE(width, UINT32_MAX, LARGE);
  REFUSED_IMAGE(height, UINT32_MAX, LARGE);
  REFUSED_IMAGE(reserved, 1, INVALID);
  REFUSED_IMAGE(planes[0], NULL, INVALID);
  REFUSED_INFO(range, 3);
  REFUSED_INFO(range, 255);
  REFUSED_INFO(rotation_degrees, 91);
  REFUSED_INFO(rotation_degrees, 65535);
  REFUSED_INFO(keyframe, 2);
  REFUSED_INFO(reserved, 1);
  REFUSED_INFO(size, 1);
  /* Rows that are stored upside down, as in a bitmap of Windows. */
  image = good;
  image.strides_bytes[0] = (uint64_t)-6;
  error = framelane_publisher_send(publisher, &image, NULL, &sequence);
  CHECK(strstr(framelane_error_message(error), "found -6") != NULL);
  CHECK(strstr(framelane_error_hint(error), "flip") != NULL);
  framelane_error_free(error);
  CHECK(sequence == 77 && framelane_publisher_sequence(publisher) == 0);
  CHECK(code(framelane_publisher_send(publisher, &good, &usual, &sequence)) == 0 && sequence == 1);
  framelane_publisher_free(publisher);
}

static void layouts_that_do_not_fit_are_refused(void) {
  framelane_publisher *publisher = NULL;
  framelane_layout layout, good;
  framelane_loan *loan = NULL;
  const uint8_t pixels[16] = {0};
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, 0, 4, &layout)) == FRAME);
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, UINT32_MAX, UINT32_MAX, &layout)) == LARGE);
  CHECK(code(framelane_layout_packed(UINT32_MAX, 4, 4, &layout)) == FRAME);
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, 4, 4, &good)) == 0);
  CHECK(code(framelane_publisher_create("layouts", NULL, &publisher)) == 0);
#define REFUSED_LAYOUT(field, value, expected)                                                               \
  do {                                                                                                       \
    layout = good;                                                                                           \
    layout.field = value;                                                                                    \
    CHECK(code(framelane_publisher_loan(publisher, &layout, &loan)) == expected && loan == NULL);            \
    CHECK(code(framelane_publisher_send_bytes(publisher, &layout, pixels, 16, NULL, NULL)) == expected);     \
  } while (0)
  REFUSED_LAYOUT(plane_count, 2, FRAME);
  REFUSED_LAYOUT(plane_count, UINT32_MAX, FRAME);
  REFUSED_LAYOUT(planes[0].offset_bytes, 1, FRAME);
  REFUSED_LAYOUT(planes[0].offset_bytes, UINT64_MAX, FRAME);
  REFUSED_LAYOUT(planes[0].stride_bytes, 0, FRAME);
  REFUSED_LAYOUT(planes[0].stride_bytes, UINT64_MAX, FRAME);
  REFUSED_LAYOUT(size_bytes, 15, FRAME);
  REFUSED_LAYOUT(size_bytes, UINT64_MAX, LARGE);
  REFUSED_LAYOUT(format, UINT32_MAX, FRAME);
  CHECK(code(framelane_publisher_send_bytes(publisher, &good, pixels, 15, NULL, NULL)) == FRAME);
  CHECK(code(framelane_publisher_send_bytes(publisher, &good, pixels, SIZE_MAX, NULL, NULL)) == INVALID);
  CHECK(code(framelane_publisher_send_bytes(publisher, &good, NULL, 16, NULL, NULL)) == INVALID);
  framelane_publisher_free(publisher);
  CHECK(framelane_format_matrix(UINT32_MAX, 1) == 0 && framelane_format_matrix(8, 1) == 0);
  CHECK(framelane_format_matrix(0, UINT32_MAX) == 0 && framelane_format_matrix(0, 65536 + 1) == 0);
}

static void counts_beyond_the_limit_are_refused_unread(void) {
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_detections *batch = NULL;
  framelane_channels *channels = NULL;
  framelane_frame_id id;
  framelane_detection box;
  const char *const labels[] = {"one"};
  const size_t many = ((size_t)1 << 24) + 1;
  CHECK(code(framelane_detection_publisher_create("counts", NULL, labels, many, NULL, &finder)) == LARGE && finder == NULL);
  CHECK(code(framelane_detection_publisher_create("counts", NULL, labels, SIZE_MAX, NULL, &finder)) == LARGE);
  CHECK(code(framelane_detection_publisher_create("counts", NULL, labels, 1, NULL, &finder)) == 0);
  CHECK(code(framelane_detection_subscriber_open("counts", NULL, LONG_NS, &found)) == 0);
  memset(&id, 0, sizeof id);
  memset(&box, 0, sizeof box);
  id.channel = "cam0";
  CHECK(code(framelane_detection_publisher_send(finder, &id, &box, many, NULL)) == LARGE);
  CHECK(code(framelane_detection_publisher_send(finder, &id, &box, SIZE_MAX, NULL)) == LARGE);
  /* What is no number is carried as it is: a detector may have reasons. */
  box.x = (float)NAN;
  box.class_id = UINT32_MAX;
  CHECK(code(framelane_detection_publisher_send(finder, &id, &box, 1, NULL)) == 0);
  CHECK(code(framelane_detection_subscriber_recv(found, LONG_NS, &batch)) == 0);
  CHECK(framelane_detections_boxes(batch)[0].x != framelane_detections_boxes(batch)[0].x);
  CHECK(framelane_detections_label(batch, UINT32_MAX) == NULL && framelane_detections_label(batch, 0) != NULL);
  framelane_detections_free(batch);
  CHECK(code(framelane_channels_list(NULL, &channels)) == 0 && framelane_channels_get(channels, SIZE_MAX) == NULL);
  framelane_channels_free(channels);
  framelane_detection_subscriber_free(found);
  framelane_detection_publisher_free(finder);
}

int main(void) {
  char directory[] = DIRECTORY;
  if (begin(directory) != 0) return 1;
  timeouts_below_zero_are_refused();
  options_out_of_range_are_refused();
  images_that_do_not_fit_are_refused();
  layouts_that_do_not_fit_are_refused();
  counts_beyond_the_limit_are_refused_unread();
  return end(directory);
}
