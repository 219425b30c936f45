"""soak_reader.py newest|every FRAMES: as the reader in tests/src/bin/soak, through the Python package."""

import sys
import threading

import framelane
import pattern

CHANNEL = "soak"
REPORT = 20

delivery, frames = sys.argv[1], int(sys.argv[2])
ended = threading.Event()


def watch_input():
    sys.stdin.read()
    ended.set()


def check(frame):
    try:
        pattern.check(frame.array, frame.sequence)
        assert frame.intact, f"frame {frame.sequence} is whole, but says that it is not"
    except AssertionError as fault:
        print("torn", fault)
        raise


threading.Thread(target=watch_input, daemon=True).start()
total = said = 0
while total < frames and not ended.is_set():
    try:
        subscriber = framelane.Subscriber(CHANNEL, delivery=delivery, open_timeout=0.5)
    except (framelane.NotFound, framelane.Timeout):
        continue
    with subscriber:
        first = last = 0
        held = None
        while total < frames and not ended.is_set():
            try:
                frame = subscriber.recv(timeout=0.5)
            except framelane.Timeout:
                continue
            except framelane.ChannelClosed:
                break
            check(frame)
            if held is not None:
                check(held)
            first = first or frame.sequence - frame.dropped
            last, held = frame.sequence, frame
            total += 1
            if total >= said + REPORT:
                print("checked", total - said)
                said = total
        count = subscriber.received + subscriber.dropped
        if first and count != last + 1 - first:
            print("wrong", subscriber.received, "received and", subscriber.dropped, "dropped from", first, "to", last)
            sys.exit(1)
        held = None
print("checked", total - said)
