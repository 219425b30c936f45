"""Nothing grows: memory, descriptors, threads, objects, over very many leases, handles and errors.

FRAMELANE_DEPTH=deep: a million leases.
"""

import asyncio
import gc
import os
import threading

import numpy as np
import pytest

import framelane

DEEP = os.environ.get("FRAMELANE_DEPTH") == "deep"
LEASES = 1_000_000 if DEEP else 50_000
HANDLES = 10_000 if DEEP else 500


def private_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return pytest.skip("proc: no RssAnon in /proc/self/status")


def usage():
    gc.collect()
    return {
        "private memory, bytes": private_bytes(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "objects": len(gc.get_objects()),
    }


def assert_flat(what, turn, turns):
    """Does the second half of the turns without growth; the first half warms up caches and pools."""
    for number in range(turns // 2):
        turn(number)
    before = usage()
    for number in range(turns // 2, turns):
        turn(number)
    after = usage()
    changes = ", ".join(f"{name} {before[name]} then {after[name]}" for name in before)
    print(f"leak: {what}: {turns} turns, {changes}")
    # What the allocator keeps in hand varies.
    slack = {"private memory, bytes": 1 << 20, "objects": 50}
    for name, value in after.items():
        limit = before[name] + slack.get(name, 0)
        assert value <= limit, f"{what}: {name} grew from {before[name]} to {value}"


@pytest.fixture
def frames(publisher, subscriber):
    """A function that publishes a frame and leases it."""
    image = np.zeros((4, 6, 3), "uint8")

    def lease():
        publisher.send(image)
        return subscriber.recv(timeout=0)

    return lease


def test_leases_that_are_dropped_leak_nothing(frames):
    assert_flat("leases", lambda _: frames(), LEASES)


def test_arrays_over_leases_leak_nothing(frames):
    def turn(_):
        frame = frames()
        array = frame.array
        assert array[0, 0, 0] == 0 and frame.intact
        view = array[1:]
        del frame, array
        return view.sum()

    assert_flat("arrays", turn, LEASES // 5)


def test_copies_exports_and_buffers_leak_nothing(frames):
    def turn(number):
        frame = frames()
        if number % 3 == 0:
            np.from_dlpack(frame)
        elif number % 3 == 1:
            frame.copy()
        else:
            frame.release()

    assert_flat("copies and exports", turn, LEASES // 10)


def test_errors_leak_nothing(frames, subscriber):
    def turn(_):
        with pytest.raises(framelane.Timeout):
            subscriber.recv(timeout=0)
        with pytest.raises(framelane.InvalidName):
            framelane.Publisher("not a name")
        frame = frames()
        frame.release()
        with pytest.raises(ValueError):
            frame.array  # noqa: B018

    assert_flat("errors", turn, LEASES // 20)


def test_handles_that_are_opened_and_closed_leak_nothing(publisher):
    def turn(number):
        with framelane.Subscriber("cam0", open_timeout=0):
            pass
        if number % 5 == 0:
            with framelane.Publisher("other") as other:
                other.send(np.zeros((2, 2), "uint8"))
                # Its memory is mapped by both: it goes with the last of them.
                reader = framelane.Subscriber("other", open_timeout=0)
                frame = reader.recv(timeout=0)
            del reader, frame

    assert_flat("handles", turn, HANDLES)


def test_detections_leak_nothing(frames):
    with framelane.DetectionPublisher("cam0/detections", labels=["a", "b"]) as found:
        with framelane.DetectionSubscriber("cam0/detections", open_timeout=0) as batches:
            boxes, scores = np.zeros((5, 4), "float32"), np.ones(5, "float32")

            def turn(_):
                found.send(frames(), boxes, scores)
                batch = batches.recv(timeout=0)
                assert len(batch) == 5

            assert_flat("detections", turn, LEASES // 10)


def test_coroutines_leak_nothing(publisher, subscriber):
    image = np.zeros((4, 6), "uint8")

    async def receive():
        task = asyncio.ensure_future(subscriber.recv_async(timeout=60))
        await asyncio.sleep(0)
        publisher.send(image)
        frame = await task
        assert frame.width == 6
        cancelled = asyncio.ensure_future(subscriber.recv_async(timeout=60))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    with asyncio.Runner() if hasattr(asyncio, "Runner") else Loop() as runner:
        assert_flat("coroutines", lambda _: runner.run(receive()), LEASES // 100)


class Loop:
    """asyncio.Runner, for Python before 3.11."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        return self

    def __exit__(self, *_):
        self.loop.close()

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)
