"""JPEG frames with a length line over TCP, one byte per system call in both directions, as the programs in
the field have it.

Written from spec/legacy.md alone. Sender and receiver are two processes. Both wait for each other after each
frame.
"""

import socket
import time

import cv2
import numpy as np

ANSWER = b"recieved messages!"


def send(port, raw, shape, quality, seconds):
    """Encodes and sends the frames of the file `raw` in turn, for so long."""
    frames = np.memmap(raw, np.uint8, "r").reshape(-1, *shape)
    connection = socket.create_connection(("127.0.0.1", port))
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        image = frames[number % len(frames)]
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        message = memoryview(str(len(jpeg)).ljust(16).encode() + jpeg)
        for at in range(len(message)):
            connection.send(message[at : at + 1])
        for _ in ANSWER:
            assert connection.recv(1)
        number += 1
    connection.close()


def receive(listener, shape, pipe):
    """Decodes and answers; sends when each frame was there."""
    connection, _ = listener.accept()
    times = []
    while length := read(connection, 16):
        image = cv2.imdecode(np.frombuffer(read(connection, int(length)), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == shape
        times.append(time.monotonic())
        for byte in ANSWER:
            connection.send(bytes([byte]))
    pipe.send(times)


def read(connection, count):
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(1)
        if not part:
            return b""
        parts += part
    return bytes(parts)
