/* The C interface of framelane: live video frames between processes, through shared memory.
 *
 * - A function's name begins with its type: framelane_publisher_send.
 * - Handles are opaque. The caller frees them with the type's _free. Freeing NULL does nothing. Frames, loans
 *   and batches may outlive their publisher or subscriber.
 * - A function that can fail returns a framelane_error *: NULL on success, else an error that the caller
 *   frees. Its output pointers are then NULL or unchanged.
 * - NULL for a required pointer is an error (FRAMELANE_ERROR_INVALID_OPTION), or returns 0 or NULL.
 * - Structs of options start with their size: initialise them with the _INIT macro. 0 and NULL mean default.
 * - Timeouts are in nanoseconds: FRAMELANE_FOREVER waits without limit, 0 does not wait. Other negative
 *   values are errors.
 * - Text is UTF-8, directories are any bytes. Text and pixels that a function returns belong to the handle
 *   that was passed to it.
 * - Handles may be used from any thread. Calls on one handle are serialised. A _close function ends the calls
 *   that wait. _free does so too, and no call of the handle may start afterwards.
 * - Calls on a handle from the check of that handle's cancel token are errors (FRAMELANE_ERROR_MISUSE).
 *   Signal handlers must not call the library, except framelane_cancel_token_cancel.
 *
 * Generated from bindings/c/src by bindings/c/tests/header.rs; do not edit.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef FRAMELANE_H
#define FRAMELANE_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header. */
#define FRAMELANE_VERSION "0.1.0"

/* Why a call failed; the numbers and names never change their meaning. */
/** The channel name violates the rules for names. */
#define FRAMELANE_ERROR_INVALID_NAME 1
/** Another live publisher holds the channel. */
#define FRAMELANE_ERROR_CHANNEL_BUSY 2
/** The channel, file or device does not exist. */
#define FRAMELANE_ERROR_NOT_FOUND 3
/** The file system of the channel directory has no space. */
#define FRAMELANE_ERROR_NO_SPACE 4
/** The operating system or the peer refuses access. */
#define FRAMELANE_ERROR_PERMISSION_DENIED 5
/** The channel was made by an incompatible version of the layout. */
#define FRAMELANE_ERROR_INCOMPATIBLE_VERSION 6
/** The content of a file, a stream or shared memory is invalid. */
#define FRAMELANE_ERROR_DAMAGED 7
/** The frame exceeds a limit, or the size of its slot. */
#define FRAMELANE_ERROR_FRAME_TOO_LARGE 8
/** Size, format, planes and bytes of a frame do not match. */
#define FRAMELANE_ERROR_INVALID_FRAME 9
/** All 64 subscriber records of the channel are in use. */
#define FRAMELANE_ERROR_TOO_MANY_SUBSCRIBERS 10
/** The subscriber holds its maximum number of frames. */
#define FRAMELANE_ERROR_TOO_MANY_LEASES 11
/** All slots are in use: leased, on loan, or the newest frame. */
#define FRAMELANE_ERROR_NO_FREE_SLOT 12
/** The timeout has expired. */
#define FRAMELANE_ERROR_TIMEOUT 13
/** The publisher, or this program, closed the channel. */
#define FRAMELANE_ERROR_CHANNEL_CLOSED 14
/** The caller cancelled the wait. */
#define FRAMELANE_ERROR_INTERRUPTED 15
/** The handle was opened before this process was forked. */
#define FRAMELANE_ERROR_FORKED 16
/** An option or argument is outside its range. */
#define FRAMELANE_ERROR_INVALID_OPTION 17
/** The operating system reports another error. */
#define FRAMELANE_ERROR_SYSTEM_FAILURE 18
/** A bug in framelane. */
#define FRAMELANE_ERROR_INTERNAL_FAILURE 19
/** Another program removed the files of the channel. */
#define FRAMELANE_ERROR_CHANNEL_REMOVED 20
/** The program calls an object that cannot be called in this context. */
#define FRAMELANE_ERROR_MISUSE 21

/* Ignoring an error is a fault of the program. */
#if defined(__GNUC__)
#define FRAMELANE_MUST_USE __attribute__((warn_unused_result))
#else
#define FRAMELANE_MUST_USE
#endif

/* INT64_MIN, which no literal can say in one. */
#define FRAMELANE_NO_PTS INT64_MIN


/**
 * Waits without limit.
 */
#define FRAMELANE_FOREVER -1

/**
 * A publisher holds the channel.
 */
#define FRAMELANE_CHANNEL_LIVE 0

/**
 * Its publisher has died. A new one can take it over.
 */
#define FRAMELANE_CHANNEL_STALE 1

/**
 * Its publisher is closing it.
 */
#define FRAMELANE_CHANNEL_CLOSED 2

/**
 * Its files cannot be read.
 */
#define FRAMELANE_CHANNEL_DAMAGED 3

/**
 * The tracker has lost the object; the box is where it was last.
 */
#define FRAMELANE_DETECTION_LOST 1

/**
 * The box was predicted, not seen.
 */
#define FRAMELANE_DETECTION_PREDICTED 2

/**
 * One 8-bit luminance sample per pixel.
 */
#define FRAMELANE_FORMAT_GRAY8 1

/**
 * One 16-bit luminance sample per pixel.
 */
#define FRAMELANE_FORMAT_GRAY16 2

/**
 * Blue, green, red; 8 bits each. OpenCV's order.
 */
#define FRAMELANE_FORMAT_BGR8 3

/**
 * Red, green, blue; 8 bits each.
 */
#define FRAMELANE_FORMAT_RGB8 4

/**
 * Blue, green, red, alpha; 8 bits each.
 */
#define FRAMELANE_FORMAT_BGRA8 5

