/* Handles that are closed or freed while a call waits, and calls from the check of a cancel token: all end.
 *
 * Compiled as C99, C11 and C++17; also under the thread sanitizer. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <sys/types.h>
#include <sys/wait.h>

#define CLOSED FRAMELANE_ERROR_CHANNEL_CLOSED
#define MISUSE FRAMELANE_ERROR_MISUSE

/* One thread in a call that waits. */
struct waiting {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  /* The check was run: the call waits. */
  int asked;
  framelane_publisher *publisher;
  framelane_subscriber *subscriber;
  framelane_detection_subscriber *found;
  /* What the check does, if anything, and its code. */
  uint32_t (*within)(struct waiting *waiting);
  uint32_t within_code;
  uint32_t outcome;
  pthread_t thread;
};

static int ask(void *context) {
  struct waiting *waiting = (struct waiting *)context;
  if (waiting->within != NULL && !waiting->asked) waiting->within_code = waiting->within(waiting);
  pthread_mutex_lock(&waiting->mutex);
  waiting->asked = 1;
  pthread_cond_broadcast(&waiting->changed);
  pthread_mutex_unlock(&waiting->mutex);
  return 0;
}

static framelane_cancel_token *asking(struct waiting *waiting) {
  framelane_cancel_token *token = NULL;
  CHECK(code(framelane_cancel_token_with_check(&ask, waiting, NULL, &token)) == 0);
  return token;
}

static void prepare(struct waiting *waiting) {
  memset(waiting, 0, sizeof *waiting);
  pthread_mutex_init(&waiting->mutex, NULL);
  pthread_cond_init(&waiting->changed, NULL);
}

static void start(struct waiting *waiting, void *(*call)(void *)) {
  CHECK(pthread_create(&waiting->thread, NULL, call, waiting) == 0);
}

static void until_it_waits(struct waiting *waiting) {
  pthread_mutex_lock(&waiting->mutex);
  while (!waiting->asked) pthread_cond_wait(&waiting->changed, &waiting->mutex);
  pthread_mutex_unlock(&waiting->mutex);
}

static void finish(struct waiting *waiting) {
  pthread_join(waiting->thread, NULL);
  pthread_mutex_destroy(&waiting->mutex);
  pthread_cond_destroy(&waiting->changed);
}

static framelane_layout small(void) {
  framelane_layout layout;
  CHECK(code(framelane_layout_packed(FRAMELANE_FORMAT_GRAY8, 4, 4, &layout)) == 0);
  return layout;
}

/* A publisher with both slots lent: the next loan waits. */
static void full(struct waiting *waiting, const char *channel, framelane_loan *loans[2]) {
  framelane_publisher_options options = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  const framelane_layout layout = small();
  options.slots = 2;
  options.backpressure = FRAMELANE_BACKPRESSURE_BLOCK;
  framelane_cancel_token *token = asking(waiting);
  options.cancel = token;
  CHECK(code(framelane_publisher_create(channel, &options, &waiting->publisher)) == 0);
  framelane_cancel_token_free(token);
  CHECK(code(framelane_publisher_loan(waiting->publisher, &layout, &loans[0])) == 0);
  CHECK(code(framelane_publisher_loan(waiting->publisher, &layout, &loans[1])) == 0);
}

static void open_subscriber(struct waiting *waiting, const char *channel) {
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_cancel_token *token = asking(waiting);
  options.cancel = token;
  CHECK(code(framelane_subscriber_open(channel, &options, LONG_NS, &waiting->subscriber)) == 0);
  framelane_cancel_token_free(token);
}

static void *lend(void *context) {
  struct waiting *waiting = (struct waiting *)context;
  const framelane_layout layout = small();
  framelane_loan *loan = NULL;
  waiting->outcome = code(framelane_publisher_loan(waiting->publisher, &layout, &loan));
  framelane_loan_free(loan);
  return NULL;
}

static void *receive(void *context) {
  struct waiting *waiting = (struct waiting *)context;
  framelane_frame *frame = NULL;
  waiting->outcome = code(framelane_subscriber_recv(waiting->subscriber, FRAMELANE_FOREVER, &frame));
  framelane_frame_free(frame);
  return NULL;
}

static void *receive_boxes(void *context) {
  struct waiting *waiting = (struct waiting *)context;
  framelane_detections *batch = NULL;
  waiting->outcome = code(framelane_detection_subscriber_recv(waiting->found, FRAMELANE_FOREVER, &batch));
  framelane_detections_free(batch);
  return NULL;
}

