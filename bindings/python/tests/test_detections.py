"""Boxes go back to the frame they were found in."""

import json
import pathlib

import numpy as np
import pytest

import framelane

VECTORS = pathlib.Path(__file__).parents[3] / "spec" / "vectors"
ID = framelane.FrameId("cam0", 7, 42, timestamp_ns=11, published_ns=13, width=640, height=480)
BOXES = np.array([[1, 2, 11, 22], [0.5, 0.25, 100, 200]], "float32")


@pytest.fixture
def detector():
    with framelane.DetectionPublisher("cam0/detections", ["person", "car"], model="test") as detector:
        yield detector


@pytest.fixture
def results(detector):
    with framelane.DetectionSubscriber("cam0/detections", open_timeout=0) as results:
        yield results


def test_boxes_scores_and_ids_arrive_as_typed_arrays(detector, results):
    sequence = detector.send(
        ID, BOXES, [0.5, 1], [1, 0], [2**64 - 1, 0], rotations=[0, 1.5], flags=[framelane.LOST, framelane.PREDICTED]
    )
    batch = results.recv(timeout=10)
    assert len(batch) == 2 and batch.sequence == sequence == 1
    np.testing.assert_allclose(batch.boxes_xyxy, BOXES)
    np.testing.assert_allclose(batch.boxes_xywh, [[1, 2, 10, 20], [0.5, 0.25, 99.5, 199.75]])
    assert batch.scores.tolist() == [0.5, 1] and batch.scores.dtype == np.float32
    assert batch.class_ids.tolist() == [1, 0] and batch.class_ids.dtype == np.uint32
    assert batch.track_ids.tolist() == [2**64 - 1, 0] and batch.track_ids.dtype == np.uint64
    assert batch.flags.tolist() == [1, 2] and batch.rotations.tolist() == [0, 1.5]
    assert batch.labels == ["person", "car"] and batch.model == "test"
    assert batch.frame == ID
    assert (batch.frame_sequence, batch.epoch, batch.timestamp_ns) == (42, 7, 11)
    assert batch.latency_ns == batch.published_ns - 13
    assert batch.dropped == 0


def test_a_frame_names_itself_also_after_its_release(publisher, subscriber, detector, results):
    publisher.send(np.zeros((4, 6, 3), "uint8"), timestamp_ns=99)
    frame = subscriber.recv(timeout=10)
    frame.release()
    detector.send(frame, BOXES)
    batch = results.recv(timeout=10)
    assert batch.frame == frame.id
    assert (batch.frame.width, batch.frame.height, batch.timestamp_ns) == (6, 4, 99)
    assert 0 <= batch.latency_ns


@pytest.mark.parametrize("boxes", [np.empty((0, 4)), [], np.empty((0, 4), "int32")])
def test_no_boxes_are_a_result_too(detector, results, boxes):
    detector.send(ID, boxes, [], [], [])
    batch = results.recv(timeout=10)
    assert len(batch) == 0 and batch.boxes_xyxy.shape == (0, 4) and batch.scores.shape == (0,)
    assert batch.boxes_xyxy.dtype == np.float32


def test_columns_left_out_have_defaults(detector, results):
    detector.send(ID, BOXES)
    batch = results.recv(timeout=10)
    assert batch.scores.tolist() == [1, 1]
    assert batch.class_ids.tolist() == batch.track_ids.tolist() == batch.flags.tolist() == [0, 0]


