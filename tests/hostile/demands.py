"""Clients that may receive, and ask for excessive sizes, codecs and numbers of frames."""

import threading
import time

import protocol
from kit import MIB, attack, expect, wait_until
from protocol import Ended, Refusal


def ask(target, count=1, seconds=3.0, credits=8, **fields):
    """`count` clients ask at once and receive for a while. Returns how many were welcomed."""
    welcomed, threads = [], []

    def one():
        try:
            with target.hello(token="reader", **fields) as connection:
                welcomed.append(connection)
                connection.sock.settimeout(0.5)
                end, granted = time.monotonic() + seconds, credits
                connection.send(protocol.credit(granted))
                while time.monotonic() < end:
                    connection.send(protocol.ping())
                    try:
                        found = connection.message()
                    except TimeoutError:
                        continue
                    if found.kind == protocol.FRAME:
                        granted += 1
                        connection.send(protocol.credit(granted))
        except (Refusal, Ended):
            pass

    for _ in range(count):
        threads.append(threading.Thread(target=one, daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return len(welcomed)


# One frame of 4096x4096 in yuv420p is 24 MiB. An encoder keeps several. A client may use two such encoders.
ENCODERS = 640 * MIB


@attack("five times size=4096x4096&codec=h264 of a channel of 320x240", memory=ENCODERS)
def five_huge_encoders(target):
    ask(target, 5, size=(4096, 4096), codec="h264:4000000")


@attack("one receiver that asks for 40 Mpixel, raw, lz4, jpeg and h264", memory=ENCODERS)
def forty_megapixel(target):
    for codec in ("raw", "lz4", "jpeg:100", "h264:100000000"):
        ask(target, 1, 1.5, size=(8000, 5000), codec=codec)


@attack("12 receivers of 12 sizes, each a little larger than the other, jpeg and h264", memory=ENCODERS)
def many_sizes(target):
    threads = []
    for number in range(12):
        size = (640 + 16 * number, 480 + 16 * number)
        codec = "jpeg:95" if number % 2 else "h264:1000000"
        threads.append(
            threading.Thread(target=ask, args=(target,), kwargs={"size": size, "codec": codec}, daemon=True)
        )
        threads[-1].start()
    for thread in threads:
        thread.join()


@attack(
    "sizes of every magnitude: 1x1, 1x65535, 2^31 x 2^31, 2^32-1, a width without a height", memory=ENCODERS
)
def sizes(target):
    numbers = (
        0,
        1,
        3,
        4096,
        16384,
        16385,
        32767,
        65535,
        65536,
        1 << 20,
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 1,
    )
    pairs = (
        [(n, n) for n in numbers]
        + [(n, 1) for n in numbers]
        + [(1, n) for n in numbers]
        + [(n, 0) for n in numbers]
    )
    for number, size in enumerate(pairs):
        codec = ("raw", "lz4", "jpeg:80", "h264:1000000")[number % 4]
        _glance(target, size=size, codec=codec)


@attack("unknown codecs, qualities and bit rates of every magnitude, contradictions", deep=True)
def codecs(target):
    for codec in (
        "",
        "RAW",
        "raw:",
        "raw:1",
        "gzip",
        "jpeg",
        "jpeg:",
        "jpeg:0",
        "jpeg:101",
        "jpeg:-1",
        "jpeg:1e9",
        "jpeg:80:80",
        "jpeg:99999999999999999999",
        "h264",
        "h264:0",
        "h264:-1",
        "h264:18446744073709551616",
        "h264:4M",
        "lz4:9",
        "raw\0",
        " raw",
        "raw,lz4",
        "../raw",
        "h264:1",
        "h264:18446744073709551615",
        "h265:1",
        "x" * 64,
        "jpeg:٨٠",
    ):
        _glance(target, codec=codec, size=(64, 64))


@attack("max_payload of 0, 1 and 2^64-1, extreme frame rates, epochs and sequences of the future")
def limits(target):
    for fields in (
        {"max_payload": 0},
        {"max_payload": 1},
        {"max_payload": (1 << 64) - 1},
        {"max_milli_fps": 1},
        {"max_milli_fps": (1 << 32) - 1},
        {"last": ((1 << 64) - 1, (1 << 64) - 1)},
        {"last": (0, 1 << 63)},
        {"last": (1, (1 << 64) - 1), "delivery": protocol.EVERY},
        {"machine": (1 << 64) - 1},
    ):
        _glance(target, **fields)


@attack("20 receivers with delivery every and 64 credits each that read slowly", memory=128 * MIB, deep=True)
def slow_receivers(target):
    held = []
    try:
        for number in range(20):
            connection = target.hello(token="reader", carrier="tcp", delivery=protocol.EVERY)
            connection.send(protocol.credit(64))
            held.append(connection)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for connection in held:
                connection.try_send(protocol.ping())
                connection.sock.settimeout(0.02)
                try:
                    connection.receive()
                except (TimeoutError, Ended):
                    pass
                connection.buffer.clear()
    finally:
        for connection in held:
            connection.close()


@attack("24 receivers of small frames that ping and never read", memory=128 * MIB)
def deaf_receivers(target):
    feed, held = target.feed_of("cam1", (8, 8)), []
    try:
        wait_until(lambda: target.place.run("info", "cam1", "--json").code == 0, "cam1 has no publisher")
        end = time.monotonic() + 8
        while time.monotonic() < end:
            if len(held) < 24:
                connection = target.hello(carrier="unix", channel="cam1")
                # The answers fill the socket, so that no byte of the next frame fits.
                connection.send(protocol.ping() * 1000)
                time.sleep(0.1)
                connection.send(protocol.credit(64))
                held.append(connection)
            for connection in held:
                connection.try_send(protocol.ping())
            time.sleep(0.1)
        dropped = target.dropped("cam1")
        expect(dropped == 0, f"the publisher of small frames dropped {dropped} for want of a free slot")
    finally:
        for connection in held:
            connection.close()
        feed.close()
        feed.process.stop()


@attack(
    "70 receivers of a channel with one token: all 64 subscriber records, which is a stated limit",
    memory=128 * MIB,
)
def all_records(target):
    held = []
    try:
        for number in range(70):
            try:
                held.append(target.hello(token="reader", carrier="tcp", source=f"127.0.2.{number % 3 + 1}"))
            except (Refusal, Ended, OSError):
                pass
    finally:
        for connection in held:
            connection.close()


@attack("200 clients that ask for coded frames and disconnect at once", memory=ENCODERS)
def come_and_go(target):
    for number in range(200):
        connection = target.ask(
            token="reader",
            size=(320 + 2 * (number % 9), 240),
            codec=("jpeg:80", "h264:1000000", "lz4")[number % 3],
        )
        connection.try_send(protocol.credit(4))
        if number % 4 == 0:
            connection.sock.settimeout(0.2)
            try:
                connection.receive()
            except (TimeoutError, Ended):
                pass
        connection.close()


@attack("2,000 channel names that have no publisher", deep=True)
def names_without_channels(target):
    held = []
    try:
        for number in range(2000):
            try:
                connection = target.hello(token="reader", carrier="tcp", channel=f"cam{number}x")
            except (Refusal, Ended, OSError):
                continue
            held.append(connection)
            if len(held) >= 40:
                held.pop(0).close()
    finally:
        for connection in held:
            connection.close()


def _glance(target, **fields):
    """Asks, takes what comes within a moment, and leaves."""
    try:
        with target.hello(token="reader", carrier="tcp", **fields) as connection:
            connection.sock.settimeout(0.15)
            connection.send(protocol.credit(2) + protocol.ping())
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                connection.receive()
                connection.buffer.clear()
    except (Refusal, Ended, TimeoutError):
        pass
