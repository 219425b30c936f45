"""Prints what arrives: see README.md."""

import sys

import numpy as np

import framelane

RANGES = {"unspecified": 0, "limited": 1, "full": 2}


def sums(frame):
    data = b"".join(np.ascontiguousarray(plane).tobytes() for plane in frame.planes)
    values = np.frombuffer(data, "u1").astype("u8")
    return int(values.sum()), int((values * np.arange(1, len(values) + 1, dtype="u8")).sum())


def send_boxes(finder, frame):
    n = frame.sequence
    boxes = [(n + i, i, n + i + 2 * i + 1, i + 3) for i in range(n % 4)]
    scores, kinds, tracks = ([value(i) for i in range(n % 4)] for value in (lambda i: i / 8, lambda i: i % 2, lambda i: 100 * n + i))
    finder.send(frame, np.reshape(boxes, (-1, 4)), np.array(scores), np.array(kinds, int), np.array(tracks, int))


channel, delivery, *detections = sys.argv[1:]
finder = framelane.DetectionPublisher(*detections, labels=["a", "b"], model="m") if detections else None
found = None
with framelane.Subscriber(channel, delivery) as subscriber:
    for frame in subscriber:
        color = frame.color
        print(
            frame.sequence, frame.format, frame.width, frame.height, frame.dropped, frame.timestamp_ns, frame.pts_ns,
            frame.duration_ns, color.matrix, color.primaries, color.transfer, RANGES[color.range], frame.rotation_degrees,
            int(frame.keyframe), *sums(frame), flush=True,
        )
        if finder:
            send_boxes(finder, frame)
            found = found or framelane.DetectionSubscriber(*detections)
            batch = found.for_frame(frame)
            assert len(batch) == frame.sequence % 4 and batch.frame_sequence == frame.sequence
            assert found.for_frame(frame.id, 0).sequence == batch.sequence
            assert found.for_frame(frame.sequence, 0, epoch=frame.epoch).sequence == batch.sequence
        frame.release()