def test_columns_of_any_strides_and_number_types_are_taken(detector, results):
    wide = np.zeros((4, 12))
    wide[::2, 1::3] = BOXES
    detector.send(
        ID, wide[::2, 1::3], np.float64([1, 0, 0.5])[::2], np.float32([1, 0]), np.int8([5, 6])[::-1], flags=(1, 2)
    )
    batch = results.recv(timeout=10)
    np.testing.assert_allclose(batch.boxes_xyxy, BOXES)
    assert (batch.scores.tolist(), batch.class_ids.tolist(), batch.track_ids.tolist()) == ([1, 0.5], [1, 0], [6, 5])
    detector.send(ID, np.asfortranarray(BOXES), track_ids=np.array([1, 2], ">u8"))
    batch = results.recv(timeout=10)
    np.testing.assert_allclose(batch.boxes_xyxy, BOXES)
    assert batch.track_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ((BOXES[0],), ValueError, r"boxes_xyxy: expected shape \(N, 4\), found \(4,\)"),
        ((BOXES[:, :3],), ValueError, r"found \(2, 3\)"),
        ((BOXES[None],), ValueError, r"found \(1, 2, 4\)"),
        ((BOXES, [1]), ValueError, r"scores: expected shape \(2,\), one for each box, found \(1,\)"),
        ((BOXES, [[1, 2]]), ValueError, r"found \(1, 2\)"),
        ((BOXES, 1.0), ValueError, r"found \(\)"),
        (
            (BOXES, None, [-1, 0]),
            ValueError,
            "class_ids: expected whole numbers from 0 to 4294967295, found -1",
        ),
        ((BOXES, None, [2**32, 0]), ValueError, "found 4294967296"),
        ((BOXES, None, [0.5, 0]), ValueError, "found 0.5"),
        ((BOXES, None, [float("nan"), 0]), ValueError, "found NaN"),
        ((BOXES, None, None, [-1, 0]), ValueError, "track_ids"),
        ((BOXES, None, None, [1e30, 0]), ValueError, "track_ids"),
        ((BOXES, None, None, [2**64, 0]), TypeError, "object"),
        ((BOXES, ["a", "b"]), TypeError, "scores: expected numbers"),
        ((BOXES, [True, False]), TypeError, "found dtype bool"),
        (([["a"] * 4],), TypeError, "boxes_xyxy: expected numbers"),
        ((None,), TypeError, "boxes_xyxy"),
    ],
)
def test_columns_of_other_lengths_are_refused_with_a_reason(detector, columns, error, message):
    with pytest.raises(error, match=message):
        detector.send(ID, *columns)
    assert detector.sequence == 0


@pytest.mark.parametrize("class_ids", [[0, 2], np.array([7, 1]), np.float32([1, 2])])
def test_class_without_a_label_is_refused(detector, class_ids):
    found = int(max(class_ids))
    expected = f"class_ids: expected 0 to 1 for the 2 labels of this publisher, found {found}"
    with pytest.raises(ValueError, match=expected):
        detector.send(ID, BOXES, None, class_ids)
    assert detector.sequence == 0


def test_without_labels_any_class_is_taken():
    with framelane.DetectionPublisher("cam1/detections") as detector:
        with framelane.DetectionSubscriber("cam1/detections", open_timeout=0) as results:
            detector.send(ID, BOXES, None, [2**32 - 1, 0])
            assert results.recv(timeout=10).class_ids.tolist() == [2**32 - 1, 0]


def test_a_reader_of_images_is_told_that_these_are_detections(detector):
    with framelane.Subscriber("cam0/detections", delivery="every", open_timeout=0) as images:
        detector.send(ID, BOXES)
        detector.send(ID, BOXES)
        frame = images.recv(timeout=10)
        for attempt in [lambda: frame.array, frame.copy, lambda: np.asarray(frame), images.read]:
            with pytest.raises(ValueError, match="framelane.DetectionSubscriber"):
                attempt()
        assert frame.format == "detections" and frame.planes[0].ndim == 2


@pytest.mark.parametrize("frame", [None, 1, "cam0", np.zeros((2, 2))])
def test_something_else_than_a_frame_is_refused(detector, frame):
    with pytest.raises(TypeError, match="Frame or FrameId"):
        detector.send(frame, BOXES)


def test_the_detections_of_a_frame_are_found_in_any_order(detector, results):
    ids = [framelane.FrameId("cam0", 7, sequence) for sequence in range(1, 6)]
    for id in ids:
        detector.send(id, np.full((id.sequence, 4), 1))
    assert len(results.for_frame(ids[3], timeout=10)) == 4
    assert len(results.for_frame(ids[0], timeout=10)) == 1
    assert len(results.for_frame(5, timeout=0)) == 5
    assert len(results.for_frame(2, timeout=0, epoch=7)) == 2
    with pytest.raises(framelane.Timeout, match="no detections of frame 6.*newest are of frame 5"):
        results.for_frame(6, timeout=0)
    with pytest.raises(framelane.Timeout):
        results.for_frame(framelane.FrameId("cam0", 8, 1), timeout=0)
    with pytest.raises((TypeError, ValueError)):
        results.for_frame("x", timeout=0)


