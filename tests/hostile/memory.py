"""A hostile publisher on the server's machine, and clients that ask for its channel at other sizes."""

import os
import threading

import protocol
from kit import MIB, Skipped, attack, expect, wait_until
from shm import Channel
from protocol import Refusal

WANTS = (
    {"size": (8, 8)},
    {"size": (64, 48), "codec": "jpeg:80"},
    {"codec": "jpeg:80"},
    {"codec": "lz4"},
    {"size": (64, 48), "codec": "h264:1000000"},
    {},
)


def ask(target, name):
    """Clients ask for the channel in every way."""

    def one(fields):
        try:
            with target.hello(token="honest", carrier="tcp", channel=name, **fields) as connection:
                connection.sock.settimeout(1)
                connection.send(protocol.credit(4) + protocol.ping())
                for _ in range(3):
                    if connection.message().kind == protocol.FRAME:
                        return
        except (Refusal, protocol.Ended, TimeoutError):
            pass

    threads = [threading.Thread(target=one, args=(fields,)) for fields in WANTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def offer(target, **fields):
    """A hostile channel, which is asked for and removed."""
    channel = Channel(target.place.channels, "bad", **fields)
    try:
        ask(target, "bad")
        target.server.expect_alive()
    finally:
        channel.remove()


@attack(
    "strides of 2 GiB and more in a sparse file, sent at another size and as jpeg, lz4 and h264",
    memory=256 * MIB,
    shared=64 * MIB,
)
def strides(target):
    for format, pixel, strides_bytes in (
        (1, 1, ((1 << 31) - 1, 1 << 31, 0x80001000)),
        (3, 3, (1 << 31,)),
        (9, 2, (1 << 31,)),
    ):
        for stride in strides_bytes:
            size = stride + 16 * pixel
            offer(
                target,
                slot_bytes=(size + 4095) // 4096 * 4096,
                entry={"stride": stride, "size_bytes": size, "format": format},
            )


@attack(
    "offsets, sizes, widths and formats of every magnitude in an entry, read by the same clients",
    memory=256 * MIB,
    shared=64 * MIB,
)
def entries(target):
    for field, values in {
        "offset": (1, 4095, 1 << 31, 1 << 40, (1 << 64) - 1),
        "size_bytes": (0, 4097, 1 << 31, (1 << 64) - 1),
        "width": (0, 65536, 1 << 31, (1 << 32) - 1),
        "height": (0, 65536, 1 << 31, (1 << 32) - 1),
        "format": (0, 2, 7, 8, 10, 0x100, 0x10000000, 0x10060200, 0xFFFFFFFF),
        "plane_count": (0, 2, 4, 5, (1 << 32) - 1),
        "flags": (91, 0xFFFFFFFF),
        "color": (0xFFFFFFFF, 0),
    }.items():
        for value in values:
            offer(target, entry={field: value})


@attack(
    "pictures of 1x65535, 65535x1 and 12000x12000 in sparse memory, sent at other sizes and codecs",
    memory=1200 * MIB,
    shared=1100 * MIB,
)
def shapes(target):
    for width, height in ((1, 65535), (65535, 1), (1, 1), (12000, 12000)):
        size = width * height
        offer(
            target,
            slot_bytes=(size + 4095) // 4096 * 4096,
            entry={"stride": width, "width": width, "height": height, "size_bytes": size},
        )


@attack("files that are truncated while the server sends a frame", memory=128 * MIB, shared=64 * MIB)
def changing(target):
    for part in ("data.1", "control", "readers"):
        channel, ended = (
            Channel(
                target.place.channels,
                "bad",
                slot_bytes=1 << 20,
                entry={"stride": 1024, "width": 1024, "height": 1024, "size_bytes": 1 << 20},
            ),
            threading.Event(),
        )

        def shake():
            length = os.path.getsize(channel.paths[part])
            while not ended.is_set():
                os.truncate(channel.paths[part], 4096)
                os.truncate(channel.paths[part], length)

        thread = threading.Thread(target=shake)
        thread.start()
        try:
            ask(target, "bad")
        finally:
            ended.set()
            thread.join()
            channel.remove()


@attack("a data file of another user with the name of the next ring of a channel that grows", shared=64 * MIB)
def foreign_ring(target):
    if os.geteuid() != 0:
        raise Skipped("files of another user can be made by root only")
    folder = target.place.channels
    folder.chmod(0o1777)
    try:
        with target.hello(
            token="both", direction=protocol.SEND, channel="w/grow", carrier="tcp"
        ) as connection:
            connection.until(protocol.CREDIT)
            connection.send(protocol.frame(1, bytes(32)))
            wait_until(lambda: (folder / "w@grow.data.1").exists(), "no channel was made")
            for number in (2, 3):
                path = folder / f"w@grow.data.{number}"
                path.write_bytes(b"x")
                os.chown(path, 65534, 65534)
            with target.hello(token="honest", channel="w/grow", carrier="tcp") as reader:
                reader.send(protocol.credit(9))
                connection.send(protocol.frame(2, bytes(1 << 20), width=1024, height=1024))
                reader.sock.settimeout(20)
                try:
                    while reader.until(protocol.FRAME).frame()["width"] != 1024:
                        pass
                except (TimeoutError, protocol.Ended) as error:
                    expect(False, f"a file of another user stops a channel that grows: {error}")
    finally:
        for number in (2, 3):
            (folder / f"w@grow.data.{number}").unlink(missing_ok=True)
        folder.chmod(0o700)
