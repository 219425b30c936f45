"""Hostile servers. The victims are `framelane receive`, `send` and `subscribe`."""

import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time

import media
import pattern
import protocol
from kit import DEADLINE_S, MARK, MIB, UGLY, Skipped, attack, expect, wait_until
from processes import Place
from protocol import CODED, STANDALONE, Connection, Ended, frame, message, welcome
from target import Feed

ONCE = 6
BOTTOM, TOP = 0, (1 << 64) - 1


class Server:
    """A server that plays a part on its first connection, and is honest on all others."""

    def __init__(self, part, context=None, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.part, self.context = part, context
        self.listener = socket.socket(family)
        self.listener.bind(address)
        self.listener.listen(16)
        self.address = self.listener.getsockname()
        self.bytes, self.requests = b"", 0
        self.played = threading.Event()
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        first = True
        while not self.ended.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            part, first = (self.part if first else self.honest), False
            threading.Thread(target=self._play, args=(sock, part), daemon=True).start()

    def _play(self, sock, part):
        try:
            sock.settimeout(DEADLINE_S)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            connection = Connection(sock)
            try:
                part(self, connection)
            finally:
                connection.close()
        except (Ended, OSError, ssl.SSLError, ValueError, IndexError):
            pass
        finally:
            if part is not self.honest:
                self.played.set()

    def hello(self, connection, answer=None):
        """Reads HELLO."""
        found = connection.message()
        self.bytes += found.body
        if answer is not None:
            connection.send(answer)
        return found

    def request(self, connection):
        """Reads HELLO, answers with CHALLENGE, reads REQUEST. Returns its two texts."""
        self.hello(connection, protocol.challenge())
        found = connection.message()
        self.bytes += found.body
        self.requests += 1
        texts, at = [], 88
        for _ in range(2):
            (count,) = struct.unpack_from("<H", found.body, at)
            texts.append(found.body[at + 2 : at + 2 + count].decode())
            at += 2 + count
        return texts

    def agree(self, connection, **fields):
        """Agrees with the client to what it asks for."""
        texts = self.request(connection)
        connection.send(welcome(texts[1], **fields))
        return texts

    def honest(self, _, connection):
        """Whole frames, when there is a credit."""
        self.agree(connection)
        connection.send(protocol.state(1))
        credit, number = 0, 1000
        while not self.ended.is_set():
            found = connection.message()
            if found.kind == protocol.CREDIT:
                (credit,) = struct.unpack_from("<Q", found.body)
            elif found.kind == protocol.PING:
                now = time.time_ns()
                connection.send(message(protocol.PONG, found.body[:8] + struct.pack("<QQ", now, now)))
            while number - 1000 < credit:
                number += 1
                connection.send(
                    frame(
                        number,
                        pattern.frame(number),
                        epoch=7,
                        format="bgr8",
                        width=pattern.WIDTH,
                        height=pattern.HEIGHT,
                    )
                )
                time.sleep(0.03)

    def close(self):
        """Ends it."""
        self.ended.set()
        self.listener.close()


class Victims:
    """Clients of hostile servers, a few at a time."""

    def __init__(self, command):
        self.place = Place(command)
        self.memory = self.shared = 0
        self.feed = None

    def before(self, attack):
        """Nothing is left of the attack before."""
        self.attack, self.memory, self.shared = attack, 0, 0

    def play(self, *parts, options=(), recovers=True, context=None, **environment):
        """Plays each part to another `framelane receive`, then serves it honestly."""
        for start in range(0, len(parts), ONCE):
            self._play(parts[start : start + ONCE], options, recovers, context, environment)

    def _play(self, parts, options, recovers, context, environment):
        place, base = self.place, self.place.bytes_used()
        servers = [Server(part, context) for part in parts]
        names = [f"here{number}" for number in range(len(parts))]
        scheme = "tls" if context else "tcp"
        limits = place.options("receive", idle_timeout=3)
        clients = [
            place.start(
                "receive",
                f"{scheme}://127.0.0.1:{server.address[1]}/cam0",
                name,
                *limits,
                *options,
                **environment,
            )
            for server, name in zip(servers, names)
        ]
        try:
            for server, client in zip(servers, clients):
                wait_until(
                    lambda: server.played.is_set()
                    or client.process.poll() is not None
                    or self._look(clients, base),
                    f"the part {server.part.__name__} was not played: {client.text()[-300:]!a}",
                )
            for number, (server, client, name) in enumerate(zip(servers, clients, names)):
                self._look(clients, base)
                code = client.process.poll()
                if code is None and recovers:
                    reader = place.start("subscribe", name, "--count", "2")
                    # A client may also end with an error, when the server broke the protocol.
                    wait_until(
                        lambda: reader.process.poll() is not None
                        or client.process.poll() is not None
                        or self._look(clients, base),
                        f"`receive` does not recover from part {number}: {client.text()[-300:]!a}",
                    )
                    reader.stop()
                    code = client.process.poll()
                expect(
                    code is None or 0 <= code != 101, f"`receive` ended with {code}: {client.text()[-500:]!a}"
                )
                client.check_log(marks_allowed=recovers == "marks")
        finally:
            for client in clients:
                client.stop()
            for server in servers:
                server.close()
        for name in names:
            wait_until(
                lambda: not [f for f in os.listdir(place.channels) if f.startswith(name + ".")],
                "files are left of a client that was ended",
                deadline=20,
            )

    def _look(self, clients, base):
        for client in clients:
            usage = client.usage()
            self.memory = max(self.memory, usage[0] if usage else 0)
        self.shared = max(self.shared, self.place.bytes_used() - base)
        return False

    def check(self, attack):
        """Checks the limits after every attack."""
        expect(
            self.memory <= attack.memory, f"a client took {self.memory >> 20} MiB, over {attack.memory >> 20}"
        )
        expect(
            self.shared <= attack.shared, f"channels took {self.shared >> 20} MiB, over {attack.shared >> 20}"
        )
        return {"memory": self.memory, "shared": self.shared, "descriptors": 0}

    def close(self):
        """Ends everything."""
        if self.feed:
            self.feed.close()
        self.place.close()


def sending(*data, wait=0.3, **fields):
    """A part: welcome the client, send this when it grants a credit, and go."""

    def part(server, connection):
        server.agree(connection, **fields)
        connection.until(protocol.CREDIT)
        for piece in data:
            connection.send(piece)
        connection.sock.settimeout(wait)
        try:
            while True:
                connection.message()
        except TimeoutError:
            pass

    return part


def first(data, wait=0.2):
    """A part: say this instead of a CHALLENGE."""

    def part(server, connection):
        server.hello(connection, data)
        _linger(connection, wait)

    return part


def second(data, wait=0.2):
    """A part: say this instead of a WELCOME."""

    def part(server, connection):
        server.request(connection)
        connection.send(data)
        _linger(connection, wait)

    return part


def _linger(connection, wait):
    connection.sock.settimeout(wait)
    try:
        connection.receive()
    except TimeoutError:
        pass


def without_end(data, seconds=1.5):
    """A part: welcome, then this again and again."""

    def part(server, connection):
        server.agree(connection)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.send(data)

    return part


@attack("other protocols and magics, no byte, short CHALLENGEs and WELCOMEs, other versions and codecs")
def no_welcome(victims):
    huge = dict(body_bytes=(1 << 32) - 1)
    victims.play(
        first(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        first(b"FRMLLINX" + protocol.challenge()[8:]),
        first(b""),
        first(protocol.MAGIC),
        first(protocol.challenge(major=2)),
        first(protocol.challenge(minor=0)),
        first(protocol.challenge(proof=b"\xff" * 32)),
        first(protocol.MAGIC + message(protocol.CHALLENGE, bytes(20))),
        first(protocol.MAGIC + message(protocol.CHALLENGE, b"", **huge)),
        first(protocol.MAGIC + welcome()),
        first(protocol.MAGIC + message(protocol.HELLO, bytes(80))),
        lambda server, connection: None,
    )
    victims.play(
        second(welcome("jpeg:80")),
        second(welcome("\u202e" + MARK)),
        second(welcome("x" * 16000)),
        second(message(protocol.WELCOME, bytes(20))),
        second(message(protocol.WELCOME, b"", **huge)),
        second(message(protocol.WELCOME, bytes(48) + b"\xff\xffraw")),
        second(protocol.challenge()[8:]),
        second(message(protocol.REQUEST, bytes(120))),
        second(b""),
    )


@attack("REFUSED with 8 KiB of text, control characters and U+202E, at each step of the handshake")
def refusals(victims):
    long, ugly = "\u00e4" * 2048, UGLY.replace(MARK, "") * 8
    for when in (lambda data: first(protocol.MAGIC + data), second):
        victims.play(
            *(
                when(protocol.refused(code, reason, reason, try_again))
                for code in (5, 0xFFFFFFFF)
                for reason in (long, ugly)
                for try_again in (0, 1)
            )
        )
    victims.play(
        sending(protocol.refused(18, ugly, ugly, 1)),
        sending(protocol.refused(18, "\u202e" * 1365, "", 1)),
        first(protocol.MAGIC + message(protocol.REFUSED, struct.pack("<II", 5, 1) + b"\xff\xff")),
    )


@attack("endless PINGs, optional messages, STATEs and KEYFRAMEs, PONGs without a PING, CREDITs to a sink")
def floods(victims):
    victims.play(
        without_end(protocol.ping() * 500),
        without_end(message(99, bytes(16384), flags=1)),
        without_end(b"".join(map(protocol.state, (0, 1, 3, 1 << 31))) * 100),
        without_end(message(protocol.KEYFRAME) * 500),
        without_end(message(protocol.PONG, bytes(24)) * 500),
        without_end(protocol.credit(1) * 500),
    )


@attack("clocks of 0 and 2^64-1 in WELCOME, PONG and frames, round trips of minus 584 years")
def clocks(victims):
    def part(sent, received, stamp):
        def play(server, connection):
            server.agree(connection, received_ns=received, sent_ns=sent)
            connection.until(protocol.CREDIT)
            for number in range(1, 4):
                connection.send(
                    frame(number, bytes(32), timestamp=stamp)
                    + message(protocol.PONG, struct.pack("<QQQ", sent, received, stamp))
                )
            found = connection.until(protocol.PING)
            connection.send(message(protocol.PONG, found.body[:8] + struct.pack("<QQ", received, sent)))
            connection.send(frame(9, bytes(32), timestamp=stamp))
            time.sleep(0.2)

        return play

    half = 1 << 63
    victims.play(
        part(BOTTOM, TOP, BOTTOM),
        part(TOP, BOTTOM, TOP - 1),
        part(half, half - 1, half),
        part(TOP, TOP, 1),
        part(0, 0, TOP - 1),
        part(half - 1, half, half - 1),
    )


def lying_frames():
    """Frames with wrong descriptions."""
    numbers = (0, 1, 15, 17, 65536, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 63, TOP)
    small = [number for number in numbers if number < 1 << 32]
    frames = [frame(1, bytes(48), planes=[(0, number)], size_bytes=48) for number in numbers]
    frames += [frame(1, bytes(48), planes=[(number, 16)], size_bytes=48) for number in numbers]
    frames += [frame(1, bytes(48), planes=[(0, 16)], size_bytes=number) for number in numbers]
    frames += [
        frame(1, bytes(48), planes=[(0, 16)], width=number, height=2, size_bytes=48) for number in small
    ]
    frames += [
        frame(1, bytes(48), format=code, planes=[(0, 16)], size_bytes=48)
        for code in (0, 11, 0xFFFFFFFF, 0x10000000, 0x100F0200)
    ]
    frames += [
        frame(1, bytes(48), plane_count=count, planes=[(0, 16)], size_bytes=48)
        for count in (0, 2, 5, TOP >> 32)
    ]
    return frames


@attack("frames with sizes, strides, offsets, formats and plane counts of every magnitude", shared=64 * MIB)
def lies(victims):
    victims.play(*[sending(data, wait=0.1) for data in lying_frames()[::5]])


@attack(
    "57 frames with wrong sizes, strides, offsets, formats and plane counts, all magnitudes",
    shared=64 * MIB,
    deep=True,
)
def all_lies(victims):
    victims.play(*[sending(data, wait=0.1) for data in lying_frames()])


@attack("sequence 0, falling sequences, an epoch per frame, 2^64-1 and then honest frames")
def sequences(victims):
    def numbered(*pairs):
        return sending(*(frame(sequence, bytes(32), epoch=epoch) for epoch, sequence in pairs))

    victims.play(
        numbered((1, 0)),
        numbered((1, 5), (1, 4), (1, 3)),
        numbered(*((n, 1) for n in range(1, 30))),
        numbered((8, TOP)),
        numbered((TOP, TOP), (0, 1)),
        numbered((8, TOP), (6, TOP), (8, 1)),
        numbered((1, 1), (1, TOP), (1, 2)),
    )


@attack(
    "coded frames of one byte that claim 160 MiB; JPEG, H.264 and LZ4 bombs",
    memory=256 * MIB,
    shared=64 * MIB,
)
def bombs(victims):
    claim = dict(width=7300, height=7300, format="bgr8", flags=STANDALONE | CODED)
    small = dict(width=64, height=64, format="bgr8", flags=STANDALONE | CODED)
    for codec, payloads in (
        (
            "jpeg:80",
            [b"\0", media.jpeg(65500, 65500, tail=bytes(999)), media.progressive_bomb(4096, 4096, 300)],
        ),
        ("h264:1000000", [b"\0", media.h264(16384, 16384), media.h264(64, 64, references=16) * 9]),
        ("lz4", [b"\0", b"\x1f\x00\x01\x00" + b"\xff" * 60000 + b"\x00", b"\x0f\xff\xff\x00"]),
    ):
        victims.play(
            *(sending(frame(1, payload, **fields)) for payload in payloads for fields in (claim, small)),
            options=("--codec", codec),
        )


@attack(
    "payloads that never start or never end, frames without credit as fast as possible",
    shared=1100 * MIB,
    memory=256 * MIB,
)
def payloads(victims):
    def trickle(server, connection):
        server.agree(connection)
        connection.until(protocol.CREDIT)
        connection.send(frame(1, b"", width=12000, height=12000, payload_bytes=144_000_000))
        for _ in range(15):
            connection.send(b"x")
            time.sleep(0.1)

    tiny = frame(1, bytes(32))
    victims.play(
        trickle,
        without_end(tiny * 200),
        sending(frame(1, bytes(31), payload_bytes=1 << 40)),
        sending(tiny, payload_after_state()),
    )


def payload_after_state():
    """A STATE with a payload."""
    return message(protocol.STATE, struct.pack("<I", 1), payload_bytes=1 << 33)


@attack("detections with wrong counts and sizes, and times of 0 and 2^64-1")
def detections(victims):
    def batch(count, size, texts, header, stamp):
        data = struct.pack(
            "<4sHHQQQQIIIIII", b"FLDT", 1, 0, 1, 1, stamp, stamp, 64, 64, count, size, texts, header
        ) + bytes(64)
        return sending(
            frame(
                1,
                data,
                format="detections",
                width=len(data),
                height=1,
                planes=[(0, len(data))],
                size_bytes=len(data),
            )
        )

    victims.play(
        batch(1 << 31, 48, 2, 64, 0),
        batch(0, 48, TOP >> 32, 64, 0),
        batch(0, 0, 2, 0, TOP),
        batch(1, 48, 2, 64, TOP),
        batch(0, 48, 2, TOP >> 32, TOP),
        batch(0, 48, 4, 64, 1),
    )


@attack("TLS servers with another certificate, without ALPN, with TLS 1.2: the client sends no HELLO")
def certificates(victims):
    place = victims.place
    other = place.path / "other"
    other.mkdir(mode=0o700, exist_ok=True)
    for folder in (place.config, other):
        place.run("identity", "server", "--force", FRAMELANE_CONFIG=str(folder))
    right = json.loads(place.run("identity", "show", "--json").output)["identities"][0]["fingerprint"]
    token = "framelane_" + "5" * 64
    seen = []

    def part(server, connection):
        server.hello(connection, protocol.challenge())
        seen.append(connection.message().kind)

    for folder, alpn, newest in (
        (other, "framelane", None),
        (place.config, None, None),
        (place.config, "http/1.1", None),
        (place.config, "framelane", ssl.TLSVersion.TLSv1_2),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        if newest:
            context.maximum_version = newest
        if alpn:
            context.set_alpn_protocols([alpn])
        victims.play(
            part, context=context, options=("--fingerprint", right), recovers=False, FRAMELANE_TOKEN=token
        )
    expect(not seen, f"a client spoke to a server that it must not trust: {seen}")


@attack("tcp:// and unix: with FRAMELANE_TOKEN set: an impostor gets neither token nor request")
def token_to_anybody(victims):
    token = "framelane_" + "5" * 64
    keys = protocol.Token(token)

    def honest_looking(server, connection):
        server.agree(connection)

    def wrong(server, connection):
        server.hello(connection, protocol.challenge(proof=os.urandom(32)))
        server.bytes += connection.message().body
        server.requests += 1

    def reflected(server, connection):
        found = server.hello(connection)
        facts = found.body[8:40] + found.body[8:40] + keys.id + bytes(32)
        connection.send(
            protocol.challenge(
                nonce=found.body[8:40], proof=protocol.mac(keys.stored_key, b"framelane link server", facts)
            )
        )
        server.bytes += connection.message().body
        server.requests += 1

    for part in (honest_looking, wrong, reflected):
        server = Server(part)
        client = victims.place.start(
            "receive", f"tcp://127.0.0.1:{server.address[1]}/cam0", "here", FRAMELANE_TOKEN=token
        )
        try:
            wait_until(
                lambda: server.played.is_set() or client.process.poll() is not None,
                "the client did not connect",
            )
            expect(token.encode() not in server.bytes, "the token was sent to an impostor")
            expect(
                server.requests == 0,
                f"a client sent its request to a server without the right proof ({part.__name__})",
            )
            client.check_log()
        finally:
            client.stop()
            server.close()
    # A Unix socket of this user: it is known by its user, and needs no token.
    path = str(victims.place.path / "port.sock")
    server = Server(honest_looking, family=socket.AF_UNIX, address=path)
    client = victims.place.start("receive", f"unix:{path}/cam0", "here", FRAMELANE_TOKEN=token)
    try:
        wait_until(
            lambda: server.played.is_set() or client.process.poll() is not None, "the client did not connect"
        )
        expect(
            keys.id not in server.bytes and token.encode() not in server.bytes,
            "the token was used at a Unix socket",
        )
    finally:
        client.stop()
        server.close()


@attack("a Unix socket of another user: the client sends nothing to it")
def unix_of_another_user(victims):
    if os.geteuid() != 0:
        raise Skipped("another user's socket can be made by root only")
    folder = victims.place.path / "foreign"
    folder.mkdir(exist_ok=True)
    os.chown(folder, 65534, 65534)
    for parent in (victims.place.path, folder):
        parent.chmod(0o755)
    path = str(folder / "port.sock")
    code = (
        "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(1)\nprint('up',flush=True)\n"
        "c=s.accept()[0]\nc.settimeout(20)\nprint('got',len(c.recv(4096)),flush=True)\n"
    )
    stranger = subprocess.Popen(
        ["/usr/bin/python3", "-c", code, path],
        stdout=subprocess.PIPE,
        user=65534,
        group=65534,
        extra_groups=[],
    )
    client = None
    try:
        stranger.stdout.readline()
        client = victims.place.start("receive", f"unix:{path}/cam0", "here")
        said = stranger.stdout.readline()
        expect(said in (b"got 0\n", b""), f"the client spoke to another user's server: {said}")
        client.check_log()
    finally:
        if client:
            client.stop()
        stranger.kill()
        stranger.wait()
        victims.place.path.chmod(0o700)


@attack("`subscribe URL` of a server that lies, refuses, and shows clocks of 2^64-1", shared=64 * MIB)
def subscribe_urls(victims):
    place = victims.place
    parts = (
        first(protocol.MAGIC + protocol.refused(5, UGLY.replace(MARK, "") * 20, "\u202e" * 900)),
        sending(frame(1, bytes(48), planes=[(0, 1 << 31)], size_bytes=48)),
        sending(frame(1, bytes(32), timestamp=TOP - 1)),
        without_end(protocol.ping() * 100),
        sending(frame(TOP, bytes(32), epoch=TOP)),
    )
    for part in parts:
        server = Server(part)
        try:
            found = place.run(
                "subscribe", f"tcp://127.0.0.1:{server.address[1]}/cam0", "--count", "3", "--open-timeout", "20"
            )
            found.check(400 * MIB)
        finally:
            server.close()


@attack(
    "`send` to a server that grants 2^64 credits, reduces them, asks for 10,000 keyframes, reads nothing",
    deep=True,
)
def sinks(victims):
    place = victims.place
    victims.feed = victims.feed or Feed(place)

    def reads_nothing(server, connection):
        server.agree(connection)
        connection.send(protocol.credit(64))
        time.sleep(2)

    def credits(*numbers):
        return lambda server, connection: (
            server.agree(connection),
            connection.send(b"".join(map(protocol.credit, numbers))),
            time.sleep(0.3),
        )

    def keyframes(server, connection):
        server.agree(connection)
        connection.send(protocol.credit(3) + message(protocol.KEYFRAME) * 10000)
        time.sleep(0.3)

    parts = (
        reads_nothing,
        credits(TOP),
        credits(9, 1),
        keyframes,
        credits(*range(200)),
        sending_last(),
        first(protocol.MAGIC + protocol.refused(2, "\u202e" * 1365, UGLY.replace(MARK, "") * 9, 1)),
    )
    for codec in ("raw", "h264:1000000"):
        for part in parts:
            server = Server(part)
            client = place.start(
                "send",
                "cam0",
                f"tcp://127.0.0.1:{server.address[1]}/there",
                "--codec",
                codec,
                *place.options("send", idle_timeout=3),
            )
            try:
                wait_until(
                    lambda: server.played.is_set() or client.process.poll() is not None,
                    "the client did not connect",
                )
                time.sleep(0.1)
                usage = client.usage()
                victims.memory = max(victims.memory, usage[0] if usage else 0)
                code = client.process.poll()
                expect(
                    code is None or 0 <= code != 101, f"`send` ended with {code}: {client.text()[-300:]!a}"
                )
                client.check_log()
            finally:
                client.stop()
                server.close()
    victims.feed.process.expect_alive()
    found = json.loads(place.run("info", "cam0", "--json").output)
    expect(found["dropped"] == 0, f"the publisher dropped {found['dropped']} frames for a hostile server")


def sending_last():
    """A server that claims to have everything up to the last number."""
    return lambda server, connection: (
        server.agree(connection, last=(TOP, TOP)),
        connection.send(protocol.credit(4)),
        time.sleep(0.3),
    )
