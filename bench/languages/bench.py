"""One end of the benchmark across languages: see run.py."""

import json
import sys
import time

import numpy as np

import framelane


def publish(channel, fps, seconds):
    with framelane.Publisher(channel) as publisher:
        while publisher.subscribers == 0:
            time.sleep(0.001)
        due = time.monotonic()
        end = due + seconds
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            with publisher.loan((1080, 1920, 3)) as slot:
                slot.array[0, 0, 0] = 1
            due += 1 / fps


def read(channel):
    ages = []
    with framelane.Subscriber(channel) as subscriber:
        for frame in subscriber:
            if frame.array[0, 0, 0] == 1:
                ages.append(time.clock_gettime_ns(time.CLOCK_MONOTONIC) - frame.published_ns)
            frame.release()
    ages.sort()
    print(json.dumps({"frames": len(ages), "p50_us": ages[len(ages) // 2] / 1e3, "p99_us": ages[len(ages) * 99 // 100] / 1e3}))


def copy(channel, seconds):
    image = np.full((1080, 1920, 3), (1, 2, 3), "uint8")
    with framelane.Publisher(channel) as publisher:
        for _ in range(20):
            publisher.send(image)
        began, frames, spent = time.perf_counter(), 0, 0.0
        while spent < seconds:
            publisher.send(image)
            frames += 1
            spent = time.perf_counter() - began
    print(json.dumps({"frames_per_second": frames / spent}))


what, channel, *numbers = sys.argv[1:]
{"publish": publish, "read": read, "copy": copy}[what](channel, *map(float, numbers))
