"""Finds people in a channel's frames and sends the boxes back.

For each frame looked at, prints a line of JSON: its sequence, how long it took from its publication until it was a numpy
array here (hand-off), and how many people were found.
"""

import argparse
import json
import time

import cv2
import numpy as np

import framelane


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("channel")
    parser.add_argument("--scale", type=float, default=1.5, help="enlarge frames: the detector wants people 100 pixels high")
    parser.add_argument("--score", type=float, default=0.3, help="the lowest score of a detection that is sent")
    arguments = parser.parse_args()

    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    results = framelane.DetectionPublisher(f"{arguments.channel}/detections", labels=["person"], model="opencv-hog")
    with results, framelane.Subscriber(arguments.channel, timeout=60) as frames:
        for frame in frames:
            image = frame.array  # no copy: these are the bytes that the decoder's process wrote
            handoff_ns = time.monotonic_ns() - frame.published_ns
            large = cv2.resize(image, None, fx=arguments.scale, fy=arguments.scale)
            boxes, scores = hog.detectMultiScale(large, winStride=(8, 8))
            boxes = np.asarray(boxes, np.float32).reshape(-1, 4) / arguments.scale
            scores = np.asarray(scores, np.float32).reshape(-1)
            boxes[:, 2:] += boxes[:, :2]  # from corner and size to two corners
            sure = scores >= arguments.score
            results.send(frame, boxes[sure], scores[sure])
            found = {"sequence": frame.sequence, "handoff_ns": handoff_ns, "people": int(sure.sum()), "skipped": frame.dropped}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
