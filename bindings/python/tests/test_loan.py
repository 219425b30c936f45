"""Writing in place, and that nothing in Python can change a published frame."""

import gc

import numpy as np
import pytest

import framelane
from conftest import address


def test_a_loan_is_published_on_exit(publisher, subscriber):
    with publisher.loan((4, 6, 3), timestamp_ns=1, pts_ns=2) as slot:
        assert slot.array.shape == (4, 6, 3) and slot.array.dtype == np.uint8
        assert slot.array.flags.writeable and slot.array.flags.c_contiguous and slot.array.flags.aligned
        assert (slot.sequence, slot.dropped, slot.copied, slot.format) == (None, False, False, "bgr8")
        slot.array[:] = 3
        slot.timestamp_ns = 11
        slot.pts_ns = None
    assert (slot.sequence, slot.dropped, slot.copied) == (1, False, False)
    frame = subscriber.recv(timeout=10)
    assert (frame.array == 3).all()
    assert (frame.sequence, frame.timestamp_ns, frame.pts_ns) == (1, 11, None)


@pytest.mark.parametrize(
    ("shape", "dtype", "format", "expected"),
    [
        ((4, 6), "uint8", None, "gray8"),
        ((4, 6), np.uint16, None, "gray16"),
        ((4, 6, 4), np.dtype("u1"), None, "bgra8"),
        ([4, 6, 2], "float32", None, "matrix:f32:2"),
        (np.zeros((4, 6, 1)).shape, "f2", None, "matrix:f16:1"),
        ((6, 6), "uint8", "i420", "i420"),
        ((6, 6), "uint16", "p010", "p010"),
        ((4, 6, 3), "uint8", "rgb8", "rgb8"),
    ],
)
def test_a_loan_has_the_shape_and_dtype_asked_for(publisher, subscriber, shape, dtype, format, expected):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with publisher.loan(shape, dtype, format) as slot:
        assert slot.array.shape == tuple(shape) and slot.array.dtype == np.dtype(dtype)
        slot.array[:] = values
    frame = subscriber.recv(timeout=10)
    assert frame.format == expected
    np.testing.assert_array_equal(frame.array.reshape(shape), values)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((4,),), ValueError, r"\(H, W, C\)"),
        (((1, 2, 3, 4),), ValueError, r"\(H, W, C\)"),
        (((0, 4),), ValueError, "at least one pixel"),
        (((-1, 4),), OverflowError, None),
        (((1 << 40, 1),), ValueError, r"2\*\*32"),
        (((1 << 31, 1 << 31, 4),), ValueError, "at most"),
        ((4,), TypeError, None),
        (("44",), TypeError, None),
        (((4, 4), "int64"), TypeError, "found int64"),
        (((4, 4), ">u2"), TypeError, "native"),
        (((4, 4), "nonsense"), TypeError, None),
        (((4, 4), "uint8", "bgr8"), ValueError, "bgr8"),
    ],
)
def test_a_loan_that_cannot_be_a_frame_is_refused_at_once(publisher, arguments, error, message):
    with pytest.raises(error, match=message):
        publisher.loan(*arguments)
    assert publisher.sequence == 0


def test_an_exception_abandons_the_loan(publisher, subscriber):
    with pytest.raises(KeyError):
        with publisher.loan((4, 6)) as slot:
            slot.array[:] = 1
            raise KeyError
    assert slot.sequence is None and not slot.dropped
    assert publisher.sequence == 0 and publisher.dropped == 0
    with pytest.raises(framelane.Timeout):
        subscriber.recv(timeout=0)
    with publisher.loan((4, 6)) as slot:
        slot.array[:] = 2
    assert subscriber.recv(timeout=10).sequence == 1


