"""After a fork, the child gets errors and disturbs no process."""

import json
import os
import warnings

import numpy as np
import pytest

import framelane

FORKS = """
import asyncio, framelane, gc, json, numpy as np, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
image = np.full((4, 4), 7, "uint8")
publisher = framelane.Publisher("cam0")
subscriber = framelane.Subscriber("cam0", open_timeout=0)
detector = framelane.DetectionPublisher("d")
results = framelane.DetectionSubscriber("d", open_timeout=0)
publisher.send(image)
frame = subscriber.recv(timeout=10)
slot = publisher.loan((4, 4)); slot.__enter__()

def attempts():
    yield "send", lambda: publisher.send(image)
    yield "loan", lambda: publisher.loan((4, 4))
    yield "subscribers", lambda: publisher.subscribers
    yield "loan exit", lambda: slot.__exit__(None, None, None)
    yield "recv", lambda: subscriber.recv()
    yield "recv now", lambda: subscriber.recv(timeout=0)
    yield "read", lambda: subscriber.read()
    yield "next", lambda: next(iter(subscriber))
    yield "recv_async", lambda: asyncio.run(subscriber.recv_async())
    yield "detections send", lambda: detector.send(frame.id, [])
    yield "detections recv", lambda: results.recv()
    yield "for_frame", lambda: results.for_frame(1)
    yield "array", lambda: frame.array
    yield "copy", lambda: frame.copy()

read, write = os.pipe()
child = os.fork()
if child == 0:
    found = {}
    for name, attempt in attempts():
        try:
            attempt()
            found[name] = "worked"
        except framelane.Forked as error:
            found[name] = "forked" if "child" in error.hint and error.kind == "forked" else str(error)
        except BaseException as error:
            found[name] = repr(error)
    found["sequence"] = frame.sequence
    with framelane.Publisher("of-child") as own, framelane.Subscriber("of-child", open_timeout=0) as reader:
        own.send(image)
        found["own"] = int(reader.recv(timeout=10).array[0, 0])
    with framelane.Subscriber("cam0", open_timeout=0) as reader:
        found["attached"] = reader.closed
    os.write(write, json.dumps(found).encode())
    publisher.close(); subscriber.close(); detector.close(); results.close()
    del publisher, subscriber, frame, detector, results, slot
    gc.collect()
    sys.exit(0)  # The interpreter's whole exit, with atexit.
os.close(write)
os.waitpid(child, 0)
print(os.read(read, 100000).decode())

# The parent goes on as if nothing had happened.
assert (frame.array == 7).all()
leases = framelane.list_channels()[0].subscribers[0].leases
with_slot = slot.__exit__(None, None, None)
assert slot.sequence == 2
assert publisher.send(image) == 3
assert subscriber.recv(timeout=10).sequence == 3
assert publisher.subscribers == 1
detector.send(frame.id, [[1, 2, 3, 4]])
assert len(results.for_frame(frame, timeout=10)) == 1
print(leases, sorted(status.name for status in framelane.list_channels()))
"""


def test_forked_child_gets_errors_and_the_parent_continues(script):
    code, out, err = script(FORKS).finish()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    found = json.loads(lines[0])
    assert (found.pop("sequence"), found.pop("own"), found.pop("attached")) == (1, 7, False)
    assert found == dict.fromkeys(found, "forked")
    assert lines[1] == "1 ['cam0', 'd']"


def test_fork_while_threads_wait_does_not_hang(script):
    """Locks that a thread of the parent holds at the fork stay locked in the child."""
    code, out, err = script(
        """
        import atexit, framelane, numpy as np, os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        image = np.zeros((4, 4), "uint8")
        publisher = framelane.Publisher("cam0", slots=8)
        subscribers = [framelane.Subscriber("cam0", open_timeout=0) for _ in range(4)]
        def receive(subscriber):
            for frame in subscriber:
                pass
        for subscriber in subscribers:
            threading.Thread(target=receive, args=[subscriber], daemon=True).start()
        stop = threading.Event()
        def send():
            while not stop.is_set():
                publisher.send(image)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for _ in range(30):
            child = os.fork()
            if child == 0:
                refused = 0
                for attempt in [lambda: publisher.send(image), lambda: subscribers[0].recv()]:
                    try:
                        attempt()
                    except framelane.Forked:
                        refused += 1
                publisher.close()
                for subscriber in subscribers:
                    subscriber.close()
                atexit._run_exitfuncs()
                os._exit(40 + refused)
            _, status = os.waitpid(child, 0)
            assert os.WEXITSTATUS(status) == 42
        stop.set()
        sender.join()
        assert publisher.send(image)
        publisher.close()
        print("done")
        """
    ).finish()
    assert (code, out, err) == (0, "done\n", "")


def test_a_worker_of_multiprocessing_opens_its_own_handles(publisher, subscriber, script):
    child = script(
        """
        import framelane, multiprocessing, numpy as np
        def work(channel, value):
            with framelane.Publisher(channel) as publisher:
                with publisher.loan((4, 4)) as slot:
                    slot.array.fill(value)
                with framelane.Subscriber(channel, open_timeout=0) as reader:
                    publisher.send(np.full((4, 4), value, "uint8"))
                    return int(reader.recv(timeout=10).array.sum())
        if __name__ == "__main__":
            import warnings
            warnings.simplefilter("ignore")
            here = framelane.Publisher("parent")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.starmap(work, [("a", 1), ("b", 2)]))
            print(here.send(np.zeros((2, 2), "uint8")))
        """
    )
    assert child.finish() == (0, "[16, 32]\n1\n", "")
