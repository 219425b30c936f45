"""Waiting: for channels, frames and slots; with Ctrl-C, with threads, and without using the processor."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import framelane
from conftest import most_sleeps, sleeps, threads, until, until_asleep

IMAGE = np.zeros((4, 6, 3), "uint8")


@pytest.fixture
def start():
    """Starts threads and joins them at the end; an exception in one fails the test."""
    threads, failures = [], []

    def run(target, *arguments):
        def body():
            try:
                target(*arguments)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads.append(threading.Thread(target=body))
        threads[-1].start()
        return threads[-1]

    yield run
    for thread in threads:
        thread.join()
    assert failures == []


def test_recv_waits_without_the_interpreter_lock(publisher, subscriber, start):
    received = []
    start(lambda: received.append(subscriber.recv(timeout=60).sequence))
    for _ in range(1000):
        time.sleep(0)  # Reached only when the other thread does not keep the lock.
    publisher.send(IMAGE)
    until(lambda: received == [1])


def test_timeout_says_what_the_publisher_does():
    with framelane.Publisher("cam0", slots=4) as publisher, framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        with pytest.raises(framelane.Timeout, match=f"process {os.getpid()}.*has published no frame yet"):
            subscriber.recv(timeout=0)
        publisher.send(IMAGE)
        frame = subscriber.recv(timeout=10)
        expected = "within 0.01 s: .*published its last frame .* ago"
        with pytest.raises(framelane.Timeout, match=expected) as idle:
            subscriber.recv(timeout=0.01)
        assert "release" not in str(idle.value)
        frame.release()


def test_timeout_names_the_processes_that_hold_the_slots():
    with framelane.Publisher("cam0", slots=4) as publisher:
        readers = [framelane.Subscriber("cam0", open_timeout=0) for _ in range(3)]
        kept = []
        for reader in readers[:2]:
            # One after the other: what both hold is one slot.
            for _ in range(2):
                publisher.send(IMAGE)
                kept.append(reader.recv(timeout=10))
        while publisher.send(IMAGE) is not None:
            pass
        holder = f"no free slot of 4: process {os.getpid()} .* holds {len(kept)} slots"
        readers[2].recv(timeout=0)
        with pytest.raises(framelane.Timeout, match=holder) as starved:
            readers[2].recv(timeout=0)
        assert "--slots" in starved.value.hint and "frame.copy()" in starved.value.hint
        with pytest.raises(framelane.NoFreeSlot, match=holder):
            publisher.send_and_wait(IMAGE, framelane.DetectionSubscriber("cam0", open_timeout=0), timeout=0)
        kept.clear()
        assert publisher.send(IMAGE) is not None
        assert readers[2].recv(timeout=10)
        for reader in readers:
            reader.close()


def test_large_copies_run_without_the_interpreter_lock(publisher, start):
    """The other thread runs while `send` copies. With an endless switch interval, this proves that the
    interpreter lock is released."""
    image = np.zeros((4000, 8000, 3), "uint8")
    progress, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            progress[0] += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e6)
    try:
        start(count)
        until(lambda: progress[0] > 10)
        seen = []
        for _ in range(20):
            before = progress[0]
            publisher.send(image)
            seen.append(progress[0] - before)
        assert max(seen) > 0
    finally:
        sys.setswitchinterval(interval)
        stop.set()


def test_a_timeout_is_a_timeout_error_with_the_time_in_it(subscriber):
    for timeout in [0, 0.01]:
        with pytest.raises(TimeoutError, match=f"within {timeout} s") as caught:
            subscriber.recv(timeout=timeout)
        assert isinstance(caught.value, framelane.Timeout)


def test_a_timeout_never_ends_early(subscriber):
    start = time.monotonic()
    with pytest.raises(framelane.Timeout):
        subscriber.recv(timeout=0.05)
    assert time.monotonic() - start >= 0.05


def test_endless_timeouts_are_accepted(publisher, subscriber):
    for timeout in [None, float("inf"), 1e300]:
        publisher.send(IMAGE)
        assert subscriber.recv(timeout=timeout).sequence
    framelane.Subscriber("cam0", open_timeout=float("inf")).close()


def test_a_subscriber_waits_for_its_channel(start):
    opened = []
    start(lambda: opened.append(framelane.Subscriber("late")))
    with framelane.Publisher("late") as publisher:
        until(lambda: opened)
        publisher.send(IMAGE)
        assert opened[0].recv(timeout=10).sequence == 1
        opened[0].close()


def test_iteration_stops_when_the_publisher_closes(start):
    publisher = framelane.Publisher("cam0", backpressure="block")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:

        def send():
            for _ in range(50):
                publisher.send(IMAGE)
            publisher.close()

        start(send)
        assert [frame.sequence for frame in subscriber] == list(range(1, 51))
        assert list(subscriber) == []


def test_closing_a_subscriber_ends_the_wait_of_another_thread(publisher, start):
    subscriber = framelane.Subscriber("cam0", open_timeout=0)
    ended, began = [], threading.Event()

    def wait():
        began.set()
        with pytest.raises(framelane.ChannelClosed, match="this program has closed"):
            subscriber.recv()
        ended.append(True)

    start(wait)
    began.wait()
    subscriber.close()
    until(lambda: ended)
    assert subscriber.closed
    assert list(subscriber) == []
    assert subscriber.read() == (False, None)
    subscriber.close()


def test_closing_a_publisher_ends_the_wait_of_another_thread(start):
    publisher = framelane.Publisher("cam0", slots=2, backpressure="block")
    subscriber = framelane.Subscriber("cam0", delivery="every", open_timeout=0)
    publisher.send(IMAGE)
    held = [subscriber.recv(timeout=10)]
    publisher.send(IMAGE)
    ended, began = [], threading.Event()

    def wait():
        began.set()
        with pytest.raises(framelane.ChannelClosed):
            publisher.send(IMAGE)
        ended.append(True)

    start(wait)
    began.wait()
    # As at the end of a `with` that an exception leaves: at once, without waiting for the reader.
    publisher.__exit__(KeyError, None, None)
    until(lambda: ended)
    assert publisher.closed and held
    subscriber.close()


def test_threads_share_a_publisher(start):
    # Slots for the newest frame, one of each thread, and two that the reader holds while it takes the next.
    publisher = framelane.Publisher("cam0", slots=8)
    with framelane.Subscriber("cam0", delivery="newest", open_timeout=0) as subscriber:
        sequences, lock = [], threading.Lock()

        def send(value):
            for n in range(200):
                sequence = publisher.send(np.full((64, 1024 if n % 2 else 8), value, "uint8"))
                with publisher.loan((16, 16)) as slot:
                    slot.array.fill(value)
                with lock:
                    sequences.extend([sequence, slot.sequence])

        threads = [start(send, value) for value in range(4)]
        while any(thread.is_alive() for thread in threads):
            try:
                array = subscriber.recv(timeout=0.01).array
            except framelane.Timeout:
                continue
            assert (array == array[0, 0]).all()
        assert sorted(sequences) == list(range(1, 1601))
        assert publisher.sequence == 1600


def test_threads_share_a_subscriber_and_each_frame_goes_to_one(start):
    publisher = framelane.Publisher("cam0", backpressure="block")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as subscriber:
        sequences, lock = [], threading.Lock()

        def receive():
            for frame in subscriber:
                sequence = frame.sequence
                del frame
                with lock:
                    sequences.append(sequence)

        for _ in range(4):
            start(receive)
        for _ in range(400):
            publisher.send(IMAGE)
        publisher.close()
        until(lambda: len(sequences) == 400)
        assert sorted(sequences) == list(range(1, 401))


def test_a_timeout_holds_also_while_another_thread_waits(publisher, subscriber, start):
    start(lambda: subscriber.recv(timeout=60))
    until(lambda: framelane.list_channels())
    with pytest.raises(framelane.Timeout):
        subscriber.recv(timeout=0.02)
    assert (subscriber.received, subscriber.dropped, subscriber.closed) == (0, 0, False)
    publisher.send(IMAGE)


def test_the_publisher_tells_how_many_subscribe(publisher):
    assert publisher.subscribers == 0
    with framelane.Subscriber("cam0", open_timeout=0):
        assert publisher.subscribers == 1
    assert publisher.subscribers == 0


def test_backpressure_block_waits_for_a_slot_and_loses_nothing(start):
    publisher = framelane.Publisher("cam0", slots=2, backpressure="block")
    subscriber = framelane.Subscriber("cam0", delivery="every", open_timeout=0)

    def send():
        for n in range(30):
            if n % 2:
                publisher.send(np.full((8, 8), n, "uint8"))
            else:
                with publisher.loan((8, 8)) as slot:
                    slot.array.fill(n)
        publisher.close()

    start(send)
    assert [(int(f.array[0, 0]), f.dropped) for f in subscriber] == [(n, 0) for n in range(30)]
    assert publisher.dropped == 0


def raises_interrupted(call):
    with pytest.raises(framelane.Interrupted, match="cancel token"):
        call()


def test_cancelled_token_ends_every_wait():
    token = framelane.CancelToken()
    token.cancel()
    assert token.cancelled and "cancelled" in repr(token)
    with pytest.raises(framelane.Interrupted):
        framelane.Subscriber("none", cancel=token)
    options = {"slots": 2, "backpressure": "block", "cancel": token}
    with framelane.Publisher("cam0", **options) as publisher, framelane.Subscriber("cam0", "every") as reader:
        publisher.send(IMAGE)
        publisher.send(IMAGE)
        raises_interrupted(lambda: publisher.send(IMAGE))
        raises_interrupted(lambda: publisher.loan(IMAGE.shape).__enter__())
        raises_interrupted(publisher.drain)
        late = framelane.Subscriber("cam0", cancel=token)
        assert late.recv(timeout=0).sequence == 2
        raises_interrupted(late.recv)
        with pytest.raises(framelane.Timeout):
            late.recv(timeout=0)
        assert reader.recv(timeout=10).sequence == 1
    with framelane.DetectionPublisher("boxes", backpressure="block", cancel=token) as boxes:
        found = framelane.DetectionSubscriber("boxes", cancel=token)
        raises_interrupted(found.recv)
        raises_interrupted(lambda: found.for_frame(1))
        boxes.drain()


def test_cancel_ends_the_waits_of_other_threads(start):
    token = framelane.CancelToken()
    with framelane.Publisher("cam0"):
        one, other = (framelane.Subscriber("cam0", cancel=token) for _ in range(2))
        waiting = [start(raises_interrupted, call) for call in (one.recv, other.recv)]
        token.cancel()
        for thread in waiting:
            thread.join()


def test_wait_that_need_not_wait_ignores_a_cancelled_token(publisher):
    token = framelane.CancelToken()
    subscriber = framelane.Subscriber("cam0", cancel=token)
    token.cancel()
    publisher.send(IMAGE)
    assert subscriber.recv().sequence == 1


def test_waiting_subscribers_sleep_until_the_end(publisher, start):
    subscribers = [framelane.Subscriber("cam0", open_timeout=0) for _ in range(64)]
    with pytest.raises(framelane.TooManySubscribers):
        framelane.Subscriber("cam0", open_timeout=0)

    def wait(subscriber):
        assert list(subscriber) == []

    before = threads()
    for subscriber in subscribers:
        start(wait, subscriber)
    waiting = threads() - before
    assert len(waiting) == len(subscribers)
    until_asleep(waiting)
    # The time is that of a wait which ends by its timeout.
    with framelane.Publisher("bell"), framelane.Subscriber("bell", open_timeout=0) as bell:
        began, count = time.monotonic(), sleeps(waiting)
        with pytest.raises(framelane.Timeout):
            bell.recv(timeout=1.2)
        count, most = sleeps(waiting) - count, most_sleeps(waiting, time.monotonic() - began)
        assert count <= most, f"{count} sleeps of {len(waiting)} threads, at most {most} expected"
    for subscriber in subscribers:
        subscriber.close()


INTERRUPTED = {
    "a frame": "framelane.Subscriber('cam0', open_timeout=0).recv()",
    "a frame, with a timeout": "framelane.Subscriber('cam0', open_timeout=0).recv(timeout=1000)",
    "a frame of an iteration": "next(iter(framelane.Subscriber('cam0', open_timeout=0)))",
    "a copy": "framelane.Subscriber('cam0', open_timeout=0).read()",
    "a channel": "framelane.Subscriber('nothing')",
    "a channel, with a timeout": "framelane.Subscriber('nothing', open_timeout=1000)",
    "detections of a frame": "framelane.DetectionSubscriber('cam0', open_timeout=0).for_frame(1)",
    "a slot": "full(); own.send(image)",
    "a loan": "full(); own.loan((4, 4)).__enter__()",
    "the readers, when draining": "full(); own.drain()",
}


@pytest.mark.parametrize("what", INTERRUPTED)
def test_ctrl_c_ends_the_wait_for(publisher, script, what):
    waiting = script(
        f"""
        import framelane, numpy as np
        image = np.zeros((4, 4), "uint8")
        own = framelane.Publisher("own", slots=2, backpressure="block")
        held = []
        def full():
            reader = framelane.Subscriber("own", delivery="every", open_timeout=0)
            own.send(image)
            held.extend([reader, reader.recv()])
            own.send(image)
        try:
            print("waiting")
            {INTERRUPTED[what]}
            print("returned")
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGINT)
    code, out, err = waiting.finish()
    assert (code, out.strip(), err) == (0, "interrupted", "")


