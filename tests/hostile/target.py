"""A server under attack: `framelane serve` on loopback, a publisher and honest clients."""

import json
import os
import struct
import subprocess
import threading
import time

import pattern
import protocol
from kit import DEADLINE_S, Failure, expect, wait_until
from processes import Place, Watch
from protocol import Connection, Ended, Refusal, Token, connect

RATE = 15
# Honest clients have other addresses than the attacker, as on other machines.
HONEST, NEWCOMER = "127.0.0.2", "127.0.0.3"


class Feed:
    """`framelane publish` with frames of the kit, or with other frames, on its standard input."""

    def __init__(self, place, channel="cam0", size=(pattern.WIDTH, pattern.HEIGHT), make=pattern.frame):
        self.make = make
        self.process = place.start(
            "publish",
            "-",
            channel,
            "--raw",
            f"bgr8:{size[0]}x{size[1]}@{RATE}",
            "--no-live",
            stdin=subprocess.PIPE,
        )
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def _feed(self):
        number, start = 0, time.monotonic()
        while not self.ended.wait(max(0.0, start + number / RATE - time.monotonic())):
            number += 1
            try:
                self.process.process.stdin.write(self.make(number))
                self.process.process.stdin.flush()
            except OSError:
                return

    def close(self):
        self.ended.set()
        self.thread.join(2)


class Reader:
    """Counts whole and torn frames on a thread."""

    def __init__(self):
        self.count = self.torn = 0
        self.last = None
        self.error = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def take(self, data):
        """Checks one frame."""
        number = pattern.check(data)
        if number is None or (self.last is not None and number <= self.last):
            self.torn += 1
        else:
            self.last = number
        self.count += 1

    def check(self, what, more=3):
        """Fails unless whole frames go on."""
        seen = self.count

        def goes_on():
            expect(not self.error, f"{what}: {self.error}")
            return self.count >= seen + more

        wait_until(goes_on, f"{what} gets no frames")
        expect(self.torn == 0, f"{what} got {self.torn} torn or old frames")

    def close(self):
        self.ended.set()
        self.thread.join(5)


class LocalReader(Reader):
    """`framelane subscribe` next to the publisher."""

    def __init__(self, place, channel="cam0"):
        self.process = place.start("subscribe", channel, "--stdout", "raw", stdout=subprocess.PIPE)
        super().__init__()

    def _read(self):
        while not self.ended.is_set():
            data = self.process.process.stdout.read(pattern.BYTES)
            if len(data) < pattern.BYTES:
                self.error = f"it has ended: {self.process.text()[-300:]!a}"
                return
            self.take(data)


class LinkReader(Reader):
    """An honest client of the server, in the protocol's words."""

    def __init__(self, connection):
        self.connection = connection
        super().__init__()

    def _read(self):
        connection, granted, pinged = self.connection, 3, 0.0
        connection.sock.settimeout(0.25)
        try:
            connection.send(protocol.credit(granted))
            while not self.ended.is_set():
                if time.monotonic() - pinged > 0.5:
                    pinged = time.monotonic()
                    connection.send(protocol.ping())
                found = self._message()
                if found is None:
                    continue
                if found.kind == protocol.FRAME:
                    self.take(found.payload)
                    granted += 1
                    connection.send(protocol.credit(granted))
                elif found.kind == protocol.REFUSED:
                    raise Failure(f"refused: {protocol.refusal(found)}")
        except (Failure, OSError, ValueError) as error:
            if not self.ended.is_set():
                self.error = str(error)

    def _message(self):
        """The next message, or None when none is whole yet."""
        import struct

        buffer = self.connection.buffer
        while True:
            if len(buffer) >= 16:
                _, _, body, payload = struct.unpack_from("<HHIQ", buffer)
                if len(buffer) >= 16 + body + payload:
                    return self.connection.message()
            try:
                self.connection.receive()
            except TimeoutError:
                return None


