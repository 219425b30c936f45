"""Errors that say what to do, and never advise what destroys data."""

import copy
import errno
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import framelane


def hint_for(publisher, image):
    with pytest.raises((TypeError, ValueError)) as caught:
        publisher.send(image)
    return str(caught.value)


VALUES = {
    "int64": [[-5, 70000], [300, 2**31 - 1]],
    "uint64": [[0, 70000], [300, 2**31 - 1]],
    "uint32": [[0, 2**32 - 1], [1, 2]],
    "bool": [[True, False], [False, True]],
    ">u2": [[1, 60000], [256, 3]],
    ">f8": [[1.5, -2.5], [1e300, 3]],
    "complex64": [[1 + 2j, 3], [4j, 5]],
    "complex128": [[1 + 2j, 3], [4j, 5]],
}


@pytest.mark.parametrize("dtype", VALUES)
def test_hint_for_dtype_keeps_values(publisher, dtype):
    image = np.array(VALUES[dtype], dtype)
    text = hint_for(publisher, image)
    advice = text.split("Hint: ")[1]
    expression = advice[: advice.index(")") + 1]
    if "newbyteorder" in expression:
        expression = "image.astype(image.dtype.newbyteorder('='))"
    if "view" in expression:
        expression = advice.split(" has ")[0]
    changed = eval(expression, {"image": image})
    if "complex" in dtype:
        np.testing.assert_array_equal(changed, np.stack([image.real, image.imag], axis=-1))
    else:
        np.testing.assert_array_equal(changed, image)
    assert publisher.send(changed)


@pytest.mark.parametrize("dtype", ["int64", "longdouble", "object", "datetime64[s]", "U3"])
def test_no_hint_for_dtype_advises_uint8(publisher, dtype):
    assert "uint8\")" not in hint_for(publisher, np.zeros((4, 4), dtype))
    assert "uint8\")" not in hint_for(publisher, [[1, 2], [3, 4]])


@pytest.mark.parametrize("shape", [(3, 480, 640), (3, 100, 200), (1, 64, 64), (4, 32, 32)])
def test_channels_first_image_is_refused_with_transpose(publisher, shape):
    image = np.random.default_rng(7).integers(0, 255, shape, "uint8")
    text = hint_for(publisher, image)
    assert "image.transpose(1, 2, 0)" in text and "permute(1, 2, 0)" in text and "reshape" not in text
    assert publisher.send(image.transpose(1, 2, 0))


def test_channels_first_array_is_sent_as_matrix_on_request(publisher, subscriber):
    image = np.random.default_rng(7).integers(0, 255, (3, 100, 200), "uint8")
    text = hint_for(publisher, image)
    format = text.split('format="')[1].split('"')[0]
    publisher.send(image, format=format)
    np.testing.assert_array_equal(subscriber.recv(timeout=10).array, image)
    assert publisher.send(np.zeros((3, 4, 7), "uint8")), "too small for a tensor of an image"


class Picture:
    """The used part of PIL.Image.Image."""

    __module__ = "PIL.Image"

    def __init__(self, mode, array):
        self.mode, self._array = mode, array

    def __array__(self, dtype=None, copy=None):
        return self._array


@pytest.mark.parametrize(
    ("mode", "channels", "format"), [("RGB", 3, "rgb8"), ("RGBA", 4, "rgba8"), ("L", 1, "gray8")]
)
def test_pil_image_keeps_its_colours(publisher, subscriber, mode, channels, format):
    array = np.random.default_rng(3).integers(0, 255, (5, 6, channels), "uint8").squeeze()
    publisher.send(Picture(mode, array))
    frame = subscriber.recv(timeout=10)
    assert frame.format == format
    np.testing.assert_array_equal(frame.array, array)
    if mode == "RGB":
        publisher.send(Picture(mode, array), format="bgr8")
        assert subscriber.recv(timeout=10).format == "bgr8", "what the caller says comes first"