def test_a_loan_can_be_abandoned_without_an_exception(publisher, subscriber):
    with publisher.loan((4, 6)) as slot:
        kept = slot.array
        kept[:] = 1
        slot.abandon()
        slot.abandon()
        with pytest.raises(ValueError, match="abandoned"):
            slot.array
        assert not kept.flags.writeable and "abandoned" in repr(slot)
    assert (slot.sequence, slot.dropped, slot.copied) == (None, False, False)
    assert publisher.sequence == 0 and publisher.dropped == 0
    with pytest.raises(framelane.Timeout):
        subscriber.recv(timeout=0)
    with pytest.raises(KeyError):
        with publisher.loan((4, 6)) as slot:
            slot.abandon()
            raise KeyError


def test_an_abandoned_loan_frees_its_slot():
    with framelane.Publisher("cam0", slots=2) as publisher:
        for _ in range(5):
            with publisher.loan((4, 4)) as slot:
                assert not slot.dropped
                slot.abandon()
        assert publisher.send(np.zeros((4, 4), "uint8")) == 1


def test_a_loan_is_abandoned_inside_its_block_only(publisher):
    slot = publisher.loan((4, 6))
    with pytest.raises(RuntimeError, match="inside its block"):
        slot.abandon()
    with slot:
        slot.array[:] = 1
    with pytest.raises(RuntimeError, match="inside its block"):
        slot.abandon()
    assert slot.sequence == 1


def test_the_array_is_out_of_reach_before_and_after_the_block(publisher):
    slot = publisher.loan((4, 6))
    with pytest.raises(ValueError, match="inside the block"):
        slot.array
    with slot:
        slot.array[:] = 1
        with pytest.raises(RuntimeError, match="once"):
            slot.__enter__()
    with pytest.raises(ValueError, match="the loan has ended"):
        slot.array
    with pytest.raises(RuntimeError, match="once"):
        slot.__enter__()
    with pytest.raises(RuntimeError):
        publisher.loan((4, 6)).__exit__(None, None, None)


RETAINED = {
    "the array itself": lambda array: array,
    "a view": lambda array: array[1:3],
    "a reshaped view": lambda array: array.reshape(-1),
    "a memoryview": memoryview,
    "a view of a view": lambda array: np.asarray(array.view()),
}
if hasattr(np, "from_dlpack"):
    RETAINED["a tensor"] = np.from_dlpack


@pytest.mark.parametrize("retained", RETAINED)
def test_kept_array_of_a_loan_cannot_change_the_frame(publisher, subscriber, retained):
    with publisher.loan((8, 8)) as slot:
        slot.array[:] = 1
        kept = RETAINED[retained](slot.array)
    assert slot.copied and slot.sequence == 1
    frame = subscriber.recv(timeout=10)
    assert (frame.array == 1).all()
    memory = np.asarray(kept)
    if memory.flags.writeable:
        memory.flat[0] = 99
    assert (frame.array == 1).all()
    for n in range(20):
        publisher.send(np.full((8, 8), n, "uint8"))
    assert memory.flat[0] == (99 if memory.flags.writeable else 1), "its memory is its own"


def test_a_variable_kept_past_the_block_becomes_read_only(publisher):
    with publisher.loan((8, 8)) as slot:
        kept = slot.array
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        kept.flags.writeable = True


def test_without_anything_kept_the_frame_is_not_copied(publisher, subscriber):
    for write in [
        lambda slot: slot.array.fill(3),
        lambda slot: np.copyto(slot.array, 3),
        lambda slot: slot.array[2:].__setitem__(slice(None), 3),
        lambda slot: np.add(slot.array, 3, out=slot.array),
    ]:
        with publisher.loan((8, 8)) as slot:
            place = address(slot.array)
            write(slot)
        assert not slot.copied and place


def test_a_temporary_variable_deleted_in_the_block_costs_no_copy(publisher):
    with publisher.loan((8, 8)) as slot:
        array = slot.array
        array[:] = 2
        del array
    assert not slot.copied


