"""An array that is sent is received unchanged."""

import os
import time

import numpy as np
import pytest

import framelane

DTYPES = ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64", "float16"]
NAMES = dict(zip(DTYPES, ["u8", "s8", "u16", "s16", "s32", "f32", "f64", "f16"]))


def image_of(shape, dtype="uint8", seed=1):
    values = np.random.default_rng(seed).integers(-128 if np.dtype(dtype).kind != "u" else 0, 127, shape)
    return values.astype(dtype)


def exchange(publisher, subscriber, image, **options):
    sequence = publisher.send(image, **options)
    frame = subscriber.recv(timeout=10)
    assert frame.sequence == sequence
    return frame


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4, 5, 512])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_channel_count_comes_back_as_it_was(publisher, subscriber, dtype, channels):
    shape = (5, 7) if channels is None else (5, 7, channels)
    image = image_of(shape, dtype)
    frame = exchange(publisher, subscriber, image)
    expected = image[:, :, 0] if channels == 1 else image
    assert frame.array.dtype == np.dtype(dtype)
    assert frame.array.shape == expected.shape
    np.testing.assert_array_equal(frame.array, expected)
    np.testing.assert_array_equal(frame.copy(), expected)
    named = {("uint8", 1): "gray8", ("uint8", 3): "bgr8", ("uint8", 4): "bgra8", ("uint16", 1): "gray16"}
    count = channels or 1
    assert frame.format == named.get((dtype, count), f"matrix:{NAMES[dtype]}:{count}")
    assert (frame.width, frame.height) == (7, 5)


VIEWS = {
    "rows with padding": lambda a: a[:, 3:-2],
    "every second row": lambda a: a[::2],
    "every second pixel": lambda a: a[:, ::2],
    "upside down": lambda a: a[::-1],
    "mirrored": lambda a: a[:, ::-1],
    "transposed": lambda a: a.swapaxes(0, 1),
    "one row": lambda a: a[2:3],
    "one column": lambda a: a[:, 4:5],
    "one row repeated": lambda a: np.broadcast_to(a[0:1], a.shape),
    "Fortran order": np.asfortranarray,
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("channels", [None, 2, 3, 4, 6])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_an_array_of_any_strides_is_sent_as_numpy_sees_it(publisher, subscriber, dtype, channels, view):
    image = VIEWS[view](image_of((12, 17) if channels is None else (12, 17, channels), dtype))
    frame = exchange(publisher, subscriber, image)
    np.testing.assert_array_equal(frame.array, image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_send_reverses_channels_and_interleaves_planes(publisher, subscriber, dtype):
    image = image_of((9, 11, 3), dtype)
    np.testing.assert_array_equal(exchange(publisher, subscriber, image[:, :, ::-1]).array, image[:, :, ::-1])
    planar = np.ascontiguousarray(image.transpose(2, 0, 1))
    np.testing.assert_array_equal(exchange(publisher, subscriber, planar.transpose(1, 2, 0)).array, image)


def test_an_unaligned_array_is_sent_as_it_is(publisher, subscriber):
    raw = np.zeros(1 + 4 * 6 * 5 * 2, "uint8")
    image = raw[1:].view("float32").reshape(6, 5, 2)[:, ::-1]
    assert not image.flags.aligned
    image[...] = image_of((6, 5, 2), "float32")
    np.testing.assert_array_equal(exchange(publisher, subscriber, image).array, image)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "array_shape"),
    [
        ("gray8", (4, 6), "uint8", (4, 6)),
        ("gray16", (4, 6), "uint16", (4, 6)),
        ("bgr8", (4, 6, 3), "uint8", (4, 6, 3)),
        ("rgb8", (4, 6, 3), "uint8", (4, 6, 3)),
        ("bgra8", (4, 6, 4), "uint8", (4, 6, 4)),
        ("rgba8", (4, 6, 4), "uint8", (4, 6, 4)),
        ("yuyv", (4, 6, 2), "uint8", (4, 6, 2)),
        ("i420", (6, 6), "uint8", (6, 6)),
        ("nv12", (6, 6), "uint8", (6, 6)),
        ("p010", (6, 6), "uint16", (6, 6)),
        ("matrix:s16:3", (4, 6, 3), "int16", (4, 6, 3)),
        ("matrix:u8:1", (4, 6), "uint8", (4, 6)),
    ],
)
def test_a_named_format_is_kept(publisher, subscriber, name, shape, dtype, array_shape):
    image = image_of(shape, dtype)
    frame = exchange(publisher, subscriber, image, format=name)
    assert frame.format == name
    assert (frame.width, frame.height) == (6, 4)
    assert frame.array.shape == array_shape
    np.testing.assert_array_equal(frame.array, image)
    np.testing.assert_array_equal(frame.copy(), image)


