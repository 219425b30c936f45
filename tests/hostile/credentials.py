"""Clients with the wrong credential, and clients that ask for more than theirs allows."""

import os

import protocol
from kit import MARK, Skipped, attack, expect, wait_until
from target import Refusal, expect_refused, refused_or_ended

PERMISSION = 5


@attack("no token, empty, wrong, one bit off, in upper case, cut, doubled, 256 bytes long, of another kind")
def wrong_tokens(target):
    right = target.tokens["reader"]
    last = "0" if right[-1] != "0" else "1"
    for carrier in ("tls", "tcp"):
        for token in ("", "framelane_", "framelane_" + "0" * 64, right[:-1] + last, right.upper(), right[:-1], right[1:],
                      right + "\0", "a" * 256, "\u202e" + right, MARK):
            connection = target.start_hello(token=token, carrier=carrier)
            refused_or_ended(connection)


@attack("a token longer than 256 bytes, up to the whole message")
def huge_tokens(target):
    for length in (257, 1024, 16000):
        connection = target.start_hello(token="a" * length)
        refused_or_ended(connection)


@attack("read with a token that may only write, write with one that may only read, both with one for another channel")
def other_direction(target):
    expect_refused(target, PERMISSION, token="writer", channel="cam0")
    expect_refused(target, PERMISSION, token="reader", channel="cam0", direction=protocol.SEND)
    expect_refused(target, PERMISSION, token="reader", channel="w/x", direction=protocol.SEND)
    for direction in (protocol.RECEIVE, protocol.SEND):
        expect_refused(target, PERMISSION, token="nothing", channel="cam0", direction=direction)


@attack("names outside the patterns: parents, encoded slashes, NUL, empty parts, other letters, a longer first part")
def outside_the_patterns(target):
    for channel in ("w/../cam0", "../w/x", "/w/x", "w//x", "w/", "wx/y", "w%2fx", "w\\x", "w/x\0cam0", "W/x", "w/./x", "w@x",
                    ".w/x", "w/x/", "w/" + "a" * 199, "", ".", "..", "w/..", "w/\u2024\u2024/x", "w/x.control"):
        try:
            target.hello(token="writer", channel=channel, direction=protocol.SEND).close()
        except Refusal:
            pass
        else:
            expect(channel == "w/x.control", f"the server welcomed a sender to {channel!a}")
    for channel in ("cam0/../cam0", "cam0/x", "hall/cam0", "cam*", "**", "cam0\0", "CAM0", "cam0/"):
        connection = target.start_hello(token="reader", channel=channel)
        refused_or_ended(connection)
    outside = [name for name in os.listdir(target.place.path)
               if name not in ("channels", "config", "server.sock") and not name.startswith("log-")]
    expect(not outside, f"files outside the channel directory: {outside}")


@attack("directions and modes that do not exist, from 0 to 255")
def directions(target):
    for direction in (0, 3, 4, 128, 255):
        connection = target.start_hello(token="both", direction=direction)
        refused_or_ended(connection)
    for mode in (2, 255):
        connection = target.start_hello(token="honest", mode=mode)
        connection.sock.settimeout(2)
        try:
            connection.message()
        except (TimeoutError, protocol.Ended):
            pass
        connection.close()


@attack("send frames with a token that may read only, after an honest HELLO")
def reader_that_sends(target):
    connection = target.hello(token="reader")
    connection.try_send(protocol.frame(1, bytes(32)) * 10)
    connection.end()


@attack("go on with a token that is revoked in the middle of a connection, and connect with it again")
def revoked(target):
    token = target.token("revoked", read="**", write="w/**")
    reader = target.hello(token=token)
    reader.send(protocol.credit(1))
    writer = target.hello(token=token, channel="w/revoked", direction=protocol.SEND)
    target.revoke("revoked")
    reader.end()
    writer.end()
    reader.close()
    writer.close()
    expect_refused(target, PERMISSION, token=token)


@attack("play a whole connection of a client back, byte for byte, over the same and over another carrier")
def replay(target):
    recorded = protocol.hello(token=target.tokens["honest"])
    with target.connect("tcp") as connection:
        connection.send(recorded)
        first = connection.message()
    if first.kind == protocol.WELCOME and first.body[2:4] == b"\0\0":
        raise Skipped("protocol 1.0 sends the token itself, and cannot tell a replay")
    for carrier in ("tcp", "tls"):
        connection = target.connect(carrier)
        connection.send(recorded)
        refused_or_ended(connection)


@attack("200 guesses of a token over open and new connections: each costs the guesser, the log stays short")
def guesses(target):
    before = len(target.server.text())
    count = 200
    for number in range(count):
        connection = target.start_hello(token=f"framelane_{number:064x}", carrier="tcp")
        refused_or_ended(connection)
    grown = len(target.server.text()) - before
    expect(grown < 20_000, f"{count} refusals left {grown} bytes in the log: a flood hides other refusals")


@attack("a token file, a certificate file or a clients file that others may write to is not used")
def loose_files(target):
    clients = target.place.config / "clients"
    mode = clients.stat().st_mode & 0o777
    clients.chmod(0o666)
    try:
        wait_until(lambda: _turned_away(target), "the server uses a clients file that everybody may write to")
    finally:
        clients.chmod(mode)
    wait_until(lambda: not _turned_away(target), "the server does not use the clients file again")
    # The honest client was disconnected rightly: it may come again.
    target.reconnect()


def _turned_away(target):
    try:
        target.hello(token="honest").close()
        return False
    except (Refusal, protocol.Ended):
        return True
