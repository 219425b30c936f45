"""Unauthenticated clients: first bytes of every kind, slow ones and floods."""

import socket
import ssl
import struct
import threading

import protocol
from kit import MARK, MIB, UGLY, attack, expect
from protocol import MAGIC, Ended, hello, hello_body, message
from target import refused_or_ended

CARRIERS = ("tls", "tcp", "unix")


def say(target, *sayings):
    """Sends each of them over every carrier. No client is welcomed, and the server ends the connection."""
    for carrier in CARRIERS:
        for saying in sayings:
            connection = target.connect(carrier)
            connection.try_send(saying)
            refused_or_ended(connection)


@attack("other protocols: HTTP, TLS without TLS, SSH, RTSP, zeros, 0xFF, the magic in lower case")
def other_protocols(target):
    say(
        target,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        bytes(64),
        b"\xff" * 64,
        b"frmllink" + message(protocol.HELLO, hello_body()),
    )


@attack("control characters, escapes, U+202E and 8 KiB of text instead of a protocol, channel or codec")
def ugly_bytes(target):
    ugly = UGLY.encode("utf-8")
    say(target, ugly * 200, MAGIC + ugly * 100)
    for carrier in ("tls", "tcp"):
        for fields in (
            {"channel": UGLY},
            {"channel": UGLY * 8},
            {"codec": UGLY[:40]},
            {"channel": b"\xff\xfe\x80" + MARK.encode()},
            {"codec": b"\xc3"},
            {"codec": b"\xed\xa0\x80"},
        ):
            connection = target.connect(carrier)
            connection.begin()
            connection.try_send(protocol.request(**fields))
            refused_or_ended(connection)


@attack("another major version, minor 0, and a HELLO of a higher minor version with a longer body")
def versions(target):
    for carrier in CARRIERS:
        for major, minor in ((0, 1), (2, 0), (255, 1), (256, 1), (65535, 65535), (1, 0)):
            connection = target.connect(carrier)
            connection.send(hello(major=major, minor=minor))
            expect(connection.end() is not None, f"version {major}.{minor} is not refused with a reason")
            connection.close()
    with target.connect("tcp") as connection:
        connection.begin(minor=65535, more=bytes(range(256)) * 4)


@attack("HELLO and REQUEST cut off after each of their bytes")
def cut_off(target):
    whole = hello()
    for length in range(len(whole)):
        connection = target.connect("unix" if length % 3 else "tcp")
        connection.send(whole[:length])
        connection.close()
    whole = protocol.request()
    for length in range(0, len(whole), 3):
        connection = target.connect("tcp")
        connection.begin()
        connection.send(whole[:length])
        connection.close()


@attack("HELLO and REQUEST whose bodies are shorter than their fields, and texts that point beyond the end")
def short_bodies(target):
    for length in range(0, 56, 5):
        connection = target.connect("tcp")
        connection.send(MAGIC + message(protocol.HELLO, hello_body()[:length]) + protocol.request())
        refused_or_ended(connection)
    body = bytes(32) + protocol.request_body()
    texts = (
        b"\xff\xff",
        b"\xff\xffcam0",
        b"\x04\x00cam0\xff\xff",
        struct.pack("<H", 201) + b"a" * 201,
        struct.pack("<H", 16000) + b"a" * 16000,
        b"\x04\x00cam0" + struct.pack("<H", 65) + b"r" * 65,
    )
    for carrier in ("tcp", "unix"):
        for data in [body[:length] for length in range(0, len(body), 3)] + [
            body[:88] + more for more in texts
        ]:
            connection = target.connect(carrier)
            connection.begin()
            connection.send(message(protocol.REQUEST, data))
            refused_or_ended(connection)