def test_planes_of_planar_formats_are_views_of_each_plane(publisher, subscriber):
    image = np.arange(36, dtype="uint8").reshape(6, 6)
    flat = image.ravel()
    y, u, v = exchange(publisher, subscriber, image, format="i420").planes
    np.testing.assert_array_equal(y, flat[:24].reshape(4, 6))
    np.testing.assert_array_equal(u, flat[24:30].reshape(2, 3))
    np.testing.assert_array_equal(v, flat[30:].reshape(2, 3))
    y, uv = exchange(publisher, subscriber, image, format="nv12").planes
    np.testing.assert_array_equal(y, flat[:24].reshape(4, 6))
    np.testing.assert_array_equal(uv, flat[24:].reshape(2, 3, 2))
    y, uv = exchange(publisher, subscriber, image.astype("uint16"), format="p010").planes
    assert uv.dtype == np.uint16 and uv.shape == (2, 3, 2)
    (only,) = exchange(publisher, subscriber, image_of((4, 6, 3))).planes
    assert only.shape == (4, 6, 3)


def test_metadata_arrives_with_the_frame(publisher, subscriber):
    color = framelane.Color(matrix=1, primaries=1, transfer=1, range="limited")
    frame = exchange(
        publisher,
        subscriber,
        image_of((4, 6, 3)),
        timestamp_ns=1_700_000_000_000_000_000,
        pts_ns=-40_000_000,
        format="rgb8",
        duration_ns=33_000_000,
        color=color,
        rotation_degrees=270,
        keyframe=True,
    )
    assert frame.timestamp_ns == 1_700_000_000_000_000_000
    assert frame.pts_ns == -40_000_000
    assert frame.duration_ns == 33_000_000
    assert frame.color == color and hash(frame.color) == hash(color)
    assert (frame.rotation_degrees, frame.keyframe, frame.channel) == (270, True, "cam0")
    assert frame.epoch == publisher.epoch
    assert repr(frame) == f"<framelane.Frame {frame.sequence} of cam0: 6x4 rgb8>"


def test_a_frame_without_a_time_gets_the_time_of_publication(publisher, subscriber):
    before = time.time_ns(), time.monotonic_ns()
    frame = exchange(publisher, subscriber, image_of((4, 6)))
    after = time.time_ns(), time.monotonic_ns()
    assert before[0] <= frame.timestamp_ns <= after[0]
    assert before[1] <= frame.published_ns <= after[1]
    assert frame.pts_ns is None and frame.duration_ns is None
    assert frame.color == framelane.Color()


def test_the_size_and_the_format_may_change_while_running(publisher, subscriber):
    kept = [exchange(publisher, subscriber, image_of((2 + n, 3 + n, 3), seed=n)) for n in range(3)]
    kept.append(exchange(publisher, subscriber, image_of((300, 400), "float64", seed=3)))
    for n, frame in enumerate(kept[:3]):
        np.testing.assert_array_equal(frame.array, image_of((2 + n, 3 + n, 3), seed=n))
    np.testing.assert_array_equal(kept[3].array, image_of((300, 400), "float64", seed=3))


def test_newest_counts_skipped_frames_and_every_gets_all(publisher, subscriber):
    with framelane.Subscriber("cam0", delivery="every", open_timeout=0) as every:
        for n in range(4):
            publisher.send(np.full((2, 2), n, "uint8"))
        newest = subscriber.recv(timeout=0)
        assert (newest.sequence, newest.dropped, newest.array[0, 0]) == (4, 3, 3)
        assert [(f.sequence, f.dropped, int(f.array[0, 0])) for f in (every.recv(0) for _ in range(4))] == [
            (1, 0, 0),
            (2, 0, 1),
            (3, 0, 2),
            (4, 0, 3),
        ]
        assert (subscriber.received, subscriber.dropped) == (1, 3)
        assert (every.received, every.dropped) == (4, 0)


