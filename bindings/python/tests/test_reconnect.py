"""A publisher that closes its channel and comes again: subscribers with `reconnect` wait for it."""

import asyncio
import threading

import numpy as np
import pytest

import framelane


def restart(directory, value):
    publisher = framelane.Publisher("cam0", directory=directory)
    publisher.send(np.full((2, 2), value, "uint8"))
    return publisher


@pytest.mark.parametrize("delivery", ["newest", "every"])
def test_reconnect_goes_on_with_the_next_publisher(directory, delivery):
    first = restart(directory, 1)
    with framelane.Subscriber("cam0", delivery, directory=directory, reconnect=True) as frames:
        held = frames.recv()
        first.close()
        with pytest.raises(framelane.Timeout):
            frames.recv(timeout=0)
        with pytest.raises(framelane.Timeout):
            frames.recv(timeout=0.01)
        assert not frames.publisher_alive
        with restart(directory, 2):
            frame = frames.recv(timeout=60)
            assert frames.publisher_alive
            assert (frame.array[0, 0], frame.sequence, frame.dropped) == (2, 1, 0)
            assert frame.epoch != held.epoch
            assert held.array[0, 0] == 1
            frame.release()


def test_reconnect_iterates_over_restarts(directory):
    publisher = restart(directory, 0)
    with framelane.Subscriber("cam0", directory=directory, reconnect=True) as frames:
        seen = []
        for frame in frames:
            seen.append(int(frame.array[0, 0]))
            frame.release()
            publisher.close()
            if len(seen) == 4:
                break
            publisher = restart(directory, len(seen))
        assert seen == [0, 1, 2, 3]


def test_reconnect_iterates_over_restarts_in_asyncio(directory):
    async def run():
        publisher = restart(directory, 0)
        frames = framelane.Subscriber("cam0", directory=directory, reconnect=True)
        seen = []
        async for frame in frames:
            seen.append(int(frame.array[0, 0]))
            frame.release()
            publisher.close()
            with pytest.raises(framelane.Timeout):
                await frames.recv_async(timeout=0.01)
            if len(seen) == 3:
                break
            publisher = restart(directory, len(seen))
        frames.close()
        return seen

    assert asyncio.run(run()) == [0, 1, 2]


def test_reconnect_wait_ends_when_the_subscriber_is_closed(directory):
    publisher = restart(directory, 0)
    frames = framelane.Subscriber("cam0", directory=directory, reconnect=True)
    frames.recv().release()
    publisher.close()
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(list(frames)))
    waiting.start()
    frames.close()
    waiting.join()
    assert ended == [[]]


def test_reconnect_is_off_by_default(directory):
    publisher = restart(directory, 0)
    with framelane.Subscriber("cam0", directory=directory) as frames:
        frames.recv().release()
        publisher.close()
        assert list(frames) == []


def test_reconnect_of_detections_finds_frames_over_restarts(directory):
    with restart(directory, 0), framelane.Subscriber("cam0", directory=directory) as frames:
        frame = frames.recv()
        boxes = np.array([[0, 0, 1, 1]], "float32")
        finder = framelane.DetectionPublisher("cam0/detections", directory=directory)
        found = framelane.DetectionSubscriber("cam0/detections", directory=directory, reconnect=True)
        finder.send(frame, boxes[:0])
        assert len(found.recv(timeout=60).boxes_xyxy) == 0
        finder.close()
        with framelane.DetectionPublisher("cam0/detections", directory=directory) as finder:
            finder.send(frame, boxes)
            assert len(found.recv(timeout=60).boxes_xyxy) == 1
        found.close()
