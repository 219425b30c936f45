"""Frames that say of themselves whether they are whole; the same as in tests/src/pattern.rs."""

import struct
import zlib

import numpy as np

HEADER = struct.Struct("<QIIII")
POOL_BYTES = 16 << 20
LARGEST_FRAME = 12 << 20
SMALLEST_FRAME = 64
GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(value):
    """SplitMix64's output function."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def make_pool():
    """The first 16 MiB of SplitMix64 with seed 1."""
    value = np.arange(1, POOL_BYTES // 8 + 1, dtype=np.uint64) * np.uint64(GAMMA) + np.uint64(1)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (value ^ (value >> np.uint64(31))).astype("<u8").view(np.uint8)


POOL = make_pool()


def check(array, sequence):
    """Return True for the last frame. Raise AssertionError unless it is the whole frame of this sequence."""
    frame = array.reshape(-1)
    found, size, last, checksum, _ = HEADER.unpack_from(frame)
    assert (found, size) == (sequence, frame.size), (
        f"frame {sequence} of {frame.size} bytes says that it is frame {found} of {size} bytes"
    )
    pixels = frame[HEADER.size :]
    assert checksum == zlib.crc32(pixels), f"frame {sequence} does not have the checksum that it carries"
    start = mix(sequence) % (POOL_BYTES - LARGEST_FRAME)
    expected = POOL[start : start + pixels.size]
    assert np.array_equal(pixels, expected), f"frame {sequence} does not have its pixels"
    return last != 0
