"""An old receiver, written from the format alone: takes a length and a JPEG, answers, and says how the
picture looks.

Usage: legacy_stream_receiver.py PORT [--bytewise] [--count N] [--silent]

Listens on 127.0.0.1 (port 0: any) and prints the port, then for each frame its width, height, channels, and
the PSNR in dB against `pattern(0)` of that size. --count: closes the connection after so many, and ends.
--silent: never answers. --bytewise: one byte per system call, in both directions, as the programs in the
field do.
"""

import argparse
import socket

import cv2
import numpy as np

from legacy_pattern import pattern


def read(connection, count, step):
    """So many bytes; None when the sender has gone."""
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(step, count - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--bytewise", action="store_true")
    parser.add_argument("--count", type=int, default=-1)
    parser.add_argument("--silent", action="store_true")
    given = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", given.port))
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    step = 1 if given.bytewise else 1 << 20
    while given.count != 0 and (length := read(connection, 16, step)) is not None:
        jpeg = read(connection, int(length), step)
        if jpeg is None:
            break
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
        height, width = image.shape[:2]
        wanted = pattern(0, width, height)
        if image.ndim == 2:
            wanted = cv2.cvtColor(wanted, cv2.COLOR_BGR2GRAY)
        channels = image.size // (width * height)
        print(width, height, channels, cv2.PSNR(image, wanted), flush=True)
        answer = b"recieved messages!"
        if given.silent:
            continue
        if given.bytewise:
            for at in range(len(answer)):
                connection.send(answer[at : at + 1])
        else:
            connection.sendall(answer)
        given.count -= 1


main()
