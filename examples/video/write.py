"""Plays a video file into a channel: OpenCV writes its pictures straight into shared memory.

    write.py FILM [CHANNEL]        prints how many frames went, and the sum of their bytes
"""

import sys
import time

import cv2

import framelane

if len(sys.argv) < 2:
    sys.exit(__doc__)
film = cv2.VideoCapture(sys.argv[1])
if not film.isOpened():
    sys.exit(f"{sys.argv[1]} could not be opened")
shape = int(film.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(film.get(cv2.CAP_PROP_FRAME_WIDTH)), 3
frames = total = 0
# A film can wait; for a camera leave `backpressure` out.
with framelane.Publisher(sys.argv[2] if len(sys.argv) > 2 else "video", backpressure="block") as publisher:
    while publisher.subscribers == 0:
        time.sleep(0.01)
    while film.grab():
        with publisher.loan(shape) as slot:
            film.retrieve(slot.array)
            total += int(slot.array.sum(dtype="u8"))
        frames += 1
    publisher.drain()
print(f"{frames} frames, sum {total}")