static void publisher_closed_beside_a_waiting_loan_ends_it(void) {
  struct waiting waiting;
  framelane_loan *loans[2], *more = NULL;
  framelane_publisher *again = NULL;
  const framelane_layout layout = small();
  prepare(&waiting);
  full(&waiting, "closed", loans);
  start(&waiting, &lend);
  until_it_waits(&waiting);
  /* Counters do not wait for the call. */
  CHECK(framelane_publisher_subscribers(waiting.publisher) == 0 && framelane_publisher_dropped(waiting.publisher) == 0);
  framelane_publisher_close(waiting.publisher);
  /* The channel is gone: its name is free. */
  CHECK(code(framelane_publisher_create("closed", NULL, &again)) == 0);
  finish(&waiting);
  CHECK(waiting.outcome == CLOSED);
  CHECK(code(framelane_publisher_loan(waiting.publisher, &layout, &more)) == CLOSED && more == NULL);
  CHECK(code(framelane_loan_publish(loans[0], NULL, NULL)) == CLOSED);
  framelane_loan_free(loans[1]);
  CHECK(strcmp(framelane_publisher_channel(waiting.publisher), "closed") == 0);
  framelane_publisher_close(waiting.publisher);
  framelane_publisher_free(waiting.publisher);
  framelane_publisher_free(again);
}

static void publisher_freed_beside_a_waiting_loan_ends_it(void) {
  struct waiting waiting;
  framelane_loan *loans[2];
  prepare(&waiting);
  full(&waiting, "freed", loans);
  start(&waiting, &lend);
  until_it_waits(&waiting);
  framelane_publisher_free(waiting.publisher);
  finish(&waiting);
  CHECK(waiting.outcome == CLOSED);
  framelane_loan_free(loans[0]);
  framelane_loan_free(loans[1]);
}

static void subscriber_closed_beside_recv_ends_it(int freed) {
  struct waiting waiting;
  framelane_publisher *publisher = NULL;
  prepare(&waiting);
  CHECK(code(framelane_publisher_create("received", NULL, &publisher)) == 0);
  open_subscriber(&waiting, "received");
  start(&waiting, &receive);
  until_it_waits(&waiting);
  CHECK(framelane_subscriber_publisher_alive(waiting.subscriber) == 1);
  CHECK(framelane_subscriber_epoch(waiting.subscriber) == framelane_publisher_epoch(publisher));
  CHECK(framelane_publisher_subscribers(publisher) == 1);
  if (!freed) framelane_subscriber_close(waiting.subscriber);
  else framelane_subscriber_free(waiting.subscriber);
  CHECK(framelane_publisher_subscribers(publisher) == 0);
  finish(&waiting);
  CHECK(waiting.outcome == CLOSED);
  if (!freed) {
    CHECK(framelane_subscriber_publisher_alive(waiting.subscriber) == 0);
    framelane_subscriber_free(waiting.subscriber);
  }
  framelane_publisher_free(publisher);
}

static void detection_subscriber_closed_beside_recv_ends_it(void) {
  struct waiting waiting;
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_detection_publisher *finder = NULL;
  framelane_frame_id id;
  prepare(&waiting);
  memset(&id, 0, sizeof id);
  id.channel = "c";
  framelane_cancel_token *token = asking(&waiting);
  options.cancel = token;
  CHECK(code(framelane_detection_publisher_create("boxes", NULL, NULL, 0, NULL, &finder)) == 0);
  CHECK(code(framelane_detection_subscriber_open("boxes", &options, LONG_NS, &waiting.found)) == 0);
  framelane_cancel_token_free(token);
  start(&waiting, &receive_boxes);
  until_it_waits(&waiting);
  framelane_detection_subscriber_close(waiting.found);
  finish(&waiting);
  CHECK(waiting.outcome == CLOSED);
  framelane_detection_subscriber_free(waiting.found);
  framelane_detection_publisher_close(finder);
  CHECK(code(framelane_detection_publisher_send(finder, &id, NULL, 0, NULL)) == CLOSED);
  CHECK(code(framelane_detection_publisher_drain(finder, FRAMELANE_FOREVER)) == CLOSED);
  framelane_detection_publisher_free(finder);
}

static void *ask_detector(void *context) {
  struct waiting *waiting = (struct waiting *)context;
  const uint8_t pixel = 0;
  framelane_image image;
  framelane_detections *batch = NULL;
  memset(&image, 0, sizeof image);
  image.format = FRAMELANE_FORMAT_GRAY8;
  image.width = image.height = 1;
  image.planes[0] = &pixel;
  waiting->outcome =
      code(framelane_publisher_send_and_wait(waiting->publisher, &image, NULL, waiting->found, FRAMELANE_FOREVER, &batch));
  CHECK(batch == NULL);
  return NULL;
}