/**
 * Red, green, blue, alpha; 8 bits each.
 */
#define FRAMELANE_FORMAT_RGBA8 6

/**
 * Planar 4:2:0: a Y plane, a U plane, a V plane; chroma sizes round up.
 */
#define FRAMELANE_FORMAT_I420 7

/**
 * Semi-planar 4:2:0: a Y plane, a plane of interleaved U and V.
 */
#define FRAMELANE_FORMAT_NV12 8

/**
 * Packed 4:2:2 as Y0 U Y1 V; an odd width is rounded up to a whole pair.
 */
#define FRAMELANE_FORMAT_YUYV 9

/**
 * NV12 with 16-bit samples, of which the upper 10 bits are used.
 */
#define FRAMELANE_FORMAT_P010 10

/**
 * Not an image: a batch of detections.
 */
#define FRAMELANE_FORMAT_DETECTIONS 256

/**
 * Unsigned 8-bit integers, as OpenCV's CV_8U.
 */
#define FRAMELANE_DEPTH_U8 0

/**
 * Signed 8-bit integers.
 */
#define FRAMELANE_DEPTH_S8 1

/**
 * Unsigned 16-bit integers.
 */
#define FRAMELANE_DEPTH_U16 2

/**
 * Signed 16-bit integers.
 */
#define FRAMELANE_DEPTH_S16 3

/**
 * Signed 32-bit integers.
 */
#define FRAMELANE_DEPTH_S32 4

/**
 * 32-bit floats.
 */
#define FRAMELANE_DEPTH_F32 5

/**
 * 64-bit floats.
 */
#define FRAMELANE_DEPTH_F64 6

/**
 * 16-bit floats.
 */
#define FRAMELANE_DEPTH_F16 7

/**
 * The most planes that an image has.
 */
#define FRAMELANE_MAX_PLANES 4

/**
 * A frame without a duration.
 */
#define FRAMELANE_NO_DURATION UINT64_MAX

/**
 * Unspecified colour.
 */
#define FRAMELANE_COLOR_UNSPECIFIED 2

/**
 * Unspecified range of samples.
 */
#define FRAMELANE_RANGE_UNSPECIFIED 0

/**
 * 16 to 235 for 8-bit luminance.
 */
#define FRAMELANE_RANGE_LIMITED 1

/**
 * 0 to 255 for 8 bits.
 */
#define FRAMELANE_RANGE_FULL 2

/**
 * When every slot is in use, a new frame is dropped and counted.
 */
#define FRAMELANE_BACKPRESSURE_DROP 0

/**
 * When every slot is in use, the publisher blocks. It never overwrites a frame that a reader of every frame
 * has not received.
 */
#define FRAMELANE_BACKPRESSURE_BLOCK 1

/**
 * The newest frame. Older frames are skipped and counted.
 */
#define FRAMELANE_DELIVERY_NEWEST 0

/**
 * Every frame, in order.
 */
#define FRAMELANE_DELIVERY_EVERY 1

/**
 * URLs without options that weaken the link, name files with secrets or raise a limit (`insecure`,
 * `token-file`, `certificate`, `server-uid`, and `max-bytes`, `max-memory` and `max-pixels` above their
 * defaults).
 */
#define FRAMELANE_URLS_SAFE 0

/**
 * URLs with every option: for URLs that the program or its user wrote.
 */
#define FRAMELANE_URLS_TRUSTED 1

/**
 * No URLs, only the names of channels of this machine: for names from elsewhere.
 */
#define FRAMELANE_URLS_REFUSE 2

/**
 * Cancels the waits of the publishers and subscribers that were opened with it: see `cancel` in their
 * options.
 */
typedef struct framelane_cancel_token framelane_cancel_token;

/**
 * The channels of a directory, as they were when the list was made.
 */
typedef struct framelane_channels framelane_channels;

/**
 * Publishes detections.
 */
typedef struct framelane_detection_publisher framelane_detection_publisher;

/**
 * Receives detections.
 */
typedef struct framelane_detection_subscriber framelane_detection_subscriber;

/**
 * All objects found in one frame. May be empty.
 */
typedef struct framelane_detections framelane_detections;

/**
 * The result of `framelane_doctor`.
 */
typedef struct framelane_diagnosis framelane_diagnosis;

/**
 * The error of a call: a code that does not change between versions, and a message for users.
 */
typedef struct framelane_error framelane_error;

/**
 * A frame, read where the publisher wrote it. It does not change until it is freed. May outlive its
 * subscriber.
 */
typedef struct framelane_frame framelane_frame;

/**
 * A slot lent to the publisher, to write one frame in place.
 */
typedef struct framelane_loan framelane_loan;

/**
 * Publishes the frames of a channel. A channel has at most one publisher.
 */
typedef struct framelane_publisher framelane_publisher;

/**
 * Receives the frames of a channel. A channel has up to 64 subscribers.
 */
typedef struct framelane_subscriber framelane_subscriber;

/**
 * Called at least twice a second, and after each signal, while a call waits. Not 0 ends the wait with
 * FRAMELANE_ERROR_INTERRUPTED.
 *
 * Runs in the thread that waits. Calls of the handle that waits fail with FRAMELANE_ERROR_MISUSE, as do
 * calls that would wait for another thread's call of another handle. Counters and names can be read. The
 * handle can be closed or freed: the call that waits then ends with FRAMELANE_ERROR_CHANNEL_CLOSED.
 */
typedef int (*framelane_cancel_check)(void *context);

/**
 * Called once when a token and all handles that were opened with it are freed, with the context of the
 * token. Any thread may run it.
 */
typedef void (*framelane_cancel_release)(void *context);

/**
 * State of a channel.
 */