def test_opencv_writes_into_a_loan(publisher, subscriber):
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3), "uint8")
    with publisher.loan((10, 15, 3)) as slot:
        cv2.resize(image, (15, 10), dst=slot.array, interpolation=cv2.INTER_AREA)
        cv2.rectangle(slot.array, (1, 1), (5, 5), (255, 0, 0))
    assert not slot.copied
    expected = cv2.rectangle(cv2.resize(image, (15, 10), interpolation=cv2.INTER_AREA), (1, 1), (5, 5), (255, 0, 0))
    np.testing.assert_array_equal(subscriber.recv(timeout=10).array, expected)


def test_camera_fills_a_loan_of_its_size_only(publisher, subscriber, tmp_path):
    """The README's check distinguishes the two, without a copy."""
    cv2 = pytest.importorskip("cv2")
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    if not writer.isOpened():
        pytest.skip("opencv-avi: this OpenCV writes no AVI")
    for _ in range(2):
        writer.write(np.full((48, 64, 3), 200, "uint8"))
    writer.release()
    camera = cv2.VideoCapture(path)
    filled = []
    for shape in [(48, 64, 3), (50, 64, 3), (48, 64, 3)]:  # Fits; another size; the end of the film.
        with publisher.loan(shape) as slot:
            slot.array[:] = 7
            ok, image = camera.read(slot.array)
            filled.append((ok, ok and image is slot.array))
            del image
            if not filled[-1][1]:
                slot.abandon()
        assert not slot.copied
    assert filled == [(True, True), (True, False), (False, False)]
    assert (subscriber.recv(timeout=10).array > 100).all() and publisher.sequence == 1


def test_loan_without_a_free_slot_counts_as_dropped():
    with framelane.Publisher("cam0", slots=2) as publisher, framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        publisher.send(np.zeros((4, 4), "uint8"))
        first = subscriber.recv(timeout=10)
        publisher.send(np.zeros((4, 4), "uint8"))
        with publisher.loan((4, 4)) as slot:
            assert slot.dropped
            slot.array[:] = 1
        assert slot.dropped and slot.sequence is None
        assert publisher.dropped == 1 and publisher.sequence == 3
        with pytest.raises(KeyError):
            with publisher.loan((4, 4)) as slot:
                raise KeyError
        assert publisher.dropped == 1, "an abandoned loan is no dropped frame"
        del first
        gc.collect()
        with publisher.loan((4, 4)) as slot:
            assert not slot.dropped
            slot.array[:] = 5
        frame = subscriber.recv(timeout=10)
        assert (frame.array == 5).all() and frame.sequence == 4


def test_several_loans_may_be_open_at_once(publisher, subscriber):
    with publisher.loan((4, 4)) as first, publisher.loan((4, 4)) as second:
        first.array[:] = 1
        second.array[:] = 2
        assert address(first.array) != address(second.array)
    assert (second.sequence, first.sequence) == (1, 2)
    assert (subscriber.recv(timeout=10).array == 1).all()


def test_a_loan_outlives_a_change_of_size(publisher, subscriber):
    with publisher.loan((4, 4)) as slot:
        slot.array[:] = 1
        publisher.send(np.zeros((100, 100, 3), "uint8"))
    assert slot.sequence == 2
    assert (subscriber.recv(timeout=10).array == 1).all()


def test_loan_of_a_closed_publisher_keeps_its_memory():
    publisher = framelane.Publisher("cam0")
    with pytest.raises(framelane.ChannelClosed):
        with publisher.loan((4, 4)) as slot:
            kept = slot.array
            publisher.close()
            kept[:] = 1
    assert (kept == 1).all()
    with pytest.raises(framelane.ChannelClosed):
        publisher.send(np.zeros((4, 4), "uint8"))
    with pytest.raises(framelane.ChannelClosed):
        with publisher.loan((4, 4)):
            pass
    publisher.close()
    assert publisher.closed and publisher.subscribers == 0
