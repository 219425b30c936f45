"""Watches many cameras in one process, a thread for each.

    watch.py [CAMERAS]     prints for each how many frames came, their size, and the sum of their bytes
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import framelane


def watch(number):
    channel = f"cameras/{number}"
    frames = total = rows = 0
    with framelane.Subscriber(channel, "every") as subscriber:
        for frame in subscriber:
            frames += 1
            total += int(frame.array.sum(dtype="u8"))
            rows = frame.height
            frame.release()
    return f"{channel}: {frames} frames of 160x{rows}, sum {total}"


cameras = int(sys.argv[1]) if len(sys.argv) > 1 else 4
with ThreadPoolExecutor(cameras) as pool:
    print(*pool.map(watch, range(cameras)), sep="\n")
