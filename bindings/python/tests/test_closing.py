"""Closing: from signal handlers, while other threads are in a call, and at the exit of the interpreter."""

import signal
import textwrap
import threading

import numpy as np
import pytest

import framelane
from conftest import until

IMAGE = np.zeros((4, 4), "uint8")

# A publisher with a full ring: `send`, `loan` and `drain` wait for the reader.
FULL = """
import framelane, numpy as np, signal, sys, threading
image = np.zeros((4, 4), "uint8")
pub = framelane.Publisher("own", slots=2, backpressure="block")
reader = framelane.Subscriber("own", delivery="every", open_timeout=0)
pub.send(image)
held = reader.recv()
pub.send(image)
def on_signal(*_):
    try:
        HANDLER
    except framelane.Error as error:
        print(type(error).__name__)
    print([status.name for status in framelane.list_channels()])
    framelane.Publisher("own").close() if pub.closed else None
signal.signal(signal.SIGTERM, on_signal)
print("waiting")
try:
    CALL
    print("returned")
except framelane.Error as error:
    print(type(error).__name__)
"""

WAITS = {
    "send": "pub.send(image)",
    "loan": "pub.loan((4, 4)).__enter__()",
    "drain": "pub.drain()",
    "drain with a time": "pub.drain(timeout=1000)",
}


def interrupt(script, source):
    waiting = script(source)
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGTERM)
    return waiting


@pytest.mark.parametrize("call", WAITS)
def test_close_in_handler_of_waiting_call_ends_channel(script, directory, call):
    source = FULL.replace("CALL", WAITS[call]).replace("HANDLER", "pub.close()")
    code, out, err = interrupt(script, source).finish()
    assert (code, out.split("\n"), err) == (0, ["[]", "ChannelClosed", ""], "")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("call", WAITS)
def test_exit_in_handler_of_waiting_call_ends_process(script, directory, call):
    source = FULL.replace("CALL", WAITS[call]).replace("HANDLER", "pub.close(); sys.exit(7)")
    code, out, err = interrupt(script, source).finish()
    assert (code, out, err) == (7, "", "")
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("nested", ["pub.send(image)", "pub.loan((4, 4)).__enter__()"])
def test_call_in_handler_of_waiting_call_raises(script, nested):
    source = FULL.replace("CALL", "pub.send(image)").replace("HANDLER", nested)
    waiting = interrupt(script, source)
    waiting.wait_for("Interrupted")
    waiting.wait_for("['own']")
    # The interrupted call goes on, until Ctrl-C ends it.
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGINT)
    code, out, err = waiting.finish()
    assert (code, out, "KeyboardInterrupt" in err) == (-signal.SIGINT, "", True)


def test_close_in_handler_never_waits(script, directory):
    source = FULL.replace("HANDLER", "pub.close()").replace("CALL", "signal.pause()")
    code, out, err = interrupt(script, source).finish()
    assert (code, out.split("\n"), err) == (0, ["[]", "returned", ""], "")
    assert list(directory.iterdir()) == []


