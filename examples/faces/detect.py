"""Finds faces in a channel's frames and sends the boxes back.

Prints one line of JSON for each frame that the detector processes: its sequence, the number of faces, and the
number of frames skipped before it. A second subscriber measures the hand-off: the time from the publication
of a frame until it is a numpy array in this process. It has its own thread because the detector is busy when
most frames arrive.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

import cv2

import framelane
from centerface import MIN_SCORE, FaceDetector

MODEL = Path(__file__).resolve().parents[2] / ".cache" / "centerface.onnx"


def report(**values: int) -> None:
    """Prints a line in one write because two threads print."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def measure_hand_off(channel: str) -> None:
    for frame in framelane.Subscriber(channel):
        frame.array  # a view of the bytes that the publisher wrote
        report(handoff_ns=time.monotonic_ns() - frame.published_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("channel")
    parser.add_argument("--model", type=Path, default=MODEL, help="centerface.onnx (default: %(default)s)")
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help="default: %(default)s")
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        error = f"cannot read the model {arguments.model}: no such file"
        sys.exit(f"error: {error}\n  hint: run scripts/setup demo")

    # Leave a core to the decoder and to the subscriber that measures.
    cv2.setNumThreads(max(1, (os.cpu_count() or 2) - 1))
    detector = FaceDetector(arguments.model, arguments.min_score)
    channel = arguments.channel
    results = framelane.DetectionPublisher(f"{channel}/detections", labels=["face"], model="centerface")
    with results, framelane.Subscriber(channel, open_timeout=60) as frames:
        threading.Thread(target=measure_hand_off, args=[channel], daemon=True).start()
        for frame in frames:
            # frame.array is zero-copy: the detector reads the bytes that the decoder's process wrote.
            boxes, scores = detector.find(frame.array)
            results.send(frame, boxes, scores)
            report(sequence=frame.sequence, faces=len(boxes), skipped=frame.dropped)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
