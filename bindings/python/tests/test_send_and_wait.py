"""Request and answer: the boxes of the very image that was sent."""

import threading

import numpy as np
import pytest

import framelane


def detect(finder, last):
    """Answers frames with as many boxes as their first pixel says, up to the one with `last`."""
    with framelane.Subscriber("cam0") as frames:
        for frame in frames:
            boxes = int(frame.array[0, 0])
            finder.send(frame, np.zeros((boxes, 4)))
            if boxes == last:
                break


def image(boxes):
    return np.full((2, 3), boxes, "uint8")


def test_each_image_comes_back_as_its_own_boxes(publisher):
    with framelane.DetectionPublisher("cam0/detections") as finder:
        with framelane.DetectionSubscriber("cam0/detections") as detections:
            worker = threading.Thread(target=detect, args=(finder, 19))
            worker.start()
            for boxes in range(20):
                found = publisher.send_and_wait(image(boxes), detections)
                assert len(found.boxes_xyxy) == boxes
                assert found.frame.sequence == publisher.sequence
            worker.join()


def test_the_next_detector_answers_when_the_first_has_ended(publisher):
    first = framelane.DetectionPublisher("cam0/detections")
    with framelane.DetectionSubscriber("cam0/detections") as detections:
        first.close()
        with pytest.raises(framelane.Timeout, match="channel cam0/detections in .* has no publisher"):
            publisher.send_and_wait(image(1), detections, timeout=0.001)
        with framelane.DetectionPublisher("cam0/detections") as second:
            worker = threading.Thread(target=detect, args=(second, 3))
            worker.start()
            assert len(publisher.send_and_wait(image(3), detections).boxes_xyxy) == 3
            worker.join()


def test_an_image_without_a_slot_is_an_error():
    with framelane.Publisher("cam0", slots=2) as publisher:
        with framelane.DetectionPublisher("cam0/detections"):
            with framelane.DetectionSubscriber("cam0/detections") as detections:
                with publisher.loan((2, 3)), publisher.loan((2, 3)):
                    with pytest.raises(framelane.NoFreeSlot):
                        publisher.send_and_wait(image(0), detections)


def test_a_wrong_timeout_sends_nothing(publisher):
    with framelane.DetectionPublisher("cam0/detections"):
        with framelane.DetectionSubscriber("cam0/detections") as detections:
            with pytest.raises(ValueError, match="timeout"):
                publisher.send_and_wait(image(0), detections, timeout=-1)
    assert publisher.sequence == 0
