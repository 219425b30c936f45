/* Prints what arrives: see README.md. */
#include "pattern.h"

#include <string.h>

static void check(framelane_error *error) {
  if (error == NULL) return;
  fprintf(stderr, "%s\n", framelane_error_text(error));
  framelane_error_free(error);
  exit(1);
}

static void print_frame(const framelane_frame *frame) {
  const framelane_layout *layout = framelane_frame_layout(frame);
  const framelane_info *info = framelane_frame_info(frame);
  char format[64];
  uint64_t sum, weighted;
  framelane_format_name(layout->format, format, sizeof format);
  pattern_sums(layout, framelane_frame_data(frame), &sum, &weighted);
  printf("%llu %s %u %u %llu %llu %lld %llu %u %u %u %u %u %u %llu %llu\n",
         (unsigned long long)framelane_frame_sequence(frame), format, layout->width, layout->height,
         (unsigned long long)framelane_frame_dropped(frame), (unsigned long long)info->timestamp_ns,
         (long long)info->pts_ns, (unsigned long long)info->duration_ns, info->matrix, info->primaries,
         info->transfer, info->range, info->rotation_degrees, info->keyframe, (unsigned long long)sum,
         (unsigned long long)weighted);
}

static void send_boxes(framelane_detection_publisher *finder, const framelane_frame *frame) {
  framelane_frame_id id;
  framelane_detection boxes[4];
  size_t i, count;
  memset(boxes, 0, sizeof boxes);
  check(framelane_frame_get_id(frame, &id));
  count = id.sequence % 4;
  for (i = 0; i < count; ++i) {
    boxes[i].x = (float)(id.sequence + i);
    boxes[i].y = (float)i;
    boxes[i].width = (float)(2 * i + 1);
    boxes[i].height = 3;
    boxes[i].score = (float)i / 8;
    boxes[i].class_id = (uint32_t)(i % 2);
    boxes[i].track_id = 100 * id.sequence + i;
  }
  check(framelane_detection_publisher_send(finder, &id, boxes, count, NULL));
}

/* Asks for the boxes as a reader of the channel does. */
static void ask_for_boxes(const framelane_detection_subscriber *found, const framelane_frame *frame) {
  framelane_frame_id id;
  framelane_detections *by_frame, *by_id;
  check(framelane_frame_get_id(frame, &id));
  check(framelane_detection_subscriber_for_frame(found, framelane_frame_epoch(frame), framelane_frame_sequence(frame),
                                                 FRAMELANE_FOREVER, &by_frame));
  check(framelane_detection_subscriber_for_frame(found, id.epoch, id.sequence, 0, &by_id));
  if (framelane_detections_sequence(by_frame) != framelane_detections_sequence(by_id)) exit(3);
  framelane_detections_free(by_frame);
  framelane_detections_free(by_id);
}

int main(int argc, char **argv) {
  const char *const labels[] = {"a", "b"};
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_subscriber *subscriber;
  framelane_detection_publisher *finder = NULL;
  framelane_detection_subscriber *found = NULL;
  framelane_frame *frame;
  framelane_error *error;
  if (argc < 3) {
    fprintf(stderr, "usage: %s CHANNEL newest|every [DETECTIONS]\n", argv[0]);
    return 2;
  }
  options.delivery = strcmp(argv[2], "every") == 0 ? FRAMELANE_DELIVERY_EVERY : FRAMELANE_DELIVERY_NEWEST;
  if (argc > 3) check(framelane_detection_publisher_create(argv[3], NULL, labels, 2, "m", &finder));
  check(framelane_subscriber_open(argv[1], &options, FRAMELANE_FOREVER, &subscriber));
  while ((error = framelane_subscriber_recv(subscriber, FRAMELANE_FOREVER, &frame)) == NULL) {
    print_frame(frame);
    if (finder != NULL) {
      send_boxes(finder, frame);
      if (found == NULL) check(framelane_detection_subscriber_open(argv[3], NULL, FRAMELANE_FOREVER, &found));
      ask_for_boxes(found, frame);
    }
    framelane_frame_free(frame);
  }
  if (framelane_error_code(error) != FRAMELANE_ERROR_CHANNEL_CLOSED) check(error);
  framelane_error_free(error);
  framelane_subscriber_free(subscriber);
  framelane_detection_subscriber_free(found);
  framelane_detection_publisher_free(finder);
  return 0;
}
