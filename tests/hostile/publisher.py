"""Clients that may send, and send what no camera does."""

import socket
import struct
import threading
import time

import media
import protocol
from kit import DEADLINE_S, MARK, MIB, UGLY, attack, expect, wait_until
from protocol import CODED, STANDALONE, Ended, Refusal, frame

MAGNITUDES = (
    0,
    1,
    15,
    16,
    31,
    32,
    33,
    255,
    4096,
    65535,
    65536,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 4096,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 16,
    (1 << 64) - 1,
)


# Numbers of framelane's errors.
BUSY, NO_SPACE, TOO_LARGE = 2, 4, 8


def sender(target, channel, codec="raw", **fields):
    """A welcomed client that sends."""
    return target.hello(
        token="both", direction=protocol.SEND, channel=channel, codec=codec, carrier="tcp", **fields
    )


def deliver(connection, data):
    """Sends when the server grants it, and waits until the server has taken or refused everything."""
    try:
        connection.until(protocol.CREDIT)
        if connection.try_send(data):
            connection.sock.shutdown(socket.SHUT_WR)
        connection.end()
    except (Ended, OSError):
        pass
    finally:
        connection.close()


def throw(target, channel, *frames, codec="raw"):
    """Sends each of the frames over a new connection."""
    for data in frames:
        try:
            connection = sender(target, channel, codec)
        except Refusal as refusal:
            # The connection before is being ended still, or a limit was reached.
            expect(refusal.again or refusal.code in (BUSY, NO_SPACE, TOO_LARGE), str(refusal))
            continue
        deliver(connection, data)


def receive_as(target, channel, **fields):
    """An honest client receives the attacker's channel, converted."""
    try:
        with target.hello(token="honest", carrier="tcp", channel=channel, **fields) as connection:
            connection.sock.settimeout(0.5)
            connection.send(protocol.credit(4) + protocol.ping())
            for _ in range(4):
                connection.message()
    except (Refusal, Ended, TimeoutError):
        pass


@attack("raw frames with strides of every magnitude up to 2^64, received at another size", shared=64 * MIB)
def strides(target):
    threads = [
        threading.Thread(target=receive_as, args=(target, "w/stride"), kwargs=fields, daemon=True)
        for fields in ({"size": (8, 8)}, {"size": (8, 8), "codec": "jpeg:80"}, {"codec": "lz4"})
    ]
    for thread in threads:
        thread.start()
    throw(
        target,
        "w/stride",
        *(frame(1, bytes(48), planes=[(0, stride)], size_bytes=48) for stride in MAGNITUDES),
    )
    throw(
        target,
        "w/stride",
        *(
            frame(1, bytes(48), planes=[(0, stride)], size_bytes=stride * 2 & (1 << 64) - 1, payload_bytes=48)
            for stride in MAGNITUDES
        ),
    )
    for thread in threads:
        thread.join()


@attack(
    "offsets, sizes and widths of every magnitude, planes that overlap, 0 to 2^32 planes", shared=64 * MIB
)
def geometry(target):
    frames = [frame(1, bytes(48), planes=[(offset, 16)], size_bytes=48) for offset in MAGNITUDES]
    frames += [frame(1, bytes(48), planes=[(0, 16)], size_bytes=size) for size in MAGNITUDES]
    small = [number for number in MAGNITUDES if number < 1 << 32]
    frames += [frame(1, bytes(48), planes=[(0, 16)], width=number, size_bytes=48) for number in small]
    frames += [frame(1, bytes(48), planes=[(0, 16)], height=number, size_bytes=48) for number in small]
    frames += [
        frame(1, bytes(48), planes=[(0, 16)], width=number, height=number, size_bytes=48) for number in small
    ]
    frames += [
        frame(1, bytes(48), planes=[(0, 16)], plane_count=count, size_bytes=48)
        for count in (0, 2, 4, 5, 255, (1 << 32) - 1)
    ]
    frames += [
        frame(1, bytes(64), format="i420", width=8, height=4, size_bytes=64, planes=planes)
        for planes in (
            [(0, 8), (0, 8), (0, 8)],
            [(0, 8), (1 << 63, 4), (1 << 63, 4)],
            [(0, 8), (32, (1 << 64) - 4), (40, 4)],
        )
    ]
    throw(target, "w/geometry", *frames)


