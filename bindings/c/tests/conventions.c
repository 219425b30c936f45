/* Conventions of the C interface: NULL and misuse are errors, errors have hints, and handles outlive the
 * handles that returned them.
 *
 * Compiled as C99, C11 and C++17. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

static void null_is_an_error_or_nothing(void) {
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_frame *frame = NULL;
  framelane_loan *loan = NULL;
  framelane_detections *batch = NULL;
  framelane_frame_id id;
  framelane_layout layout;
  framelane_image image;
  uint32_t format;
  char name[4];
  memset(&id, 0, sizeof id);
  memset(&image, 0, sizeof image);
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_BGR8, 4, 4, &layout)) == 0);

  CHECK(code(framelane_publisher_create(NULL, NULL, &publisher)) == INVALID && publisher == NULL);
  CHECK(code(framelane_publisher_create("null", NULL, NULL)) == INVALID);
  CHECK(code(framelane_publisher_loan(NULL, &layout, &loan)) == INVALID && loan == NULL);
  CHECK(code(framelane_publisher_send(NULL, &image, NULL, NULL)) == INVALID);
  CHECK(code(framelane_publisher_send_bytes(NULL, &layout, NULL, 0, NULL, NULL)) == INVALID);
  CHECK(code(framelane_publisher_drain(NULL, 0)) == INVALID);
  CHECK(code(framelane_loan_publish(NULL, NULL, NULL)) == INVALID);
  CHECK(code(framelane_subscriber_open(NULL, NULL, 0, &subscriber)) == INVALID);
  CHECK(code(framelane_subscriber_open("null", NULL, 0, NULL)) == INVALID);
  CHECK(code(framelane_subscriber_recv(NULL, 0, &frame)) == INVALID && frame == NULL);
  CHECK(code(framelane_frame_get_id(NULL, &id)) == INVALID);
  CHECK(code(framelane_detection_publisher_create(NULL, NULL, NULL, 0, NULL, &finder)) == INVALID);
  CHECK(code(framelane_detection_publisher_create("null", NULL, NULL, 3, NULL, &finder)) == INVALID);
  CHECK(code(framelane_detection_publisher_send(NULL, &id, NULL, 0, NULL)) == INVALID);
  CHECK(code(framelane_detection_publisher_drain(NULL, 0)) == INVALID);
  CHECK(code(framelane_detection_subscriber_open(NULL, NULL, 0, &found)) == INVALID);
  CHECK(code(framelane_detection_subscriber_recv(NULL, 0, &batch)) == INVALID);
  CHECK(code(framelane_detection_subscriber_for_frame(NULL, 1, 1, 0, &batch)) == INVALID && batch == NULL);
  CHECK(code(framelane_detection_subscriber_answer(NULL, 1, 1, 0, &batch)) == INVALID);
  CHECK(code(framelane_publisher_send_and_wait(NULL, &image, NULL, NULL, 0, &batch)) == INVALID);
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_BGR8, 4, 4, NULL)) == INVALID);
  CHECK(code(framelane_format_from_name(NULL, &format)) == INVALID);
  CHECK(code(framelane_format_from_name("bgr8", NULL)) == INVALID);
  CHECK(code(framelane_channels_list(NULL, NULL)) == INVALID);
  CHECK(code(framelane_doctor(NULL, 0, NULL)) == INVALID);

  framelane_publisher_close(NULL);
  framelane_subscriber_close(NULL);
  framelane_detection_publisher_close(NULL);
  framelane_detection_subscriber_close(NULL);
  framelane_publisher_free(NULL);
  framelane_subscriber_free(NULL);
  framelane_frame_free(NULL);
  framelane_loan_free(NULL);
  framelane_detection_publisher_free(NULL);
  framelane_detection_subscriber_free(NULL);
  framelane_detections_free(NULL);
  framelane_channels_free(NULL);
  framelane_diagnosis_free(NULL);
  framelane_error_free(NULL);

  CHECK(framelane_publisher_channel(NULL) == NULL && framelane_publisher_sequence(NULL) == 0);
  CHECK(framelane_publisher_epoch(NULL) == 0 && framelane_publisher_dropped(NULL) == 0);
  CHECK(framelane_publisher_slots(NULL) == 0 && framelane_publisher_subscribers(NULL) == 0);
  CHECK(framelane_subscriber_channel(NULL) == NULL && framelane_subscriber_received(NULL) == 0);
  CHECK(framelane_subscriber_dropped(NULL) == 0 && framelane_subscriber_epoch(NULL) == 0);
  CHECK(framelane_subscriber_publisher_alive(NULL) == 0);
  CHECK(framelane_frame_writable_data(NULL) == NULL && framelane_frame_data(NULL) == NULL && framelane_frame_layout(NULL) == NULL && framelane_frame_info(NULL) == NULL);
  CHECK(framelane_frame_sequence(NULL) == 0 && framelane_frame_epoch(NULL) == 0 && framelane_frame_dropped(NULL) == 0);
  CHECK(framelane_frame_published_ns(NULL) == 0 && framelane_frame_age_ns(NULL) == 0);
  CHECK(framelane_frame_is_intact(NULL) == 0 && framelane_frame_channel(NULL) == NULL);
  CHECK(framelane_loan_data(NULL) == NULL && framelane_loan_layout(NULL) == NULL);
  CHECK(framelane_detections_frame(NULL) == NULL && framelane_detections_boxes(NULL) == NULL);
  CHECK(framelane_detections_count(NULL) == 0 && framelane_detections_model(NULL) == NULL);
  CHECK(framelane_detections_label(NULL, 0) == NULL && framelane_detections_label_count(NULL) == 0);
  CHECK(framelane_detections_sequence(NULL) == 0 && framelane_detections_published_ns(NULL) == 0);
  CHECK(framelane_detections_latency_ns(NULL) == 0 && framelane_detections_dropped(NULL) == 0);
  CHECK(framelane_channels_count(NULL) == 0 && framelane_channels_get(NULL, 0) == NULL);
  CHECK(framelane_channels_link(NULL, 0) == NULL && framelane_diagnosis_get(NULL, 0) == NULL);
  CHECK(framelane_diagnosis_count(NULL) == 0 && framelane_diagnosis_live_channels(NULL) == 0);
  CHECK(framelane_diagnosis_free_bytes(NULL) == 0);
  CHECK(framelane_error_code(NULL) == 0 && strcmp(framelane_error_text(NULL), "ok") == 0);
  CHECK(framelane_error_hint(NULL) == NULL);
  {
    /* An error without a hint has that of its kind. */
    framelane_subscriber *subscriber = NULL;
    framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
    framelane_error *error;
    options.delivery = 9;
    error = framelane_subscriber_open("hint", &options, 0, &subscriber);
    CHECK(error != NULL && strstr(framelane_error_hint(error), "documentation of the option") != NULL);
    CHECK(strstr(framelane_error_text(error), framelane_error_hint(error)) != NULL);
    framelane_error_free(error);
  }

  CHECK(framelane_format_name(FRAMELANE_FORMAT_NV12, NULL, 0) == 4);
  CHECK(framelane_format_name(FRAMELANE_FORMAT_YUYV, name, sizeof name) == 4 && strcmp(name, "yuy") == 0);
  CHECK(framelane_format_name(999, name, sizeof name) == 0);
  CHECK(framelane_format_matrix(8, 1) == 0 && framelane_format_matrix(0, 0) == 0 && framelane_format_matrix(0, 513) == 0);
}