typedef struct {
  /**
   * Its name. Valid until the list is freed.
   */
  const char *name;
  /**
   * FRAMELANE_CHANNEL_LIVE, _STALE, _CLOSED or _DAMAGED.
   */
  uint32_t state;
  /**
   * The process that publishes, or did.
   */
  uint32_t publisher_pid;
  /**
   * The newest frame's number.
   */
  uint64_t sequence;
  /**
   * Frames for which no slot was free.
   */
  uint64_t dropped;
  /**
   * Bytes that the channel's files take up.
   */
  uint64_t memory_bytes;
  /**
   * Format of the newest frame; 0 when there is none.
   */
  uint32_t format;
  /**
   * Its pixels in a row.
   */
  uint32_t width;
  /**
   * Its rows.
   */
  uint32_t height;
  /**
   * Number of subscribers.
   */
  uint32_t subscribers;
  /**
   * When the newest frame was published, in nanoseconds of CLOCK_MONOTONIC. 0 if there is none.
   */
  uint64_t newest_published_ns;
  /**
   * The usual interval of frames in nanoseconds: the median of those in the ring. 0 if it is unknown.
   */
  uint64_t period_ns;
  /**
   * Time since the newest frame in nanoseconds if the channel is stalled, else 0. A channel is stalled if
   * its publisher lives and has published no frame for five periods and a second.
   */
  uint64_t stalled_ns;
} framelane_channel;

/**
 * The state of the link that feeds a channel.
 */
typedef struct {
  /**
   * The address of the peer, without secrets. Valid until the list is freed.
   */
  const char *peer;
  /**
   * 1 when the link is connected.
   */
  uint32_t connected;
  /**
   * 1 when the channel is published on the other machine; 0 while the link is not connected.
   */
  uint32_t live;
  /**
   * Number of connections.
   */
  uint64_t connections;
  /**
   * Nanoseconds that the clock of the other machine is ahead, as estimated on the link.
   */
  int64_t clock_offset_ns;
  /**
   * The shortest recent round trip, in nanoseconds.
   */
  uint64_t round_trip_ns;
  /**
   * From the capture of the newest frame to its publication here, in nanoseconds.
   */
  uint64_t latency_ns;
  /**
   * Bytes of frames received.
   */
  uint64_t received_bytes;
  /**
   * Frames that the link skipped.
   */
  uint64_t missed;
} framelane_link;

/**
 * Files of a channel that has no publisher.
 */
typedef struct {
  /**
   * The channel. Valid until the diagnosis is freed.
   */
  const char *channel;
  /**
   * The cause, informational. Valid until the diagnosis is freed.
   */
  const char *reason;
  /**
   * Bytes that the files take up.
   */
  uint64_t size_bytes;
  /**
   * 1 when they were removed.
   */
  uint32_t removed;
} framelane_leftover;

/**
 * Options of a publisher. Initialise them with `FRAMELANE_PUBLISHER_OPTIONS_INIT`. 0 and NULL mean default.
 */
typedef struct {
  /**
   * sizeof(framelane_publisher_options).
   */
  size_t size;
  /**
   * The directory of the channel's files; NULL: $FRAMELANE_DIR, else /dev/shm/framelane-UID.
   */
  const char *directory;
  /**
   * Frames that the ring holds, 2 to 128; 0: 6 (32 for detections). At least 2 more than all readers lease
   * at once.
   */
  uint32_t slots;
  /**
   * FRAMELANE_BACKPRESSURE_DROP or FRAMELANE_BACKPRESSURE_BLOCK.
   */
  uint32_t backpressure;
  /**
   * Permissions of the files as for chmod; 0: 0600.
   */
  uint32_t permissions;
  /**
   * The URLs that are accepted instead of a name: FRAMELANE_URLS_SAFE, FRAMELANE_URLS_TRUSTED or
   * FRAMELANE_URLS_REFUSE.
   */
  uint32_t urls;
  /**
   * Minimum size of a slot, so that frames up to this size need no new ring.
   */
  uint64_t frame_bytes;
  /**
   * Cancels waits of the handle, or NULL. Read during this call: the token may be freed afterwards.
   */
  const framelane_cancel_token *cancel;
} framelane_publisher_options;

/**
 * Id of a frame, which a detector sends back with its boxes.
 */
typedef struct {
  /**
   * The frame's channel. From framelane, it is valid as long as the frame or batch that returned it.
   */
  const char *channel;
  /**
   * Epoch of the frame's publisher.
   */
  uint64_t epoch;
  /**
   * Sequence of the frame at its publisher.
   */
  uint64_t sequence;
  /**
   * Its capture time in nanoseconds since 1970.
   */
  uint64_t timestamp_ns;
  /**
   * Publication time, on CLOCK_MONOTONIC.
   */
  uint64_t published_ns;
  /**
   * Pixels in a row of the frame.
   */
  uint32_t width;
  /**
   * Its rows.
   */
  uint32_t height;
} framelane_frame_id;

/**
 * One object found in a frame.
 */
typedef struct {
  /**
   * Left edge in pixels; 0 is the left edge of the frame.
   */
  float x;
  /**
   * Upper edge in pixels; 0 is the upper edge of the frame.
   */
  float y;
  /**
   * Width in pixels.
   */
  float width;
  /**
   * Height in pixels.
   */
  float height;
  /**
   * Clockwise rotation of the box about its centre, in radians.
   */
  float rotation;
  /**
   * The detector's confidence, usually 0 to 1.
   */
  float score;
  /**
   * Index into the labels.
   */
  uint32_t class_id;
  /**
   * FRAMELANE_DETECTION_ bits.
   */
  uint32_t flags;
  /**
   * The tracker's number of the object. 0: not tracked.
   */
  uint64_t track_id;
} framelane_detection;