/* The answer is waited for at the detections, and either object ends it. */
static void send_and_wait_ends_when_either_object_is_closed(void) {
  struct waiting waiting;
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_detection_publisher *finder = NULL;
  int closed;
  CHECK(code(framelane_detection_publisher_create("asked/detections", NULL, NULL, 0, NULL, &finder)) == 0);
  for (closed = 0; closed < 2; ++closed) {
    prepare(&waiting);
    framelane_cancel_token *token = asking(&waiting);
    options.cancel = token;
    CHECK(code(framelane_publisher_create("asked", NULL, &waiting.publisher)) == 0);
    CHECK(code(framelane_detection_subscriber_open("asked/detections", &options, LONG_NS, &waiting.found)) == 0);
    framelane_cancel_token_free(token);
    start(&waiting, &ask_detector);
    until_it_waits(&waiting);
    if (closed == 0) framelane_publisher_close(waiting.publisher);
    else framelane_detection_subscriber_close(waiting.found);
    finish(&waiting);
    CHECK(waiting.outcome == CLOSED);
    framelane_publisher_free(waiting.publisher);
    framelane_detection_subscriber_free(waiting.found);
  }
  framelane_detection_publisher_free(finder);
}

static uint32_t call_again(struct waiting *waiting) {
  framelane_frame *frame = NULL;
  const uint32_t found = code(framelane_subscriber_recv(waiting->subscriber, 0, &frame));
  CHECK(framelane_subscriber_publisher_alive(waiting->subscriber) == 1);
  CHECK(framelane_subscriber_epoch(waiting->subscriber) != 0);
  CHECK(framelane_subscriber_received(waiting->subscriber) == 0);
  framelane_subscriber_close(waiting->subscriber);
  return found;
}

static uint32_t free_it(struct waiting *waiting) {
  framelane_subscriber_free(waiting->subscriber);
  return 0;
}

static uint32_t lend_again(struct waiting *waiting) {
  const framelane_layout layout = small();
  framelane_loan *loan = NULL;
  const uint32_t found = code(framelane_publisher_loan(waiting->publisher, &layout, &loan));
  CHECK(code(framelane_publisher_drain(waiting->publisher, FRAMELANE_FOREVER)) == MISUSE);
  CHECK(framelane_publisher_subscribers(waiting->publisher) == 0);
  framelane_publisher_free(waiting->publisher);
  return found;
}

static void calls_from_the_check_end(void) {
  struct waiting waiting;
  framelane_publisher *publisher = NULL, *again = NULL;
  framelane_loan *loans[2];
  CHECK(code(framelane_publisher_create("nested", NULL, &publisher)) == 0);

  prepare(&waiting);
  open_subscriber(&waiting, "nested");
  waiting.within = &call_again;
  receive(&waiting);
  CHECK(waiting.within_code == MISUSE && waiting.outcome == CLOSED);
  CHECK(framelane_publisher_subscribers(publisher) == 0);
  framelane_subscriber_free(waiting.subscriber);

  prepare(&waiting);
  open_subscriber(&waiting, "nested");
  waiting.within = &free_it;
  receive(&waiting);
  CHECK(waiting.outcome == CLOSED && framelane_publisher_subscribers(publisher) == 0);
  framelane_publisher_free(publisher);

  prepare(&waiting);
  full(&waiting, "nested", loans);
  waiting.within = &lend_again;
  lend(&waiting);
  CHECK(waiting.within_code == MISUSE && waiting.outcome == CLOSED);
  CHECK(code(framelane_publisher_create("nested", NULL, &again)) == 0);
  framelane_publisher_free(again);
  framelane_loan_free(loans[0]);
  framelane_loan_free(loans[1]);
}

static int released;

static void release(void *context) {
  CHECK(context == &released);
  ++released;
}

static int never(void *context) {
  CHECK(context == &released);
  return 0;
}

