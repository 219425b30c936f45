"""Many cameras in one process: a channel and a thread for each.

    publish.py [CAMERAS] [FRAMES]
"""

import sys
import threading
import time

import framelane


def camera(number, frames):
    # Backpressure "block" so that the counts come out even; for real cameras leave it out.
    with framelane.Publisher(f"cameras/{number}", backpressure="block") as publisher:
        while publisher.subscribers == 0:
            time.sleep(0.01)
        for n in range(frames):
            with publisher.loan((120 + number, 160)) as slot:
                slot.array[:] = 10 * number + n % 10
        publisher.drain()


cameras, frames = (int(text) for text in (sys.argv[1:] + ["4", "100"][len(sys.argv) - 1 :]))
threads = [threading.Thread(target=camera, args=(number, frames)) for number in range(cameras)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