def test_a_sequence_alone_is_one_of_the_epoch_that_comes_first(detector, results):
    with pytest.raises(framelane.Timeout):
        results.for_frame(3, timeout=0)
    detector.send(framelane.FrameId("cam0", 9, 3), BOXES)
    assert results.for_frame(3, timeout=10).epoch == 9


def test_batches_can_be_iterated_until_the_channel_closes():
    with framelane.DetectionPublisher("d", backpressure="block") as detector:
        results = framelane.DetectionSubscriber("d", open_timeout=0)
        for sequence in range(1, 4):
            detector.send(framelane.FrameId("cam0", 1, sequence), BOXES)
        received = [results.recv(timeout=10) for _ in range(3)]
    assert [batch.frame_sequence for batch in received] == [1, 2, 3]
    assert list(results) == []
    with pytest.raises(framelane.ChannelClosed):
        results.recv()
    assert (results.received, results.dropped) == (3, 0)
    results.close()


async def test_batches_can_be_awaited(detector, results):
    detector.send(ID, BOXES)
    assert len(await results.recv_async(timeout=10)) == 2
    with pytest.raises(framelane.Timeout):
        await results.recv_async(timeout=0.01)
    detector.send(ID, [])
    detector.close()
    assert [len(batch) async for batch in results] == [0]


def test_a_channel_of_images_is_no_channel_of_detections(publisher):
    with framelane.DetectionSubscriber("cam0", open_timeout=0) as results:
        publisher.send(np.zeros((2, 2), "uint8"))
        with pytest.raises(framelane.InvalidFrame, match="cam0"):
            results.recv(timeout=10)


def test_bytes_come_back_as_the_same_batch(detector, results):
    detector.send(ID, BOXES, [0.5, 1], [1, 0], [3, 4])
    batch = results.recv(timeout=10)
    again = framelane.Detections.from_bytes(batch.to_bytes())
    assert again.to_bytes() == batch.to_bytes() and again.frame == ID and again.labels == batch.labels


def test_damaged_bytes_are_refused(detector, results):
    detector.send(ID, BOXES)
    whole = results.recv(timeout=10).to_bytes()
    for cut in range(len(whole)):
        with pytest.raises(framelane.Error):
            framelane.Detections.from_bytes(whole[:cut])
    with pytest.raises(framelane.IncompatibleVersion):
        framelane.Detections.from_bytes(whole[:4] + b"\xff" + whole[5:])


def vectors():
    return sorted(VECTORS.glob("**/detections*.json"))


def test_there_are_vectors():
    assert len(vectors()) >= 2, f"no vectors of detections in {VECTORS}"


@pytest.mark.parametrize("path", vectors(), ids=lambda path: path.stem)
def test_a_vector_of_the_specification_is_read_as_it_says(path):
    expected = json.loads(path.read_text())
    data = path.with_suffix(".bin").read_bytes()
    batch = framelane.Detections.from_bytes(data)
    assert batch.to_bytes() == data
    # 64-bit numbers are strings in the vectors: not every reader of JSON keeps them exact.
    for name in ["epoch", "sequence", "timestamp_ns", "published_ns", "width", "height"]:
        assert getattr(batch.frame, name) == int(expected[name]), name
    assert batch.frame.channel == expected["channel"]
    assert (batch.model, batch.labels, len(batch)) == (expected["model"], expected["labels"], len(expected["boxes"]))
    columns = {"rotation": batch.rotations, "score": batch.scores, "class_id": batch.class_ids}
    columns.update(track_id=batch.track_ids, flags=batch.flags)
    columns.update({side: batch.boxes_xywh[:, n] for n, side in enumerate(["x", "y", "width", "height"])})
    for index, box in enumerate(expected["boxes"]):
        assert box.keys() == columns.keys()
        for name, value in box.items():
            found = columns[name][index]
            exact = int(value) if found.dtype.kind == "u" else value
            assert found == exact, f"{name} of box {index}"
