"""Shows a channel in a window, with the frames per second; q or Escape ends it.

    show.py [CHANNEL] [--headless]     prints how many frames were shown, and the sum of their bytes

A window needs the package opencv-python; opencv-python-headless has none.
"""

import sys
import time

import cv2

import framelane

headless = "--headless" in sys.argv
names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
channel = names[0] if names else "video"
frames = total = 0
fps, last = 0.0, time.monotonic()
# Every frame; for a live picture leave `delivery` out.
with framelane.Subscriber(channel, "every") as subscriber:
    for frame in subscriber:
        total += int(frame.array.sum(dtype="u8"))
        frames += 1
        now = time.monotonic()
        fps, last = 0.9 * fps + 0.1 / max(now - last, 1e-6), now
        # The frame is everybody's: what is drawn goes on a copy.
        picture = frame.copy()
        frame.release()
        cv2.putText(picture, f"{fps:.0f} fps", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 255, 0), 2)
        if headless:
            continue
        cv2.imshow(channel, picture)
        if cv2.waitKey(1) in (ord("q"), 27):
            break
print(f"{frames} frames, sum {total}")
