"""Publishes a plan: see README.md."""

import sys
import time

import numpy as np

import framelane

DTYPES = {"u8": "u1", "s8": "i1", "u16": "<u2", "s16": "<i2", "s32": "<i4", "f16": "<f2", "f32": "<f4", "f64": "<f8"}
SHAPES = {  # dtype, and the shape of the array that framelane takes for it
    "gray8": ("u1", lambda h, w: (h, w)),
    "gray16": ("<u2", lambda h, w: (h, w)),
    "bgr8": ("u1", lambda h, w: (h, w, 3)),
    "rgb8": ("u1", lambda h, w: (h, w, 3)),
    "bgra8": ("u1", lambda h, w: (h, w, 4)),
    "rgba8": ("u1", lambda h, w: (h, w, 4)),
    "i420": ("u1", lambda h, w: (h * 3 // 2, w)),
    "nv12": ("u1", lambda h, w: (h * 3 // 2, w)),
    "yuyv": ("u1", lambda h, w: (h, w, 2)),
    "p010": ("<u2", lambda h, w: (h * 3 // 2, w)),
}


def rows(n, plane, count, size):
    row, byte = np.arange(count)[:, None], np.arange(size)[None, :]
    return ((31 * n + 17 * plane + 7 * row + 3 * byte) % 251).astype("u1")


def planes(name, height, width):
    """Rows and bytes in each, plane by plane."""
    if name in ("i420", "nv12", "p010"):
        item = 2 if name == "p010" else 1
        chroma = [(height // 2, width // 2)] * 2 if name == "i420" else [(height // 2, width * item)]
        return [(height, width * item), *chroma]
    dtype, shape = form(name, height, width)
    return [(height, np.dtype(dtype).itemsize * int(np.prod(shape[1:])))]


def form(name, height, width):
    if name in SHAPES:
        dtype, shape = SHAPES[name]
        return dtype, shape(height, width)
    _, depth, channels = name.split(":")
    return DTYPES[depth], (height, width) if channels == "1" else (height, width, int(channels))


def image(name, height, width, n):
    dtype, shape = form(name, height, width)
    data = b"".join(rows(n, plane, *size).tobytes() for plane, size in enumerate(planes(name, height, width)))
    return np.frombuffer(data, dtype).reshape(shape)


def about(n):
    return {
        "timestamp_ns": 10**18 + n,
        "pts_ns": 1000 * n * (-1 if n % 2 else 1),
        "duration_ns": 7 * n + 1,
        "color": framelane.Color(
            matrix=1 + n % 5, primaries=n % 3, transfer=n % 4, range=("unspecified", "limited", "full")[n % 3]
        ),
        "rotation_degrees": 90 * (n % 4),
        "keyframe": bool(n % 2),
    }


def publish(publisher, name, width, height, how, n):
    pixels = image(name, height, width, n)
    if how == "loan":
        with publisher.loan(pixels.shape, pixels.dtype, name, **about(n)) as slot:
            slot.array[...] = pixels
        return
    if len(planes(name, height, width)) == 1:
        # A region of a wider array.
        wide = np.zeros((pixels.shape[0], pixels.shape[1] + 5, *pixels.shape[2:]), pixels.dtype)
        wide[:, : pixels.shape[1]] = pixels
        pixels = wide[:, : pixels.shape[1]]
    publisher.send(pixels, format=name, **about(n))


def boxes_text(found):
    corners = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in found.boxes_xyxy]
    columns = zip(corners, found.scores, found.class_ids, found.track_ids)
    boxes = [
        f" {','.join(f'{value:g}' for value in (*corner, 8 * score))},{found.labels[kind]},{track}"
        for corner, score, kind, track in columns
    ]
    return f"{found.frame.sequence} {found.model} {len(boxes)}{''.join(boxes)}"


channel, plan, subscribers, *detections = sys.argv[1:]
with framelane.Publisher(channel, backpressure="block") as publisher:
    while publisher.subscribers < int(subscribers):
        time.sleep(0.001)
    found = framelane.DetectionSubscriber(*detections) if detections else None
    for n, line in enumerate(open(plan), 1):
        name, width, height, how = line.split()
        publish(publisher, name, int(width), int(height), how, n)
        if found:
            print(boxes_text(found.for_frame(n, epoch=publisher.epoch)))
    publisher.drain()