def test_a_signal_handler_that_returns_does_not_end_the_wait(publisher, script):
    waiting = script(
        """
        import framelane, signal
        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        subscriber = framelane.Subscriber("cam0", open_timeout=0)
        print("waiting")
        print(subscriber.recv(timeout=1000).sequence)
        """
    )
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGUSR1)
    waiting.wait_for("handled")
    publisher.send(IMAGE)
    assert waiting.finish()[:2] == (0, "1\n")


def test_an_exit_without_close_leaves_no_channel_behind(directory, script):
    ended = script(
        """
        import framelane, numpy as np, sys
        publisher = framelane.Publisher("cam0")
        detector = framelane.DetectionPublisher("cam0/detections")
        publisher.send(np.zeros((4, 4), "uint8"))
        class Cycle: pass
        cycle = Cycle(); cycle.self = cycle; cycle.publisher = publisher
        sys.modules["keeps"] = cycle
        sys.exit(3)
        """
    )
    assert ended.finish() == (3, "", "")
    assert list(directory.iterdir()) == []


def test_an_exit_while_a_thread_waits_is_clean(publisher, script):
    ended = script(
        """
        import asyncio, framelane, threading
        subscribers = [framelane.Subscriber("cam0", open_timeout=0) for _ in range(4)]
        for subscriber in subscribers[:2]:
            threading.Thread(target=subscriber.recv, daemon=True).start()
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(subscriber.recv_async()) for subscriber in subscribers[2:]]
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        """
    )
    code, out, err = ended.finish()
    assert (code, out, err) == (0, "", "")