class Target:
    """The server with all that belongs to it."""

    def __init__(self, command):
        self.place = place = Place(command)
        self.feed = self.watch = None
        self.turn = False
        self.readers = []
        try:
            self._start(place)
        except BaseException:
            self.close()
            raise

    def _start(self, place):
        made = json.loads(place.run("identity", "server", "--json").output)
        self.fingerprint = made["fingerprint"]
        self.tokens = {
            name: self.token(name, **rights)
            for name, rights in {
                "honest": {"read": "**"},
                "reader": {"read": "cam*"},
                "writer": {"write": "w/**"},
                "both": {"read": "cam*,w/**", "write": "w/**"},
                "nothing": {"read": "no/**"},
            }.items()
        }
        self.card("honest-card", read="**")
        self.feed = Feed(place)
        self.socket = str(place.path / "server.sock")
        limits = place.options("serve", handshake_timeout=2, idle_timeout=4, reconnect_grace=1)
        self.server = place.start(
            "serve",
            "--listen",
            "tls://127.0.0.1:0",
            "--listen",
            "tcp://127.0.0.1:0",
            "--listen",
            f"unix:{self.socket}",
            *limits,
        )
        self.tls = ("127.0.0.1", int(self.server.wait_for(r"tls://127\.0\.0\.1:(\d+)").group(1)))
        self.tcp = ("127.0.0.1", int(self.server.wait_for(r"tcp://127\.0\.0\.1:(\d+)").group(1)))
        self.local = LocalReader(place)
        self.honest = LinkReader(self.hello(token="honest", source=HONEST))
        self.readers = [self.local, self.honest]
        for reader in self.readers:
            reader.check("an honest reader before the attack")
        self.newcomer()
        self.watch = Watch(self.server, place)
        self.base = self.settled()

    def token(self, name, **rights):
        """A new token of a client of the server."""
        words = [word for right, value in rights.items() for word in (f"--{right}", value)]
        found = self.place.run("identity", "token", name, *words)
        for line in found.output.split():
            if line.startswith("framelane_"):
                return line
        raise Failure(f"`identity token` made none: {found.output[-300:]!a}")

    def revoke(self, name):
        """Revokes a client's access."""
        expect(self.place.run("identity", "revoke", name).code == 0, f"`identity revoke {name}` failed")

    def connect(self, carrier="tls", source="127.0.0.1", **tls):
        """A new connection without any message."""
        if carrier == "tls":
            return connect(self.tls, source, protocol.tls_client(**tls), self.fingerprint)
        return connect(self.tcp if carrier == "tcp" else self.socket, source)

    def card(self, name, **rights):
        """A new client with a certificate."""
        folder = self.place.path / name
        made = json.loads(self.place.run("identity", "client", name, "--out", folder, "--json").output)
        words = [word for right, value in rights.items() for word in (f"--{right}", value)]
        found = self.place.run("identity", "allow", name, made["fingerprint"], *words)
        expect(found.code == 0, f"`identity allow` failed: {found.output[-300:]!a}")
        return folder

    def ask(self, token=None, carrier="tcp", source="127.0.0.1", card=None, **fields):
        """A connection with REQUEST sent. `token` is a name, a token or None. A proof over TLS
        needs the exporter of the connection, which Python does not have: clients over TLS have a certificate.
        """
        connection = self.connect(carrier, source, **({"card": self.place.path / card} if card else {}))
        try:
            connection.ask(token and Token(self.tokens.get(token, token)), **fields)
        except BaseException:
            connection.close()
            raise
        return connection

    def hello(self, token=None, carrier="tcp", source="127.0.0.1", card=None, **fields):
        """A connection that the server has welcomed."""
        connection = self.ask(token, carrier, source, card, **fields)
        try:
            connection.answer()
        except BaseException:
            connection.close()
            raise
        return connection

    def newcomer(self):
        """A new honest client gets two whole frames."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                # In turn over TCP with a token, and over TLS with a certificate.
                self.turn = not self.turn
                who = {"token": "honest"} if self.turn else {"card": "honest-card", "carrier": "tls"}
                with self.hello(source=NEWCOMER, **who) as connection:
                    connection.send(protocol.credit(2) + protocol.ping())
                    for _ in range(2):
                        found = connection.until(protocol.FRAME, protocol.REFUSED)
                        expect(found.kind == protocol.FRAME, f"a new honest client: {found}")
                        expect(
                            pattern.check(found.payload) is not None, "a new honest client got a torn frame"
                        )
                return
            except (Refusal, Ended, OSError) as error:
                if time.monotonic() > end:
                    raise Failure(f"a new honest client is not served: {error}") from None
                time.sleep(0.2)

    def reconnect(self):
        """The honest client connects again."""
        self.honest.close()
        self.honest.connection.close()
        self.honest = LinkReader(self.hello(token="honest", source=HONEST))
        self.readers = [self.local, self.honest]

    def feed_of(self, channel, size):
        """Another publisher, with plain frames of a size."""
        return Feed(self.place, channel, size, lambda number: bytes([number % 256]) * (size[0] * size[1] * 3))

    def dropped(self, channel="cam0"):
        """Frames that found no free slot."""
        found = self.place.run("info", channel, "--json")
        expect(found.code == 0, f"`info {channel}` ended with {found.code}: {found.output[-300:]!a}")
        return json.loads(found.output)["dropped"]

    def settled(self):
        """The resources of the idle server."""
        memory, threads, descriptors = self.server.usage()
        return {
            "memory": memory,
            "threads": threads,
            "descriptors": descriptors,
            "shared": self.place.bytes_used(),
            "dropped": self.dropped(),
        }

    def before(self, attack):
        """Notes where the attack begins."""
        self.base["dropped"] = self.dropped()
        self.base["memory"] = self.server.usage()[0]
        self.base["shared"] = self.place.bytes_used()
        self.watch.reset()

    def check(self, attack):
        """Checks the invariants after every attack. Returns the cost."""
        for process in (self.server, self.feed.process, self.local.process):
            process.expect_alive()
        self.watch.look()
        for reader, what in zip(self.readers, ("the local reader", "the honest client")):
            reader.check(what)
        self.newcomer()
        base, watch = self.base, self.watch
        dropped = self.dropped() - base["dropped"]
        expect(dropped == 0, f"the publisher dropped {dropped} frames for want of a free slot")
        memory, shared = watch.memory - base["memory"], watch.shared - base["shared"]
        expect(
            memory <= attack.memory, f"the server took {memory >> 20} MiB more, over {attack.memory >> 20}"
        )
        expect(shared <= attack.shared, f"channels took {shared >> 20} MiB more, over {attack.shared >> 20}")
        # The newcomer may be on its way out still.
        wait_until(
            lambda: self.server.usage()[2] <= base["descriptors"] + 2,
            lambda: f"descriptors are left: {self.server.usage()[2]}, before {base['descriptors']}",
        )
        wait_until(
            lambda: self.server.usage()[1] <= base["threads"] + 2,
            lambda: f"threads are left: {self.server.usage()[1]}, before {base['threads']}",
        )
        wait_until(
            lambda: self.place.bytes_used() - base["shared"] <= attack.leaves,
            lambda: f"files are left: {sorted(os.listdir(self.place.channels))}",
        )
        self.server.check_log()
        return {"memory": max(memory, 0), "shared": max(shared, 0), "descriptors": watch.descriptors}

    def close(self):
        """Ends everything."""
        for reader in self.readers:
            reader.ended.set()
        if self.watch:
            self.watch.close()
        if self.feed:
            self.feed.close()
        self.place.close()


def expect_refused(target, *codes, **hello):
    """A client with this HELLO is refused with one of the codes."""
    try:
        target.hello(**hello).close()
    except Refusal as refusal:
        expect(
            not codes or refusal.code in codes,
            f"expected code {codes}, found {refusal.code}: {refusal.reason}",
        )
        return refusal
    raise Failure(f"the server welcomed {({name: str(value)[:60] for name, value in hello.items()})}")


def refused_or_ended(connection: Connection):
    """Expects the end of the connection, with or without REFUSED, and no WELCOME."""
    try:
        while True:
            found = connection.message()
            expect(
                found.kind in (protocol.REFUSED, protocol.CHALLENGE),
                f"expected a refusal or the end, found {found}",
            )
    except Ended:
        pass
    finally:
        connection.close()