/**
 * Options of a subscriber. Initialise them with `FRAMELANE_SUBSCRIBER_OPTIONS_INIT`. 0 and NULL mean
 * default.
 */
typedef struct {
  /**
   * sizeof(framelane_subscriber_options).
   */
  size_t size;
  /**
   * The directory of the channel's files, as for the publisher.
   */
  const char *directory;
  /**
   * FRAMELANE_DELIVERY_NEWEST or FRAMELANE_DELIVERY_EVERY. Detections are always received in order, every
   * one of them.
   */
  uint32_t delivery;
  /**
   * The same as for the publisher.
   */
  uint32_t urls;
  /**
   * Time to poll for a frame before sleeping, in nanoseconds. Saves the wake-up, and occupies a core.
   */
  uint64_t spin_ns;
  /**
   * Cancels waits of the handle, or NULL. Read during this call: the token may be freed afterwards.
   */
  const framelane_cancel_token *cancel;
  /**
   * 1: when the publisher closes the channel, receive calls wait for it to be published again, instead of
   * ending with FRAMELANE_ERROR_CHANNEL_CLOSED. 0: they end.
   */
  uint32_t reconnect;
  /**
   * 1: copy each frame into memory of this process, where `framelane_frame_writable_data` may change it.
   * Other subscribers do not see the changes, and the frame occupies no slot. 0: frames are read where
   * they were published.
   */
  uint32_t writable;
} framelane_subscriber_options;

/**
 * Position of a plane within a frame.
 */
typedef struct {
  /**
   * Bytes from the start of the frame to the plane's first sample.
   */
  uint64_t offset_bytes;
  /**
   * Bytes from the start of one row to the start of the next.
   */
  uint64_t stride_bytes;
  /**
   * Rows of the plane.
   */
  uint64_t rows;
  /**
   * Bytes of a row without padding.
   */
  uint64_t row_bytes;
} framelane_plane;

/**
 * Size, format and planes of a frame.
 */
typedef struct {
  /**
   * One of the `FRAMELANE_FORMAT_` codes, or a result of `framelane_format_matrix`.
   */
  uint32_t format;
  /**
   * Pixels in a row.
   */
  uint32_t width;
  /**
   * Rows.
   */
  uint32_t height;
  /**
   * Number of planes. 0 in a layout of the caller: rows without padding, and planes without gaps.
   */
  uint32_t plane_count;
  /**
   * The planes. In a layout of the caller, only offsets and strides are read.
   */
  framelane_plane planes[FRAMELANE_MAX_PLANES];
  /**
   * Bytes of the whole frame, padding included.
   */
  uint64_t size_bytes;
} framelane_layout;

/**
 * Times, colour and rotation of a frame. Initialise it with `FRAMELANE_INFO_INIT`.
 */
typedef struct {
  /**
   * sizeof(framelane_info).
   */
  size_t size;
  /**
   * Capture time in nanoseconds since 1970; 0: the time of publication.
   */
  uint64_t timestamp_ns;
  /**
   * Position in the media, in nanoseconds; FRAMELANE_NO_PTS: none.
   */
  int64_t pts_ns;
  /**
   * Duration of the frame in nanoseconds. FRAMELANE_NO_DURATION: unspecified.
   */
  uint64_t duration_ns;
  /**
   * MatrixCoefficients of ITU-T H.273; 2: unspecified.
   */
  uint8_t matrix;
  /**
   * ColourPrimaries of ITU-T H.273; 2: unspecified.
   */
  uint8_t primaries;
  /**
   * TransferCharacteristics of ITU-T H.273; 2: unspecified.
   */
  uint8_t transfer;
  /**
   * FRAMELANE_RANGE_ of the samples.
   */
  uint8_t range;
  /**
   * Clockwise rotation that a viewer still has to apply: 0, 90, 180 or 270.
   */
  uint16_t rotation_degrees;
  /**
   * 1 if the frame was coded without reference to others, else 0.
   */
  uint8_t keyframe;
  /**
   * 0.
   */
  uint8_t reserved;
} framelane_info;

/**
 * An image in the caller's memory. Zero it first: 0 is the default of each field.
 */
typedef struct {
  /**
   * One of the `FRAMELANE_FORMAT_` codes, or a result of `framelane_format_matrix`.
   */
  uint32_t format;
  /**
   * Pixels in a row.
   */
  uint32_t width;
  /**
   * Rows.
   */
  uint32_t height;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * The first sample of each plane; as many as the format has.
   */
  const void *planes[FRAMELANE_MAX_PLANES];
  /**
   * Bytes from one row to the next in each plane; 0: rows without padding.
   */
  uint64_t strides_bytes[FRAMELANE_MAX_PLANES];
} framelane_image;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, as in "0.1.0".
 */
const char *framelane_version(void);

/**
 * Creates a token. NULL only when memory is exhausted.
 */
FRAMELANE_MUST_USE framelane_cancel_token *framelane_cancel_token_new(void);

/**
 * Creates a token with a check, which ends the wait that runs it and does not cancel the token. `context` is
 * passed to `check`, and to `release` (may be NULL) when the token is no longer used.
 *
 * Errors: FRAMELANE_ERROR_INVALID_OPTION when `check` is NULL. `release` is not called then.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_cancel_token_with_check(framelane_cancel_check check,
                                                   void *context,
                                                   framelane_cancel_release release,
                                                   framelane_cancel_token **token);

/**
 * Cancels the token permanently. Every call that would wait, of every handle that was opened with it, ends
 * with FRAMELANE_ERROR_INTERRUPTED. A waiting call does so within half a second. Calls that need not wait
 * still succeed. Never blocks. Any thread may call it, and signal handlers too.
 */
void framelane_cancel_token_cancel(const framelane_cancel_token *token);

