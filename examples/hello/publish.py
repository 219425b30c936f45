"""Publishes 100 frames in `hello`: each one brighter than the one before."""

import time

import framelane

with framelane.Publisher("hello") as pub:
    for brightness in range(100):
        with pub.loan((480, 640, 3), "uint8") as slot:
            slot.array[:] = brightness
        time.sleep(0.033)
