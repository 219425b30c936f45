"""Peers of the older formats: `framelane receive` and `send` with `legacy://` and `legacy-memory:`."""

import os
import random
import signal
import socket
import struct
import time
from pathlib import Path

import media
from kit import DEADLINE_S, MIB, UGLY, attack, expect, wait_until
from processes import Place
from target import Feed

ANSWER = b"recieved messages!"


def line(length):
    """The 16 bytes before a JPEG."""
    return (length if isinstance(length, bytes) else str(length).encode()).ljust(16)[:16]


class Old:
    """The commands that speak to older programs."""

    def __init__(self, command):
        self.place = Place(command)
        self.memory = self.shared = 0
        self.feed = self.good = None
        self.names = []

    def before(self, attack):
        """Counts from here."""
        self.memory = self.shared = 0
        self.base = self.place.bytes_used()

    def jpeg(self):
        """A picture that any decoder takes: one grey block after the other."""
        if self.good is None:
            self.good = media.jpeg(16, 16, 1, tail=b"\x3f")
        return self.good

    def look(self, process):
        """Notes what a process takes."""
        usage = process.usage()
        self.memory = max(self.memory, usage[0] if usage else 0)
        self.shared = max(self.shared, self.place.bytes_used() - self.base)

    def receiver(self, *options):
        """`framelane receive legacy://`, and its port."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        process = self.place.start(
            "receive",
            f"legacy://127.0.0.1:{port}",
            "old",
            *self.place.options("receive", idle_timeout=2),
            *options,
        )

        def up():
            process.expect_alive()
            try:
                return socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            except OSError:
                return None

        wait_until(up, "the receiver does not listen").close()
        return process, port

    def name(self):
        """The name of a new mapping."""
        self.names.append(f"framelane-hostile-{os.getpid()}-{len(self.names)}")
        return self.names[-1], Path("/dev/shm") / self.names[-1]

    def check(self, attack):
        """Checks the limits after every attack."""
        expect(
            self.memory <= attack.memory,
            f"a command took {self.memory >> 20} MiB, over {attack.memory >> 20}",
        )
        expect(
            self.shared <= attack.shared, f"channels took {self.shared >> 20} MiB, over {attack.shared >> 20}"
        )
        return {"memory": self.memory, "shared": self.shared, "descriptors": 0}

    def close(self):
        """Ends everything."""
        if self.feed:
            self.feed.close()
        for name in self.names:
            (Path("/dev/shm") / name).unlink(missing_ok=True)
        self.place.close()


def send_picture(old, port, text):
    """Sends a picture as an honest sender, and fails with `text` without an answer."""
    picture = old.jpeg()
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        sock.settimeout(DEADLINE_S)
        sock.sendall(line(len(picture)) + picture)
        expect(sock.recv(32).startswith(ANSWER[:8]), text)


def send_all(old, sayings, wait=0.3):
    """Sends each saying over a new connection to a receiver, which then still takes a picture."""
    process, port = old.receiver()
    try:
        for saying in sayings:
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
                sock.settimeout(wait)
                try:
                    sock.sendall(saying)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
                except OSError:
                    pass
            old.look(process)
        process.expect_alive()
        send_picture(old, port, "an honest sender is not answered after the attack")
        process.check_log()
    finally:
        process.stop()


@attack("JPEG lengths that are negative, zero, huge, hexadecimal, not ASCII, or cut short")
def lengths(old):
    words = (
        b"-1",
        b"0",
        b"9999999999999999",
        b"18446744073709551",
        b"0x10",
        b"1e3",
        b"1.5",
        b"",
        b"\0" * 16,
        b"\xff" * 16,
        UGLY.encode()[12:28],
        "\u0661\u0662".encode(),
        b"12 34",
        b"+5",
        b"67108865",
        b"67108864",
        b"\x1b[2J",
    )
    send_all(old, [line(word) + bytes(64) for word in words] + [line(100)[:size] for size in (0, 1, 15)])


@attack(
    "JPEGs of 65500x65500, cut short, empty, with 2 or 4 components, and other files",
    memory=256 * MIB,
    shared=320 * MIB,
)
def pictures(old):
    bombs = [
        media.jpeg(65500, 65500, tail=bytes(2000)),
        media.jpeg(4097, 4096, tail=bytes(2000)),
        media.jpeg(0, 0),
        media.jpeg(64, 64, 4),
        media.jpeg(64, 64, 2),
        b"\xff\xd8",
        b"GIF89a",
        UGLY.encode() * 50,
        random.Random(4).randbytes(5000),
        media.progressive_bomb(4096, 4096, 200),
        media.jpeg(65500, 1),
        media.jpeg(1, 65500),
    ]
    send_all(old, [line(len(bomb)) + bomb for bomb in bombs] + [line(5000) + bombs[0][:100]], wait=20)


@attack("a sender that stops in the middle of a JPEG while a second sender waits")
def slow(old):
    process, port = old.receiver()
    try:
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(line(60_000_000))
            for byte in b"\xff\xd8\xff\xe0" * 3:
                first.sendall(bytes([byte]))
                time.sleep(0.1)
            old.look(process)
            # The first is disconnected after the idle timeout.
            send_picture(old, port, "a second sender is never served")
        process.check_log()
    finally:
        process.stop()


@attack("200 silent connections, and 20 that send one byte, in front of a sender with a picture")
def crowd(old):
    process, port = old.receiver()
    crowd = []
    try:
        for number in range(220):
            sock = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            crowd.append(sock)
            if number >= 200:
                sock.sendall(b"9")
        send_picture(old, port, "a sender behind a crowd is never served")
        old.look(process)
        process.check_log()
    finally:
        for sock in crowd:
            sock.close()
        process.stop()


@attack("a sender of broken pictures without end while a second sender waits")
def hog(old):
    process, port = old.receiver()
    try:
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.settimeout(DEADLINE_S)
            picture = old.jpeg()
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as second:
                second.settimeout(0)
                second.sendall(line(len(picture)) + picture)
                end = time.monotonic() + DEADLINE_S
                answer = b""
                while not answer and time.monotonic() < end:
                    try:
                        first.sendall(line(1) + b"x")
                        first.recv(32)
                    except OSError:
                        time.sleep(0.05)
                    try:
                        answer = second.recv(32)
                    except BlockingIOError:
                        pass
                expect(answer.startswith(ANSWER[:8]), "a second sender is never served")
        old.look(process)
        process.check_log()
    finally:
        process.stop()


@attack("pictures of 40 growing sizes", memory=256 * MIB, shared=512 * MIB)
def growing(old):
    send_all(
        old,
        [
            b"".join(
                line(len(data)) + data
                for data in (media.jpeg(100 * n, 100 * n, 1, tail=b"\x3f" * 100) for n in range(1, 41))
            )
        ],
        wait=20,
    )


@attack("receivers that answer with other bytes, twice, never or without end, or read nothing", deep=True)
def answers(old):
    old.feed = old.feed or Feed(old.place)
    kinds = (UGLY.encode(), ANSWER * 50, b"", b"\0" * 33, b"x" * 100_000, b"OK\n", ANSWER[:5])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        listener.settimeout(DEADLINE_S)
        process = old.place.start(
            "send",
            "cam0",
            f"legacy://127.0.0.1:{listener.getsockname()[1]}",
            *old.place.options("send", idle_timeout=2),
        )
        try:
            for kind in kinds:
                sock, _ = listener.accept()
                with sock:
                    sock.settimeout(1)
                    try:
                        if kind:
                            sock.recv(65536)
                        sock.sendall(kind)
                        for _ in range(20):
                            sock.recv(65536)
                    except OSError:
                        pass
                old.look(process)
                process.expect_alive()
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as stream:
                sock.settimeout(DEADLINE_S)
                for _ in range(3):
                    size = int(stream.read(16))
                    expect(stream.read(size)[:2] == b"\xff\xd8", "what comes after the attack is no JPEG")
                    sock.sendall(ANSWER)
            process.check_log()
        finally:
            process.stop()


@attack("legacy memory with negative and huge sizes, unknown types, text, and a mapping that shrinks")
def headers(old):
    name, path = old.name()
    path.write_bytes(struct.pack("<iii", 64, 48, 16) + bytes(1920 * 1080 * 3))
    path.chmod(0o600)
    process = old.place.start("receive", f"legacy-memory:{name}", "mem")
    try:
        numbers = (0, -1, 1, 65535, 1 << 30, (1 << 31) - 1, -(1 << 31))
        with open(path, "r+b") as file:
            for width in numbers:
                for height in numbers:
                    for kind in (16, 0, -1, 0x7FFFFFFF, 4095):
                        file.seek(0)
                        file.write(struct.pack("<iii", width, height, kind) + os.urandom(64))
                        file.flush()
                old.look(process)
                time.sleep(0.02)
            file.seek(0)
            file.write(UGLY.encode() * 1000 + bytes(12))
            for size in (0, 11, 12, 4096, 6220812, 1, 1 << 26):
                file.truncate(size)
                time.sleep(0.03)
                old.look(process)
        path.unlink()
        time.sleep(0.05)
        path.write_bytes(struct.pack("<iii", 64, 48, 16) + b"\x40" * (1920 * 1080 * 3))
        found = old.place.run("subscribe", "mem", "--count", "1", "--open-timeout", "40")
        process.expect_alive()
        expect(found.code == 0, f"an honest writer is not read after the attack: {process.text()[-300:]!a}")
        process.check_log()
    finally:
        process.stop()


@attack("a mapping that another user made, a link, a FIFO and a directory: `send` writes into none")
def foreign_mapping(old):
    old.feed = old.feed or Feed(old.place)
    victim = old.place.path / "precious"
    victim.write_bytes(bytes(7_000_000))
    for kind in ("foreign", "link", "fifo", "folder"):
        name, path = old.name()
        if kind == "foreign":
            if os.geteuid() != 0:
                continue
            path.write_bytes(bytes(7_000_000))
            os.chown(path, 65534, 65534)
            path.chmod(0o666)
        elif kind == "link":
            path.symlink_to(victim)
        elif kind == "fifo":
            os.mkfifo(path, 0o600)
        else:
            path.mkdir()
        process = old.place.start("send", "cam0", f"legacy-memory:{name}", "--count", "3")
        try:
            end = time.monotonic() + 3
            while process.process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            if kind == "foreign":
                expect(
                    not any(path.read_bytes()), "frames were written into a mapping that another user made"
                )
            process.check_log()
        finally:
            process.stop()
            if kind == "folder":
                path.rmdir()
    expect(not any(victim.read_bytes()), "frames were written into a file that a link leads to")


@attack("mapping names with slashes, parents and 300 bytes: no file outside /dev/shm is made", deep=True)
def mapping_names(old):
    old.feed = old.feed or Feed(old.place)
    before = set(os.listdir("/dev")) | set(os.listdir("/"))
    for name in (
        "../framelane-hostile",
        "/../../framelane-hostile",
        "a/b",
        "..",
        ".",
        "",
        "x" * 300,
        "a%2fb",
    ):
        for arguments in (
            ("send", "cam0", f"legacy-memory:{name}", "--count", "1"),
            ("receive", f"legacy-memory:{name}", "mem"),
        ):
            process = old.place.start(*arguments)
            try:
                end = time.monotonic() + 0.3
                while process.process.poll() is None and time.monotonic() < end:
                    time.sleep(0.02)
                if process.process.poll() is None:
                    process.process.send_signal(signal.SIGTERM)
                process.wait(allowed=-signal.SIGTERM)
                process.check_log()
            finally:
                process.stop()
    expect(set(os.listdir("/dev")) | set(os.listdir("/")) == before, "a file outside /dev/shm was made")
    (Path("/dev/shm") / "a%2fb").unlink(missing_ok=True)