/**
 * 1 when the token was cancelled, else 0. Does not run the check. Any thread may call it, and signal
 * handlers too.
 */
uint8_t framelane_cancel_token_is_cancelled(const framelane_cancel_token *token);

/**
 * Frees the token. Handles that were opened with it stay valid, but can no longer be cancelled with it.
 */
void framelane_cancel_token_free(framelane_cancel_token *token);

/**
 * Lists the channels of a directory by name; NULL: the usual directory. The caller frees the list.
 *
 * Errors: FRAMELANE_ERROR_NOT_FOUND when a directory that was named does not exist; _PERMISSION_DENIED;
 * _SYSTEM_FAILURE.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_channels_list(const char *directory,
                                         framelane_channels **channels);

/**
 * Returns the number of channels in the list.
 */
size_t framelane_channels_count(const framelane_channels *channels);

/**
 * Returns one of them, or NULL from the count on. Valid until the list is freed.
 */
const framelane_channel *framelane_channels_get(const framelane_channels *channels, size_t index);

/**
 * The state of the link that feeds one of them. NULL for a channel that is published on this machine, and
 * from the count on. Valid until the list is freed.
 */
const framelane_link *framelane_channels_link(const framelane_channels *channels, size_t index);

/**
 * Looks for channels whose publisher has died and for stray files. Live channels are never touched. The
 * caller frees the diagnosis.
 *
 * `directory`: NULL is the usual one. `remove`: 1 removes leftovers, 0 reports them.
 *
 * Errors: FRAMELANE_ERROR_NOT_FOUND when a directory that was named does not exist; _PERMISSION_DENIED;
 * _SYSTEM_FAILURE; _INVALID_OPTION.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_doctor(const char *directory,
                                  uint32_t remove,
                                  framelane_diagnosis **diagnosis);

/**
 * Returns the number of leftovers in the diagnosis.
 */
size_t framelane_diagnosis_count(const framelane_diagnosis *diagnosis);

/**
 * Returns one of them, or NULL from the count on. Valid until the diagnosis is freed.
 */
const framelane_leftover *framelane_diagnosis_get(const framelane_diagnosis *diagnosis, size_t index);

/**
 * Returns the number of channels with a live publisher.
 */
size_t framelane_diagnosis_live_channels(const framelane_diagnosis *diagnosis);

/**
 * Free bytes of the file system of the directory.
 */
uint64_t framelane_diagnosis_free_bytes(const framelane_diagnosis *diagnosis);

/**
 * Frees a diagnosis.
 */
void framelane_diagnosis_free(framelane_diagnosis *diagnosis);

/**
 * Frees a list.
 */
void framelane_channels_free(framelane_channels *channels);

/**
 * Creates a detections channel, by convention named CHANNEL/detections. `options` and `model` may be NULL.
 *
 * The `label_count` texts at `labels` name the classes, and `model` the detector. Every batch contains both.
 * Errors as for `framelane_publisher_create`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_publisher_create(const char *channel,
                                                      const framelane_publisher_options *options,
                                                      const char *const *labels,
                                                      size_t label_count,
                                                      const char *model,
                                                      framelane_detection_publisher **publisher);

/**
 * Same as `framelane_publisher_close`.
 */
void framelane_detection_publisher_close(const framelane_detection_publisher *publisher);

/**
 * Same as `framelane_publisher_free`.
 */
void framelane_detection_publisher_free(framelane_detection_publisher *publisher);

/**
 * Same as `framelane_publisher_drain`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_publisher_drain(const framelane_detection_publisher *publisher,
                                                     int64_t timeout_ns);

/**
 * Sends the `count` boxes found in `frame`. Send a batch for every frame that was processed, also without
 * boxes.
 *
 * `sequence` (may be NULL) receives the sequence of the batch, or 0 if it was dropped. Blocks only with
 * FRAMELANE_BACKPRESSURE_BLOCK.
 *
 * Errors: FRAMELANE_ERROR_FRAME_TOO_LARGE with more than 2^24 boxes; _NO_SPACE, _INTERRUPTED, _FORKED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_publisher_send(const framelane_detection_publisher *publisher,
                                                    const framelane_frame_id *frame,
                                                    const framelane_detection *boxes,
                                                    size_t count,
                                                    uint64_t *sequence);

/**
 * Waits up to `open_timeout_ns` for the detections channel and subscribes to every batch. `options` may be
 * NULL. Errors as for `framelane_subscriber_open`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_subscriber_open(const char *channel,
                                                     const framelane_subscriber_options *options,
                                                     int64_t open_timeout_ns,
                                                     framelane_detection_subscriber **subscriber);

/**
 * Same as `framelane_subscriber_close`.
 */
void framelane_detection_subscriber_close(const framelane_detection_subscriber *subscriber);

/**
 * Same as `framelane_subscriber_free`.
 */
void framelane_detection_subscriber_free(framelane_detection_subscriber *subscriber);

/**
 * Waits up to `timeout_ns` for the next batch; the caller frees it.
 *
 * Errors as for `framelane_subscriber_recv`, and FRAMELANE_ERROR_INVALID_FRAME when the channel carries
 * images.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_subscriber_recv(const framelane_detection_subscriber *subscriber,
                                                     int64_t timeout_ns,
                                                     framelane_detections **detections);

/**
 * Waits up to `timeout_ns` for the detections of frame `sequence` of `epoch`. The caller frees them. Frames
 * may be requested in any order, among the last 256.
 *
 * `epoch` and `sequence` are the frame's or those of its `framelane_frame_id`. At the publisher they are
 * `framelane_publisher_epoch` and the number that sending returned. All of them name the same frame on every
 * machine.
 *
 * Errors: FRAMELANE_ERROR_TIMEOUT, which names the newest frame whose detections are here; else as
 * `framelane_detection_subscriber_recv`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_subscriber_for_frame(const framelane_detection_subscriber *subscriber,
                                                          uint64_t epoch,
                                                          uint64_t sequence,
                                                          int64_t timeout_ns,
                                                          framelane_detections **detections);

/**
 * Same as `framelane_detection_subscriber_for_frame`, across restarts of the detector: waits for the next
 * one. Errors: FRAMELANE_ERROR_TIMEOUT, also without a detector.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_detection_subscriber_answer(const framelane_detection_subscriber *subscriber,
                                                       uint64_t epoch,
                                                       uint64_t sequence,
                                                       int64_t timeout_ns,
                                                       framelane_detections **detections);

/**
 * Frees a batch.
 */