def test_an_exit_that_wakes_waiting_daemon_threads_is_clean(script, directory):
    """The publisher is closed by the exit itself, so every thread wakes while the interpreter ends."""
    ended = script(
        """
        import framelane, threading
        publisher = framelane.Publisher("cam0")
        for _ in range(8):
            subscriber = framelane.Subscriber("cam0", open_timeout=0)
            threading.Thread(target=subscriber.recv, daemon=True).start()
        """
    )
    assert ended.finish() == (0, "", "")
    assert list(directory.iterdir()) == []


def test_dead_publisher_is_taken_over_and_readers_continue(script):
    dying = script(
        """
        import framelane, numpy as np, os, signal
        publisher = framelane.Publisher("cam0")
        publisher.send(np.full((4, 4), 1, "uint8"))
        print("sent")
        signal.pause()
        """
    )
    dying.wait_for("sent")
    with framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        first = subscriber.recv(timeout=10)
        dying.process.kill()
        dying.process.wait()
        assert [status.state for status in framelane.list_channels()] == ["stale"]
        with framelane.Publisher("cam0") as publisher:
            publisher.send(np.full((4, 4), 2, "uint8"))
            second = subscriber.recv(timeout=10)
            assert second.epoch != first.epoch
            assert (first.array == 1).all() and (second.array == 2).all()
        del first, second
        gc.collect()
