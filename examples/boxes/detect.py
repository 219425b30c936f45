"""Finds the ball in the frames of channel `boxes`, and sends its box back.

Run by itself, or watched and restarted: `framelane run boxes detect.py`.
"""

import cv2

import framelane

labels = ["ball"]


def detect(image):
    x, y, width, height = cv2.boundingRect(cv2.inRange(image, (200, 200, 200), (255, 255, 255)))
    return [(x, y, x + width, y + height)]


if __name__ == "__main__":
    with framelane.DetectionPublisher("boxes/detections", labels, "threshold") as finder:
        for frame in framelane.Subscriber("boxes"):
            finder.send(frame, detect(frame.array))
