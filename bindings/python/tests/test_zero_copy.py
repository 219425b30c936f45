"""Arrays lie in shared memory, cannot be written, and own the lease."""

import collections
import copy
import gc
import itertools
import os
import threading

import numpy as np
import pytest

import framelane
from conftest import address, leases, mapping_of


def send(publisher, value=1, shape=(40, 50, 3), **options):
    return publisher.send(np.full(shape, value, "uint8"), **options)


def test_array_of_a_frame_is_in_the_read_only_mapping(publisher, subscriber):
    send(publisher)
    frame = subscriber.recv(timeout=10)
    permissions, path = mapping_of(address(frame.array))
    assert permissions == "r--s"
    assert path.startswith("cam0.data.")
    assert address(frame.array) == address(frame.array) == address(np.asarray(frame))
    assert address(frame.planes[0]) == address(frame.array)
    assert frame.array.base is not None and not frame.array.flags.owndata


def test_array_of_a_loan_is_in_the_writable_mapping(publisher):
    with publisher.loan((40, 50, 3)) as slot:
        permissions, path = mapping_of(address(slot.array))
        assert permissions == "rw-s"
        assert path.startswith("cam0.data.")


def test_what_is_written_to_a_loan_is_what_the_reader_maps(publisher, subscriber):
    """Both sides of one process map the same file: equal pages of it, no copy between."""
    with publisher.loan((64, 64)) as slot:
        slot.array[...] = np.arange(4096, dtype="uint8").reshape(64, 64)
        _, path = mapping_of(address(slot.array))
    frame = subscriber.recv(timeout=10)
    assert mapping_of(address(frame.array))[1] == path
    np.testing.assert_array_equal(frame.array, np.arange(4096, dtype="uint8").reshape(64, 64))