def test_a_frame_is_passed_on_as_it_is(publisher, subscriber):
    image = image_of((6, 8))
    original = exchange(publisher, subscriber, image, format="nv12", timestamp_ns=5, pts_ns=7, rotation_degrees=90)
    with framelane.Publisher("copy") as second, framelane.Subscriber("copy", open_timeout=0) as reader:
        second.send(original)
        frame = reader.recv(timeout=10)
        assert (frame.format, frame.timestamp_ns, frame.pts_ns, frame.rotation_degrees) == ("nv12", 5, 7, 90)
        np.testing.assert_array_equal(frame.array, image)
        with pytest.raises(framelane.InvalidFrame, match="nv12"):
            second.send(original, format="i420")


def test_things_with_array_are_sent_and_lists_are_not(publisher, subscriber):
    class Picture:
        def __array__(self, dtype=None, copy=None):
            return np.ones((3, 4), "uint8")

    assert exchange(publisher, subscriber, Picture()).array.sum() == 12
    for wrong in [[[1, 2], [3, 4]], "image", None, 3, b"abc"]:
        with pytest.raises(TypeError, match="expected a numpy array"):
            publisher.send(wrong)


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (np.zeros((2, 3), bool), {}, TypeError, "found bool"),
        (np.zeros((2, 3), "int64"), {}, TypeError, "found int64"),
        (np.zeros((2, 3), "uint32"), {}, TypeError, "found uint32"),
        (np.zeros((2, 3), "complex64"), {}, TypeError, "found complex64"),
        (np.zeros((2, 3), ">u2"), {}, TypeError, "native byte order"),
        (np.zeros((2, 3), object), {}, TypeError, "found object"),
        (np.zeros((2, 3), [("a", "u1")]), {}, TypeError, "dtype"),
        (np.zeros((2, 3), "U3"), {}, TypeError, "dtype"),
        (np.zeros(3, "uint8"), {}, ValueError, r"found uint8 of shape \(3,\)"),
        (np.zeros((1, 2, 3, 4), "uint8"), {}, ValueError, r"\(H, W, C\).*send image\[0\]"),
        (np.uint8(3), {}, ValueError, r"shape \(\)"),
        (np.zeros((0, 3), "uint8"), {}, ValueError, "at least one pixel"),
        (np.zeros((3, 0, 3), "uint8"), {}, ValueError, "at least one pixel"),
        (np.zeros((3, 3, 0), "uint8"), {}, ValueError, "1 to 512 channels"),
        (np.zeros((2, 2, 513), "uint8"), {}, ValueError, "1 to 512 channels"),
        (np.zeros((2, 2, 70000), "uint8"), {}, ValueError, "1 to 512 channels"),
        (
            np.zeros((2, 3, 3), "uint8"),
            {"format": "gray8"},
            ValueError,
            r"expected uint8 of shape \(H, W\) for gray8",
        ),
        (np.zeros((2, 3), "uint8"), {"format": "bgr8"}, ValueError, r"\(H, W, 3\) for bgr8"),
        (np.zeros((2, 3, 3), "uint16"), {"format": "bgr8"}, ValueError, "found uint16"),
        (np.zeros((2, 3, 3), "uint8"), {"format": "rgba8"}, ValueError, r"\(H, W, 4\) for rgba8"),
        (np.zeros((4, 6), "uint8"), {"format": "i420"}, ValueError, r"\(H\*3/2, W\)"),
        (np.zeros((6, 5), "uint8"), {"format": "nv12"}, ValueError, "even"),
        (np.zeros((6, 6), "uint8"), {"format": "p010"}, ValueError, "uint16"),
        (np.zeros((4, 5, 2), "uint8"), {"format": "yuyv"}, ValueError, "even"),
        (np.zeros((4, 5, 2), "uint8"), {"format": "matrix:u8:3"}, ValueError, r"\(H, W, 3\)"),
        (np.zeros((4, 5), "uint8"), {"format": "detections"}, ValueError, "DetectionPublisher"),
        (np.zeros((4, 5), "uint8"), {"format": "bgr"}, ValueError, "gray8, gray16"),
        (np.zeros((4, 5), "uint8"), {"format": ""}, ValueError, "pixel format"),
        (np.zeros((4, 5), "uint8"), {"format": 3}, TypeError, None),
        (np.zeros((4, 5), "uint8"), {"timestamp_ns": -1}, OverflowError, None),
        (np.zeros((4, 5), "uint8"), {"timestamp_ns": 1.5}, TypeError, None),
        (np.zeros((4, 5), "uint8"), {"pts_ns": 1 << 63}, OverflowError, None),
        (np.zeros((4, 5), "uint8"), {"rotation_degrees": 45}, ValueError, "0, 90, 180 or 270"),
        (np.zeros((4, 5), "uint8"), {"color": "bt709"}, TypeError, None),
    ],
)
def test_invalid_image_is_refused_with_a_reason(
    publisher, subscriber, image, options, error, message
):
    with pytest.raises(error, match=message):
        publisher.send(image, **options)
    assert publisher.sequence == 0
    assert exchange(publisher, subscriber, image_of((2, 2))).sequence == 1


