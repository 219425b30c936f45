"""Channel files of a hostile publisher, written from spec/shm-layout.md alone."""

import fcntl
import os
import struct
import time
from pathlib import Path

MAJOR, MINOR = 1, 2
WRITING = (1 << 64) - 2
NO_PTS = 1 << 63
UNKNOWN = (1 << 64) - 1
LOCK = getattr(fcntl, "F_OFD_SETLK", 37)

# offset, size in bytes
CONTROL = {
    "magic": (0, 8),
    "major": (8, 4),
    "minor": (12, 4),
    "header_bytes": (16, 8),
    "channel_id": (24, 8),
    "epoch": (64, 8),
    "generation": (72, 8),
    "state": (80, 4),
    "backpressure": (84, 4),
    "slots": (88, 4),
    "publisher_pid": (92, 4),
    "started_ns": (96, 8),
    "epoch_after": (104, 8),
    "closed_by": (112, 4),
    "head": (128, 8),
    "wake": (136, 4),
    "publisher_waiting": (192, 4),
    "dropped": (256, 8),
    "given": (264, 8),
    "link_state": (320, 4),
    "link_connections": (324, 4),
    "link_clock_offset_ns": (328, 8),
    "link_round_trip_ns": (336, 8),
    "link_latency_ns": (344, 8),
    "link_received_bytes": (352, 8),
    "link_missed": (360, 8),
    "link_peer": (384, 128),
    "source_state": (1024, 4),
    "source_connections": (1028, 4),
    "source_since_ns": (1032, 8),
    "source_name": (1088, 128),
    "source_reason": (1216, 192),
}
READERS = {
    "magic": (0, 8),
    "major": (8, 4),
    "minor": (12, 4),
    "channel_id": (16, 8),
    "record_count": (24, 4),
    "record_bytes": (28, 4),
    "active": (64, 8),
    "freed": (128, 4),
    "pins": (4096, 8),
    "waiting": (4096 + 64, 4),
    "delivery": (4096 + 68, 4),
    "cursor": (4096 + 72, 8),
    "pid": (4096 + 128, 4),
    "received": (4096 + 136, 8),
    "dropped": (4096 + 144, 8),
}
DATA = {
    "magic": (0, 8),
    "major": (8, 4),
    "minor": (12, 4),
    "channel_id": (16, 8),
    "generation": (24, 8),
    "epoch": (32, 8),
    "slots": (40, 4),
    "entry_bytes": (44, 4),
    "table_offset": (48, 8),
    "payload_offset": (56, 8),
    "slot_bytes": (64, 8),
}
ENTRY = {
    "version": (0, 8),
    "size_bytes": (8, 8),
    "format": (16, 4),
    "width": (20, 4),
    "height": (24, 4),
    "plane_count": (28, 4),
    "offset": (32, 8),
    "stride": (40, 8),
    "offset2": (48, 8),
    "stride2": (56, 8),
    "timestamp_ns": (96, 8),
    "published_ns": (104, 8),
    "pts_ns": (112, 8),
    "duration_ns": (120, 8),
    "color": (128, 4),
    "flags": (132, 4),
    "origin_epoch": (136, 8),
    "origin_sequence": (144, 8),
    "epoch": (152, 8),
}


def packed(fields, values, size):
    """The bytes of a structure."""
    data = bytearray(size)
    for name, value in values.items():
        at, width = fields[name]
        if isinstance(value, bytes):
            data[at : at + min(len(value), width)] = value[:width]
        else:
            data[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data)


class Channel:
    """The three files of a channel, valid by default, and the lock of its publisher."""

    def __init__(
        self,
        folder,
        name,
        *,
        control=None,
        readers=None,
        data=None,
        entry=None,
        slots=2,
        slot_bytes=4096,
        size=None,
        live=True,
        payload=b"\x07" * 4096,
    ):
        self.folder, self.name = Path(folder), name
        path = name.replace("/", "@")
        self.paths = {part: self.folder / f"{path}.{part}" for part in ("control", "readers", "data.1")}
        now = time.time_ns()
        head = {
            "magic": b"FRMLCTRL",
            "major": MAJOR,
            "minor": MINOR,
            "header_bytes": 512,
            "channel_id": 77,
            "epoch": now,
            "generation": 1,
            "state": 1,
            "slots": slots,
            "publisher_pid": os.getpid(),
            "started_ns": now,
            "head": 1 << 8,
            "wake": 1,
            "given": 1,
        }
        records = {
            "magic": b"FRMLREAD",
            "major": MAJOR,
            "minor": MINOR,
            "channel_id": 77,
            "record_count": 64,
            "record_bytes": 256,
        }
        ring = {
            "magic": b"FRMLDATA",
            "major": MAJOR,
            "minor": MINOR,
            "channel_id": 77,
            "generation": 1,
            "epoch": now,
            "slots": slots,
            "entry_bytes": 256,
            "table_offset": 4096,
            "payload_offset": 4096 + (256 * slots + 4095) // 4096 * 4096,
            "slot_bytes": slot_bytes,
        }
        frame = {
            "version": 1,
            "size_bytes": 32,
            "format": 1,
            "width": 16,
            "height": 2,
            "plane_count": 1,
            "stride": 16,
            "timestamp_ns": now,
            "published_ns": time.monotonic_ns(),
            "pts_ns": NO_PTS,
            "duration_ns": UNKNOWN,
            "color": 0x020202,
            "epoch": now,
        }
        for values, other in ((head, control), (records, readers), (ring, data), (frame, entry)):
            values.update(other or {})
        self.payload_offset = ring["payload_offset"]
        # The data file comes first, because a subscriber that sees control opens it.
        whole = packed(DATA, ring, 4096) + packed(ENTRY, frame, 256)
        with open(self.paths["data.1"], "wb", opener=_private) as file:
            file.write(whole)
            file.truncate(size or 4096 + (256 * slots + 4095) // 4096 * 4096 + slots * slot_bytes)
            file.seek(4096 + (256 * slots + 4095) // 4096 * 4096)
            file.write(payload[:slot_bytes])
        self.write("readers", packed(READERS, records, 20480))
        self.lock = os.open(
            self.folder / f".{path}.{now:016x}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        os.write(self.lock, packed(CONTROL, head, 4096))
        if live:
            fcntl.fcntl(self.lock, LOCK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        os.rename(self.folder / f".{path}.{now:016x}.new", self.paths["control"])
        if not live:
            self.unlock()

    def write(self, part, data):
        """Writes a whole file."""
        with open(self.paths[part], "wb", opener=_private) as file:
            file.write(data)

    def set(self, **fields):
        """Changes fields of `control` under everybody's map."""
        for name, value in fields.items():
            at, width = CONTROL[name]
            os.pwrite(self.lock, (value & ((1 << 8 * width) - 1)).to_bytes(width, "little"), at)

    def unlock(self):
        """Dies."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def remove(self):
        """Removes its files, and the lock."""
        self.unlock()
        for path in self.paths.values():
            path.unlink(missing_ok=True)


def _private(path, flags):
    return os.open(path, flags, 0o600)
