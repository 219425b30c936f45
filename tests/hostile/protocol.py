"""The link protocol, written from spec/link.md alone: messages as an attacker wants them, right or wrong."""

import hashlib
import hmac
import os
import socket
import ssl
import struct
import time

from kit import DEADLINE_S, Failure

MAGIC = b"FRMLLINK"
HELLO, WELCOME, REFUSED, FRAME, CREDIT, PING, PONG, STATE, KEYFRAME = range(1, 10)
CHALLENGE, REQUEST = 10, 11
NAMES = dict(
    zip(
        range(1, 13),
        "HELLO WELCOME REFUSED FRAME CREDIT PING PONG STATE KEYFRAME CHALLENGE REQUEST LIFE".split(),
    )
)
MAJOR, MINOR = 1, 1
OPTIONAL = 1
RECEIVE, SEND = 1, 2
NEWEST, EVERY = 0, 1
KEY, STANDALONE, CODED = 1 << 16, 1 << 17, 1 << 18
UNKNOWN = (1 << 64) - 1
NO_PTS = -(1 << 63)
FORMATS = {
    "gray8": 1,
    "gray16": 2,
    "bgr8": 3,
    "rgb8": 4,
    "bgra8": 5,
    "rgba8": 6,
    "i420": 7,
    "nv12": 8,
    "yuyv": 9,
    "p010": 10,
    "detections": 0x100,
}


def text(value):
    """A text with its length in front."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return struct.pack("<H", len(data)) + data


def message(kind, body=b"", payload_bytes=0, flags=0, body_bytes=None):
    """A message's head and body. `body_bytes` lies about the length when it is given."""
    return (
        struct.pack("<HHIQ", kind, flags, len(body) if body_bytes is None else body_bytes, payload_bytes)
        + body
    )


def mac(key, *parts):
    """HMAC-SHA256."""
    return hmac.digest(key, b"".join(parts), "sha256")


class Token:
    """The values that both sides compute from a token."""

    def __init__(self, text):
        token = text.encode()
        self.id = mac(token, b"framelane token id")[:16]
        self.client_key = mac(token, b"framelane token client key")
        self.stored_key = hashlib.sha256(self.client_key).digest()
        self.server_key = mac(token, b"framelane token server key")

    def server_proof(self, facts):
        """The proof in CHALLENGE."""
        return mac(self.server_key, b"framelane link server", facts)

    def client_proof(self, facts, body):
        """The proof in REQUEST."""
        mask = mac(self.stored_key, b"framelane link client", facts, body)
        return bytes(a ^ b for a, b in zip(self.client_key, mask))


def hello_body(nonce=None, token_id=bytes(16), *, major=MAJOR, minor=MINOR, more=b""):
    """The body of HELLO."""
    return (
        struct.pack("<HHI", major, minor, 0) + (os.urandom(32) if nonce is None else nonce) + token_id + more
    )


def hello(**fields):
    """The first bytes of a client."""
    return MAGIC + message(HELLO, hello_body(**fields))


def challenge(nonce=None, proof=bytes(32), *, major=MAJOR, minor=MINOR):
    """The first bytes of a server."""
    body = struct.pack("<HHI", major, minor, 0) + (os.urandom(32) if nonce is None else nonce) + proof
    return MAGIC + message(CHALLENGE, body)


def request_body(
    direction=RECEIVE,
    channel="cam0",
    codec="raw",
    *,
    delivery=NEWEST,
    max_milli_fps=0,
    size=(0, 0),
    max_payload=1 << 28,
    last=(0, 0),
    machine=0,
    sent_ns=None,
    more=b"",
):
    """The body of REQUEST, without the proof in front."""
    body = struct.pack(
        "<BBHIIIQQQQQ",
        direction,
        delivery,
        0,
        max_milli_fps,
        size[0],
        size[1],
        max_payload,
        last[0],
        last[1],
        time.time_ns() if sent_ns is None else sent_ns,
        machine,
    )
    return body + text(channel) + text(codec) + more


