"""subscriber.py CHANNEL newest|every HELD: as tests/src/bin/subscriber.rs, through the Python package."""

import collections
import sys

import framelane
import pattern

channel, delivery, most_held = sys.argv[1], sys.argv[2], int(sys.argv[3])
held = collections.deque()
first = last = epoch = epochs = 0
with framelane.Subscriber(channel, delivery=delivery) as subscriber:
    print("ready")
    for frame in subscriber:
        is_last = pattern.check(frame.array, frame.sequence)
        assert frame.sequence > last, f"frame {frame.sequence} after frame {last}"
        if first == 0:
            first = frame.sequence - frame.dropped
        else:
            assert frame.dropped == frame.sequence - last - 1
        last = frame.sequence
        if frame.epoch != epoch:
            epoch, epochs = frame.epoch, epochs + 1
        held.append(frame)
        if len(held) > most_held:
            oldest = held.popleft()
            pattern.check(oldest.array, oldest.sequence)
        if is_last:
            break
    print("end", subscriber.received, subscriber.dropped, first, last, epochs)