static void cancelled_token_ends_waits_of_every_handle(void) {
  struct waiting waiting;
  framelane_publisher_options publishing = FRAMELANE_PUBLISHER_OPTIONS_INIT;
  framelane_subscriber_options options = FRAMELANE_SUBSCRIBER_OPTIONS_INIT;
  framelane_publisher *publisher = NULL;
  framelane_subscriber *none = NULL;
  framelane_cancel_token *token = NULL;
  framelane_frame *frame = NULL;
  CHECK(code(framelane_cancel_token_with_check(NULL, NULL, NULL, &token)) == FRAMELANE_ERROR_INVALID_OPTION);
  CHECK(token == NULL);
  CHECK(code(framelane_cancel_token_with_check(&never, &released, &release, &token)) == 0);
  publishing.cancel = token;
  options.cancel = token;
  CHECK(code(framelane_publisher_create("cancelled", &publishing, &publisher)) == 0);
  prepare(&waiting);
  CHECK(code(framelane_subscriber_open("cancelled", &options, LONG_NS, &waiting.subscriber)) == 0);
  CHECK(framelane_cancel_token_is_cancelled(token) == 0);
  start(&waiting, &receive);
  framelane_cancel_token_cancel(token);
  finish(&waiting);
  CHECK(waiting.outcome == FRAMELANE_ERROR_INTERRUPTED && framelane_cancel_token_is_cancelled(token) == 1);
  CHECK(code(framelane_subscriber_recv(waiting.subscriber, FRAMELANE_FOREVER, &frame)) == FRAMELANE_ERROR_INTERRUPTED);
  CHECK(code(framelane_subscriber_open("none", &options, FRAMELANE_FOREVER, &none)) == FRAMELANE_ERROR_INTERRUPTED);
  CHECK(code(framelane_publisher_drain(publisher, FRAMELANE_FOREVER)) == 0);
  framelane_cancel_token_free(token);
  framelane_subscriber_free(waiting.subscriber);
  CHECK(released == 0);
  framelane_publisher_free(publisher);
  CHECK(released == 1);
  framelane_cancel_token_free(NULL);
  framelane_cancel_token_cancel(NULL);
  CHECK(framelane_cancel_token_is_cancelled(NULL) == 0);
  token = framelane_cancel_token_new();
  framelane_cancel_token_cancel(token);
  CHECK(framelane_cancel_token_is_cancelled(token) == 1);
  framelane_cancel_token_free(token);
}

static void *take_turn(void *context) {
  framelane_frame *frame = NULL;
  struct waiting *waiting = (struct waiting *)context;
  waiting->outcome = code(framelane_subscriber_recv(waiting->subscriber, 1000000, &frame));
  return NULL;
}

static void timeout_counts_while_another_thread_is_in_a_call(void) {
  struct waiting waiting, second;
  framelane_publisher *publisher = NULL;
  prepare(&waiting);
  prepare(&second);
  CHECK(code(framelane_publisher_create("turns", NULL, &publisher)) == 0);
  open_subscriber(&waiting, "turns");
  second.subscriber = waiting.subscriber;
  start(&waiting, &receive);
  until_it_waits(&waiting);
  start(&second, &take_turn);
  finish(&second);
  CHECK(second.outcome == FRAMELANE_ERROR_TIMEOUT);
  framelane_subscriber_free(waiting.subscriber);
  finish(&waiting);
  CHECK(waiting.outcome == CLOSED);
  framelane_publisher_free(publisher);
}

/* The child does not have the thread that has the subscriber. */
static void forked_child_does_not_wait_for_a_thread_of_its_parent(void) {
  struct waiting waiting;
  framelane_publisher *publisher = NULL;
  int status = 0;
  pid_t child;
  prepare(&waiting);
  CHECK(code(framelane_publisher_create("forked", NULL, &publisher)) == 0);
  open_subscriber(&waiting, "forked");
  start(&waiting, &receive);
  until_it_waits(&waiting);
  child = fork();
  if (child == 0) {
    framelane_frame *frame = NULL;
    failures = 0;
    CHECK(code(framelane_subscriber_recv(waiting.subscriber, FRAMELANE_FOREVER, &frame)) == FRAMELANE_ERROR_FORKED);
    CHECK(code(framelane_publisher_drain(publisher, FRAMELANE_FOREVER)) == FRAMELANE_ERROR_FORKED);
    (void)framelane_subscriber_publisher_alive(waiting.subscriber);
    framelane_subscriber_close(waiting.subscriber);
    framelane_subscriber_free(waiting.subscriber);
    framelane_publisher_free(publisher);
    _exit(failures == 0 ? 0 : 1);
  }
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(framelane_publisher_subscribers(publisher) == 1);
  framelane_subscriber_free(waiting.subscriber);
  finish(&waiting);
  framelane_publisher_free(publisher);
}

int main(void) {
  char directory[] = DIRECTORY;
  if (begin(directory) != 0) return 1;
  publisher_closed_beside_a_waiting_loan_ends_it();
  publisher_freed_beside_a_waiting_loan_ends_it();
  subscriber_closed_beside_recv_ends_it(0);
  subscriber_closed_beside_recv_ends_it(1);
  detection_subscriber_closed_beside_recv_ends_it();
  send_and_wait_ends_when_either_object_is_closed();
  calls_from_the_check_end();
  cancelled_token_ends_waits_of_every_handle();
  timeout_counts_while_another_thread_is_in_a_call();
  /* Valgrind takes for a leak what the thread has that the child does not have. */
  if (getenv("FRAMELANE_NO_DEATH") == NULL) forked_child_does_not_wait_for_a_thread_of_its_parent();
  return end(directory);
}