ENDS = {
    "close": lambda publisher: publisher.close(),
    "with": lambda publisher: publisher.__exit__(None, None, None),
    "del": lambda publisher: None,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("backpressure", ["drop", "block"])
def test_drain_waits_for_readers_and_close_does_not(backpressure, end):
    publisher = framelane.Publisher("cam0", slots=4, backpressure=backpressure)
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as reader:
        publisher.drain(timeout=0)
        publisher.send(IMAGE)
        for timeout in (0, 0.02):
            with pytest.raises(framelane.Timeout, match="1 subscriber has not received frame 1"):
                publisher.drain(timeout)
        drained = []
        thread = threading.Thread(target=lambda: drained.append(publisher.drain()))
        thread.start()
        assert reader.recv(timeout=60).sequence == 1
        thread.join()
        assert drained == [None]
        publisher.send(IMAGE)
        # No frame is received here, so a close that waited for the reader would hang.
        ENDS[end](publisher)
        del thread, publisher
        assert framelane.list_channels() == []
        assert reader.recv(timeout=60).sequence == 2
        with pytest.raises(framelane.ChannelClosed):
            reader.recv(timeout=60)


def test_drain_of_detections_waits_and_close_does_not():
    detector = framelane.DetectionPublisher("d", backpressure="block")
    with framelane.DetectionSubscriber("d", open_timeout=0) as results:
        detector.send(framelane.FrameId("cam0", 1, 1), [])
        with pytest.raises(framelane.Timeout):
            detector.drain(timeout=0.01)
        results.recv(timeout=60)
        detector.drain()
        detector.send(framelane.FrameId("cam0", 1, 2), [])
        detector.close()
        assert results.recv(timeout=60).frame_sequence == 2


DETECTIONS = """
import framelane, numpy as np, signal
pub = framelane.DetectionPublisher("own", slots=2, backpressure="block")
reader = framelane.Subscriber("own", delivery="every", open_timeout=0)
frame = framelane.FrameId("cam0", 1, 1)
pub.send(frame, [])
held = reader.recv()
pub.send(frame, [])
def on_signal(*_):
    pub.close()
    print([status.name for status in framelane.list_channels()])
signal.signal(signal.SIGTERM, on_signal)
print("waiting")
try:
    CALL
    print("returned")
except framelane.ChannelClosed as error:
    print("ChannelClosed")
"""


@pytest.mark.parametrize("call", ["pub.send(frame, [])", "pub.drain()"])
def test_close_of_detections_in_handler_ends_channel(script, directory, call):
    code, out, err = interrupt(script, DETECTIONS.replace("CALL", call)).finish()
    assert (code, out.split("\n"), err) == (0, ["[]", "ChannelClosed", ""], "")
    assert list(directory.iterdir()) == []


RECEIVES = {
    "recv": ("framelane.Subscriber('cam0', open_timeout=0)", "sub.recv()"),
    "for": ("framelane.Subscriber('cam0', open_timeout=0)", "next(sub)"),
    "read": ("framelane.Subscriber('cam0', open_timeout=0)", "sub.read()"),
    "detections": ("framelane.DetectionSubscriber('cam0', open_timeout=0)", "sub.recv()"),
    "for_frame": ("framelane.DetectionSubscriber('cam0', open_timeout=0)", "sub.for_frame(1)"),
    "for_frame with a time": (
        "framelane.DetectionSubscriber('cam0', open_timeout=0)",
        "sub.for_frame(1, 1000)",
    ),
}


@pytest.mark.parametrize("handler", ["call", "close"])
@pytest.mark.parametrize("what", RECEIVES)
def test_handler_that_uses_waiting_subscriber_returns(publisher, script, what, handler):
    opened, call = RECEIVES[what]
    source = f"""
        import framelane, signal
        sub = {opened}
        def on_signal(*_):
            try:
                {call if handler == "call" else "sub.close()"}
                print("handled")
            except framelane.Error as error:
                print(type(error).__name__)
            if {handler == "call"}:
                sub.close()
        signal.signal(signal.SIGTERM, on_signal)
        print("waiting")
        try:
            print({call})
        except (framelane.ChannelClosed, StopIteration) as error:
            print(type(error).__name__)
    """
    code, out, err = interrupt(script, textwrap.dedent(source)).finish()
    first = "Interrupted" if handler == "call" else "handled"
    last = {"for": "StopIteration", "read": "(False, None)"}.get(what, "ChannelClosed")
    assert (code, out.split("\n"), err) == (0, [first, last, ""], "")


def test_recv_in_handler_of_recv_takes_frame_that_is_there(publisher, script):
    waiting = script(
        """
        import framelane, numpy as np, signal
        sub = framelane.Subscriber("cam0", open_timeout=0)
        def on_signal(*_):
            with framelane.Publisher("go"):
                print("go")
                print(sub.recv(timeout=1000).sequence)
        signal.signal(signal.SIGTERM, on_signal)
        print("waiting")
        print(sub.recv().sequence)
        """
    )
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGTERM)
    waiting.wait_for("go")
    publisher.send(IMAGE)
    waiting.wait_for("1")
    publisher.send(IMAGE)
    assert waiting.finish() == (0, "2\n", "")