void framelane_detections_free(framelane_detections *detections);

/**
 * The frame that the boxes were found in. Valid until the batch is freed.
 */
const framelane_frame_id *framelane_detections_frame(const framelane_detections *detections);

/**
 * The boxes, `framelane_detections_count` of them. Valid until the batch is freed; NULL when there are none.
 */
const framelane_detection *framelane_detections_boxes(const framelane_detections *detections);

/**
 * Returns the number of boxes.
 */
size_t framelane_detections_count(const framelane_detections *detections);

/**
 * Returns the model that found the boxes. Valid until the batch is freed.
 */
const char *framelane_detections_model(const framelane_detections *detections);

/**
 * Returns the number of classes with names.
 */
size_t framelane_detections_label_count(const framelane_detections *detections);

/**
 * The name of a class, or NULL when it has none. Valid until the batch is freed.
 */
const char *framelane_detections_label(const framelane_detections *detections, uint32_t class_id);

/**
 * Sequence of the batch on the detections channel.
 */
uint64_t framelane_detections_sequence(const framelane_detections *detections);

/**
 * Publication time of the batch, in nanoseconds on CLOCK_MONOTONIC.
 */
uint64_t framelane_detections_published_ns(const framelane_detections *detections);

/**
 * Nanoseconds from the publication of the frame to the publication of its detections.
 */
uint64_t framelane_detections_latency_ns(const framelane_detections *detections);

/**
 * Batches that the subscriber missed just before this one.
 */
uint64_t framelane_detections_dropped(const framelane_detections *detections);

/**
 * One of the `FRAMELANE_ERROR_` codes; 0 for NULL, which means success.
 */
uint32_t framelane_error_code(const framelane_error *error);

/**
 * Returns the code's name, such as "no_space", or "ok" for NULL. Valid indefinitely.
 */
const char *framelane_error_name(const framelane_error *error);

/**
 * Returns the message: what was expected and found, and a hint. Valid until the error is freed.
 */
const char *framelane_error_text(const framelane_error *error);

/**
 * Returns the message without the hint.
 */
const char *framelane_error_message(const framelane_error *error);

/**
 * Returns the hint. NULL only for NULL. Valid until the error is freed.
 */
const char *framelane_error_hint(const framelane_error *error);

/**
 * Frees an error.
 */
void framelane_error_free(framelane_error *error);

/**
 * Returns the format of a matrix of `depth` (`FRAMELANE_DEPTH_`) and 1 to 512 channels, or 0 if there is no
 * such matrix.
 *
 * Video formats have separate codes: `FRAMELANE_FORMAT_BGR8` is not a matrix of 3 channels.
 */
uint32_t framelane_format_matrix(uint32_t depth, uint32_t channels);

/**
 * Returns the format of a name, such as "bgr8" or "matrix:f32:3".
 */
FRAMELANE_MUST_USE framelane_error *framelane_format_from_name(const char *name, uint32_t *format);

/**
 * Writes the format's name and a NUL into the `size_bytes` at `name`, truncated if it does not fit. Returns
 * the length of the whole name, or 0 if there is no such format.
 */
size_t framelane_format_name(uint32_t format, char *name, size_t size_bytes);

/**
 * The layout of an image without padding.
 *
 * Errors: FRAMELANE_ERROR_INVALID_FRAME for an unknown format or a side of 0;
 * FRAMELANE_ERROR_FRAME_TOO_LARGE above 4 GiB.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_layout_packed(uint32_t format,
                                         uint32_t width,
                                         uint32_t height,
                                         framelane_layout *layout);

/**
 * Returns the slot. NULL is allowed.
 */
void framelane_frame_free(framelane_frame *frame);

/**
 * The frame's bytes, of the layout's size. Mapped read-only: a write ends the process, unless
 * the subscriber has the option `writable`. Valid until the frame is freed.
 */
const uint8_t *framelane_frame_data(const framelane_frame *frame);

/**
 * The frame's bytes, writable: of a subscriber with the option `writable`, else NULL. Other subscribers
 * do not see the changes. Valid until the frame is freed.
 */
uint8_t *framelane_frame_writable_data(const framelane_frame *frame);

/**
 * Size, format and planes. Valid until the frame is freed.
 */
const framelane_layout *framelane_frame_layout(const framelane_frame *frame);

/**
 * Times, colour and rotation. The capture time is always set. Valid until the frame is freed.
 */
const framelane_info *framelane_frame_info(const framelane_frame *frame);

/**
 * Sequence of the frame at its publisher, from 1. The same in every process, also over links.
 */
uint64_t framelane_frame_sequence(const framelane_frame *frame);

/**
 * Epoch of the frame's publisher: `framelane_publisher_epoch` there, also over links.
 */
uint64_t framelane_frame_epoch(const framelane_frame *frame);

/**
 * Frames that the subscriber missed between the previous frame and this one.
 */
uint64_t framelane_frame_dropped(const framelane_frame *frame);