@attack("messages of up to 4 GiB and payloads of up to 2^64 bytes, instead of HELLO and after it")
def lengths(target):
    for size in (16385, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
        say(target, MAGIC + message(protocol.HELLO, b"", body_bytes=size))
    for payload in (1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1):
        say(target, MAGIC + message(protocol.HELLO, hello_body(), payload_bytes=payload))
        connection = target.hello(token="honest")
        connection.try_send(message(protocol.PING, bytes(8), payload_bytes=payload))
        connection.end()


@attack("any other message instead of HELLO and REQUEST, 1,000 optional ones, a second HELLO", deep=True)
def out_of_order(target):
    say(
        target,
        *(MAGIC + message(kind, bytes(8)) for kind in (0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 77, 0x7FFF, 0xFFFF)),
    )
    connection = target.connect("tcp")
    connection.try_send(MAGIC + message(99, b"", flags=protocol.OPTIONAL) * 1000)
    refused_or_ended(connection)
    for kind in (1, 2, 4, 5, 6, 7, 8, 9, 10, 77):
        connection = target.connect("tcp")
        connection.begin()
        connection.try_send(message(kind, bytes(100)))
        refused_or_ended(connection)
    for more in (
        hello()[8:],
        protocol.request(),
        message(protocol.WELCOME, bytes(64)),
        protocol.frame(1, bytes(32)),
        message(protocol.PONG, bytes(24)),
        message(1234),
        MAGIC,
    ):
        connection = target.hello(token="honest")
        connection.try_send(more)
        connection.end()


@attack("REFUSED with 4 KiB of text or control characters instead of HELLO: none of it is logged")
def refusing_first(target):
    say(
        target,
        MAGIC + protocol.refused(5, MARK * 341, MARK * 341),
        MAGIC + protocol.refused(5, UGLY * 30, UGLY * 30),
        MAGIC + protocol.refused(0xFFFFFFFF, "\u202e" * 1365, MARK),
    )


@attack("no byte, a byte every 100 ms, half a TLS handshake, half a HELLO: all are disconnected")
def slow(target):
    whole = hello()
    ended = threading.Event()

    def trickle(connection, data):
        for byte in data:
            if ended.wait(0.1) or not connection.try_send(bytes([byte])):
                return

    threads, connections = [], []
    try:
        for number in range(20):
            kind = number % 5
            connection = (
                target.connect("tls" if kind == 3 else "tcp") if kind != 1 else protocol.connect(target.tls)
            )
            connections.append(connection)
            if kind == 1:
                # A ClientHello that never ends.
                connection.try_send(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(number))
            elif kind == 2:
                connection.try_send(whole[: len(whole) // 2])
            elif kind in (3, 4):
                threads.append(threading.Thread(target=trickle, args=(connection, whole[:-1]), daemon=True))
                threads[-1].start()
        target.newcomer()
        for connection in connections:
            connection.silence()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for connection in connections:
            connection.close()


@attack("TLS without ALPN, with ALPN of http/1.1, and TLS 1.2: all are refused")
def alpn(target):
    for options in ({"alpn": None}, {"alpn": "http/1.1"}, {"oldest": ssl.TLSVersion.TLSv1_2}):
        try:
            connection = target.connect("tls", **options)
        except OSError:
            continue
        try:
            connection.send(hello())
            found = connection.message()
            expect(found.kind == protocol.REFUSED, f"TLS with {options}: {found}")
        except (Ended, OSError):
            pass
        finally:
            connection.close()


@attack("TLS records that are random, truncated, oversized or empty")
def tls_garbage(target):
    for data in (
        b"\x16\x03\x01\xff\xff" + bytes(65535),
        b"\x16\x03\x03\x00\x00" * 1000,
        b"\x17\x03\x03\x00\x10" + bytes(16),
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x14\x03\x03\x00\x01\x01" * 5000,
        b"\x80\x2e\x01\x00\x02" + bytes(64),
    ):
        connection = protocol.connect(target.tls)
        connection.try_send(data)
        connection.silence()
        connection.close()


@attack(
    "1,000 silent connections from one address, then 300 with HELLO: other addresses are served",
    memory=96 * MIB,
)
def flood_from_one_address(target):
    for first in (b"", hello()):
        held = []
        try:
            for number in range(300 if first else 1000):
                try:
                    connection = protocol.connect(target.tcp if number % 2 else target.tls)
                except OSError:
                    continue
                connection.try_send(first)
                held.append(connection)
                if number % 250 == 249:
                    target.newcomer()
        finally:
            for connection in held:
                connection.close()


@attack(
    "connections from 60 addresses of 127.0.0.0/8 at once: the limit of all connections holds",
    memory=128 * MIB,
    deep=True,
)
def flood_from_many_addresses(target):
    held = []
    try:
        for number in range(600):
            try:
                held.append(protocol.connect(target.tcp, f"127.0.1.{number % 60 + 1}"))
            except OSError:
                pass
        expect(target.server.usage()[2] < 600, f"{target.server.usage()[2]} descriptors for 600 clients")
    finally:
        for connection in held:
            connection.close()


@attack("20 connections that end with a reset while the server answers")
def resets(target):
    for number in range(20):
        connection = target.connect("tcp")
        connection.send(hello()[: 8 + number * 8])
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


@attack("clients that read nothing, with credits and pings without end")
def never_read(target):
    held = [target.hello(token="honest", carrier="tcp", delivery=number % 2) for number in range(6)]
    pings = protocol.ping() * 2000
    try:
        for connection in held:
            connection.send(protocol.credit(64))
            connection.sock.settimeout(0.5)
            connection.try_send(pings)
        target.newcomer()
    finally:
        for connection in held:
            connection.close()


@attack("credits beyond 4096, credits that fall, 20,000 KEYFRAMEs, STATEs from a client that receives")
def sink_messages(target):
    for more in (
        protocol.credit(1 << 40),
        protocol.credit((1 << 64) - 1),
        protocol.credit(10) + protocol.credit(1),
        protocol.credit(3) + message(protocol.KEYFRAME) * 20000,
        *(protocol.state(n) for n in (0, 1, 2, 3, 1 << 31)),
        message(protocol.CREDIT),
        message(protocol.PING),
        message(protocol.STATE),
        message(protocol.CREDIT, b"\xff" * 7),
    ):
        connection = target.hello(token="honest", carrier="tcp")
        connection.sock.settimeout(1)
        connection.try_send(more)
        connection.close()
