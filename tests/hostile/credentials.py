"""Clients with a wrong credential, and clients that ask for more than they may."""

import os
import time

import protocol
from kit import attack, expect, wait_until
from protocol import Refusal, message
from target import expect_refused, refused_or_ended

PERMISSION = 5


@attack("no token, one digit wrong, upper case, cut, doubled, all zeros, 20,000 characters")
def wrong_tokens(target):
    right = target.tokens["reader"]
    last = "0" if right[-1] != "0" else "1"
    for token in (
        None,
        "framelane_",
        "framelane_" + "0" * 64,
        right[:-1] + last,
        right.upper(),
        right[:-1],
        right[1:],
        right * 2,
        "a" * 20000,
    ):
        expect_refused(target, PERMISSION, token=token)
    with target.connect("tls") as connection:
        connection.send(protocol.hello() + protocol.request())
        expect(
            (connection.end() or [0])[0] == PERMISSION,
            "a client without a token or certificate is not refused over TLS",
        )


@attack("the id of a token with proofs of zeros, of another token, nonce, binding or request, of a server")
def wrong_proofs(target):
    token, other = protocol.Token(target.tokens["reader"]), protocol.Token(target.tokens["both"])
    body = protocol.request_body()

    def proofs(facts):
        yield bytes(32)
        yield b"\xff" * 32
        yield other.client_proof(facts, body)
        yield token.client_proof(bytes(112), body)
        yield token.client_proof(facts[:80] + b"\1" * 32, body)
        yield token.client_proof(facts, protocol.request_body(channel="cam1"))
        yield token.client_proof(facts, b"")
        yield token.server_proof(facts)
        yield token.stored_key
        yield token.id * 2
        right = bytearray(token.client_proof(facts, body))
        right[31] ^= 1
        yield bytes(right)

    for carrier in ("tcp", "tls"):
        for number in range(11):
            with target.connect(carrier) as connection:
                nonce = bytes([number]) * 32
                connection.send(protocol.hello(nonce=nonce, token_id=token.id))
                found = connection.until(protocol.CHALLENGE)
                facts = nonce + found.body[8:40] + token.id + bytes(32)
                connection.send(message(protocol.REQUEST, list(proofs(facts))[number] + body))
                refusal = connection.end()
                expect(refusal and refusal[0] == PERMISSION, f"proof {number} over {carrier}: {refusal}")


@attack("requests with a byte changed after the proof was made: direction, channel, size, codec")
def changed_requests(target):
    token = protocol.Token(target.tokens["both"])
    length = len(protocol.request_body())
    for at in range(0, length + 1, 3):
        with target.connect("tcp") as connection:
            facts = connection.begin(token)
            body = bytearray(protocol.request_body())
            proof = token.client_proof(facts, bytes(body))
            if at < length:
                body[at] ^= 1
            else:
                body.append(0)
            connection.send(message(protocol.REQUEST, proof + bytes(body)))
            refusal = connection.end()
            expect(refusal and refusal[0] == PERMISSION, f"a request with byte {at} changed: {refusal}")


@attack("200 token ids that no client has, with the request behind: each is refused")
def unknown_ids(target):
    for number in range(200):
        with target.connect("tcp") as connection:
            connection.send(protocol.hello(token_id=number.to_bytes(16, "big")) + protocol.request())
            refused = connection.end()
            expect(refused and refused[0] == PERMISSION, f"an unknown token id: {refused}")


@attack("read with a write token, write with a read token, both with a token for another channel")
def other_direction(target):
    expect_refused(target, PERMISSION, token="writer", channel="cam0")
    expect_refused(target, PERMISSION, token="reader", channel="cam0", direction=protocol.SEND)
    expect_refused(target, PERMISSION, token="reader", channel="w/x", direction=protocol.SEND)
    for direction in (protocol.RECEIVE, protocol.SEND):
        expect_refused(target, PERMISSION, token="nothing", channel="cam0", direction=direction)


@attack("names outside the patterns: parents, encoded slashes, NUL, empty parts, upper case, a longer part")
def outside_the_patterns(target):
    before = set(os.listdir(target.place.path))
    for channel in (
        "w/../cam0",
        "../w/x",
        "/w/x",
        "w//x",
        "w/",
        "wx/y",
        "w%2fx",
        "w\\x",
        "w/x\0cam0",
        "W/x",
        "w/./x",
        "w@x",
        ".w/x",
        "w/x/",
        "w/" + "a" * 199,
        "",
        ".",
        "..",
        "w/..",
        "w/\u2024\u2024/x",
        "w/x.control",
    ):
        try:
            target.hello(token="writer", channel=channel, direction=protocol.SEND).close()
        except Refusal:
            pass
        else:
            expect(channel == "w/x.control", f"the server welcomed a sender to {channel!a}")
    for channel in ("cam0/../cam0", "cam0/x", "hall/cam0", "cam*", "**", "cam0\0", "CAM0", "cam0/"):
        expect_refused(target, token="reader", channel=channel)
    outside = set(os.listdir(target.place.path)) - before
    expect(not outside, f"files outside the channel directory: {outside}")


@attack("values of direction and delivery that do not exist, from 0 to 255")
def directions(target):
    for direction in (0, 3, 4, 128, 255):
        refused_or_ended(target.ask(token="both", direction=direction))
    for delivery in (2, 255):
        connection = target.ask(token="honest", delivery=delivery)
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


@attack("a token that is revoked during two connections, and a new connection with it")
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


@attack("a recorded handshake that is sent again over the same and over another carrier")
def replay(target):
    with target.hello(token="honest") as connection:
        recorded = b"".join(connection.sent[:2])
    for carrier in ("tcp", "tls"):
        with target.connect(carrier) as connection:
            connection.send(recorded)
            refused = connection.end()
            expect(refused and refused[0] == PERMISSION, f"a replay over {carrier}: {refused}")


@attack("200 guesses of a token: the log grows by less than 20,000 bytes")
def guesses(target):
    before = len(target.server.text())
    count = 200
    for number in range(count):
        expect_refused(target, PERMISSION, token=f"framelane_{number:064x}")
    grown = len(target.server.text()) - before
    expect(grown < 20_000, f"{count} refusals left {grown} bytes in the log: a flood hides other refusals")


@attack("a client with a token that reconnects for 8 s: the log holds at most 64 connections of each 10 s")
def reconnects(target):
    before, begun, count = len(target.server.text()), time.monotonic(), 0
    while time.monotonic() < begun + 8:
        target.hello(token="reader").close()
        count += 1
    grown = len(target.server.text()) - before
    # A line of 150 bytes at most when it connects, and when it ends. Periods end at any time.
    most = 2 * 150 * 64 * (2 + (time.monotonic() - begun) // 10)
    expect(grown < most, f"{count} connections left {grown} bytes in the log, {most} expected at most")


@attack("a clients file that others may write to: the server uses it for no client")
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