/**
 * Publication time, in nanoseconds on this machine's CLOCK_MONOTONIC.
 */
uint64_t framelane_frame_published_ns(const framelane_frame *frame);

/**
 * Nanoseconds since the publication.
 */
uint64_t framelane_frame_age_ns(const framelane_frame *frame);

/**
 * Returns 1 if all bytes read before this call were those of the frame, and 0 if a process that violates the
 * protocol has changed them. No check is necessary in a directory that is not shared with other users. 0 in
 * a forked child: the frame belongs to the parent, and changes when the parent frees it. Copy a frame before
 * a fork.
 */
uint8_t framelane_frame_is_intact(const framelane_frame *frame);

/**
 * Writes the id of this frame, for detections. `id->channel` is valid until the frame is freed.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_frame_get_id(const framelane_frame *frame,
                                        framelane_frame_id *id);

/**
 * The channel's name. Valid until the frame is freed.
 */
const char *framelane_frame_channel(const framelane_frame *frame);

/**
 * Creates the channel, or takes it over with its subscribers if its publisher died. `options` may be NULL.
 *
 * `channel` is a name, or the URL of a channel on another machine, to which the frames are sent.
 *
 * Errors: FRAMELANE_ERROR_INVALID_NAME, _INVALID_OPTION, _CHANNEL_BUSY (another live publisher),
 * _PERMISSION_DENIED, _NO_SPACE, _INCOMPATIBLE_VERSION, _DAMAGED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_create(const char *channel,
                                            const framelane_publisher_options *options,
                                            framelane_publisher **publisher);

/**
 * Closes the channel. Never waits for a subscriber. Subscribers receive their remaining frames, and then
 * FRAMELANE_ERROR_CHANNEL_CLOSED. To wait until they have received all frames, call
 * `framelane_publisher_drain` first.
 *
 * Ends the waiting calls of other threads with FRAMELANE_ERROR_CHANNEL_CLOSED, and returns when they have
 * ended and the channel is closed. Later calls fail with FRAMELANE_ERROR_CHANNEL_CLOSED. The publisher must
 * still be freed. Returns at once in the check of its cancel token: the waiting call then closes the channel
 * when it ends. Must not be called in a signal handler.
 */
void framelane_publisher_close(const framelane_publisher *publisher);

/**
 * Closes the channel like `framelane_publisher_close`, and frees the publisher. No call may use it
 * afterwards. If other threads may still call it, close it first.
 */
void framelane_publisher_free(framelane_publisher *publisher);

/**
 * Waits up to `timeout_ns` until every live subscriber with FRAMELANE_DELIVERY_EVERY has received all
 * frames, and the link of a URL has taken the newest one. Works with both kinds of backpressure. The
 * publisher stays usable.
 *
 * Errors: FRAMELANE_ERROR_TIMEOUT if a subscriber has not received all frames in time, _INTERRUPTED if the
 * cancel token ended the wait, _FORKED, _DAMAGED if a file of the channel was truncated, and the error of a
 * link that has ended.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_drain(const framelane_publisher *publisher,
                                           int64_t timeout_ns);

/**
 * Copies an image from the caller's memory into a slot and publishes it. `info` may be NULL.
 *
 * `sequence` (may be NULL) receives the frame's number, or 0 if it was dropped because every slot was in
 * use. Blocks only with FRAMELANE_BACKPRESSURE_BLOCK.
 *
 * Errors: FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_send(const framelane_publisher *publisher,
                                          const framelane_image *image,
                                          const framelane_info *info,
                                          uint64_t *sequence);

/**
 * Publishes an image like `framelane_publisher_send`, and waits up to `timeout_ns` for the boxes found in
 * it. So a detector is called like a function. The caller frees the boxes.
 *
 * `subscriber` is subscribed to the detector's channel, usually CHANNEL/detections. When the detector ends,
 * the call waits for the next one. Other threads may publish meanwhile, but a detector that takes the newest
 * frame may then skip this one.
 *
 * Errors: FRAMELANE_ERROR_NO_FREE_SLOT if the frame was dropped, FRAMELANE_ERROR_TIMEOUT, and those of
 * `framelane_publisher_send` and `framelane_detection_subscriber_recv`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_send_and_wait(const framelane_publisher *publisher,
                                                   const framelane_image *image,
                                                   const framelane_info *info,
                                                   const framelane_detection_subscriber *subscriber,
                                                   int64_t timeout_ns,
                                                   framelane_detections **detections);

/**
 * Copies a frame with the given layout from one block of memory into a slot, and publishes it.
 *
 * `size_bytes` is the size of the block, at least that of the layout. The rest is the same as for
 * `framelane_publisher_send`.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_send_bytes(const framelane_publisher *publisher,
                                                const framelane_layout *layout,
                                                const uint8_t *bytes,
                                                size_t size_bytes,
                                                const framelane_info *info,
                                                uint64_t *sequence);

/**
 * Lends a slot to write in place, without a copy. Its initial content is undefined.
 *
 * Blocks only with FRAMELANE_BACKPRESSURE_BLOCK, until a subscriber releases a slot. Several loans may exist
 * at once.
 *
 * Errors: FRAMELANE_ERROR_NO_FREE_SLOT with FRAMELANE_BACKPRESSURE_DROP if every slot is in use (the frame
 * counts as dropped), FRAMELANE_ERROR_INVALID_FRAME, _FRAME_TOO_LARGE, _NO_SPACE, _INTERRUPTED, _FORKED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_publisher_loan(const framelane_publisher *publisher,
                                          const framelane_layout *layout,
                                          framelane_loan **loan);

/**
 * Returns the channel's name. Valid until the publisher is freed.
 */
const char *framelane_publisher_channel(const framelane_publisher *publisher);

