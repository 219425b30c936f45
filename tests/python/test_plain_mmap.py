"""The example that reads channels from the layout alone, against the package and against the vectors."""

import json
import pathlib
import shutil
import struct
import sys

import numpy as np
import pytest

import pattern

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples" / "plain-mmap"))
import newest_frame


def test_the_example_and_the_package_see_the_same_frame(tmp_path):
    framelane = pytest.importorskip("framelane")
    image = np.random.default_rng(1).integers(0, 256, (48, 65, 3), np.uint8)
    with framelane.Publisher("a/b", directory=tmp_path) as publisher:
        reader = newest_frame.NewestFrame("a/b", tmp_path)
        for turn in range(5):
            publisher.send(image + turn, timestamp_ns=turn)
            sequence, seen, entry = reader.read()
            assert (sequence, int(entry["timestamp_ns"])) == (turn + 1, turn)
            assert np.array_equal(seen, image + turn)
            # A frame that fits no longer: the reader follows to the new data file.
            image = np.concatenate([image, image])
    with pytest.raises(RuntimeError, match="closed"):
        reader.read()


def test_the_example_reads_the_vector(tmp_path):
    expected = json.loads((ROOT / "spec/vectors/channel.json").read_text())
    for part in ["control", "readers", "data.1"]:
        shutil.copy(ROOT / f"spec/vectors/channel.{part}.bin", tmp_path / f"channel.{part}")
    sequence, image, entry = newest_frame.NewestFrame("channel", tmp_path).read()
    assert sequence == expected["sequence"] and int(entry["timestamp_ns"]) == int(expected["timestamp_ns"])
    assert image.shape == (expected["height"], expected["width"], 3)
    # "byte i is (7 i + 3) mod 256"
    offset, stride = expected["planes"][0]
    places = offset + np.arange(image.shape[0])[:, None] * stride + np.arange(image.shape[1] * 3)
    assert np.array_equal(image.reshape(image.shape[0], -1), (7 * places + 3).astype(np.uint8))


def test_a_file_that_is_not_a_channel_is_refused(tmp_path):
    (tmp_path / "c.control").write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="layout 1"):
        newest_frame.NewestFrame("c", tmp_path)


def test_the_pattern_notices_one_changed_byte():
    pixels = pattern.POOL[(start := pattern.mix(7) % (pattern.POOL_BYTES - pattern.LARGEST_FRAME)) : start + 100]
    header = pattern.HEADER.pack(7, 124, 0, pattern.zlib.crc32(pixels), 0)
    frame = np.frombuffer(header + pixels.tobytes(), np.uint8)
    assert pattern.check(frame, 7) is False
    for byte in [0, 8, 16, 24, 123]:
        torn = frame.copy()
        torn[byte] ^= 1
        with pytest.raises((AssertionError, struct.error)):
            pattern.check(torn, 7)
