"""The stubs say what the module has, and type checkers understand them."""

import pathlib
import subprocess
import sys

import pytest

import framelane

pytest.importorskip("mypy")
PACKAGE = pathlib.Path(framelane.__file__).parent

USE = """
from typing import Any
import numpy as np
import numpy.typing as npt
import framelane
from framelane import Frame

def publish(image: npt.NDArray[np.uint8]) -> int | None:
    with framelane.Publisher("cam0", backpressure="block", slots=4) as publisher:
        with publisher.loan((1080, 1920, 3), "uint8") as slot:
            slot.array[:] = 0
        return publisher.send(image, timestamp_ns=1)

def receive() -> list[int]:
    with framelane.Subscriber("cam0", delivery="every", open_timeout=1.0) as subscriber:
        first: Frame = subscriber.recv(timeout=1.0)
        ok, image = subscriber.read()
        array: npt.NDArray[Any] = first.array
        tensor = np.from_dlpack(first)
        return [frame.sequence for frame in subscriber]

async def wait() -> None:
    subscriber = framelane.Subscriber("cam0")
    frame = await subscriber.recv_async()
    async for frame in subscriber:
        print(frame.sequence)

def detect(frame: Frame) -> npt.NDArray[np.float32]:
    detector = framelane.DetectionPublisher("cam0/detections", labels=["person"])
    detector.send(frame, [[1, 2, 3, 4]], scores=[1.0])
    with framelane.DetectionSubscriber("cam0/detections") as results:
        return results.for_frame(frame, timeout=1).boxes_xyxy

try:
    publish(np.zeros((2, 2), np.uint8))
except framelane.Timeout as error:
    print(error.kind, error.code, error.hint)
"""

WRONG = """
import framelane
framelane.Publisher("cam0", backpressure="keep")
framelane.Subscriber("cam0").recv().sequense
framelane.Frame.array = 1
"""


def mypy(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=cwd)


def test_the_stubs_match_the_module(tmp_path):
    result = mypy("mypy.stubtest", "framelane", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_itself_passes_the_strict_type_checker(tmp_path):
    result = mypy("mypy", "--strict", "--cache-dir", str(tmp_path), str(PACKAGE))
    assert result.returncode == 0, result.stdout


def test_stubs_accept_correct_programs_and_reject_wrong_ones(tmp_path):
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "wrong.py").write_text(WRONG)
    good = mypy("mypy", "--strict", "use.py", cwd=tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = mypy("mypy", "--strict", "wrong.py", cwd=tmp_path)
    assert bad.stdout.count(": error: ") >= 3, bad.stdout


def test_every_public_thing_has_documentation():
    missing = []
    for name in framelane.__all__:
        thing = getattr(framelane, name)
        if isinstance(thing, type):
            assert thing.__doc__, name
            for attribute, value in vars(thing).items():
                plain = not attribute.startswith("_") and attribute not in ("code", "kind", "hint")
                if plain and not getattr(value, "__doc__", None):
                    missing.append(f"{name}.{attribute}")
    assert missing == []