def request(proof=bytes(32), **fields):
    """REQUEST of a client without a token."""
    return message(REQUEST, proof + request_body(**fields))


def welcome(codec="raw", *, received_ns=None, sent_ns=None, max_payload=1 << 28, last=(0, 0), machine=0):
    """WELCOME."""
    now = time.time_ns()
    return message(
        WELCOME,
        struct.pack(
            "<QQQQQQ",
            now if received_ns is None else received_ns,
            now if sent_ns is None else sent_ns,
            max_payload,
            *last,
            machine,
        )
        + text(codec),
    )


def refused(code, reason, hint="", try_again=0):
    """REFUSED."""
    return message(REFUSED, struct.pack("<II", code, try_again) + text(reason) + text(hint))


def frame(
    sequence,
    payload=b"",
    *,
    epoch=1,
    format="gray8",
    width=16,
    height=2,
    planes=None,
    size_bytes=None,
    payload_bytes=None,
    flags=STANDALONE,
    color=(2, 2, 2, 0),
    plane_count=None,
    timestamp=None,
):
    """FRAME and its payload. Without other word, planes are packed rows of one plane."""
    code = FORMATS.get(format, format)
    if planes is None:
        per_pixel = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 4, 9: 2}.get(code, 1)
        planes = [(0, width * per_pixel)]
        if size_bytes is None:
            size_bytes = width * per_pixel * height
    if size_bytes is None:
        size_bytes = len(payload)
    flat = [number for plane in planes for number in plane] + [0] * (8 - 2 * len(planes))
    body = struct.pack(
        "<QQQqQQQQ4BIIIII8Q",
        epoch,
        sequence,
        time.time_ns() if timestamp is None else timestamp,
        NO_PTS,
        UNKNOWN,
        time.time_ns(),
        time.monotonic_ns(),
        size_bytes,
        *color,
        flags,
        code,
        width,
        height,
        len(planes) if plane_count is None else plane_count,
        *flat,
    )
    return message(FRAME, body, len(payload) if payload_bytes is None else payload_bytes) + payload


def credit(total):
    """CREDIT."""
    return message(CREDIT, struct.pack("<Q", total))


def ping():
    """PING."""
    return message(PING, struct.pack("<Q", time.time_ns()))


def state(number):
    """STATE."""
    return message(STATE, struct.pack("<I", number))


class Message:
    """A message that came. The payload of a FRAME is read with it."""

    def __init__(self, kind, flags, body, payload):
        self.kind, self.flags, self.body, self.payload = kind, flags, body, payload

    def __repr__(self):
        return (
            f"{NAMES.get(self.kind, self.kind)} {refusal(self) if self.kind == REFUSED else len(self.body)}"
        )

    def frame(self):
        """The fields of a FRAME."""
        names = (
            "epoch sequence timestamp pts duration sent sent_monotonic size_bytes c0 c1 c2 c3 flags format "
            "width height plane_count"
        ).split()
        return dict(zip(names, struct.unpack_from("<QQQqQQQQ4BIIIII", self.body)))


def refusal(found):
    """(code, try_again, message, hint) of a REFUSED."""
    code, again = struct.unpack_from("<II", found.body)
    texts, at = [], 8
    for _ in range(2):
        (count,) = struct.unpack_from("<H", found.body, at)
        texts.append(found.body[at + 2 : at + 2 + count].decode("utf-8"))
        at += 2 + count
    return code, again, texts[0], texts[1]


class Ended(Failure):
    """The peer ended the connection."""


class Refusal(Failure):
    """REFUSED instead of CHALLENGE or WELCOME."""

    def __init__(self, code, again, reason, hint):
        super().__init__(f"refused with code {code}: {reason}")
        self.code, self.again, self.reason, self.hint = code, again, reason, hint