@pytest.mark.parametrize("backpressure", ["drop", "block"])
@pytest.mark.parametrize("how", ["close", "with"])
def test_close_while_other_threads_send_ends_channel(directory, backpressure, how):
    image = np.zeros((1000, 1000, 3), "uint8")
    for _ in range(20):
        publisher = framelane.Publisher("cam0", backpressure=backpressure)
        reader = framelane.Subscriber("cam0", open_timeout=0)
        sent, closed = [], []

        def send(publisher=publisher, sent=sent, closed=closed):
            try:
                while True:
                    sent.append(publisher.send(image))
            except framelane.ChannelClosed:
                closed.append(True)

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda sent=sent: len(sent) > 3)
        if how == "close":
            publisher.close()
        else:
            with publisher:
                pass
        # At once, and not when the threads have noticed.
        assert framelane.list_channels() == []
        with framelane.Publisher("cam0"):
            pass
        with pytest.raises(framelane.ChannelClosed):
            while True:
                reader.recv(timeout=10)
        for thread in threads:
            thread.join()
        assert len(closed) == 2
        reader.close()


def test_close_while_other_thread_waits_for_slot_ends_channel():
    publisher = framelane.Publisher("cam0", slots=2, backpressure="block")
    reader = framelane.Subscriber("cam0", open_timeout=0)
    publisher.send(IMAGE)
    held = [reader.recv(timeout=10)]
    publisher.send(IMAGE)
    began, ended = threading.Event(), []

    def send():
        began.set()
        with pytest.raises(framelane.ChannelClosed):
            publisher.send(IMAGE)
        ended.append(True)

    thread = threading.Thread(target=send)
    thread.start()
    began.wait()
    # The reader takes the newest frame only: the publisher waits for its slot, but not for it to receive.
    publisher.close()
    assert framelane.list_channels() == [] and held
    thread.join()
    assert ended
    reader.close()


def test_closes_of_several_threads_return_when_channel_is_gone():
    for _ in range(20):
        publisher = framelane.Publisher("cam0", backpressure="block")
        publisher.send(IMAGE)
        left = []

        def close(publisher=publisher, left=left):
            publisher.close()
            left.append(framelane.list_channels())

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert left == [[]] * 4


def test_ctrl_c_in_drain_leaves_the_channel_open(script, directory):
    waiting = script(
        FULL.replace("CALL", "pub.drain()").replace("signal.signal(signal.SIGTERM, on_signal)", "")
        + "\nexcept KeyboardInterrupt:\n"
        + "    print(pub.closed, [status.name for status in framelane.list_channels()])\n"
    )
    waiting.wait_for("waiting")
    waiting.until_it_sleeps()
    waiting.process.send_signal(signal.SIGINT)
    assert waiting.finish() == (0, "False ['own']\n", "")


EXIT = {
    "sends": "while True: pub.send(image)",
    "waits for a slot": "while True: held.append(reader.recv()) or pub.send(image)",
    "lends": "while True:\n        with pub.loan((500, 500)) as slot: slot.array[...] = 1",
}


@pytest.mark.parametrize("backpressure", ["drop", "block"])
@pytest.mark.parametrize("what", EXIT)
def test_exit_while_daemon_thread_uses_publisher_ends_channel(script, directory, what, backpressure):
    ended = script(
        f"""
import framelane, numpy as np, threading
image = np.zeros((500, 500), "uint8")
pub = framelane.Publisher("cam0", backpressure={backpressure!r})
reader = framelane.Subscriber("cam0", delivery="every", open_timeout=0)
pub.send(image)
held, began = [], threading.Event()
def work():
    began.set()
    {EXIT[what]}
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
began.wait()
"""
    )
    code, out, err = ended.finish()
    assert (code, out) == (0, "")
    assert "Fatal" not in err and "panicked" not in err
    assert list(directory.iterdir()) == []