@pytest.mark.parametrize(("mode", "to"), [("P", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("1", "L"), ("RGBa", "RGBA")])
def test_pil_image_of_other_mode_is_refused_with_convert(publisher, mode, to):
    assert f'image.convert("{to}")' in hint_for(publisher, Picture(mode, np.zeros((4, 4, 3), "uint8")))


def test_own_second_publisher_is_named_as_own(publisher):
    with pytest.raises(framelane.ChannelBusy, match="in this very process") as caught:
        framelane.Publisher("cam0")
    assert "close" in caught.value.hint and "cell" in caught.value.hint
    assert "end process" not in str(caught.value)
    publisher.close()
    with framelane.Publisher("cam0"):
        pass


def test_second_publisher_of_other_process_is_named_by_its_pid(publisher, script):
    other = script(
        """
        import framelane
        try:
            framelane.Publisher("cam0")
        except framelane.ChannelBusy as error:
            print(error)
        """
    )
    _, out, _ = other.finish()
    assert f"process {os.getpid()}" in out and "this very process" not in out


def test_errors_of_operating_system_have_errno(tmp_path):
    with pytest.raises(framelane.Timeout) as caught:
        framelane.Subscriber("none", open_timeout=0)
    assert caught.value.errno == errno.ETIMEDOUT
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught:
        framelane.Publisher("cam0", directory=tmp_path / "file" / "below")
    error = caught.value
    assert f"(os error {error.errno})" in str(error) and error.strerror == str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (again.errno, str(again), again.hint) == (error.errno, str(error), error.hint)
    with pytest.raises(OSError) as caught:
        framelane.list_channels(tmp_path / "file")
    assert caught.value.errno == errno.ENOENT
    assert framelane.list_channels(tmp_path / "none" / "such") == []


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("not_found", errno.ENOENT),
        ("no_space", errno.ENOSPC),
        ("permission_denied", errno.EACCES),
        ("timeout", errno.ETIMEDOUT),
        ("system_failure", errno.EIO),
    ],
)
def test_each_os_error_has_errno_of_its_kind(name, number):
    from framelane._framelane import _error_table, _raise_kind

    code = next(code for kind, code, *_ in _error_table() if kind == name)
    with pytest.raises(OSError) as caught:
        _raise_kind(code)
    assert caught.value.errno == number and str(caught.value).startswith("found a test")


def test_pickling_says_what_to_pass_instead(publisher, subscriber):
    publisher.send(np.zeros((4, 4), "uint8"))
    frame = subscriber.recv(timeout=10)
    with framelane.DetectionPublisher("d") as detector, framelane.DetectionSubscriber("d", open_timeout=0) as results:
        detector.send(frame, [[1, 2, 3, 4]])
        batch = results.recv(timeout=10)
        expected = {
            publisher: "channel's name",
            subscriber: "channel's name",
            detector: "channel's name",
            results: "channel's name",
            frame: "frame.copy()",
            batch: "to_bytes()",
            publisher.loan((2, 2)): "receive the frame",
        }
        for thing, advice in expected.items():
            for attempt in [pickle.dumps, copy.copy, copy.deepcopy]:
                with pytest.raises(TypeError) as caught:
                    attempt(thing)
                assert advice in str(caught.value) and type(thing).__name__ in str(caught.value)


def module(*arguments, path=""):
    environment = {**os.environ, "PATH": path}
    command = [sys.executable, "-m", "framelane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_module_runs_without_the_command(publisher):
    version = module("--version")
    assert (version.returncode, version.stdout.split()[1]) == (0, framelane.__version__)
    listed = module("list")
    assert listed.returncode == 0 and listed.stdout.startswith("cam0  live")
    assert module("doctor").returncode == 0
    assert module().returncode == 0 and "usage" in module().stdout
    wrong = module("publish", "x")
    assert wrong.returncode == 2 and "make install" in wrong.stderr


def test_module_hands_over_to_the_command(tmp_path):
    command = tmp_path / "framelane"
    command.write_text('#!/bin/sh\necho "$@"; exit 7\n')
    command.chmod(0o755)
    result = module("publish", "a b", path=str(tmp_path))
    assert (result.returncode, result.stdout) == (7, "publish a b\n")


READ_ONLY = {
    "numpy": "image[0] = 1",
    "in place": "image += 1",
    "buffer": "memoryview(image)[0, 0] = 1",
    "opencv": "import cv2; cv2.rectangle(image, (0, 0), (3, 3), 255)",
}


@pytest.mark.parametrize("what", READ_ONLY)
def test_worker_hints_at_read_only_image(publisher, subscriber, what):
    from framelane.worker import writes_to_frame

    if what == "opencv":
        pytest.importorskip("cv2")
    publisher.send(np.zeros((40, 40), "uint8"))
    image = subscriber.recv(timeout=10).array
    with pytest.raises(Exception) as caught:
        exec(READ_ONLY[what], {"image": image})
    assert writes_to_frame(caught.value)
    assert not writes_to_frame(ValueError("operands could not be broadcast"))