/**
 * Returns the epoch: one life of a publisher of the channel.
 */
uint64_t framelane_publisher_epoch(const framelane_publisher *publisher);

/**
 * Returns the number of the last frame, published or dropped. 0 before the first.
 */
uint64_t framelane_publisher_sequence(const framelane_publisher *publisher);

/**
 * Returns the number of dropped frames.
 */
uint64_t framelane_publisher_dropped(const framelane_publisher *publisher);

/**
 * Returns the number of slots of the ring.
 */
uint32_t framelane_publisher_slots(const framelane_publisher *publisher);

/**
 * Returns the number of attached subscribers. Makes a system call for each. Does not wait for calls of other
 * threads.
 */
uint32_t framelane_publisher_subscribers(const framelane_publisher *publisher);

/**
 * Returns the bytes of the slot to write to, page-aligned and of the layout's size. Valid until the loan is
 * published or freed.
 */
uint8_t *framelane_loan_data(const framelane_loan *loan);

/**
 * Returns the requested layout, with its planes. Valid until the loan is published or freed.
 */
const framelane_layout *framelane_loan_layout(const framelane_loan *loan);

/**
 * Publishes the frame as the newest of the channel, and wakes waiting subscribers. `info` and `sequence` may
 * be NULL.
 *
 * Frees the loan, also after an error. Makes no system call without a waiting subscriber.
 *
 * Errors: FRAMELANE_ERROR_CHANNEL_CLOSED if the publisher was closed or freed, _INVALID_OPTION for a wrong
 * `info`, _FORKED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_loan_publish(framelane_loan *loan,
                                        const framelane_info *info,
                                        uint64_t *sequence);

/**
 * Returns the slot without publishing it.
 */
void framelane_loan_free(framelane_loan *loan);

/**
 * Waits up to `open_timeout_ns` for the channel and subscribes. `options` may be NULL.
 *
 * `channel` is a name, or the URL of a channel on another machine, as in
 * "tls://camera:7420/cam0?fingerprint=sha256:...".
 *
 * Errors: FRAMELANE_ERROR_NOT_FOUND when there is no channel with a live publisher in time; _INVALID_NAME,
 * _INVALID_OPTION, _PERMISSION_DENIED, _INCOMPATIBLE_VERSION, _DAMAGED, _TOO_MANY_SUBSCRIBERS, _INTERRUPTED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_subscriber_open(const char *channel,
                                           const framelane_subscriber_options *options,
                                           int64_t open_timeout_ns,
                                           framelane_subscriber **subscriber);

/**
 * Detaches from the channel. Frames that were received stay valid.
 *
 * Ends the waiting calls of other threads with FRAMELANE_ERROR_CHANNEL_CLOSED within half a second, and
 * waits for their end. Later calls fail with FRAMELANE_ERROR_CHANNEL_CLOSED. The subscriber must still be
 * freed. Returns at once in the check of its cancel token: the waiting call then detaches when it ends. Must
 * not be called in a signal handler.
 */
void framelane_subscriber_close(const framelane_subscriber *subscriber);

/**
 * Closes the subscriber like `framelane_subscriber_close`, and frees it. Its frames stay valid. No call may
 * use it afterwards. If other threads may still call it, close it first.
 */
void framelane_subscriber_free(framelane_subscriber *subscriber);

/**
 * Waits up to `timeout_ns` for the next frame. The caller frees it, which releases its slot.
 *
 * A subscriber holds at most the slots of the channel less two, at least 2 and at most 8: 4 with the default
 * of 6 slots. If the publisher dies, the call continues to wait, and receives from the next publisher of the
 * channel.
 *
 * Errors: FRAMELANE_ERROR_TIMEOUT, whose message states if the publisher is dead, is idle or finds no free
 * slot, _CHANNEL_CLOSED after the last frame of a closed channel, _TOO_MANY_LEASES, _INTERRUPTED, _FORKED,
 * _DAMAGED.
 */
FRAMELANE_MUST_USE
framelane_error *framelane_subscriber_recv(const framelane_subscriber *subscriber,
                                           int64_t timeout_ns,
                                           framelane_frame **frame);

/**
 * Returns the channel's name. Valid until the subscriber is freed.
 */
const char *framelane_subscriber_channel(const framelane_subscriber *subscriber);

/**
 * Returns the number of received frames.
 */
uint64_t framelane_subscriber_received(const framelane_subscriber *subscriber);

/**
 * Returns the number of skipped frames.
 */
uint64_t framelane_subscriber_dropped(const framelane_subscriber *subscriber);

/**
 * Returns the epoch of the channel's present publisher on this machine. Over a link this is the epoch of the
 * link, not `framelane_frame_epoch`. Does not wait for calls of other threads.
 */
uint64_t framelane_subscriber_epoch(const framelane_subscriber *subscriber);

/**
 * Returns 1 while a publisher holds the channel, else 0, also after close. Makes system calls. Does not wait
 * for calls of other threads.
 */
uint8_t framelane_subscriber_publisher_alive(const framelane_subscriber *subscriber);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FRAMELANE_H */

/* Options, all at their defaults. */
#define FRAMELANE_PUBLISHER_OPTIONS_INIT {sizeof(framelane_publisher_options), NULL, 0, 0, 0, 0, 0, NULL}
#define FRAMELANE_SUBSCRIBER_OPTIONS_INIT {sizeof(framelane_subscriber_options), NULL, 0, 0, 0, NULL, 0, 0}
/* A frame without metadata: captured when it is published. */
#define FRAMELANE_INFO_INIT \
  {sizeof(framelane_info), 0, FRAMELANE_NO_PTS, FRAMELANE_NO_DURATION, 2, 2, 2, 0, 0, 0, 0}