class Connection:
    """A socket, with or without TLS, and what came over it."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(DEADLINE_S)
        self.buffer = bytearray()
        self.begun = False
        self.sent = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        """Sends all of it. Raises Ended when the peer has ended the connection."""
        if len(self.sent) < 2:
            self.sent.append(data)
        try:
            self.sock.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise Ended(f"sending: {error}") from None

    def try_send(self, data):
        """Sends as much as the peer accepts."""
        try:
            self.sock.sendall(data)
            return True
        except (OSError, ssl.SSLError):
            return False

    def receive(self):
        """Reads the bytes that have arrived. Raises TimeoutError or Ended."""
        try:
            data = self.sock.recv(1 << 18)
        except (TimeoutError, socket.timeout):
            raise
        except (OSError, ssl.SSLError) as error:
            raise Ended(f"{error}") from None
        if not data:
            raise Ended("the peer ended the connection")
        self.buffer += data

    def exactly(self, count):
        """The next `count` bytes."""
        while len(self.buffer) < count:
            self.receive()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def message(self):
        """The next message."""
        if not self.begun:
            magic = self.exactly(8)
            if magic != MAGIC:
                raise Failure(f"expected {MAGIC}, found {magic}")
            self.begun = True
        kind, flags, body_bytes, payload_bytes = struct.unpack("<HHIQ", self.exactly(16))
        if body_bytes > 16384:
            raise Failure(f"a message with a body of {body_bytes} bytes")
        body = self.exactly(body_bytes)
        return Message(kind, flags, body, self.exactly(payload_bytes))

    def begin(self, token=None, **hello_fields):
        """HELLO and CHALLENGE of a client. Returns the facts that the proof is made with. Raises Refusal."""
        nonce = os.urandom(32)
        token_id = token.id if token else bytes(16)
        self.send(hello(nonce=nonce, token_id=token_id, **hello_fields))
        found = self.until(CHALLENGE, REFUSED)
        if found.kind == REFUSED:
            raise Refusal(*refusal(found))
        facts = nonce + found.body[8:40] + token_id + bytes(32)
        if token and not hmac.compare_digest(found.body[40:72], token.server_proof(facts)):
            raise Failure("the server's proof is wrong")
        return facts

    def ask(self, token=None, **fields):
        """HELLO, CHALLENGE and REQUEST of a client over TCP or a Unix socket. The answer is still to come."""
        facts = self.begin(token)
        body = request_body(**fields)
        self.send(message(REQUEST, (token.client_proof(facts, body) if token else bytes(32)) + body))

    def answer(self):
        """Reads WELCOME. Raises Refusal."""
        found = self.until(WELCOME, REFUSED)
        if found.kind == REFUSED:
            raise Refusal(*refusal(found))
        return found

    def until(self, *kinds):
        """The next message of one of these kinds. Others are skipped."""
        while True:
            found = self.message()
            if found.kind in kinds:
                return found

    def end(self):
        """Reads until the peer ends the connection. Returns the last REFUSED, if there was one."""
        last = None
        try:
            while True:
                found = self.message()
                if found.kind == REFUSED:
                    last = refusal(found)
        except (TimeoutError, socket.timeout):
            raise Failure(f"the connection was still open after {DEADLINE_S:.0f} s") from None
        except Ended:
            return last

    def silence(self):
        """Reads until the end of the connection. The bytes need not be messages."""
        try:
            while True:
                self.receive()
                self.buffer.clear()
        except (TimeoutError, socket.timeout):
            raise Failure(f"the connection was still open after {DEADLINE_S:.0f} s") from None
        except Ended:
            return


def tls_client(alpn="framelane", oldest=None, card=None):
    """A context of a client that looks at the fingerprint itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if oldest:
        context.maximum_version = oldest
    if card:
        context.load_cert_chain(card / "client.crt", card / "client.key")
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def connect(address, source="127.0.0.1", context=None, fingerprint=None):
    """A connection to (host, port), or to the path of a Unix socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_S)
        sock.connect(address)
    else:
        sock = socket.create_connection(address, DEADLINE_S, (source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        sock = context.wrap_socket(sock, server_hostname="localhost")
        found = "sha256:" + hashlib.sha256(sock.getpeercert(True)).hexdigest()
        if fingerprint and found != fingerprint:
            raise Failure(f"expected the certificate {fingerprint}, found {found}")
    return Connection(sock)
