"""Finds people in a channel's frames and sends the boxes back.

Prints a line of JSON for each frame looked at: its number, how many people were found, how many frames were passed over.
A second subscriber does nothing but wait for frames, and prints how long each took from its publication until it was a
numpy array here (hand-off): the detector itself is busy when most frames come.
"""

import argparse
import json
import os
import threading
import time

import cv2
import numpy as np

import framelane


def watch(channel: str) -> None:
    for frame in framelane.Subscriber(channel):
        frame.array  # a view of the bytes that the publisher wrote
        print(json.dumps({"handoff_ns": time.monotonic_ns() - frame.published_ns}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("channel")
    parser.add_argument("--scale", type=float, default=1.5, help="enlarge frames: the detector wants people 100 pixels high")
    parser.add_argument("--score", type=float, default=0.3, help="the lowest score of a detection that is sent")
    arguments = parser.parse_args()

    # Leave a core to the decoder and to those who wait for frames.
    cv2.setNumThreads(max(1, (os.cpu_count() or 2) - 1))
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    results = framelane.DetectionPublisher(f"{arguments.channel}/detections", labels=["person"], model="opencv-hog")
    with results, framelane.Subscriber(arguments.channel, timeout=60) as frames:
        threading.Thread(target=watch, args=[arguments.channel], daemon=True).start()
        for frame in frames:
            # No copy on the way here: these are the bytes that the decoder's process wrote.
            large = cv2.resize(frame.array, None, fx=arguments.scale, fy=arguments.scale)
            boxes, scores = hog.detectMultiScale(large, winStride=(8, 8))
            boxes = np.asarray(boxes, np.float32).reshape(-1, 4) / arguments.scale
            scores = np.asarray(scores, np.float32).reshape(-1)
            boxes[:, 2:] += boxes[:, :2]  # from corner and size to two corners
            sure = scores >= arguments.score
            results.send(frame, boxes[sure], scores[sure])
            print(json.dumps({"sequence": frame.sequence, "people": int(sure.sum()), "skipped": frame.dropped}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
