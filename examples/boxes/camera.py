"""A camera (a bright ball that moves) that asks another program, in any language, where the ball is, and
draws it.

    camera.py [FRAMES] [PICTURE.png]     prints the box of each frame, and saves the last picture
"""

import sys

import cv2
import numpy as np

import framelane

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 50
with framelane.Publisher("boxes") as publisher:
    detections = framelane.DetectionSubscriber("boxes/detections")  # waits for the detector
    for n in range(frames):
        image = np.full((240, 320, 3), 40, "uint8")
        x, y = 10 + 4 * n % 280, 20 + 3 * n % 190
        image[y : y + 25, x : x + 20] = 255
        found = publisher.send_and_wait(image, detections)
        text = f"frame {found.frame.sequence}:"
        for (x1, y1, x2, y2), kind in zip(found.boxes_xyxy, found.class_ids):
            text += f" {found.labels[kind]} {x1:g},{y1:g} {x2 - x1:g}x{y2 - y1:g}"
            cv2.rectangle(image, (int(x1), int(y1)), (int(x2) - 1, int(y2) - 1), (0, 0, 255))
        print(text)
if len(sys.argv) > 2:
    cv2.imwrite(sys.argv[2], image)