def test_a_giant_array_is_refused_before_anything_is_allocated(publisher):
    giant = np.broadcast_to(np.zeros((1, 1, 4), "uint8"), (1 << 16, 1 << 16, 4))
    with pytest.raises(framelane.FrameTooLarge):
        publisher.send(giant)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"channel": ""}, framelane.InvalidName, None),
        ({"channel": "../x"}, framelane.InvalidName, None),
        ({"channel": "/x"}, framelane.InvalidName, None),
        ({"channel": "a\0b"}, framelane.InvalidName, None),
        ({"channel": 3}, TypeError, None),
        ({"slots": 1}, framelane.InvalidOption, "2 to 128 slots, found 1"),
        ({"slots": 129}, framelane.InvalidOption, "found 129"),
        ({"slots": -1}, OverflowError, None),
        ({"backpressure": "keep"}, ValueError, 'expected drop or block, found "keep"'),
        ({"permissions": 0o1777}, framelane.InvalidOption, "permissions"),
        ({"directory": 3}, TypeError, None),
        ({"directory": "/dev/null/x"}, framelane.Error, "/dev/null/x"),
    ],
)
def test_a_publisher_refuses_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        framelane.Publisher(**{"channel": "cam0", **options})


def test_read_gives_a_writable_copy_and_false_at_the_end():
    publisher = framelane.Publisher("cam0")
    with framelane.Subscriber("cam0", open_timeout=0) as subscriber:
        image = image_of((4, 6, 3))
        publisher.send(image)
        ok, copy = subscriber.read()
        assert ok and copy.flags.writeable and copy.flags.owndata
        copy[:] = 0
        publisher.send(image)
        ok, same = subscriber.read(copy)
        assert ok and same is copy
        np.testing.assert_array_equal(copy, image)
        for wrong in [np.zeros((4, 6), "uint8"), copy.astype("int8"), copy[:, ::-1], [1]]:
            publisher.send(image)
            with pytest.raises((TypeError, ValueError), match="image: expected"):
                subscriber.read(wrong)
        publisher.close()
        assert subscriber.read() == (False, None)
        with pytest.raises(framelane.ChannelClosed):
            subscriber.recv()


def test_the_directory_can_be_given_as_an_argument(tmp_path_factory, directory):
    other = directory / "other"
    other.mkdir(mode=0o700)
    with framelane.Publisher("cam0", directory=other) as publisher:
        assert [status.name for status in framelane.list_channels(other)] == ["cam0"]
        assert framelane.list_channels() == []
        with framelane.Subscriber("cam0", directory=os.fspath(other), open_timeout=0) as subscriber:
            publisher.send(image_of((2, 2)))
            assert subscriber.recv(timeout=10).sequence == 1
    other.rmdir()


def test_backpressure_block_loses_no_frame_between_processes(script):
    writer = script(
        """
        import framelane, numpy as np
        with framelane.Publisher("cam0", backpressure="block") as publisher:
            print("ready")
            while publisher.subscribers == 0:
                pass
            for n in range(100):
                publisher.send(np.full((100, 100, 3), n, "uint8"))
            publisher.drain()
        """
    )
    writer.wait_for("ready")
    with framelane.Subscriber("cam0", delivery="every", open_timeout=60) as reader:
        sequences = []
        for frame in reader:
            sequences.append(frame.sequence)
            assert (frame.array == frame.sequence - 1).all()
    assert sequences == list(range(1, 101))
    assert writer.finish()[0] == 0