static void misuse_is_an_error(void) {
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_publisher_options options = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_subscriber_options reading = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_info info = FRAMELANE_INFO_INIT;
  framelane_layout layout;
  framelane_loan *loan = NULL;
  const uint8_t pixels[16] = {0};
  const char not_utf8[] = {'\xff', '\0'};
  uint64_t sequence = 77;

  options.size = 0;
  CHECK(code(framelane_publisher_create("misuse", &options, &publisher)) == INVALID);
  options.size = sizeof options;
  options.backpressure = 2;
  CHECK(code(framelane_publisher_create("misuse", &options, &publisher)) == INVALID);
  options.backpressure = FRAMELANE_BACKPRESSURE_DROP;
  options.urls = 3;
  CHECK(code(framelane_publisher_create("misuse", &options, &publisher)) == INVALID);
  options.urls = FRAMELANE_URLS_SAFE;
  CHECK(code(framelane_publisher_create("tcp://203.0.113.7/misuse?insecure=1", &options, &publisher)) == INVALID);
  options.urls = FRAMELANE_URLS_REFUSE;
  CHECK(code(framelane_publisher_create("tcp://203.0.113.7/misuse", &options, &publisher)) == FRAMELANE_ERROR_INVALID_NAME);
  options.urls = FRAMELANE_URLS_SAFE;
  CHECK(code(framelane_publisher_create(not_utf8, NULL, &publisher)) == FRAMELANE_ERROR_INVALID_NAME);
  CHECK(code(framelane_subscriber_open(not_utf8, NULL, 0, &subscriber)) == FRAMELANE_ERROR_INVALID_NAME);
  CHECK(code(framelane_publisher_create("mis use", NULL, &publisher)) == FRAMELANE_ERROR_INVALID_NAME);
  reading.delivery = 9;
  CHECK(code(framelane_subscriber_open("misuse", &reading, 0, &subscriber)) == INVALID);
  CHECK(code(framelane_subscriber_open("misuse", NULL, 0, &subscriber)) == FRAMELANE_ERROR_NOT_FOUND);

  CHECK(code(framelane_publisher_create("misuse", NULL, &publisher)) == 0);
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, 4, 4, &layout)) == 0);
  CHECK(code(framelane_publisher_send_bytes(publisher, &layout, pixels, 15, NULL, &sequence)) == FRAMELANE_ERROR_INVALID_FRAME);
  CHECK(sequence == 77);
  info.rotation_degrees = 45;
  CHECK(code(framelane_publisher_send_bytes(publisher, &layout, pixels, 16, &info, &sequence)) == INVALID);
  /* The loan is used up also when publishing it fails. */
  CHECK(code(framelane_publisher_loan(publisher, &layout, &loan)) == 0);
  CHECK(code(framelane_loan_publish(loan, &info, &sequence)) == INVALID && sequence == 77);
  layout.planes[0].stride_bytes = 3;
  CHECK(code(framelane_publisher_loan(publisher, &layout, &loan)) == FRAMELANE_ERROR_INVALID_FRAME && loan == NULL);
  layout.plane_count = 5;
  CHECK(code(framelane_publisher_loan(publisher, &layout, &loan)) == FRAMELANE_ERROR_INVALID_FRAME);
  layout.plane_count = 0; /* Without padding. */
  CHECK(code(framelane_publisher_send_bytes(publisher, &layout, pixels, 16, NULL, &sequence)) == 0 && sequence == 1);
  framelane_publisher_free(publisher);
}

