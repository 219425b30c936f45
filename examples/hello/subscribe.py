"""Prints what arrives in `hello`, until the publisher is done."""

import framelane

with framelane.Subscriber("hello") as sub:
    for frame in sub:
        height, width = frame.array.shape[:2]
        print(f"{frame.sequence}: {width}x{height} brightness {frame.array[0, 0, 0]}", flush=True)