def test_the_array_cannot_be_written_nor_made_writable(publisher, subscriber):
    send(publisher)
    array = subscriber.recv(timeout=10).array
    for each in [array, array[1:], array.T, array.view(np.ndarray)]:
        with pytest.raises(ValueError, match="read-only"):
            each[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            each.flags.writeable = True
    assert memoryview(array).readonly


def test_the_lease_lasts_as_long_as_the_last_view(publisher, subscriber):
    send(publisher)
    frame = subscriber.recv(timeout=10)
    assert leases() == 1
    array = frame.array
    view = array[3:5, ::2].T
    del frame
    gc.collect()
    assert leases() == 1
    del array
    gc.collect()
    assert leases() == 1, "a view of a view is enough"
    buffer = memoryview(view)
    del view
    gc.collect()
    assert leases() == 1, "a buffer of it is enough"
    del buffer
    gc.collect()
    assert leases() == 0


def test_a_frame_alone_keeps_its_lease_until_it_is_collected(publisher, subscriber):
    send(publisher)
    frame = subscriber.recv(timeout=10)
    assert leases() == 1
    del frame
    gc.collect()
    assert leases() == 0


def test_leased_slot_is_reused_after_its_last_array():
    with framelane.Publisher("cam0", slots=2) as publisher, framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        send(publisher, 1)
        array = subscriber.recv(timeout=10).array
        held = address(array)
        assert send(publisher, 2) is not None
        for _ in range(10):
            assert send(publisher, 3) is None, "one slot is leased, the other is the newest"
        assert publisher.dropped == 10
        assert (array == 1).all()
        del array
        gc.collect()
        assert send(publisher, 4) is not None
        later = [subscriber.recv(timeout=10).array]
        assert (later[0] == 4).all()
        assert address(later[0]) == held, "the slot of the dropped array"


def test_arrays_outlive_the_subscriber_and_the_channel(publisher):
    with framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        send(publisher, 7)
        array = subscriber.recv(timeout=10).array
    del subscriber
    publisher.close()
    gc.collect()
    assert (array == 7).all()


def test_release_drops_the_frames_own_hold_and_views_keep_theirs(publisher, subscriber):
    send(publisher, 5)
    frame = subscriber.recv(timeout=10)
    array = frame.array
    frame.release()
    assert frame.released and leases() == 1
    assert (array == 5).all()
    del array
    assert leases() == 0
    for use in [lambda: frame.array, lambda: frame.planes, frame.copy, lambda: np.asarray(frame)]:
        with pytest.raises(ValueError, match="was released"):
            use()
    frame.release()
    assert (frame.sequence, frame.width, frame.height, frame.format) == (1, 50, 40, "bgr8")
    assert frame.id.sequence == 1 and "released" in repr(frame)


def test_a_frame_is_a_context_manager(publisher, subscriber):
    send(publisher)
    with subscriber.recv(timeout=10) as frame:
        assert leases() == 1
    assert frame.released and leases() == 0


def test_copy_is_writable_and_holds_no_lease(publisher, subscriber):
    send(publisher, 9)
    frame = subscriber.recv(timeout=10)
    mine = frame.copy()
    frame.release()
    assert leases() == 0
    assert mine.flags.writeable and mine.flags.owndata and mine.flags.c_contiguous
    mine[:] = 0


def test_asarray_follows_numpys_rules_for_copies_and_dtypes(publisher, subscriber):
    send(publisher, 9)
    frame = subscriber.recv(timeout=10)
    assert address(np.asarray(frame)) == address(frame.array)
    assert address(np.asarray(frame, dtype="uint8")) == address(frame.array)
    assert np.array(frame).flags.writeable
    wide = np.asarray(frame, dtype="float32")
    assert wide.dtype == np.float32 and (wide == 9).all()
    assert frame.__array__(copy=True).flags.owndata
    assert frame.__array__(dtype="uint8", copy=False).base is not None
    with pytest.raises(ValueError, match="copy=False"):
        frame.__array__(dtype="float32", copy=False)
    np.testing.assert_array_equal(np.add(frame, 1), np.full((40, 50, 3), 10))


def test_ninth_lease_is_refused_until_one_is_dropped(publisher, subscriber):
    frames = []
    with framelane.Publisher("wide", slots=16) as wide, framelane.Subscriber("wide", "every", 0) as reader:
        for _ in range(10):
            send(wide)
        frames = [reader.recv(timeout=10).array for _ in range(8)]
        with pytest.raises(framelane.TooManyLeases, match="8"):
            reader.recv(timeout=10)
        frames.pop()
        assert reader.recv(timeout=10).sequence == 9


def islice_of(reader, _):
    return list(itertools.islice(reader, 8))


def deque_of(reader, _):
    kept = collections.deque(maxlen=30)
    for frame in reader:
        kept.append(frame)


def arrays_of(reader, publisher):
    kept = []
    while True:
        send(publisher)
        kept.append(reader.recv(timeout=10).array)


@pytest.mark.parametrize("keep", [islice_of, deque_of, arrays_of])
def test_reader_that_keeps_frames_gets_an_error_and_others_go_on(publisher, keep):
    with framelane.Subscriber("cam0", open_timeout=0) as greedy, framelane.Subscriber("cam0", open_timeout=0) as other:
        done = threading.Event()

        def feed():
            while not done.wait(0.001):
                send(publisher)

        feeder = threading.Thread(target=feed)
        if keep is not arrays_of:
            feeder.start()
        with pytest.raises(framelane.TooManyLeases, match="holds 4 frames of channel cam0") as refused:
            keep(greedy, publisher)
        for words in ["frame.copy()", "array.copy()", "--slots 7", "slots=7"]:
            assert words in refused.value.hint
        # The traceback keeps the frames.
        for _ in range(20):
            if keep is arrays_of:
                assert send(publisher) is not None
            other.recv(timeout=60)
        done.set()
        if keep is not arrays_of:
            feeder.join()


@pytest.mark.parametrize("slots", [2, 3, 6])
def test_loop_goes_on_in_the_smallest_rings(slots):
    with framelane.Publisher("small", slots=slots) as small, framelane.Subscriber("small", open_timeout=0) as reader:
        send(small)
        for count, frame in enumerate(reader):
            if count == 20:
                break
            assert send(small) is not None
            frame.array


def test_a_frame_can_be_neither_copied_nor_pickled_by_accident(publisher, subscriber):
    import pickle

    send(publisher)
    frame = subscriber.recv(timeout=10)
    for thing in [frame, publisher, subscriber]:
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.copy(thing)
    assert pickle.loads(pickle.dumps(frame.id)) == frame.id
    assert pickle.loads(pickle.dumps(frame.color)) == frame.color
    assert {frame.id: 1}[pickle.loads(pickle.dumps(frame.id))] == 1


def test_nothing_is_leaked_by_frames_arrays_loans_and_tensors(publisher, subscriber):
    import sys

    def turn():
        with publisher.loan((4, 6)) as slot:
            slot.array.fill(1)
        frame = subscriber.recv(timeout=10)
        frame.array, frame.planes, frame.copy(), frame.id, frame.color
        frame.__dlpack__(max_version=(1, 0))
        frame.__dlpack__(copy=True)

    def counts():
        gc.collect()
        return [sys.getrefcount(thing) for thing in [np.dtype("uint8"), np.ndarray, framelane.Frame, framelane.Loan]]

    turn()
    before = counts()
    for _ in range(500):
        turn()
    assert max(after - first for after, first in zip(counts(), before)) < 10
    assert leases() == 0


def test_odd_planar_frames_give_planes_and_a_flat_copy(publisher, subscriber):
    """Frames of odd size come from decoders; here their layout is relayed from a hand-made file."""
    odd = framelane_odd_i420(publisher, subscriber)
    with pytest.raises(ValueError, match="frame.planes"):
        odd.array
    y, u, v = odd.planes
    assert (y.shape, u.shape, v.shape) == ((3, 5), (2, 3), (2, 3))
    flat = odd.copy()
    assert flat.shape == (15 + 6 + 6,)
    np.testing.assert_array_equal(flat, np.concatenate([y.ravel(), u.ravel(), v.ravel()]))


def framelane_odd_i420(publisher, subscriber):
    sequence = publisher._send_layout(
        "i420", 5, 3, [(0, 8), (24, 4), (40, 16)], np.arange(64, dtype="uint8").tobytes()
    )
    frame = subscriber.recv(timeout=10)
    assert frame.sequence == sequence
    y, u, v = frame.planes
    assert y.strides == (8, 1) and u.strides == (4, 1) and v.strides == (16, 1)
    assert (y[1, 2], u[1, 2], v[1, 2]) == (10, 30, 58)
    return frame


def test_rows_with_padding_give_a_strided_view_and_a_packed_copy(publisher, subscriber):
    payload = np.arange(100, dtype="uint8")
    publisher._send_layout("bgr8", 4, 3, [(10, 20)], payload.tobytes())
    array = subscriber.recv(timeout=10).array
    assert array.shape == (3, 4, 3) and array.strides == (20, 3, 1)
    expected = np.stack([payload[10 + 20 * row :][:12].reshape(4, 3) for row in range(3)])
    np.testing.assert_array_equal(array, expected)
    publisher._send_layout("bgr8", 4, 3, [(10, 20)], payload.tobytes())
    frame = subscriber.recv(timeout=10)
    np.testing.assert_array_equal(frame.copy(), expected)
    with framelane.Publisher("copy") as second, framelane.Subscriber("copy", open_timeout=0) as reader:
        second.send(frame)
        relayed = reader.recv(timeout=10).array
        assert relayed.strides == (20, 3, 1)
        np.testing.assert_array_equal(relayed, expected)


@pytest.mark.parametrize("name", ["nv12", "p010"])
def test_padded_semi_planar_frame_is_one_strided_array(publisher, subscriber, name):
    item = 2 if name == "p010" else 1
    payload = bytes(range(96 * item))
    publisher._send_layout(name, 6, 4, [(0, 16 * item), (64 * item, 16 * item)], payload)
    frame = subscriber.recv(timeout=10)
    assert frame.array.shape == (6, 6) and frame.array.strides == (16 * item, item)
    np.testing.assert_array_equal(frame.copy(), frame.array)
    publisher._send_layout(name, 6, 4, [(0, 12 * item), (60 * item, 12 * item)], payload)
    frame = subscriber.recv(timeout=10)
    with pytest.raises(ValueError, match="frame.planes"):
        frame.array
    assert frame.copy().shape == (6, 6)
    np.testing.assert_array_equal(frame.copy()[:4], frame.planes[0])
    np.testing.assert_array_equal(frame.copy()[4:].reshape(2, 3, 2), frame.planes[1])


def test_a_frame_says_whether_it_was_left_alone(directory, publisher, subscriber):
    publisher.send(np.full((50, 100), 7, "uint8"))
    frame = subscriber.recv(timeout=0)
    assert frame.intact
    # A process that may write to the file truncates it: the missing part reads as zeros, and is reported.
    os.truncate(directory / "cam0.data.1", 0)
    assert frame.array.sum() == 0
    assert not frame.intact
    with pytest.raises(framelane.Damaged, match="cut short"):
        subscriber.recv(timeout=0)
    frame.release()
    with pytest.raises(ValueError):
        frame.intact  # noqa: B018