static void frames_and_boxes_go_round(void) {
  framelane_publisher *publisher = NULL;
  framelane_subscriber *subscriber = NULL;
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_frame *frame = NULL;
  framelane_detections *batch = NULL;
  framelane_channels *channels = NULL;
  framelane_frame_id id;
  framelane_image image;
  framelane_detection box;
  const char *const labels[] = {"one", "two"};
  const uint8_t rows[] = {1, 2, 0, 3, 4, 0};
  uint64_t sequence = 0;

  CHECK(code(framelane_publisher_create("round", NULL, &publisher)) == 0);
  CHECK(code(framelane_subscriber_open("round", NULL, FRAMELANE_FOREVER, &subscriber)) == 0);
  CHECK(code(framelane_detection_publisher_create("round/detections", NULL, labels, 2, NULL, &finder)) == 0);
  CHECK(code(framelane_detection_subscriber_open("round/detections", NULL, 0, &found)) == 0);

  memset(&image, 0, sizeof image);
  image.format = FRAMELANE_FORMAT_GRAY8;
  image.width = 2;
  image.height = 2;
  image.planes[0] = rows;
  image.strides_bytes[0] = 3;
  CHECK(code(framelane_publisher_send(publisher, &image, NULL, &sequence)) == 0 && sequence == 1);
  CHECK(code(framelane_subscriber_recv(subscriber, FRAMELANE_FOREVER, &frame)) == 0);
  CHECK(framelane_frame_layout(frame)->size_bytes == 4 && memcmp(framelane_frame_data(frame), "\1\2\3\4", 4) == 0);
  CHECK(strcmp(framelane_frame_channel(frame), "round") == 0);
  framelane_frame_free(frame);
  CHECK(code(framelane_subscriber_recv(subscriber, 0, &frame)) == FRAMELANE_ERROR_TIMEOUT && frame == NULL);

  memset(&id, 0, sizeof id);
  id.channel = "round";
  id.epoch = framelane_publisher_epoch(publisher);
  id.sequence = 1;
  memset(&box, 0, sizeof box);
  box.width = 2;
  box.class_id = 1;
  CHECK(code(framelane_detection_publisher_send(finder, &id, &box, 1, &sequence)) == 0 && sequence == 1);
  CHECK(code(framelane_detection_subscriber_for_frame(found, id.epoch, 1, FRAMELANE_FOREVER, &batch)) == 0);
  CHECK(framelane_detections_count(batch) == 1 && framelane_detections_boxes(batch)[0].width == 2);
  CHECK(strcmp(framelane_detections_label(batch, 1), "two") == 0 && framelane_detections_label(batch, 2) == NULL);
  CHECK(strcmp(framelane_detections_frame(batch)->channel, "round") == 0);

  CHECK(code(framelane_channels_list(NULL, &channels)) == 0 && framelane_channels_count(channels) == 2);
  CHECK(strcmp(framelane_channels_get(channels, 0)->name, "round") == 0);
  CHECK(framelane_channels_get(channels, 2) == NULL);

  framelane_channels_free(channels);
  framelane_detection_subscriber_free(found);
  framelane_detection_publisher_free(finder);
  framelane_publisher_free(publisher);
  CHECK(framelane_detections_count(batch) == 1);
  CHECK(code(framelane_subscriber_recv(subscriber, FRAMELANE_FOREVER, &frame)) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  framelane_detections_free(batch);
  framelane_subscriber_free(subscriber);
}

int main(void) {
  char directory[] = DIRECTORY;
  CHECK(strcmp(framelane_version(), FRAMELANE_VERSION) == 0);
  if (begin(directory) != 0) return 1;
  null_is_an_error_or_nothing();
  misuse_is_an_error();
  frames_and_boxes_go_round();
  return end(directory);
}
