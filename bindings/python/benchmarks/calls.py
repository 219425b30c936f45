"""The cost of calls in Python: medians of several rounds in one process, so that nothing waits.

    python benchmarks/calls.py

Copies of 1080p pictures are measured next to numpy's copy, in turn, to as many targets as the ring has slots.
"""

import itertools
import statistics
import time

import numpy as np

import framelane

ROUNDS, CALLS, COPIES = 7, 20_000, 100


def per_call(call):
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter_ns() - start) / CALLS)
    return statistics.median(rounds)


def side_by_side(*calls):
    times = [[] for _ in calls]
    for _ in range(COPIES):
        for call, kept in zip(calls, times):
            start = time.perf_counter_ns()
            call()
            kept.append(time.perf_counter_ns() - start)
    return [statistics.median(kept) / 1000 for kept in times]


def main():
    small, large = np.zeros((4, 4, 3), "uint8"), np.zeros((1080, 1920, 3), "uint8")
    with framelane.Publisher("calls") as publisher, framelane.Subscriber("calls", open_timeout=0) as subscriber:
        publisher.send(small)
        frame = subscriber.recv()
        array = frame.array

        def exchange():
            publisher.send(small)
            subscriber.recv()

        def exchange_array():
            publisher.send(small)
            return subscriber.recv().array

        def loan():
            with publisher.loan((4, 4, 3)) as slot:
                slot.array

        for name, call in [
            ("an empty function", lambda: None),
            ("array[:] of numpy, to compare", lambda: array[:]),
            ("frame.array", lambda: frame.array),
            ("frame.sequence", lambda: frame.sequence),
            ("send, 4x4", lambda: publisher.send(small)),
            ("send + recv", exchange),
            ("send + recv + array", exchange_array),
            ("with loan: array", loan),
        ]:
            print(f"{name:32} {per_call(call):8.0f} ns")
        del frame, array

        for _ in range(publisher.slots + 1):
            publisher.send(large)
        frame = subscriber.recv()
        targets = itertools.cycle([np.zeros_like(large) for _ in range(publisher.slots)])
        for name, ours, theirs in [
            ("send, 1080p", lambda: publisher.send(large), lambda: np.copyto(next(targets), large)),
            (
                "send, 1080p, channels reversed",
                lambda: publisher.send(large[:, :, ::-1]),
                lambda: np.copyto(next(targets), large[:, :, ::-1]),
            ),
            ("frame.copy, 1080p", frame.copy, lambda: np.array(frame.array)),
        ]:
            mine, numpy = side_by_side(ours, theirs)
            print(f"{name:32} {mine:8.0f} us   numpy {numpy:8.0f} us")


if __name__ == "__main__":
    main()
