/* Publishes a plan: see README.md. */
#define _POSIX_C_SOURCE 200809L
#include "pattern.h"

#include <time.h>

static void check(framelane_error *error) {
  if (error == NULL) return;
  fprintf(stderr, "%s\n", framelane_error_text(error));
  framelane_error_free(error);
  exit(1);
}

static void publish_loan(framelane_publisher *publisher, const framelane_layout *layout, uint64_t n) {
  framelane_loan *loan;
  uint8_t *planes[4];
  uint64_t strides[4], p;
  framelane_info info = pattern_info(n);
  check(framelane_publisher_loan(publisher, layout, &loan));
  for (p = 0; p < layout->plane_count; ++p) {
    planes[p] = framelane_loan_data(loan) + layout->planes[p].offset_bytes;
    strides[p] = layout->planes[p].stride_bytes;
  }
  pattern_fill(layout, n, planes, strides);
  check(framelane_loan_publish(loan, &info, NULL));
}

static void publish_copy(framelane_publisher *publisher, const framelane_layout *layout, uint64_t n) {
  framelane_image image = {0};
  uint8_t *planes[4];
  uint64_t p;
  framelane_info info = pattern_info(n);
  image.format = layout->format;
  image.width = layout->width;
  image.height = layout->height;
  for (p = 0; p < layout->plane_count; ++p) {
    image.strides_bytes[p] = layout->planes[p].row_bytes + 5;
    image.planes[p] = planes[p] = (uint8_t *)malloc(image.strides_bytes[p] * layout->planes[p].rows);
  }
  pattern_fill(layout, n, planes, image.strides_bytes);
  check(framelane_publisher_send(publisher, &image, &info, NULL));
  for (p = 0; p < layout->plane_count; ++p) free(planes[p]);
}

static void print_boxes(framelane_detection_subscriber *subscriber, uint64_t epoch, uint64_t n) {
  framelane_detections *found;
  size_t i;
  check(framelane_detection_subscriber_for_frame(subscriber, epoch, n, FRAMELANE_FOREVER, &found));
  printf("%llu %s %zu", (unsigned long long)n, framelane_detections_model(found),
         framelane_detections_count(found));
  for (i = 0; i < framelane_detections_count(found); ++i) {
    const framelane_detection *box = &framelane_detections_boxes(found)[i];
    printf(" %g,%g,%g,%g,%g,%s,%llu", box->x, box->y, box->width, box->height, 8 * box->score,
           framelane_detections_label(found, box->class_id), (unsigned long long)box->track_id);
  }
  printf("\n");
  framelane_detections_free(found);
}

int main(int argc, char **argv) {
  framelane_publisher_options options = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_publisher *publisher;
  framelane_detection_subscriber *detections = NULL;
  const struct timespec nap = {0, 1000000};
  char format[64], how[8];
  unsigned width, height;
  uint64_t n = 0;
  FILE *plan = fopen(argc > 3 ? argv[2] : "", "r");
  if (plan == NULL) {
    fprintf(stderr, "usage: %s CHANNEL PLAN SUBSCRIBERS [DETECTIONS]\n", argv[0]);
    return 2;
  }
  options.backpressure = FRAMELANE_BACKPRESSURE_BLOCK;
  check(framelane_publisher_create(argv[1], &options, &publisher));
  while (framelane_publisher_subscribers(publisher) < (uint32_t)atoi(argv[3])) nanosleep(&nap, NULL);
  if (argc > 4) check(framelane_detection_subscriber_open(argv[4], NULL, FRAMELANE_FOREVER, &detections));
  while (fscanf(plan, "%63s %u %u %7s", format, &width, &height, how) == 4) {
    framelane_layout layout;
    uint32_t code;
    check(framelane_format_from_name(format, &code));
    check(framelane_layout_packed(code, width, height, &layout));
    ++n;
    if (how[0] == 'l') publish_loan(publisher, &layout, n);
    else publish_copy(publisher, &layout, n);
    if (detections != NULL) print_boxes(detections, framelane_publisher_epoch(publisher), n);
  }
  fclose(plan);
  check(framelane_publisher_drain(publisher, FRAMELANE_FOREVER));
  framelane_publisher_free(publisher);
  framelane_detection_subscriber_free(detections);
  return 0;
}