@attack(
    "unknown formats, matrices of 0 to 2^16 channels, broken detections, flags of all ones", shared=64 * MIB
)
def formats(target):
    codes = [
        0,
        11,
        99,
        0xFF,
        0x101,
        0xFFFFFFFF,
        0x10000000,
        0x10000201,
        0x1FFFFFFF,
        0x10070200,
        0x100F0001,
        0x20000001,
    ]
    frames = [frame(1, bytes(48), format=code, planes=[(0, 16)], size_bytes=48) for code in codes]
    frames += [
        frame(1, bytes(32), flags=flags, color=(255, 255, 255, 255))
        for flags in (0xFFFFFFFF, STANDALONE | 91, STANDALONE | 0xFFFF)
    ]
    frames += [
        frame(
            1,
            data,
            format="detections",
            width=len(data),
            height=1,
            planes=[(0, len(data))],
            size_bytes=len(data),
        )
        for data in (b"FLDT", b"FLDT" + b"\xff" * 60, _boxes(1 << 31, 48), _boxes(0, 1 << 31), _boxes(1, 0))
    ]
    throw(target, "w/formats", *frames)


def _boxes(count, size):
    """A batch of detections that lies."""
    return struct.pack("<4sHHQQQQIIIIII", b"FLDT", 1, 0, 1, 1, 0, 0, 64, 64, count, size, 2, 64) + bytes(64)


@attack(
    "coded frames of one byte that claim 160 MiB, on 12 channels: jpeg, h264 and lz4",
    memory=256 * MIB,
    shared=64 * MIB,
)
def one_byte(target):
    side = 7300
    for codec in ("jpeg:80", "h264:1000000", "lz4"):
        for number in range(4):
            throw(
                target,
                f"w/one{number}{codec[0]}",
                frame(1, b"\x00", width=side, height=side, format="bgr8", flags=STANDALONE | CODED),
                codec=codec,
            )


@attack(
    "JPEGs of 65500x65500, with 500 scans, restarts, another size or format than the frame",
    memory=256 * MIB,
    shared=64 * MIB,
)
def jpeg_bombs(target):
    flags = STANDALONE | CODED
    bombs = [
        media.jpeg(65500, 65500, tail=bytes(4096)),
        media.jpeg(65500, 65500, 1, tail=bytes(4096), progressive=True),
        media.jpeg(4096, 4096, tail=bytes(100), restarts=True),
        media.jpeg(64, 64, 4, tail=bytes(100)),
        media.jpeg(64, 0),
        media.jpeg(0, 64),
        b"\xff\xd8",
        b"\xff\xd8" + b"\xff\xe0\xff\xff" + bytes(65533) + b"\xff\xd9",
    ]
    frames = [frame(1, bomb, width=64, height=64, format="bgr8", flags=flags) for bomb in bombs]
    frames += [
        frame(
            1, media.progressive_bomb(4096, 4096, 500), width=4096, height=4096, format="gray8", flags=flags
        )
    ]
    throw(target, "w/jpeg", *frames, codec="jpeg:80")


@attack(
    "H.264 of 16384x16384, 16 references, 500 parameter sets, slices without IDR, random bytes",
    memory=256 * MIB,
    shared=64 * MIB,
)
def h264_bombs(target):
    flags = STANDALONE | CODED
    bombs = [
        media.h264(16384, 16384),
        media.h264(65536, 65536),
        media.h264(64, 64, references=16),
        media.h264(64, 64, profile=100),
        media.h264(64, 64, poc_type=1, cycle=255),
        media.sps(64, 64) * 500,
        media.idr(),
        media.h264(64, 64) * 50,
        b"\0\0\0\1",
        b"\0\0\1" * 5000,
        media.sps(64, 64) + media.pps(7) + media.idr(),
        b"\xff" * 4096,
        media.h264(64, 64, tail=bytes(60000)),
    ]
    frames = [
        frame(
            1,
            bomb,
            width=64,
            height=64,
            format="i420",
            flags=flags,
            size_bytes=6144,
            planes=[(0, 64), (4096, 32), (5120, 32)],
        )
        for bomb in bombs
    ]
    throw(target, "w/h264", *frames, codec="h264:1000000")


@attack(
    "LZ4 blocks that expand without end, refer to before their start, or end early",
    memory=256 * MIB,
    shared=64 * MIB,
)
def lz4_bombs(target):
    blocks = [
        b"\x1f\x00\x01\x00" + b"\xff" * 60000 + b"\x00",
        b"\x0f\x00\x00",
        b"\x0f\xff\xff\x00",
        b"\xf0" + b"\xff" * 100,
        b"",
        b"\x00",
    ]
    frames = [
        frame(1, block, width=size, height=size, flags=STANDALONE | CODED)
        for block in blocks
        for size in (16, 1024, 4096)
    ]
    throw(target, "w/lz4", *frames, codec="lz4")


