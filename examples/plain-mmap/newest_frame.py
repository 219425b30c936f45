"""The newest frame of a channel with nothing but mmap and numpy, from spec/shm-layout.md.

    python newest_frame.py CHANNEL

Read-only: no lock, no record, and no process is blocked. The cost is one copy, and sometimes a second
attempt.
"""

import mmap
import os
import sys
import time

import numpy as np

CONTROL = np.dtype({
    "names": ["magic", "layout_major", "channel_id", "epoch", "generation", "state", "head"],
    "formats": ["S8", "<u4", "<u8", "<u8", "<u8", "<u4", "<u8"],
    "offsets": [0, 8, 24, 64, 72, 80, 128],
})
DATA = np.dtype({
    "names": ["magic", "channel_id", "slots", "entry_bytes", "table_offset", "payload_offset", "slot_bytes"],
    "formats": ["S8", "<u8", "<u4", "<u4", "<u8", "<u8", "<u8"],
    "offsets": [0, 16, 40, 44, 48, 56, 64],
})
ENTRY = np.dtype({
    "names": ["version", "size_bytes", "format", "width", "height", "planes", "timestamp_ns", "published_ns"],
    "formats": ["<u8", "<u8", "<u4", "<u4", "<u4", ("<u8", (4, 2)), "<u8", "<u8"],
    "offsets": [0, 8, 16, 20, 24, 32, 96, 104],
    "itemsize": 256,
})
CHANNELS = {1: 1, 3: 3, 4: 3, 5: 4, 6: 4}  # gray8, bgr8, rgb8, bgra8, rgba8


def open_map(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


class NewestFrame:
    """`read()` returns (sequence, image, entry). Image and entry are copies."""

    def __init__(self, channel, directory=None):
        default = f"/dev/shm/framelane-{os.getuid()}"
        directory = directory or os.environ.get("FRAMELANE_DIR") or default
        self.path = os.path.join(directory, channel.replace("/", "@"))
        # A view, not a copy: each look at a field reads shared memory.
        self.control = np.ndarray((), CONTROL, open_map(self.path + ".control"))
        if self.control["magic"] != b"FRMLCTRL" or self.control["layout_major"] != 1:
            raise ValueError(f"{self.path}.control does not have layout 1")
        self.data, self.generation = None, 0

    def read(self):
        """Waits for the first frame; after that never for long. RuntimeError when the channel is closed."""
        while self.control["state"] != 2:
            # Head before generation: a frame is never older than the generation that is read after it.
            head = int(self.control["head"])
            sequence, slot = head >> 8, head & 0xFF
            if sequence and self.map_data(int(self.control["generation"])) and slot < self.header["slots"]:
                copied = self.copy(slot, sequence)
                if copied is not None:
                    return sequence, *copied
            time.sleep(0.0005)
        raise RuntimeError(f"{self.path} is closed")

    def map_data(self, generation):
        if generation != self.generation:
            try:
                self.data = open_map(f"{self.path}.data.{generation}")
            except FileNotFoundError:  # The publisher has moved on to larger slots.
                return False
            self.header = np.ndarray((), DATA, self.data).copy()
            if self.header["channel_id"] != self.control["channel_id"]:
                raise RuntimeError(f"{self.path} was created again")
            self.generation = generation
        return True

    def copy(self, slot, sequence):
        """Read the version, copy, read it again: if both are the sequence, the copy is whole."""
        header = self.header
        place = int(header["table_offset"]) + slot * int(header["entry_bytes"])
        live = np.ndarray((), ENTRY, self.data, place)
        if live["version"] != sequence:
            return None
        entry = live.copy()
        width, height = int(entry["width"]), int(entry["height"])
        channels = CHANNELS.get(int(entry["format"]))
        if channels is None:
            raise ValueError(f"format {entry['format']:#x} is beyond this example")
        offset, stride = (int(number) for number in entry["planes"][0])
        # Checked before use: the fields may belong to a frame that is just being written.
        if offset + stride * (height - 1) + width * channels > header["slot_bytes"]:
            return None
        start = int(header["payload_offset"]) + slot * int(header["slot_bytes"]) + offset
        strides = (stride, channels, 1)
        image = np.ndarray((height, width, channels), np.uint8, self.data, start, strides).copy()
        return (image, entry) if live["version"] == sequence else None


if __name__ == "__main__":
    sequence, image, entry = NewestFrame(sys.argv[1]).read()
    age_ms = (time.monotonic_ns() - int(entry["published_ns"])) / 1e6
    print(f"frame {sequence}: {image.shape}, mean {image.mean(axis=(0, 1)).round(1)}, {age_ms:.1f} ms old")