@attack("payloads that are longer or shorter than the frame, of 2^63 bytes, and without end", shared=64 * MIB)
def payloads(target):
    throw(
        target,
        "w/payload",
        frame(1, bytes(31)),
        frame(1, bytes(33)),
        frame(1, b"", payload_bytes=1 << 63),
        frame(1, b"", width=1 << 30, height=1 << 30),
        frame(1, b"", width=12000, height=12000),
    )
    with sender(target, "w/payload") as connection:
        connection.send(frame(1, bytes(1000), width=10000, height=10000, payload_bytes=10**8))
        time.sleep(1)


@attack("frames of 160 MiB on 8 channels at once", memory=256 * MIB, shared=1100 * MIB, deep=True)
def large_channels(target):
    held = []
    try:
        for number in range(8):
            try:
                connection = sender(target, f"w/large{number}")
                held.append(connection)
            except Refusal:
                continue
            connection.sock.settimeout(10)
            connection.try_send(frame(1, bytes(160 << 20), width=4096, height=40960))
    finally:
        for connection in held:
            connection.close()


@attack(
    "forged origins: the epoch of another writer with sequence 2^64-1. That writer continues", shared=64 * MIB
)
def origins(target):
    owner = target.token("owner", write="w/**", read="w/**")
    epoch = 5

    def write(*numbers):
        """The owner of the epoch sends frames. Returns whether they reach a reader."""
        try:
            with target.hello(
                token=owner, direction=protocol.SEND, channel="w/origin", carrier="tcp"
            ) as connection:
                connection.until(protocol.CREDIT)
                connection.send(
                    b"".join(frame(number, bytes([number]) * 32, epoch=epoch) for number in numbers[:1])
                )
                with target.hello(token=owner, channel="w/origin", carrier="tcp") as reader:
                    reader.send(protocol.credit(8))
                    for number in numbers[1:]:
                        connection.send(frame(number, bytes([number]) * 32, epoch=epoch))
                        time.sleep(0.05)
                    reader.sock.settimeout(1)
                    found = reader.until(protocol.FRAME, protocol.REFUSED)
                    return found.kind == protocol.FRAME and found.payload[0] in numbers
        except (Refusal, Ended, TimeoutError):
            return False

    expect(write(1, 2, 3), "an honest writer does not get through before the attack")
    for forged, sequence in (
        (epoch, (1 << 64) - 1),
        ((1 << 64) - 1, (1 << 64) - 1),
        (epoch, 1 << 63),
        (0, 1),
    ):
        throw(target, "w/origin", frame(sequence, bytes(32), epoch=forged))
    wait_until(
        lambda: write(*range(20, 26)),
        "an honest writer of the channel is silenced by forged origins",
        deadline=20,
        interval=0.3,
    )


@attack("500 channels, each with one frame, with one token", memory=96 * MIB, shared=128 * MIB)
def flood_of_channels(target):
    for number in range(500):
        try:
            with sender(target, f"w/flood/{number}") as connection:
                connection.try_send(frame(1, bytes(32)))
        except (Refusal, Ended):
            pass


@attack("40 channels without a first frame: no file remains", shared=MIB, leaves=0)
def no_first_frame(target):
    held = []
    try:
        for number in range(40):
            try:
                connection = sender(target, f"w/never/{number}")
                connection.try_send(protocol.state(1) + protocol.ping())
                held.append(connection)
            except Refusal:
                break
        target.newcomer()
    finally:
        for connection in held:
            connection.close()


@attack("2,000 frames without credit", shared=64 * MIB)
def without_credit(target):
    with sender(target, "w/flood") as connection:
        connection.sock.settimeout(5)
        for start in range(1, 2000, 100):
            if not connection.try_send(
                b"".join(frame(number, bytes(32)) for number in range(start, start + 100))
            ):
                break


@attack("channel names with control characters, STATEs of channels without a frame", shared=64 * MIB)
def names(target):
    for channel in (
        "w/" + UGLY.replace(MARK, "")[:40],
        "w/a\n",
        "w/\u202egpj.exe",
        "w/a\x1b[2J",
        "w/" + "\u0600" * 90,
    ):
        try:
            sender(target, channel).close()
        except (Refusal, Ended):
            pass
    for number in (0, 1, 2, 3, (1 << 32) - 1):
        try:
            with sender(target, "w/state") as connection:
                connection.try_send(protocol.state(number) * 50)
        except (Refusal, Ended):
            pass


@attack(
    "frames that grow up to 30 MiB and shrink again: old rings are removed",
    memory=160 * MIB,
    shared=600 * MIB,
)
def growing(target):
    with sender(target, "w/grow") as connection:
        connection.sock.settimeout(DEADLINE_S)
        number = 0
        for side in (16, 64, 256, 1024, 2048, 4096, 5600, 16, 5600, 16):
            number += 1
            if not connection.try_send(frame(number, bytes(side * side), width=side, height=side)):
                break
